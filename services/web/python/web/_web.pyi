"""What Flask's two routes need from Rust (services/web/src)."""

from typing import TypeAlias, final

# Status, headers and body of an HTTP response.
Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

BODY_LIMIT: int

@final
class Submissions:
    """Submits jobs to the queue, over one connection."""

    def __init__(self) -> None: ...
    def submit(self, content_type: str | None, body: bytes) -> Answer: ...

def problem(status: int) -> Answer: ...
