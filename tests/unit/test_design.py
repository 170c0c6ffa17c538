"""Designs: which points a sweep has."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.study.design import DesignError, Range, combine, read_csv, read_yaml
from scenarios import quantity

words = st.text("abcxyz0123456789-", min_size=1, max_size=6)
values = st.lists(words, min_size=1, max_size=4, unique=True)


@given(st.dictionaries(words, values, max_size=3))
def test_a_grid_has_every_combination_once_and_the_last_axis_changes_first(axes: dict[str, list[str]]) -> None:
    points = combine([f"{key}={','.join(of_key)}" for key, of_key in axes.items()], [], [], 0)
    ranks = [[axes[key].index(value) for key, value in point.items()] for point in points]
    assert ranks == sorted(ranks)
    assert len({tuple(rank) for rank in ranks}) == len(points)
    size = 1
    for of_key in axes.values():
        size *= len(of_key)
    assert len(points) == size


def test_commas_in_brackets_and_quotes_part_nothing() -> None:
    points = combine(["a=5 ms, {30 s: gnb, 40 s: b},[x, y],'p,q'"], [], [], 0)
    assert [point["a"] for point in points] == ["5 ms", "{30 s: gnb, 40 s: b}", "[x, y]", "'p,q'"]


def test_grid_list_and_hypercube_are_combined() -> None:
    points = combine(["a=1,2"], [{"b": "3"}, {"c": "4"}], ["d=1..9"], 5)
    assert len(points) == 2 * 2 * 5
    assert [(point["a"], "b" in point) for point in points[::5]] == [
        ("1", True),
        ("1", False),
        ("2", True),
        ("2", False),
    ]


@given(st.integers(0, 50), st.integers(1, 60), st.integers(2, 40))
def test_each_equal_part_of_a_whole_range_has_its_share_of_points(low: int, width: int, points: int) -> None:
    drawn = sorted(int(point["n"]) for point in combine([], [], [f"n={low}..{low + width}"], points))
    assert low <= drawn[0] and drawn[-1] <= low + width
    for rank, value in enumerate(drawn):  # the rank-th lies in the rank-th part
        assert low + rank * (width + 1) // points <= value <= low + (rank + 1) * (width + 1) // points


@given(st.sampled_from(sorted(quantity.UNITS)), st.integers(1, 499), st.integers(1, 499), st.data())
def test_a_drawn_quantity_is_one_that_a_scenario_takes_and_lies_in_the_range(
    dimension: str, low: int, width: int, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(sorted(quantity.UNITS[dimension])))
    exact = quantity.parse if dimension in ("share", "frequency") else quantity.parse_integer
    for point in combine([], [], [f"q={low}..{low + width} {unit}"], 4):
        value = Fraction(exact(point["q"], dimension))
        assert low * quantity.UNITS[dimension][unit] <= value <= (low + width) * quantity.UNITS[dimension][unit]


def test_the_same_hypercube_each_time_and_another_with_another_number_of_points() -> None:
    first, again, other = (combine([], [], ["a=1..5 Gbit/s", "b=0.5..2.0"], n) for n in (6, 6, 7))
    assert first == again and first[:2] != other[:2]


def test_a_range_takes_its_unit_from_its_end() -> None:
    drawn = [quantity.parse(point["r"], "rate") for point in combine([], [], ["r=1..10 Gbit/s"], 3)]
    assert all(10**9 <= rate <= 10**10 for rate in drawn) and max(drawn) > 7 * 10**9
    assert Range("r", Fraction(1), Fraction(9), "", whole=True).at(0.999999) == "9"


def test_a_csv_files_empty_cells_leave_what_the_scenario_says() -> None:
    text = 'policies.slicing, devices.phone.count\njoint, 5\n\n, "7"\n'
    assert read_csv(text, "p.csv") == [
        {"policies.slicing": "joint", "devices.phone.count": "5"},
        {"devices.phone.count": "7"},
    ]


def test_a_yaml_files_values_stay_as_they_are_written() -> None:
    text = "- {a.b: 010, c: off}\n- a.b: {30 s: gnb}\n"
    assert read_yaml(text, "p.yaml") == [{"a.b": "010", "c": "off"}, {"a.b": '{"30 s": "gnb"}'}]


@pytest.mark.parametrize(
    ("grid", "latin", "said"),
    [
        (["a"], [], "--grid a: write KEY=…, such as devices.phone.count=5,10,20"),
        (["a="], [], "--grid a=: write KEY=…, such as devices.phone.count=5,10,20"),
        (["a=1,,2"], [], "--grid a=1,,2: "),
        (["a=1,1"], [], "--grid a=1,1: write each value once, with a comma between two"),
        (["a=1]x[,2"], [], "--grid a=1]x[,2: "),
        (["a=1", "a=2"], [], "a: is given twice; leave it to one of --grid, --list and --latin"),
        (["a=1"], ["a=1..2"], "a: is given twice; leave it to one of --grid, --list and --latin"),
        ([], ["a=5"], "--latin a=5: is not KEY=LOW..HIGH; write requests.deadline=50 ms..500 ms"),
        ([], ["a=5..3"], "--latin a=5..3: 5 is not less than 3"),
        ([], ["a=x..y"], '--latin a=x..y: "y" is not a number'),
        ([], ["a=1 s..5 MB"], '--latin a=1 s..5 MB: "1 s" is a time; write a size such as "64 MB"'),
        ([], ["a=1..5 kg"], '--latin a=1..5 kg: unknown unit "kg"; known are bit/s'),
    ],
)
def test_what_is_no_design_is_refused_in_a_line(grid: list[str], latin: list[str], said: str) -> None:
    with pytest.raises(DesignError) as refused:
        combine(grid, [], latin, 3)
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.csv: has no points; write a line of keys, then a line of values for each point"),
        ("a,b\n", "p.csv: has no points; write a line of keys, then a line of values for each point"),
        ("a,a\n1,2\n", "p.csv:1: every column needs a key of its own, such as policies.slicing"),
        ("a,b\n1,2\n\n1\n", "p.csv:4: has 1 values for 2 keys"),
    ],
)
def test_what_is_no_list_of_points_is_refused(text: str, said: str) -> None:
    with pytest.raises(DesignError, match=f"^{said}$"):
        read_csv(text, "p.csv")


@pytest.mark.parametrize("text", ["", "a: 1", "- 1", "- {}", "- {a: 1", "- &a [*a]"])
def test_yaml_that_is_no_list_of_points_is_refused(text: str) -> None:
    with pytest.raises(DesignError, match="^p.yaml: is "):
        read_yaml(text, "p.yaml")
