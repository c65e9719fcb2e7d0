"""Measuring in pairs."""

from bench.measure import in_turn


def test_a_pair_is_measured_in_turn_and_each_goes_first_every_other_time() -> None:
    order: list[str] = []

    def measure(name: str) -> str:
        order.append(name)
        return name

    pairs = in_turn(lambda: measure("ours"), lambda: measure("theirs"), 3)
    assert pairs == [("ours", "theirs")] * 3
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
