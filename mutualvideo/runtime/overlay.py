"""What is written on a frame: which sub-network runs, what it costs, what it says."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MIN_WIDTH = 320
_DARK, _LIGHT, _BAR = (0, 0, 0, 150), (255, 255, 255, 255), (70, 150, 240, 200)


def canvas_size(height, width):
    """(height, width) of the annotated video: at least 320 px wide, even in both.

    Video codecs want even numbers; smaller frames would not hold readable text.
    """
    scale = max(1.0, _MIN_WIDTH / width)
    return tuple(2 * math.ceil(length * scale / 2 - 1e-9) for length in (height, width))


def annotate(frame, lines, answers):
    """Draws on a frame.

    Args:
        frame: uint8 (H, W, 3), RGB.
        lines: text for the top.
        answers: ``[(label, score), ...]`` for the bottom, score from 0 to 1, as bars.

    Returns:
        A new uint8 array (H', W', 3) of :func:`canvas_size`.
    """
    height, width = canvas_size(*frame.shape[:2])
    picture = Image.fromarray(frame)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    font = ImageFont.load_default(size=max(11, min(width // 34, height // 24)))
    step = math.ceil(font.size * 1.35)
    pad = step // 4
    veil = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(veil)

    if lines:
        draw.rectangle((0, 0, width, len(lines) * step + 2 * pad), fill=_DARK)
    for number, line in enumerate(lines):
        text = _fit(line, font, width - 4 * pad)
        draw.text((2 * pad, pad + number * step), text, font=font, fill=_LIGHT)

    top = height - len(answers) * step - 2 * pad
    if answers:
        draw.rectangle((0, top, width, height), fill=_DARK)
    score_width = font.getlength("100 %") + 2 * pad
    for number, (label, score) in enumerate(answers):
        y = top + pad + number * step
        room = width - 3 * pad - score_width
        draw.rectangle((2 * pad, y + 1, 2 * pad + max(1, room * score), y + step - 2), fill=_BAR)
        draw.text((3 * pad, y), _fit(label, font, room - 2 * pad), font=font, fill=_LIGHT)
        draw.text(
            (width - 2 * pad, y), f"{100 * score:.0f} %", font=font, fill=_LIGHT, anchor="ra"
        )
    picture = Image.alpha_composite(picture.convert("RGBA"), veil)
    return np.asarray(picture.convert("RGB"))


def _fit(text, font, room):
    """``text``, shortened from the end until it is at most ``room`` pixels long."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."
