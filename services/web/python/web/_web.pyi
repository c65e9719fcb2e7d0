"""What Flask's two routes do (Rust, in services/web/src)."""

from typing import final

BODY_LIMIT: int

@final
class Intake:
    """Takes submissions to the queue, over one connection."""

    def __init__(self) -> None: ...
    def accept(self, content_type: str | None, body: bytes) -> Reply: ...

@final
class Reply:
    """An HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

def problem(status: int) -> Reply: ...
