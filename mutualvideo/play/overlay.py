"""What the film shows: the picture, the answer, its sub-network and cost, the budget over time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mutualvideo.budget import Budget, format_macs
from mutualvideo.errors import InputError
from mutualvideo.table.query import QueryTable

_SHORTEST_SIDE = 320
# Films of up to a minute are drawn whole, of longer ones and live sources the last half.
_WHOLE_S, _LAST_S = 60.0, 30.0
_GROUND, _STRIP, _RAIL = (18, 21, 27), (11, 13, 17), (50, 57, 69)
_TEXT, _FAINT = (238, 241, 245), (150, 160, 174)
_BLUE, _FIRST, _AMBER = (52, 118, 196), (66, 152, 247), (255, 179, 56)


@dataclass(frozen=True)
class Status:
    """What is known at the time of a prediction.

    Args:
        subnet: who answered.
        macs: its multiply-adds for one clip.
        latency_ms: milliseconds it took.
        budget: the :class:`~mutualvideo.budget.Budget` that it was granted.
        answers: ``[(label, score), ...]``, best first, score from 0 to 1.
        per: ``"/s"``: the multiply-adds are those of a second.
    """

    subnet: object
    macs: int
    latency_ms: float
    budget: Budget
    answers: list
    per: str = ""

    def cost(self, kind: str) -> float:
        """What it cost, in ``"macs"``, ``"macs_per_s"`` or ``"ms"``."""
        return {"macs": self.macs, "macs_per_s": self.macs, "ms": self.latency_ms}[kind]


def scale_of(budgets: Iterable[Budget], table: QueryTable) -> tuple[str, float]:
    """The units in which to draw budgets, and the top of the scale.

    Args:
        budgets: :class:`~mutualvideo.budget.Budget` objects, at least one.
        table: the ``QueryTable``.

    Returns:
        ``("macs", highest)`` if one of the budgets is in multiply-adds, else ``("ms", highest)``.
        Budgets far beyond what any row costs do not flatten the rest.
    """
    limits = [budget.per_clip for budget in budgets]
    unit = "macs" if any(limit.unit == "macs" for limit in limits) else "ms"
    costs = [row.cost(unit) for row in table]
    dearest = max((cost for cost in costs if cost is not None), default=float("inf"))
    highest = max(limit.value for limit in limits if limit.unit == unit)
    return unit, 1.1 * min(highest, 1.5 * dearest)


class Overlay:
    """Draws frames beside a panel, above a strip of the budget and the cost over time.

    Args:
        height, width: of the frames, in pixels. They are shown at least 320 px high and wide.
        kind: the units of the strip, ``"macs"``, ``"macs_per_s"`` or ``"ms"``; budgets in
            others are not in it.
        highest: the top of the strip; what is above is drawn there.
        duration_s: length of the film; ``None``: unknown.
    """

    def __init__(
        self, height: int, width: int, kind: str, highest: float, duration_s: float | None = None
    ) -> None:
        scale = max(1.0, _SHORTEST_SIDE / min(height, width))
        self._picture = tuple(_even(length * scale) for length in (height, width))
        short = min(self._picture)
        self._font = _font(max(13, short // 20))
        self._large = _font(max(20, short // 13))
        self._panel_width = _even(self._font.size * 18)
        self._strip_height = _even(self._font.size * 5.5)
        self._kind, self._highest = kind, highest
        self._whole = duration_s is not None and duration_s <= _WHOLE_S
        self._seen_s = duration_s if duration_s is not None and self._whole else _LAST_S
        self._history: deque[tuple[float, float | None, float | None]] = deque()
        self._panel = np.asarray(self._draw_panel(None))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what :meth:`draw` returns: even numbers, as codecs want them."""
        height, width = self._picture
        return height + self._strip_height, width + self._panel_width

    def update(self, time_s: float, status: Status) -> None:
        """From ``time_s`` seconds on this is the :class:`Status`."""
        limit = status.budget.per_clip
        shown = limit.value if limit.unit == self._kind else None
        self._history.append((time_s, status.cost(self._kind), shown))
        self._panel = np.asarray(self._draw_panel(status))

    def draw(self, time_s: float, frame: np.ndarray) -> np.ndarray:
        """The frame shown at ``time_s``: uint8 (H, W, 3) in, a new one of :attr:`size` out."""
        height, width = self._picture
        canvas = np.empty((*self.size, 3), np.uint8)
        if frame.shape[:2] != (height, width):
            picture = Image.fromarray(frame)
            frame = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        canvas[:height, :width] = frame
        canvas[:height, width:] = self._panel
        canvas[height:] = np.asarray(self._draw_strip(time_s))
        return canvas

    # The panel: one line of text or one bar below the other

    def _draw_panel(self, status: Status | None) -> Image.Image:
        width, height = self._panel_width, self._picture[0]
        panel = Image.new("RGB", (width, height), _GROUND)
        draw, size = ImageDraw.Draw(panel), self._font.size
        pad = y = size
        room = width - 2 * pad
        if status is None:
            draw.text((pad, y), "waiting for a clip", font=self._font, fill=_FAINT)
            return panel
        cost = f"{format_macs(status.macs)} MACs{status.per}   {status.latency_ms:.1f} ms"
        for text, font, fill in (
            (str(status.subnet), self._large, _TEXT),
            (cost, self._font, _TEXT),
            (f"budget {status.budget}", self._font, _AMBER),
        ):
            draw.text((pad, y), _fit(text, font, room), font=font, fill=fill)
            y += math.ceil(font.size * 1.5)
        y += size
        score_width = font.getlength("100 %") + size
        thick = max(3, size // 3)
        for number, (label, score) in enumerate(status.answers):
            fill = _TEXT if number == 0 else _FAINT
            label = _fit(label, self._font, room - score_width)
            draw.text((pad, y), label, font=self._font, fill=fill)
            percent = f"{100 * score:.0f} %"
            draw.text((width - pad, y), percent, font=self._font, fill=fill, anchor="ra")
            y += math.ceil(size * 1.4)
            draw.rectangle((pad, y, pad + room - 1, y + thick - 1), fill=_RAIL)
            if (long := round(room * min(max(score, 0.0), 1.0))) > 0:
                colour = _FIRST if number == 0 else _BLUE
                draw.rectangle((pad, y, pad + long - 1, y + thick - 1), fill=colour)
            y += math.ceil(size * 0.9)
        return panel

    # The strip: filled, what was spent; a line, what might have been

    def _draw_strip(self, time_s: float) -> Image.Image:
        height, width = self._strip_height, self.size[1]
        strip = Image.new("RGB", (width, height), _STRIP)
        draw, size = ImageDraw.Draw(strip), self._font.size
        begin = 0.0 if self._whole else max(0.0, time_s - self._seen_s)
        while len(self._history) > 1 and self._history[1][0] <= begin:
            self._history.popleft()
        top, bottom = math.ceil(size * 1.7), height - 3
        thick = max(2, int(size // 5))

        def column(moment: float) -> int:
            return round(min(max((moment - begin) / self._seen_s, 0.0), 1.0) * (width - 1))

        def row(value: float | None) -> int:
            return bottom - round(min((value or 0.0) / self._highest, 1.0) * (bottom - top))

        entries = [*self._history, (time_s, None, None)]
        steps = []
        for (start, cost, budget), (end, _, _) in zip(entries, entries[1:], strict=False):
            left, right = column(start), column(end)
            if right >= left:
                draw.rectangle((left, row(cost), right, bottom), fill=_BLUE)
                if budget is not None:
                    steps += [(left, row(budget)), (right, row(budget))]
        if steps:
            draw.line(steps, fill=_AMBER, width=thick, joint="curve")
        now = column(time_s)
        draw.line((now, top - size // 3, now, bottom), fill=_TEXT, width=max(1, thick // 2))
        x = pad = size
        name = {"macs": "MACs", "macs_per_s": "MACs/s", "ms": "ms"}[self._kind]
        for colour, text in ((_AMBER, f"budget, {name}"), (_BLUE, "spent")):
            y = size * 0.3
            draw.rectangle((x, y + size * 0.25, x + size * 0.7, y + size * 0.95), fill=colour)
            draw.text((x + size, y), text, font=self._font, fill=_FAINT)
            x += size * 1.8 + self._font.getlength(text)
        clock = f"{time_s:.1f} s"
        draw.text((width - pad, size * 0.3), clock, font=self._font, fill=_FAINT, anchor="ra")
        return strip


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise InputError("Pillow was built without FreeType: install one of its own wheels")
    return font


def _even(length: float) -> int:
    return 2 * math.ceil(length / 2 - 1e-9)


def _fit(text: str, font: Any, room: float) -> str:
    """``text``, shortened from the end until it is at most ``room`` pixels long."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."
