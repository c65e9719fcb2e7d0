"""What Flask's two routes do (Rust, in services/web/src)."""

from typing import final

from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_LIMIT: int

@final
class Intake:
    """Takes submissions to the queue, over one connection."""

    def __init__(self) -> None: ...
    def accept(self, content_type: str | None, body: bytes) -> Reply: ...

@final
class Reply:
    """An HTTP answer, as a WSGI application: what a Flask view may return."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]: ...

def problem(status: int, headers: list[tuple[str, str]]) -> Reply: ...
