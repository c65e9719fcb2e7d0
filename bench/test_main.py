"""The command behind `make bench`."""

from bench.__main__ import measure_each
from bench.figures import Figures
from bench.systems import Unavailable


def test_a_part_that_fails_is_named_and_the_others_keep_their_figures() -> None:
    def fails() -> Figures:
        raise Unavailable("no job came through")

    figures, failed = measure_each(
        {"scaling": fails, "services": lambda: {"services": None}}, {"date": "2026-11-26", "quick": True}
    )
    assert figures == {"date": "2026-11-26", "quick": True, "services": None}
    assert failed == ["scaling"]
