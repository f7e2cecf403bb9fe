"""``mutualvideo doctor``: what it calls working was tried."""

import platform

import pytest
import torch

from mutualvideo.backends import make_backend
from mutualvideo.commands import health
from mutualvideo.errors import InputError


@pytest.fixture(scope="module")
def said():
    lines = []
    assert health.examine(lines.append, quick=True)
    return lines


def section(lines, title):
    """``{name: what is said of it}`` of one section."""
    rest = lines[lines.index(title) + 1 :]
    end = next((i for i, line in enumerate(rest) if not line.startswith("  ")), len(rest))
    return dict(line.strip().partition(": ")[::2] for line in rest[:end])


def test_what_it_names(said):
    text = "\n".join(said)
    assert (
        f"  torch {torch.__version__}" in said and f"  python {platform.python_version()}" in said
    )
    assert "GiB free" in text and "torch: " in text and " threads" in text
    assert section(said, "encoders")["libx264"] == "works"
    assert section(said, "decoders")["pyav"] == "works"
    backends = section(said, "backends")
    assert backends["torch"] == backends["torch-extracted"] == "works"
    assert backends["torch-compiled"] == "not tried (--quick)"
    if not torch.cuda.is_available():
        assert "needs CUDA" in backends["torch-cudagraph"]


def test_what_does_not_work_is_said_in_a_line_and_counts(monkeypatch):
    def broken(name, model):
        if name == "torch":
            raise RuntimeError("first\nsecond")
        if name == "torch-extracted":
            raise InputError("is not installed: pip install it")
        return make_backend(name, model)

    monkeypatch.setattr(health, "make_backend", broken)
    monkeypatch.setattr(health, "backend_names", lambda: ("torch", "torch-extracted"))
    monkeypatch.setattr(health, "ENCODERS", ("libx264", "no-such-codec"))
    lines = []
    assert not health.examine(lines.append)
    assert section(lines, "backends") == {
        "torch": "RuntimeError: first second",
        "torch-extracted": "is not installed: pip install it",
    }
    assert "no-such-codec" in section(lines, "encoders")
    assert section(lines, "encoders")["no-such-codec"] != "works"
