"""Waits for a state by looking again and again. Nothing else in this suite does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.05


def eventually(look: Callable[[], T | None], what: str, within_s: float = 30) -> T:
    """Calls `look` until it returns neither None nor False, and returns what it returned.

    If `look` raises an AssertionError or an OSError, that counts as "not yet". If the time is over, the
    failure names it.
    """
    deadline = time.monotonic() + within_s
    while True:
        failure: Exception | None = None
        seen: T | None = None
        try:
            seen = look()
        except (AssertionError, OSError) as error:
            failure = error
        if seen is not None and seen is not False:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within_s} s; last: {failure or seen!r}")
        time.sleep(_PAUSE_S)
