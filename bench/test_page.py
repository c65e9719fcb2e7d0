"""The page is rendered from fixed figures. testdata/ has invented ones, and the page that they make."""

import json
from pathlib import Path

import pytest

from bench import page
from bench.figures import Comparison, Figures

TESTDATA = Path(__file__).parent / "testdata"


@pytest.fixture
def figures() -> Figures:
    figures: Figures = json.loads((TESTDATA / "figures.json").read_text(encoding="utf-8"))
    return figures


def test_the_page_is_rendered_from_the_figures(figures: Figures) -> None:
    assert page.render(figures) == (TESTDATA / "page.md").read_text(encoding="utf-8")


def test_each_part_may_be_missing(figures: Figures) -> None:
    only_head: Figures = {"date": figures["date"], "quick": True, "machine": figures["machine"]}
    text = page.render(only_head)
    assert "This was a quick run" in text
    assert "##" not in text


def test_services_that_were_not_measured_say_why(figures: Figures) -> None:
    assert "Not measured: no Docker engine answered." in page.render({**figures, "services": None})


def test_the_services_rows_are_those_of_the_pair_with_the_middle_ratio(figures: Figures) -> None:
    services = figures["services"]
    assert services
    rates = [round(pair["services"]["jobs_per_second"]) for pair in services["many"]]
    ratios = [pair["services"]["jobs_per_second"] / pair["plain"]["jobs_per_second"] for pair in services["many"]]
    assert page.middle(ratios) == 1, "neither the first pair nor the one with the middle rate"
    text = page.services(services)
    assert f"| 64 in flight, one socket | {rates[1]} |" in text
    assert f"| 64 in flight, one socket | {rates[0]} |" not in text


def test_a_comparison_shows_the_middle_ratio_and_the_extremes() -> None:
    text = page.comparisons(
        [{"label": "the binary", "figure": "start, ms", "ours": [3.0, 2.0, 8.0], "theirs": [2.0, 2.0, 4.0]}]
    )
    assert "| the binary: start, ms | 3.00 | 2.00 | 1.50 (1.00 to 2.00) |" in text


def test_what_traces_cost_says_how_many_were_exported() -> None:
    compared: Comparison = {"label": "the binary", "figure": "start, ms", "ours": [3.0], "theirs": [2.0]}
    text = page.traced({"share": 0.01, "comparisons": [compared]})
    assert "|  | 1.00% of all traces exported | no traces exported | traced / not |" in text
    assert "| the binary: start, ms | 3.00 | 2.00 | 1.50 (1.50 to 1.50) |" in text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0.159, "159 ns"),
        (12.34, "12.3 µs"),
        (234, "234 µs"),
        (1400, "1.40 ms"),
        (2_500_000, "2.50 s"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(us: float, text: str) -> None:
    assert page.time(us) == text


def test_a_row_has_as_many_cells_as_its_table() -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        page.table(["N", "time"], [["1"]])
