"""The query table in TensorBoard, beside the training that it came of."""

import os

from mutualvideo.run.log import Scalars
from mutualvideo.table.query import QueryTable
from mutualvideo.table.row import RARE
from mutualvideo.table.text import to_markdown


def show_table(table: QueryTable, folder: str) -> None:
    """Writes the table to the TensorBoard files of the run in ``folder``.

    Top-1 and top-5 of every sub-network as scalars (``table/top1_0.75x8x160``, at step 0), the
    table as text, and accuracy against cost as the picture that lies in ``folder`` already.
    """
    board = Scalars(folder, True)
    for row in table:
        found = {"top1": row.top1, "top5": row.top5}
        found |= {name: getattr(row, name) for name in RARE if getattr(row, name) is not None}
        board.add({f"table/{name}_{row.subnet}": value for name, value in found.items()}, 0)
    board.add_text("table", to_markdown(table))
    board.add_picture("table/flops_accuracy", os.path.join(folder, "flops_accuracy.png"))
    board.close()
