"""A video file through the recogniser: sliding clips in, an annotated mp4 and a CSV out."""

import bisect
import csv
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np
from tqdm import tqdm

from mutualvideo.data.decode import VideoReader
from mutualvideo.data.sampling import clip_indices
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.runtime.overlay import annotate
from mutualvideo.runtime.recognizer import top_scores
from mutualvideo.table.budget import format_cost, format_macs
from mutualvideo.table.query import Row

# Frames of the annotated video in memory at once, and their largest short side: together
# they bound the memory, whatever the length and size of the video.
_CHUNK = 32
_MAX_SHORT_SIDE = 720
_TOP = 3
_CLOCK = Fraction(1, 90000)


@dataclass(frozen=True)
class Window:
    """One prediction: which frames it looks at and which frames it is shown on.

    Args:
        start_s: seconds from the beginning of the video at which it is first shown.
        shown: ``range`` of frame numbers it is shown on; the windows cover every frame once.
        indices: frame numbers of its clip, ``DATA.NUM_FRAMES`` of them.
        part: which of the budgets it runs under.
    """

    start_s: float
    shown: range
    indices: tuple[int, ...]
    part: int


@dataclass(frozen=True)
class PartSummary:
    """What ran under one budget.

    Args:
        budget: the budget as text.
        row: the table's row of the sub-network that ran.
        clips: number of predictions.
        latency_ms: their median latency, measured here.
        label, score: the class with the highest score averaged over the predictions.
    """

    budget: str
    row: Row
    clips: int
    latency_ms: float
    label: str
    score: float


