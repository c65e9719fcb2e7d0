"""What Flask's two routes need from Rust (services/web/src)."""

from typing import TypeAlias, final

# Status, headers and body of an HTTP response.
Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

BODY_LIMIT: int

@final
class Submissions:
    """Submits jobs to the queue, over one connection."""

    @property
    def max_n(self) -> int: ...
    def __init__(self) -> None: ...
    def close(self) -> None: ...
    def submit(
        self,
        body: bytes,
        *,
        content_type: str | None,
        accept: str | None,
        host: str | None,
        origin: str | None,
        sec_fetch_site: str | None,
        traceparent: str | None,
    ) -> Answer: ...
    def refuse(self, status: int) -> Answer: ...

def problem(status: int) -> Answer: ...
