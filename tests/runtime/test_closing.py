"""A recogniser as a context manager, what it says of itself, sub-networks by their text."""

import numpy as np
import pytest

from mutualvideo import AdaptiveRecognizer, InputError

CLIP = np.zeros((6, 40, 40, 3), np.uint8)


@pytest.mark.parametrize("backend", ["torch", "torch-extracted"])
def test_what_it_says_and_that_it_ends(run_dir, backend):
    with AdaptiveRecognizer(run_dir, backend=backend) as recognizer:
        about = f"<AdaptiveRecognizer {run_dir}: 4 rows, {backend} on "
        assert repr(recognizer).startswith(about) and "no budget yet" in repr(recognizer)
        recognizer.set_budget("1G")
        assert "budget 1.00G MACs, answers as 1x6x40>" in repr(recognizer)
        recognizer.switch("0.5x3x32")
        assert "budget" not in repr(recognizer) and "answers as 0.5x3x32" in repr(recognizer)
        by_text = recognizer.predict(CLIP, "0.75x6x32")
        assert by_text.subnet == recognizer.table["0.75x6x32"].subnet
        recognizer.prefetch(["1x6x40"])
    assert recognizer.executor.runners.nbytes == 0
    for call in (
        lambda: recognizer.predict(CLIP),
        lambda: recognizer.predict(CLIP, "1x6x40"),
        lambda: recognizer.set_budget("1G"),
        lambda: recognizer.prefetch(["1x6x40"]),
        recognizer.wait_ready,
    ):
        with pytest.raises(InputError, match="was closed"):
            call()
    recognizer.close()
    assert "no budget yet" in repr(recognizer)


def test_a_text_that_is_no_row(run_dir):
    with AdaptiveRecognizer(run_dir) as recognizer:
        with pytest.raises(InputError, match="0.9x6x40 is not in the table; it has 0.5x3x32"):
            recognizer.predict(CLIP, "0.9x6x40")
        with pytest.raises(InputError, match="expected WIDTHxFRAMESxSIZE"):
            recognizer.switch("wide")
