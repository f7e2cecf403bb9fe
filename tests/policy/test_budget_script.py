import math

import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.budget_script import BudgetScript


def written(tmp_path, text):
    path = tmp_path / "budgets.txt"
    path.write_text(text)
    return path


def test_reading(tmp_path):
    text = "# a film\n\n0 4.7G\n  2.5\t800M  # less\n5 40 ms\n8 800M\n"
    script = BudgetScript.read(written(tmp_path, text))
    assert script.entries == [
        (0.0, Budget("macs", 4_700_000_000)),
        (2.5, Budget("macs", 800_000_000)),
        (5.0, Budget("ms", 40.0)),
        (8.0, Budget("macs", 800_000_000)),
    ]
    assert script.budgets == [
        Budget("macs", 4_700_000_000),
        Budget("macs", 800_000_000),
        Budget("ms", 40.0),
    ]
    assert [script.index(t) for t in (0, 2.4999, 2.5, 7, 99)] == [0, 0, 1, 2, 3]
    assert [script.next_change(t) for t in (0, 2.5, 6, 8)] == [2.5, 5, 8, math.inf]
    assert [str(script.entries[number][1]) for number in (1, 2)] == ["800M MACs", "40.0 ms"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0 1G\n\n1 cheap\n", "budgets.txt:3: budget 'cheap'"),
        ("0 1G\n1\n", "budgets.txt:2: '1': expected SECONDS BUDGET"),
        ("soon 1G\n", "budgets.txt:1: 'soon 1G': expected SECONDS BUDGET"),
        ("0 1G\n-1 1G\n", "budgets.txt:2: '-1 1G'"),
        ("0 1G\nnan 1G\n", "budgets.txt:2: 'nan 1G'"),
        ("0 1G\ninf 1G\n", "budgets.txt:2: 'inf 1G'"),
        ("# late\n1 1G\n", "budgets.txt:2: begins at 1 s: the first line must begin at 0"),
        ("0 1G\n3 1G\n3 2G\n", "budgets.txt:3: begins at 3 s, not after the line before"),
        ("# nothing\n", "budgets.txt: holds no line"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, named):
    with pytest.raises(InputError) as raised:
        BudgetScript.read(written(tmp_path, text))
    assert named in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_of_windows_notepad(tmp_path):
    path = tmp_path / "budgets.txt"
    path.write_text("0 1G\n", encoding="utf-8-sig")
    assert BudgetScript.read(path).entries[0][0] == 0.0


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="missing.txt: cannot be read"):
        BudgetScript.read(tmp_path / "missing.txt")
    (tmp_path / "film.mp4").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="film.mp4: cannot be read"):
        BudgetScript.read(tmp_path / "film.mp4")


def test_equal_parts():
    five, three = Budget("macs", 5), Budget("ms", 3.0)
    budgets = [five, three, five]
    script = BudgetScript.equal_parts(budgets, 6.0)
    assert script.entries == [
        (0, Budget("macs", 5)),
        (2, Budget("ms", 3.0)),
        (4, Budget("macs", 5)),
    ]
    assert BudgetScript.equal_parts(budgets[:1]).next_change(0) == math.inf
    with pytest.raises(InputError, match="live source has no equal parts"):
        BudgetScript.equal_parts(budgets)
    with pytest.raises(InputError, match="at least one"):
        BudgetScript.equal_parts([], 6.0)
