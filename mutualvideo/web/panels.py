"""The parts of the page as HTML. Whatever comes from outside goes through ``escape``."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from mutualvideo.budget import format_macs
from mutualvideo.frame_indices import frame_indices
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.table.query import QueryTable
from mutualvideo.web import svg_plots
from mutualvideo.web.session import Shown, in_words
from mutualvideo.web.upload import Clip

_TOP, _COLUMNS = 5, 8
# Gradio runs the content of a panel through two kinds of templates, ${} and {{}}.
_TEMPLATES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def escape(text: object) -> str:
    """Text that stays text in HTML and in Gradio's templates."""
    return html.escape(str(text)).translate(_TEMPLATES)


def heading(recognizer: AdaptiveRecognizer) -> str:
    """What the page is about: the network, its data, how many sub-networks."""
    table, backend = recognizer.table, recognizer.backend.describe()
    metadata = table.metadata
    facts = [metadata.get("model"), metadata.get("dataset") and f"on {metadata['dataset']}"]
    facts = [" ".join(str(fact) for fact in facts if fact)]
    facts += [f"{len(table)} sub-networks", f"{len(recognizer.class_names)} classes"]
    facts += [f"{backend[key]}" for key in ("backend", "device") if backend.get(key)]
    return (
        "<h1>One network, any budget</h1>"
        f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>"
    )


def message(text: object) -> str:
    """A problem, in one line; nothing for an empty text."""
    return f'<div role="alert">{escape(text)}</div>' if text else ""


def film(clip: Clip) -> str:
    """The clip as a picture that moves, at its own pace."""
    frames = [Image.fromarray(picture) for picture in clip.pictures]
    content = io.BytesIO()
    # WebP keeps whole milliseconds.
    pace_ms = max(20, round(1000 * clip.span_s / len(frames)))
    frames[0].save(
        content,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=pace_ms,
        loop=0,
        quality=80,
        method=2,
    )
    part = f"the middle {clip.span_s:.1f} s of {clip.duration_s:.1f} s"
    whole = clip.duration_s - clip.span_s < 0.05
    return (
        f'<img src="{_data("webp", content)}" alt="the clip, moving">'
        f"<p><b>{escape(clip.name)}</b> · "
        f"{f'all {clip.duration_s:.1f} s' if whole else part}</p>"
    )


def strip(answer: Shown, num_frames: int) -> str:
    """The frames that the sub-network sees, in the size in which it sees them.

    Where it was asked, with what spoke for its answer drawn over them.
    """
    subnet, frames = answer.row.subnet, answer.clip.frames
    count = min(subnet.frames or 1, num_frames)
    if answer.explained is not None:
        frames, taken = answer.explained, list(range(count))
    else:
        taken = frame_indices(len(frames), num_frames)
        taken = [taken[i] for i in frame_indices(num_frames, count)]
    size = subnet.size
    gap = max(1, size // 24)
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    shape = rows * (size + gap) - gap, columns * (size + gap) - gap, 3
    sheet = np.full(shape, 255, np.uint8)
    for place, index in enumerate(taken):
        top, left = (size + gap) * (place // columns), (size + gap) * (place % columns)
        picture = Image.fromarray(np.ascontiguousarray(frames[index]))
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        sheet[top : top + size, left : left + size] = np.asarray(picture)
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "PNG")
    noun = "frame" if count == 1 else "frames"
    about = f"{count} {noun} of {size} × {size} pixels"
    if answer.explained is not None:
        ((label, _),) = answer.prediction.top(1)
        about += f"; bright is what spoke for “{escape(label)}”"
    return (
        f"<h2>What the network sees</h2><p>{about}</p>"
        f'<img src="{_data("png", content)}" alt="{count} {noun} side by side">'
    )


def figures(answer: Shown, table: QueryTable) -> str:
    """The budget in words, and four figures about the row that it chose."""
    row, prediction = answer.row, answer.prediction
    most = max(each.macs for each in table)
    share = f"{100 * row.macs / most:.0f} % of {format_macs(most)}"
    merit = "–" if row.merit is None else f"{row.merit:.1f} %"
    expected = "" if row.latency_ms is None else f"table: {row.latency_ms:.1f} ms"
    tiles = [
        ("sub-network", row.subnet, "width × frames × size", "subnet"),
        ("multiply-adds", format_macs(row.macs), share, "macs"),
        (table.merit_name, merit, "on validation", "top1"),
        ("this answer", f"{prediction.latency_ms:.1f} ms", expected, "latency"),
    ]
    cells = "".join(
        f'<div><span>{what}</span><b id="{name}">{escape(value)}</b><i>{escape(note)}</i></div>'
        for what, value, note, name in tiles
    )
    return f'<p id="budget">{escape(in_words(answer.budget))}</p><div class="tiles">{cells}</div>'


def bars(answer: Shown) -> str:
    """The five most likely classes."""
    lines = "".join(
        f'<li><span title="{escape(label)}">{escape(label)}</span>'
        f'<em><u style="width:{100 * score:.1f}%"></u></em><b>{100 * score:.1f} %</b></li>'
        for label, score in answer.prediction.top(_TOP)
    )
    return f'<h2>Answer</h2><ol class="bars">{lines}</ol>'


def curve(answer: Shown, table: QueryTable) -> str:
    """Accuracy against cost, the chosen point standing out."""
    svg = svg_plots.curve(table, answer.row, answer.budget)
    if svg is None:
        return "<p>The query table has no accuracies, so there is no curve to draw.</p>"
    name = f"accuracy against cost; {answer.row.subnet} is chosen"
    return f'<img src="{_data("svg+xml", io.BytesIO(svg))}" alt="{escape(name)}">'


def latency(answer: Shown) -> str:
    """Latency of the visitor's predictions."""
    svg = io.BytesIO(svg_plots.latency(answer.history))
    last = f"{answer.prediction.latency_ms:.1f} ms"
    return (
        "<h2>Latency over time</h2>"
        f'<img src="{_data("svg+xml", svg)}" alt="latency over time, the latest {last}">'
    )


def _data(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
