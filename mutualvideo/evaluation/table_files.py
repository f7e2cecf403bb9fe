"""The query table of a run as files in its folder."""

import logging
import os
from collections.abc import Sequence

from mutualvideo.models.network import Curve
from mutualvideo.table.query import QueryTable

logger = logging.getLogger(__name__)

TABLE_NAME = "query_table.json"
STATISTICS_NAME = "query_table.bn.pyth"


def write_table(table: QueryTable, folder: str, overlays: Sequence[Curve] = ()) -> None:
    """Writes ``query_table.json``, ``.csv`` and ``.md`` to ``folder``, and logs the table.

    Where every row was evaluated also ``flops_accuracy.png``, and with latencies
    ``latency_accuracy.png``.

    Args:
        table: the table.
        folder: where to.
        overlays: curves to draw beside the rows against multiply-adds.

    Raises:
        InputError: if a file cannot be written.
    """
    table.save_json(os.path.join(folder, TABLE_NAME))
    table.save_csv(os.path.join(folder, "query_table.csv"))
    table.save_markdown(os.path.join(folder, "query_table.md"))
    if all(row.merit is not None for row in table):
        table.plot(os.path.join(folder, "flops_accuracy.png"), overlays=overlays)
        if all(row.latency_ms is not None for row in table):
            # Published curves have no latencies on this machine.
            table.plot(os.path.join(folder, "latency_accuracy.png"), cost="ms")
    logger.info("query table in %s:\n%s", folder, table.to_text())
