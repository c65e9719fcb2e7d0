"""Settings of Schemathesis that docs/openapi.yaml and schemathesis.toml cannot express."""

from typing import Any

import schemathesis

# Computing is not what is tested here, and the jobs of other tests should not have to wait for it.
_LARGEST_COMPUTED = 1000
_MAX_N = 100_000_000


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Sends a valid `n` in digits only, because to JSON Schema 1.0 is an integer, and a small one."""
    if not isinstance(case.body, dict):
        return
    n = case.body.get("n")
    if isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n <= _MAX_N and n == int(n):
        case.body["n"] = min(int(n), _LARGEST_COMPUTED)
