"""What can be said of a plan's records: arms row by row, their differences, budget by budget."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mutualvideo.comparison.intervals import Estimate, estimate
from mutualvideo.errors import InputError


@dataclass(frozen=True)
class Difference:
    """How much better one arm is than another, in percentage points.

    Attributes:
        arm, against: their names.
        rows: ``{row: Estimate}`` of the rows that both have, the most expensive first.
        mean: Estimate of the mean over these rows; ``None`` if they have no run in common.
        budgets: ``[(macs, row of arm, row of the other, Estimate), ...]``: the best row of each
            within a budget, by its mean accuracy.
    """

    arm: str
    against: str
    rows: dict
    mean: Estimate
    budgets: tuple


class Summary:
    """The records of a plan, by arm, row and run. Those of runs that it has not are left out.

    Args:
        plan: :class:`~mutualvideo.comparison.plan.Plan`.
        records: list of :class:`~mutualvideo.comparison.records.Record`.

    Attributes:
        macs: ``{row: multiply-adds}``, the most expensive first; where arms are other networks, of
            the one with the most.

    Raises:
        InputError: if there are none, runs of a fold were tested on other lists, folds on the same
            one, or seeds of an arm trained for other numbers of epochs.
    """

    def __init__(self, plan, records):
        mine = {(r.arm, r.seed, -1 if r.fold is None else r.fold, r.alone or "") for r in plan.runs}
        self.plan = plan
        self._records = [
            r for r in records if r.arm in plan.gone or (r.arm, r.seed, r.fold, r.alone) in mine
        ]
        self._found = defaultdict(dict)  # (arm, row) -> {(seed, fold): Record}
        for record in self._records:
            if not plan.rows or record.row in plan.rows:
                self._found[record.arm, record.row][record.seed, record.fold] = record
        for arm, rows in plan.same.items():
            for row, other in rows.items():
                if (other, row) in self._found:
                    self._found[arm, row] = self._found[other, row]
        if not self._found:
            raise InputError(f"{plan.path}: there is no finished run to report")
        self._check_lists()
        self._macs = {one: next(iter(runs.values())).macs for one, runs in self._found.items()}
        macs = {}
        for (_, row), count in self._macs.items():
            macs[row] = max(count, macs.get(row, 0))
        self.macs = dict(sorted(macs.items(), key=lambda item: (-item[1], item[0])))
        self.arms = [arm for arm in plan.arms if any(name == arm for name, _ in self._found)]

    def macs_of(self, arm, row):
        """Multiply-adds of an arm's row; ``None`` where it has no such row."""
        return self._macs.get((arm, row))

    def least_macs(self, row):
        """Multiply-adds of a row, of the arm whose network has the fewest."""
        return min(count for (_, name), count in self._macs.items() if name == row)

    @property
    def measure(self):
        """What arms are compared by: ``top-1`` or, of detectors, ``box AP``."""
        return "box AP" if self._records[0].is_average else "top-1"

    @property
    def chance(self):
        """Percent that guessing has; ``None`` of detectors."""
        return None if self._records[0].is_average else 100 / self._records[0].classes

    def _check_lists(self):
        lists = {}
        for runs in self._found.values():
            for (_, fold), record in runs.items():
                if lists.setdefault(fold, record.manifest) != record.manifest:
                    raise InputError(
                        f"{self.plan.path}: runs of {record.arm} were tested on another list than "
                        "others: evaluate them on the same"
                    )
        if len(set(lists.values())) < len(lists):
            raise InputError(
                f"{self.plan.path}: folds were tested on the same list, and would count as so many "
                "videos more: train each on a list of its own, {fold} in DATA.PATH_TO_DATA_DIR"
            )
        for (arm, row), runs in self._found.items():
            epochs = {run: record.epochs for run, record in runs.items()}
            if len(set(epochs.values())) > 1 and arm not in self.plan.patient:
                told = ", ".join(f"{e} (seed {seed})" for (seed, _), e in epochs.items())
                raise InputError(
                    f"{self.plan.path}: runs of {arm}, {row}, trained for other numbers of epochs: "
                    f"{told}: take the old ones' lines out of runs.csv"
                )

    def accuracy(self, arm, row):
        """:class:`Estimate` of ``measure``, or ``None`` where the arm has no such row."""
        runs = self._found.get((arm, row))
        if not runs:
            return None
        return estimate([self._values(run, one.answers()) for run, one in runs.items()])

    def by_run(self, arm, row):
        """``{(seed, fold): percent}`` of ``measure``; empty where the arm has no such row."""
        return {run: one.top1 for run, one in self._found.get((arm, row), {}).items()}

    def ap50(self, arm, row):
        """:class:`Estimate` of a detector's AP50, or ``None`` where a run of the row has none."""
        runs = self._found.get((arm, row), {})
        found = {run: one.ap50 for run, one in runs.items()}
        if not found or None in found.values():
            return None
        return estimate([self._values(run, [value / 100]) for run, value in found.items()])

    def difference(self, arm, against):
        """:class:`Difference` over the runs that both have, or ``None`` if there are none."""
        rows = [row for row in self.macs if self._pairs((arm, row), (against, row))]
        if not rows:
            return None
        by_row = {row: self._pairs((arm, row), (against, row)) for row in rows}
        common = set.intersection(*(set(pairs) for pairs in by_row.values()))
        means = [
            self._values(run, np.mean([by_row[row][run] for row in rows], axis=0))
            for run in sorted(common)
        ]
        found = {
            row: estimate([self._values(run, values) for run, values in pairs.items()])
            for row, pairs in by_row.items()
        }
        mean = estimate(means) if means else None
        return Difference(arm, against, found, mean, tuple(self._budgets(arm, against)))

    def costs(self, arm):
        """What all runs of one seed and fold of an arm take together, mean over those.

        Of seeds and folds that have all of its trainings so far; others would count for too little.

        Returns:
            dict of ``epochs`` (of the longest), ``macs``, ``cpu_seconds`` and ``wall_seconds``.
        """
        runs = defaultdict(dict)  # (seed, fold) -> {which training: Record}
        for (name, _), found in self._found.items():
            for run, record in found.items() if name == arm else ():
                runs[run].setdefault((record.arm, record.alone), record)
        whole = max(map(len, runs.values()))
        parts = [list(found.values()) for found in runs.values() if len(found) == whole]
        totals = {
            key: float(np.mean([sum(getattr(r, name) for r in records) for records in parts]))
            for key, name in (
                ("macs", "train_macs"),
                ("cpu_seconds", "cpu_seconds"),
                ("wall_seconds", "wall_seconds"),
            )
        }
        return {"epochs": max(r.epochs for records in parts for r in records), **totals}

    def _pairs(self, one, other):
        """``{run: difference by video}`` of the runs that two (arm, row) have in common."""
        mine, theirs = self._found.get(one, {}), self._found.get(other, {})
        return {
            run: mine[run].answers().astype(float) - theirs[run].answers()
            for run in mine
            if run in theirs
        }

    def _budgets(self, arm, against):
        """At each row's cost: the best affordable row of both arms."""
        costs = {count for (name, _), count in self._macs.items() if name in (arm, against)}
        for budget in sorted(costs, reverse=True):
            best = [self._best(name, budget) for name in (arm, against)]
            if None in best:
                continue
            pairs = self._pairs((arm, best[0]), (against, best[1]))
            if pairs:
                values = [self._values(run, found) for run, found in pairs.items()]
                yield budget, *best, estimate(values)

    def _best(self, arm, budget):
        means = {}
        for (name, row), runs in self._found.items():
            if name == arm and self._macs[arm, row] <= budget:
                means[row] = np.mean([record.top1 for record in runs.values()])
        return max(means, key=means.get, default=None)

    @staticmethod
    def _values(run, values):
        # Videos of different folds are different videos. Detectors have one average a run, which is
        # no video: it gets a number of its own.
        seed, fold = run
        if len(values) == 1:
            return np.array([(fold + 1) * 10**7 + seed]), values
        return (fold + 1) * 10**7 + np.arange(len(values)), values
