"""The one place of the suite that waits by looking again."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.05


def eventually(look: Callable[[], T | None], what: str, within_s: float = 30) -> T:
    """Returns what `look` returns as soon as that is neither None nor False.

    An AssertionError, OSError or refusal of the network that `look` raises counts as "not yet" and
    is told when the time is over.
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
