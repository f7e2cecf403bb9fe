import pytest

from mutualvideo.budget import Budget, format_macs, is_positive
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
        ("2G/s", ("macs_per_s", 2_000_000_000)),
        ("300 MMACs/s", ("macs_per_s", 300_000_000)),
        ("0.3core", ("core", 0.3)),
        ("2 cores", ("core", 2.0)),
    ],
)
def test_parse(text, expected):
    budget = Budget.parse(text)
    assert (budget.unit, budget.value) == expected
    assert type(budget.value) is (int if "macs" in budget.unit else float)


@pytest.mark.parametrize(
    "text",
    ["", "fast", "1.2g", "40m", "40 s", "-3G", "0", "0ms", "nan", "inf", "1e999", "1_0", "0.4"]
    + ["0fps", "5 FPS"],
)
def test_parse_refuses(text):
    with pytest.raises(InputError, match="budget") as info:
        Budget.parse(text)
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
def test_not_one_good_budget(budgets):
    with pytest.raises(InputError, match="budget"):
        Budget.of(**budgets)


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
    assert (str(Budget(*budget)), Budget(*budget).per_clip) == (text, Budget(*cost))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"budget": Budget("ms", 3)}, Budget("ms", 3)),
        ({"budget": "50ms"}, Budget("ms", 50.0)),
        ({"budget": 15e6}, Budget("macs", 15e6)),
        ({"fps": 30}, Budget("fps", 30)),
    ],
)
def test_every_way_to_give_one(given, expected):
    assert Budget.of(**given) == expected


def test_what_is_printed_is_read_again():
    for text in ("1.20G MACs", "40.0 ms", "25 fps"):
        assert str(Budget.parse(text)) == text


def test_the_smaller_budget_allows_less():
    # 50 clips per second leave 20 ms for each.
    assert Budget.parse("50fps") < Budget.parse("40ms") < Budget.parse("20fps")
    assert Budget.parse("1M") <= Budget.parse("1M") < Budget.parse("1.1M")
    assert Budget.parse("25fps") <= Budget.parse("40ms") <= Budget.parse("25fps")
    assert max(Budget.parse("5ms"), Budget.parse("100fps")).unit == "fps"
    assert len({Budget.parse("40ms"), Budget.parse("40 ms"), Budget.parse("25fps")}) == 2
    for other in (Budget.parse("1M"), 40.0):
        with pytest.raises(TypeError, match="40.0 ms cannot be compared|1.00M MACs cannot"):
            assert Budget.parse("40ms") < other


def test_a_budget_never_changes_and_knows_its_units():
    with pytest.raises(AttributeError):
        Budget("ms", 3.0).value = 4.0
    with pytest.raises(InputError, match="budget in 'joules': expected one of macs, ms, fps"):
        Budget("joules", 1.0)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True, None, 10**400])
def test_what_is_not_positive(value):
    assert not is_positive(value) and is_positive(1) and is_positive(0.5)
