"""Nothing in the package executes what comes from a file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [path for folder in ("mutualvideo", "tools") for path in (ROOT / folder).rglob("*.py")]
# Of a name, or of a module's: whoever calls one of them trusts what is given.
FORBIDDEN = {
    "eval",
    "exec",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "torch.jit.load",
    "marshal.loads",
}


def name_of(call):
    """Such as ``torch.load``; ``.eval`` for a method of what an expression gives."""
    parts, node = [], call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def findings(text):
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node)
        options = {key.arg: getattr(key.value, "value", None) for key in node.keywords}
        if name in FORBIDDEN or options.get("shell") or options.get("allow_pickle"):
            yield node.lineno, name
        if name == "torch.load" and options.get("weights_only") is not True:
            yield node.lineno, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_from_a_file_is_executed(path):
    assert not list(findings(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "yaml.load(x, Loader)",
        "pickle.loads(x)",
        "subprocess.run(x, shell=True)",
        "numpy.load(x, allow_pickle=True)",
    ],
)
def test_the_audit_finds(text):
    assert len(list(findings(text))) == 1
