"""The table in TensorBoard, as its own reader finds it."""

import io

import pytest
from PIL import Image, ImageChops
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mutualvideo.evaluation.board import show_table


def test_scalars_text_and_picture(random_table, tmp_path):
    table = random_table(0, latency=False)
    drawn = Image.linear_gradient("L").convert("RGB")
    drawn.save(tmp_path / "flops_accuracy.png")
    show_table(table, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert len(tags["scalars"]) == 2 * len(table.rows) == 24
    for row in table:
        (point,) = events.Scalars(f"table/top1_{row.subnet}")
        assert point.value == pytest.approx(row.top1)
    (text,) = (
        events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]
    )
    table.save_markdown(tmp_path / "table.md")
    assert text == (tmp_path / "table.md").read_text()
    assert tags["images"] == ["table/flops_accuracy"]
    shown = Image.open(io.BytesIO(events.Images("table/flops_accuracy")[0].encoded_image_string))
    assert not ImageChops.difference(shown.convert("RGB"), drawn).getbbox()