def plan_windows(timestamps, fps, data, stride_s, parts):
    """Lays clips over a video.

    The video is cut into ``parts`` equal times, each into windows as close to ``stride_s``
    as fits; every part has at least one. The clip of a window lies around its middle and is
    moved inwards at the ends of the video.

    Args:
        timestamps: seconds of every frame, increasing.
        fps: frames per second.
        data: the DATA section of a configuration (NUM_FRAMES, SAMPLING_RATE, TARGET_FPS).
        stride_s: seconds from one prediction to the next.
        parts: number of budgets.

    Returns:
        A list of ``Window`` in order of time.
    """
    count, begin = len(timestamps), timestamps[0]
    length = timestamps[-1] - begin + 1 / fps
    per_part = max(1, round(length / parts / stride_s))
    total = parts * per_part
    edges = [bisect.bisect_left(timestamps, begin + length * i / total) for i in range(total)]
    edges.append(count)
    span = data.NUM_FRAMES * data.SAMPLING_RATE * fps / data.TARGET_FPS
    slack = max(count - span, 0)
    windows = []
    for number in range(total):
        middle = count * (number + 0.5) / total
        position = min(max((middle - span / 2) / slack, 0.0), 1.0) if slack else 0.0
        indices = clip_indices(
            count, fps, data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS, position
        )
        shown = range(edges[number], edges[number + 1])
        windows.append(
            Window(length * number / total, shown, tuple(indices), number // per_part)
        )
    return windows


def play(recognizer, video, budgets, output, stride_s=0.5):
    """Recognises a video under one or several budgets.

    Each budget rules an equal part of the video. Writes ``<output>/<video's name>.mp4``
    (h264, the frames with sub-network, cost, budget and top-3 drawn in, its short side at
    most 720 px) and ``.csv`` (one line per prediction). Frames are streamed: memory does not
    grow with the video.

    Args:
        recognizer: an ``AdaptiveRecognizer``.
        video: path of a video file.
        budgets: ``[("macs", int) | ("ms", float), ...]``, as ``parse_budget`` gives them.
        output: folder, made if it is not there.
        stride_s: seconds from one prediction to the next.

    Returns:
        ``(summaries, mp4 path, csv path)``, one ``PartSummary`` per budget.

    Raises:
        InputError: if the video cannot be read, a budget cannot be met, or the folder cannot
            be written to; neither file is left half written.
    """
    if not stride_s > 0:
        raise InputError(f"stride {stride_s}: must be above 0 seconds")
    if not budgets:
        raise InputError("give at least one budget")
    for kind, value in budgets:
        # All of them now: nobody wants to hear of the last one when the film is half done.
        recognizer.set_budget(**{kind: value})
    mp4, table = (Path(output) / f"{Path(video).stem}{ending}" for ending in (".mp4", ".csv"))
    if mp4.exists() and mp4.samefile(video):
        raise InputError(f"{mp4}: is the video itself, choose another output folder")
    with VideoReader(video) as reader:
        windows = plan_windows(
            reader.timestamps, reader.fps, recognizer.cfg.DATA, stride_s, len(budgets)
        )
        with atomic_path(table) as table_path, atomic_path(mp4) as mp4_path:
            summaries = _play(recognizer, reader, windows, budgets, table_path, mp4_path)
    return summaries, mp4, table


def _play(recognizer, reader, windows, budgets, table_path, mp4_path):
    summaries = []
    frames = _frames(reader)
    with (
        open(table_path, "w", newline="", encoding="utf-8") as file,
        _film(mp4_path, reader.fps) as write,
        tqdm(total=len(reader), unit="frame", desc="video", disable=None) as progress,
    ):
        lines = csv.writer(file)
        ranks = range(1, _TOP + 1)
        lines.writerow(
            ["time_s", "subnet", "macs", "latency_ms", "budget"]
            + [f"{name}{rank}" for rank in ranks for name in ("top", "score")]
        )
        for part, (kind, value) in enumerate(budgets):
            row = recognizer.set_budget(**{kind: value})
            budget = format_cost(kind, value)
            mine = [window for window in windows if window.part == part]
            # The first call as a new sub-network prepares kernels; it is not timed.
            recognizer.predict(_clip(recognizer, reader, mine[0]))
            predictions = []
            for window in mine:
                prediction = recognizer.predict(_clip(recognizer, reader, window))
                predictions.append(prediction)
                answers = prediction.top(_TOP)
                lines.writerow(
                    [f"{window.start_s:.3f}", row.subnet, row.macs]
                    + [f"{prediction.latency_ms:.2f}", budget]
                    + [cell for label, score in answers for cell in (label, f"{score:.4f}")]
                )
                text = [
                    f"{row.subnet}   {format_macs(row.macs)} MACs   {prediction.latency_ms:.1f} ms",
                    f"budget {budget}",
                ]
                for _ in window.shown:
                    time_s, frame = next(frames)
                    write(time_s, annotate(frame, text, answers))
                    progress.update()
            summaries.append(_summary(budget, row, predictions))
    return summaries


def _clip(recognizer, reader, window):
    # Scaled down while decoding: full-size frames of a large video are never needed here.
    return reader.read(window.indices, short_side=recognizer.cfg.DATA.TEST_CROP_SIZE)


def _summary(budget, row, predictions):
    scores = np.mean([prediction.scores[0] for prediction in predictions], axis=0)
    ((label, score),) = top_scores(scores, predictions[0].class_names, 1)
    latency = median(prediction.latency_ms for prediction in predictions)
    return PartSummary(budget, row, len(predictions), latency, label, score)


def _frames(reader):
    """(seconds from the beginning, uint8 (H, W, 3)) of every frame, in order."""
    begin = reader.timestamps[0]
    for first in range(0, len(reader), _CHUNK):
        numbers = range(first, min(first + _CHUNK, len(reader)))
        chunk = reader.read(numbers, short_side=_MAX_SHORT_SIDE)
        for number, frame in zip(numbers, chunk, strict=True):
            yield reader.timestamps[number] - begin, frame


@contextmanager
def _film(path, fps):
    """Yields ``write(time_s, frame)``; the frames become an h264 mp4 at those times."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.codec_context.time_base = _CLOCK
        size = None

        def write(time_s, frame):
            nonlocal size
            if size is None:
                size = stream.height, stream.width = frame.shape[:2]
            # The encoder scales frames of another size: it may change within a video.
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = round(time_s / _CLOCK), _CLOCK
            container.mux(stream.encode(picture))

        yield write
        container.mux(stream.encode())
