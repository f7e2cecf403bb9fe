"""Watching a run: every LOG_PERIOD steps a line for people, ``json_stats`` lines, TensorBoard."""

import logging
import math
import time

from tqdm.std import EMA

from mutualvideo.config import takes_pictures
from mutualvideo.errors import InputError
from mutualvideo.registry import is_detector
from mutualvideo.run.durations import clock_time
from mutualvideo.run.log import log_json_stats

logger = logging.getLogger(__name__)

# How much the steps since the last line count in the time left; the rest is those before.
_SMOOTHING = 0.3
# Steps after which a run says how long it will take; the first, which starts everything, is left
# out of what the others are expected to take.
_JUDGED = 10


class Watch:
    """What is said about the steps and epochs of a run; silent but in the main process.

    The training loop tells of every step in three calls: :meth:`data_came`, :meth:`step_done`
    and, where that says so, :meth:`line`; of every epoch in :meth:`epoch_done` and, when it was
    validated or is not going to be, :meth:`epoch_line`. Steps are counted from 0 over all epochs.
    Nothing here waits for the device: ``line`` takes the loss as a number, so the device has done
    the steps by then, and their time is that of all since the last line together.

    Args:
        cfg: the configuration.
        plan: :class:`~mutualvideo.engine.step_plan.StepPlan`.
        scalars: :class:`~mutualvideo.run.log.Scalars`.
        clock: for the tests.

    Raises:
        InputError: if LOG_PERIOD is below 1.
    """

    def __init__(self, cfg, plan, scalars, clock=time.perf_counter):
        if cfg.LOG_PERIOD < 1:
            raise InputError(f"LOG_PERIOD must be at least 1, not {cfg.LOG_PERIOD}")
        self._period, self._epochs, self._plan = cfg.LOG_PERIOD, plan.epochs, plan
        self._what = "images" if takes_pictures(cfg) else "clips"
        # Of detectors nothing is right or wrong as a whole: no top-1.
        self._counts_right = not is_detector(cfg.MODEL.MODEL_NAME)
        self._scalars, self._clock, self._step_s = scalars, clock, EMA(_SMOOTHING)
        # Of this process: steps done, the time that they took, and that of the first.
        self._judged, self._took_s, self._first_s = 0, 0.0, 0.0
        mutual = cfg.MUTUAL
        self._alone = plan.before(mutual.ALONE_EPOCHS) if mutual.MODE != "single" else 0
        self.epoch_begins()

    def epoch_begins(self):
        """What came before (an evaluation, a checkpoint) is part of no step."""
        self._began = self._mark = self._waiting = self._since = self._clock()
        self._count = self._clips = self._waited = self._own = 0

    def data_came(self):
        """The batch of the next step is there."""
        self._waited += self._clock() - self._waiting

    def step_done(self, step):
        """Step ``step`` is on its way to the device; returns whether a line is due."""
        self._waiting = self._clock()
        self._count += 1
        self._clips += self._plan.step(step).clips
        self._own += 1
        if self._judged < _JUDGED:
            self._judge(step)
        epoch, position = self._plan.place(step)
        position, steps = position + 1, self._plan.steps_of(epoch)
        return position % self._period == 0 or position == steps < self._period

    def _judge(self, step):
        """After ten steps says, once, how long the training will take."""
        now = self._waiting
        self._took_s, self._since = self._took_s + now - self._since, now
        self._judged += 1
        if self._judged == 1:
            self._first_s = self._took_s
        left = self._plan.total - step - 1
        if self._judged < _JUDGED or left <= 0:
            return
        left_s = (self._took_s - self._first_s) / (_JUDGED - 1) * left
        # Of a run that goes on, the part before is not known.
        resumed = step + 1 > _JUDGED
        logger.info(
            "after %d steps: training will take about %s %s; validation, checkpoints and the table "
            "come on top%s",
            _JUDGED,
            clock_time(left_s if resumed else self._took_s + left_s),
            "more" if resumed else "in all",
            ", and steps take longer when the full network is no longer alone"
            if step < self._alone
            else "",
        )

    def line(self, step, rate, found):
        """Writes what the steps since the last line did.

        Times are means over these steps. The time left is that of the remaining steps, as long
        as those of late that this process did itself; evaluations come on top.

        Args:
            step: number of the last step.
            rate: its learning rate.
            found: ``[(subnet, loss, top-1 error in percent), ...]`` of it, over the clips of all
                processes, in the order in which sub-networks are drawn.
        """
        now = self._clock()
        dt, dt_data = (now - self._mark) / self._count, self._waited / self._count
        per_s = self._clips / (now - self._mark)
        self._mark, self._count, self._clips, self._waited = now, 0, 0, 0
        left = round(self._step_s(dt) * (self._plan.total - step - 1))
        epoch, place = self._plan.place(step)
        epoch, position = epoch + 1, f"{place + 1}/{self._plan.steps_of(epoch)}"
        timing = {"dt": dt, "dt_data": dt_data, "lr": rate, "eta_s": left}
        parts = []
        for role, (subnet, loss, top1_err) in zip(_roles(len(found)), found, strict=True):
            error = {"top1_err": top1_err} if self._counts_right else {}
            parts.append(f"{role} {subnet} loss {loss:.4f}{_top1(error)}")
            log_json_stats(
                {
                    "_type": "train_iter",
                    "epoch": epoch,
                    "iter": position,
                    "role": role,
                    "subnet": str(subnet),
                    "loss": loss,
                    **error,
                    **timing,
                }
            )
            drawn = {"width": subnet.width, "frames": subnet.frames, "size": subnet.size}
            self._scalars.add(
                {
                    f"step/loss_{role}": loss,
                    **{f"step/{name}_{role}": value for name, value in error.items()},
                    **{f"drawn/{k}_{role}": v for k, v in drawn.items() if v is not None},
                },
                step,
            )
        self._scalars.add({f"step/{key}": value for key, value in timing.items()}, step)
        self._scalars.add({f"step/{self._what}_per_s": per_s}, step)
        logger.info(
            "epoch %d/%d, step %s: %s; %.3f s a step, %.3f s waiting for data, %.1f %s/s, %s left",
            epoch,
            self._epochs,
            position,
            ", ".join(parts),
            dt,
            dt_data,
            per_s,
            self._what,
            clock_time(left),
        )
        self._waiting = self._clock()

    def epoch_done(self, whole, rate):
        """Writes what an epoch did, for scripts; :meth:`epoch_line` says it to people.

        Args:
            whole: :class:`~mutualvideo.run.progress.Progress` of all processes.
            rate: the learning rate of its last step.
        """
        epoch, replaced = whole.epoch, whole.replaced.values()
        for message in replaced:
            logger.warning("replaced in epoch %d: %s", epoch + 1, message)
        name = f"{epoch + 1}/{self._epochs}"
        # Of none, if every step was skipped.
        loss = whole.loss / whole.clips if whole.clips else math.nan
        top1_err = 100 - 100 * whole.correct / whole.clips if whole.clips else math.nan
        error = {"top1_err": top1_err} if self._counts_right else {}
        log_json_stats(
            {
                "_type": "train_epoch",
                "epoch": name,
                "loss": loss,
                "lr": rate,
                **error,
                "videos_replaced": len(replaced),
                "steps_skipped": whole.skipped,
            }
        )
        scalars = {"train/loss": loss, **{f"train/{name}": value for name, value in error.items()}}
        self._scalars.add(scalars, self._plan.before(epoch + 1))
        self._trained = f"train loss {loss:.4f}{_top1(error)}"
        what = "images" if self._what == "images" else "videos"
        faults = ((len(replaced), f"{what} replaced"), (whole.skipped, "steps skipped"))
        self._faults = "".join(f", {count} {text}" for count, text in faults if count)
        self._done = epoch + 1

    def epoch_line(self, validated=()):
        """Says what the epoch of the last :meth:`epoch_done` did, in one line.

        The time left is that of the remaining epochs, as long as this one's steps, its validation
        and its checkpoint took.

        Args:
            validated: ``[(role, top-1 in percent), ...]``.
        """
        took = self._clock() - self._began
        left = took / max(self._own, 1) * (self._plan.total - self._plan.before(self._done))
        val = " ".join(f"{role} {top1:.1f} %" for role, top1 in validated)
        logger.info(
            "epoch %d/%d %s%s%s · %s, %s left",
            self._done,
            self._epochs,
            self._trained,
            self._faults,
            f" · val {val}" if val else "",
            clock_time(took),
            clock_time(left),
        )


def _top1(error):
    return "".join(f" top-1 {100 - value:.2f} %" for value in error.values())


def _roles(count):
    """What the ``count`` sub-networks of a step are, as ``SubnetSampler.draw`` orders them."""
    return (["full", "narrowest"] + [f"random{i + 1}" for i in range(count - 2)])[:count]
