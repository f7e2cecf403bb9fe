"""Weights by name and URL; a folder on a server of this machine stands in for the network."""

import contextlib
import hashlib
import http.server
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from mutualvideo.errors import InputError
from mutualvideo.models import local_weights, read_checkpoint
from mutualvideo.models.model_registry import count_numbers
from mutualvideo.models.weights import zoo
from mutualvideo.models.weights.zoo import ZOO, describe_zoo
from tests.networks import make_cfg


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Address of a server with one file of weights, x3d_s; and nothing fetched yet."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Quiet, "asked", [])
    (tmp_path / "there").mkdir()
    torch.save({"model_state": {"weight": torch.arange(4.0)}}, tmp_path / "there" / "X3D_S.pyth")
    with serving(tmp_path / "there") as address:
        known = {"x3d_s": replace(ZOO["x3d_s"], url=f"{address}/X3D_S.pyth")}
        monkeypatch.setattr(zoo, "ZOO", known)
        yield address


def test_a_file_is_fetched_once_by_name_or_url(shop):
    path = local_weights("zoo:x3d_s")
    assert torch.equal(read_checkpoint(path)["model_state"]["weight"], torch.arange(4.0))
    assert local_weights("zoo:x3d_s") == local_weights(f"{shop}/X3D_S.pyth") == path
    assert Quiet.asked == ["/X3D_S.pyth"]
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert Path(f"{path}.sha256").read_text().split() == [digest, "X3D_S.pyth"]


def test_a_path_stays_what_it_is():
    assert (
        local_weights("C:/x3d.pyth") == "C:/x3d.pyth" and local_weights("none.pyth") == "none.pyth"
    )


def test_a_file_that_changed_is_refused(shop):
    path = Path(local_weights("zoo:x3d_s"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(
        InputError, match="zoo:x3d_s: .*X3D_S.pyth has the SHA-256 .* fetched again"
    ):
        local_weights("zoo:x3d_s")
    path.unlink()
    assert local_weights("zoo:x3d_s") == str(path)  # it is what it was


def test_the_digits_in_a_name_are_held_against_the_file(shop, monkeypatch):
    monkeypatch.setitem(zoo.ZOO, "x3d_s", replace(zoo.ZOO["x3d_s"], sha256="0676ba61"))
    with pytest.raises(InputError, match="expected 0676ba61: it is damaged or another file"):
        local_weights("zoo:x3d_s")


def test_without_a_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    with serving(tmp_path) as address:
        pass  # nobody listens there any more
    with pytest.raises(InputError, match=r"cannot be fetched from http.* \(.*refused.*put it at"):
        local_weights(f"{address}/a/X3D_S.pyth")


def test_what_a_server_does_not_have(shop):
    with pytest.raises(InputError, match=r"none.pyth: cannot be fetched .*\(File not found\)"):
        local_weights(f"{shop}/none.pyth")


def test_an_unknown_name():
    with pytest.raises(InputError, match="zoo:x3d_z: no released weights .* known: x3d_xs, x3d_s"):
        local_weights("zoo:x3d_z")


def test_the_list_names_all_that_matters():
    lines = describe_zoo().splitlines()
    assert len(lines) == 1 + len(ZOO)
    (line,) = [line for line in lines if "zoo:slow_r50" in line]
    for text in ("Slow R50, 8 x 8", "Kinetics-400", "74.58", "130", "Apache-2.0", "ResNet"):
        assert text in line


# The sizes are those of networks whose parameters are counted.
@pytest.mark.parametrize(
    "name, keys",
    [
        ("x3d_s", {"X3D__WIDTH_FACTOR": 2.0, "X3D__DEPTH_FACTOR": 2.2}),
        ("x3d_l", {"X3D__WIDTH_FACTOR": 2.0, "X3D__DEPTH_FACTOR": 5.0}),
        ("slow_r50", {}),
        ("slowfast_r50", {"SLOWFAST__FUSION_KERNEL_SZ": 7}),
        ("resnet50", {"MODEL__NUM_CLASSES": 1000}),
        ("mobilenet_v2", {"MODEL__NUM_CLASSES": 1000}),
    ],
)
def test_sizes_are_those_of_the_networks(name, keys):
    cfg = make_cfg(ZOO[name].model, **{"MODEL__NUM_CLASSES": 400, **keys})
    assert 4 * count_numbers(cfg) / 1e6 == pytest.approx(ZOO[name].megabytes, abs=1)
