"""What is added from outside of the package, and what is never loaded."""

import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from mutualvideo import extensions
from mutualvideo.config import add_section, load_cfg
from mutualvideo.config import defaults as config_defaults
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.errors import InputError
from mutualvideo.extensions import load_entry_points, load_extensions
from mutualvideo.models import MODEL_REGISTRY, build_model, load_model, needed_modules
from mutualvideo.registry import DATASETS, NETWORKS

NETWORK = """
from torch import nn

from mutualvideo.config import add_section
from mutualvideo.models import MODEL_REGISTRY, Network

add_section("PLAIN", CHANNELS=16)


@MODEL_REGISTRY.register()
class PlainNetwork(Network):
    name = "Plain"
    keys = {"PLAIN.CHANNELS": (8, 64)}
    has_dropout = False

    def build(self, cfg):
        channels = cfg.PLAIN.CHANNELS
        return nn.Sequential(
            nn.Conv3d(3, channels, 3, 2, 1), nn.BatchNorm3d(channels), nn.ReLU(),
            nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, cfg.MODEL.NUM_CLASSES),
        )
"""
pytestmark = pytest.mark.usefixtures("extensions_stay_out")
OVERRIDES = ["MODEL.MODEL_NAME", "Plain", "MODEL.DROPOUT_RATE", "0", "MODEL.NUM_CLASSES", "3"]


@pytest.fixture
def network_file(tmp_path):
    path = tmp_path / "plain_network.py"
    path.write_text(NETWORK)
    return path


def test_a_network_that_lacks_a_method_is_refused_where_it_is_registered(network_file):
    network_file.write_text(NETWORK.replace("def build(", "def biuld("))
    with pytest.raises(InputError, match="network Plain: the class PlainNetwork lacks build"):
        load_extensions([str(network_file)])


def test_a_file_named_on_the_command_line(network_file, monkeypatch):
    monkeypatch.chdir(network_file.parent)
    cfg = load_cfg(None, [*OVERRIDES, "EXTENSIONS", "['plain_network.py']", "PLAIN.CHANNELS", "32"])
    assert cfg.EXTENSIONS == [str(network_file)]
    model = build_model(cfg)
    assert model(torch.zeros(1, 3, 16, 32, 32)).shape == (1, 3)
    assert model[0].out_channels == 32 and needed_modules(cfg) == ["plain_network"]
    # Once is enough: a second import would register another class.
    load_cfg(None, [*OVERRIDES, "EXTENSIONS", "['plain_network.py']"])


def test_a_path_in_a_file_is_relative_to_that_file(network_file, tmp_path, monkeypatch):
    folder = tmp_path / "below"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "base.yaml").write_text("EXTENSIONS: [plain_network.py]")
    (folder / "cfg.yaml").write_text("_BASE_: ../base.yaml\nPLAIN: {CHANNELS: 8}")
    cfg = load_cfg("cfg.yaml")
    assert cfg.PLAIN.CHANNELS == 8 and cfg.EXTENSIONS == [str(network_file)]
    assert "Plain" in MODEL_REGISTRY.all()


@pytest.mark.parametrize(
    "text, name, message",
    [
        (None, "absent.py", "command line: extension .*absent.py: no such file"),
        ("1 / 0", "broken.py", "broken.py cannot be imported: ZeroDivisionError: 'division by z"),
        ("", "json.py", "json.py: another module is called json .*: rename the file"),
        ("", "two words.py", "cannot be the name of a module: rename the file"),
        (None, "no.such.module", "extension no.such.module cannot be imported: ModuleNotFoundErr"),
        (None, "", "extension  cannot be imported: ValueError"),
    ],
)
def test_bad_extensions(tmp_path, monkeypatch, text, name, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_cfg(None, ["EXTENSIONS", repr([name])])
    assert "broken" not in sys.modules


def checkpoint(path, network_file):
    """A checkpoint of the network, as training writes it; then the extension is forgotten."""
    load_extensions([network_file.name], "test")
    cfg = load_cfg(None, [*OVERRIDES, "EXTENSIONS", "['plain_network.py']"])
    content = {"model_state": build_model(cfg).state_dict(), "cfg": cfg_to_dict(cfg)}
    torch.save({**content, "needs": needed_modules(cfg)}, path)
    del sys.modules["plain_network"], NETWORKS._obj_map["Plain"], config_defaults._C["PLAIN"]


def test_a_checkpoint_loads_no_extension_and_says_what_it_needs(network_file, monkeypatch):
    monkeypatch.chdir(network_file.parent)
    path = network_file.parent / "c.pyth"
    checkpoint(path, network_file)
    said = r"c.pyth: unknown key PLAIN.CHANNELS;.*extensions \['.*plain_network.py'\].*--extension"
    with pytest.raises(InputError, match=said):
        load_model(path)
    assert "plain_network" not in sys.modules
    add_section("PLAIN", CHANNELS=16)  # the same of a network without keys of its own
    said = (
        r"c.pyth: needs the network Plain of the module \['plain_network'\], which the extensions"
    )
    with pytest.raises(InputError, match=said):
        load_model(path)
    assert "plain_network" not in sys.modules
    del config_defaults._C["PLAIN"]
    load_extensions([str(network_file)])
    assert load_model(path)[1].PLAIN.CHANNELS == 16


def test_installed_packages_extend_by_an_entry_point(network_file, monkeypatch):
    monkeypatch.syspath_prepend(network_file.parent)
    load_entry_points.cache_clear()
    found = [EntryPoint("mine", "plain_network", extensions.ENTRY_POINTS)]
    monkeypatch.setattr(extensions, "entry_points", lambda group: found)
    assert "Plain" in MODEL_REGISTRY.all()
    load_entry_points.cache_clear()
    found[:] = [EntryPoint("mine", "no_such_package:thing", extensions.ENTRY_POINTS)]
    with pytest.raises(InputError, match="no_such_package:thing, which cannot be imported"):
        MODEL_REGISTRY.all()
    found.clear()
    load_entry_points.cache_clear()


def test_a_section_of_ones_own():
    add_section("MINE", DEPTH=3, NAMES=["a"])
    add_section("MINE", DEPTH=3, NAMES=["a"])  # imported again
    cfg = load_cfg(None, ["MINE.DEPTH", "4"])
    assert cfg.MINE.DEPTH == 4 and cfg.MINE.NAMES == ["a"]
    with pytest.raises(InputError, match="MINE.DEPTH is 'x', expected a whole number"):
        load_cfg(None, ["MINE.DEPTH", "x"])
    with pytest.raises(InputError, match="section MINE: is there already"):
        add_section("MINE", DEPTH=4)
    with pytest.raises(InputError, match="section MODEL: is there already"):
        add_section("MODEL", DEPTH=4)
    with pytest.raises(InputError, match="empty by default has no type"):
        add_section("YOURS", NAMES=[])


def test_two_of_one_name():
    def kinetics(cfg, split):
        return None

    with pytest.raises(InputError, match="data set kinetics: is there already, in mutualvideo.da"):
        DATASETS.register(kinetics)
