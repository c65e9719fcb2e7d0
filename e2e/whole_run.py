"""Keeps the tests marked `last` for the end of a run of the whole suite."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


class WholeRun:
    """Moves the tests marked `last` behind all others, and leaves them out if not all others run."""

    def __init__(self) -> None:
        self._left_out: list[pytest.Item] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out += items

    # Outermost, so that it sees what all other hooks have left out: some plugins do that after all others.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
        yield
        last = [item for item in items if item.get_closest_marker("last") is not None]
        if last == []:
            return
        items[:] = [item for item in items if item not in last]
        if self._is_whole(config, items):
            items += last
        else:
            config.hook.pytest_deselected(items=last)

    def _is_whole(self, config: pytest.Config, items: Sequence[pytest.Item]) -> bool:
        """Whether all tests run but those that may be missing: those that make up the server's answers, and those that
        need another setup.
        """
        may_be_missing = {"injected", "cluster", "observe"}
        if config.getoption("--compose-project") is None:
            may_be_missing.add("compose")
        for item in self._left_out:
            if may_be_missing.isdisjoint(marker.name for marker in item.iter_markers()):
                return False
        files = {item.path for item in (*items, *self._left_out)}
        return files >= set(Path(__file__).parent.glob("test_*.py")) - {
            Path(__file__).with_name("test_contract_whole.py")
        }
