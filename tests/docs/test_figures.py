"""Pictures of the documentation show what stands beside them."""

import importlib.util
import json
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_of_real_clips_is_that_of_the_table():
    spec = importlib.util.spec_from_file_location("clips_figure", DOCS / "clips_figure.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table = script.read_table()
    assert len(table) == 16 and table["1x8x80"] == [66.7, 164]
    with Image.open(script.PICTURE) as picture:
        assert json.loads(picture.text[script.KEY]) == table
