"""What the runs of a plan found, as one CSV: a line for each run and row of its table."""

import base64
import csv
import json
import os
from dataclasses import astuple, dataclass, fields

import numpy as np

from mutualvideo.comparison.execute import is_done
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.run.cost import COST_NAME
from mutualvideo.table import QueryTable


@dataclass(frozen=True)
class Record:
    """One row of the table of one run.

    Attributes:
        arm, seed, fold, alone: of the :class:`~mutualvideo.comparison.plan.Run`; ``fold`` -1 and
            ``alone`` empty where there is none.
        row: the sub-network, as text.
        macs, params: what it costs.
        top1: percent; of a detector its box AP.
        videos: how many were judged.
        classes: of the data set.
        manifest: which list of videos, by its content.
        epochs, train_macs, cpu_seconds, wall_seconds: what training took, see
            :mod:`mutualvideo.run.cost`.
        right: of every video of the list, in its order, whether the row is right, as bits in
            base64; empty of a detector, of which no picture is right or wrong as a whole.
        ap50: percent, of a detector; ``None`` of a network, and in files from before it was noted.
    """

    arm: str
    seed: int
    fold: int
    alone: str
    row: str
    macs: int
    params: int
    top1: float
    videos: int
    classes: int
    manifest: str
    epochs: int
    train_macs: int
    cpu_seconds: float
    wall_seconds: float
    right: str
    ap50: float | None = None

    @property
    def is_average(self):
        """Whether all that is known is one figure of the whole list: a detector's."""
        return not self.right

    def answers(self):
        """bool (videos,): whether it is right; float (1,), box AP from 0 to 1, of a detector."""
        if self.is_average:
            return np.array([self.top1 / 100])
        packed = np.frombuffer(base64.b64decode(self.right), dtype=np.uint8)
        return np.unpackbits(packed, count=self.videos).astype(bool)


def collect(plan, output):
    """Records of all finished runs of ``plan`` in the folder ``output``.

    Raises:
        InputError: if a file of a finished run cannot be read, or a run left videos out: it is not
            known which of the others' answers its own go with.
    """
    found = []
    for run in plan.runs:
        folder = os.path.join(output, run.folder)
        if not is_done(folder):
            continue
        table = QueryTable.load_json(os.path.join(folder, "query_table.json"))
        results = _load(os.path.join(folder, "results.json"))
        cost = _load(os.path.join(folder, COST_NAME))
        if results.get("missing"):
            raise InputError(
                f"{folder}: {len(results['missing'])} of {results['expected']} videos could not be "
                "evaluated, and runs are compared video by video: repair the list (`mutualvideo "
                "check`), remove results.json there and run the plan again"
            )
        for row in table:
            count, right = results["videos"], ""
            if row.box_ap is None:
                bits = _right(
                    os.path.join(folder, "evaluation", str(row.subnet), "predictions.csv")
                )
                count, right = len(bits), base64.b64encode(np.packbits(bits)).decode()
            found.append(
                Record(
                    run.arm,
                    run.seed,
                    -1 if run.fold is None else run.fold,
                    run.alone or "",
                    str(row.subnet),
                    row.macs,
                    row.params,
                    round(float(row.merit), 4),
                    count,
                    results["num_classes"],
                    table.metadata["manifest"],
                    *(cost[key] for key in ("epochs", "macs", "cpu_seconds", "wall_seconds")),
                    right,
                    None if row.box_ap50 is None else round(row.box_ap50, 4),
                )
            )
    return found


def save_records(records, path):
    """Writes them as CSV."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(Record)])
            writer.writerows(map(astuple, records))


def add_records(path, records):
    """Writes ``records`` beside those that ``path`` holds, in place of the same runs' ones.

    Runs of a plan may be made on several machines, a part on each.

    Returns:
        list of :class:`Record`: all that the file holds now.

    Raises:
        InputError: if the file is something else.
    """
    before = load_records(path) if os.path.exists(path) else []
    made = {_run_of(record) for record in records}
    found = [record for record in before if _run_of(record) not in made] + list(records)
    if not found:  # an empty file would be in the way of what is there later
        return []
    found.sort(key=lambda record: (_run_of(record), -record.macs))
    save_records(found, path)
    return found


def _run_of(record):
    return record.arm, record.alone, record.seed, record.fold


def load_records(path):
    """Reads what :func:`save_records` wrote.

    Raises:
        InputError: if the file is missing, or something else.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return [_read(line) for line in lines]
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; run the plan first, or give --runs, a folder of finished runs"
        ) from None
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read as the results of a comparison ({error!r}); run the plan again"
        ) from None


def _read(line):
    *others, ap50 = fields(Record)
    found = line.get(ap50.name)
    return Record(
        *(field.type(line[field.name]) for field in others), ap50=float(found) if found else None
    )


def _load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove that run and do it again"
        ) from None


def _right(path):
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return np.array([line["label"] == line["class1"] for line in csv.DictReader(file)])
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error!r}); evaluate that run again") from None
