import pytest

from mutualvideo.budget import as_cost, check_budget, format_cost, format_macs, parse_budget
from mutualvideo.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2G", ("macs", 1_200_000_000)),
        ("300M", ("macs", 300_000_000)),
        ("300 M", ("macs", 300_000_000)),
        ("5e8", ("macs", 500_000_000)),
        ("12K", ("macs", 12_000)),
        ("1T", ("macs", 10**12)),
        (".5G", ("macs", 500_000_000)),
        ("1.2GMACs", ("macs", 1_200_000_000)),
        # 4.35 * 1e9 is 4349999999.9999995 in binary floating point.
        ("4.35G", ("macs", 4_350_000_000)),
        ("1000", ("macs", 1000)),
        ("40ms", ("ms", 40.0)),
        (" 12.5 ms ", ("ms", 12.5)),
        ("25fps", ("fps", 25.0)),
        ("0.5 fps", ("fps", 0.5)),
    ],
)
def test_parse_budget(text, expected):
    kind, value = parse_budget(text)
    assert (kind, value) == expected
    assert type(value) is (int if kind == "macs" else float)


@pytest.mark.parametrize(
    "text",
    ["", "fast", "1.2g", "40m", "40 s", "-3G", "0", "0ms", "nan", "inf", "1e999", "1_0", "0.4"]
    + ["0fps", "5 FPS"],
)
def test_parse_budget_refuses(text):
    with pytest.raises(InputError, match="budget") as info:
        parse_budget(text)
    assert "\n" not in str(info.value)
    assert repr(text) in str(info.value)


@pytest.mark.parametrize(
    ("macs", "text"),
    [
        (1_200_000_000, "1.20G"),
        (27_260_000_000, "27.3G"),
        (568_740_000, "569M"),
        (41_000_000, "41.0M"),
        (999_600_000, "1.00G"),
        (999_400_000, "999M"),
        (9_996_000, "10.0M"),
        (3_794_274, "3.79M"),
        (1_000, "1.00K"),
        (999, "999"),
        (0, "0"),
        (2 * 10**15, "2000T"),
    ],
)
def test_format_macs(macs, text):
    assert format_macs(macs) == text


@pytest.mark.parametrize(
    "budgets",
    [
        {},
        {"macs": 1, "ms": 1},
        {"macs": 0},
        {"macs": -1},
        {"ms": float("nan")},
        {"ms": float("inf")},
        {"macs": "1G"},
        {"macs": True},
        {"macs": 10**400},
    ],
)
def test_check_budget_refuses(budgets):
    with pytest.raises(InputError, match="budget"):
        check_budget(**budgets)


@pytest.mark.parametrize(
    ("budget", "text", "cost"),
    [
        (("macs", 10**9), "1.00G MACs", ("macs", 10**9)),
        (("ms", 40.0), "40.0 ms", ("ms", 40.0)),
        (("fps", 25.0), "25 fps", ("ms", 40.0)),
        (("fps", 0.5), "0.5 fps", ("ms", 2000.0)),
    ],
)
def test_budgets_as_text_and_as_costs(budget, text, cost):
    assert (format_cost(*budget), as_cost(*budget)) == (text, cost)
