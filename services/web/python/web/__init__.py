"""The page and POST /fib. What the routes do is in Rust; this is their shell."""

from typing import TYPE_CHECKING, cast

from flask import Flask, Request, Response, render_template, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException

from web._web import BODY_LIMIT, Intake, Reply, problem

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from werkzeug.routing import MapAdapter

__all__ = ["create_app"]


def create_app() -> Flask:
    """Makes the app, with the one queue connection of the process that it will run in."""
    app = _Shell(__name__)
    app.config.update(PROVIDE_AUTOMATIC_OPTIONS=False)
    # A path is a route or it is none: nobody is redirected.
    app.url_map.merge_slashes = False
    intake = Intake()

    @app.get("/")
    def page() -> str:
        return render_template("index.html")

    @app.post("/fib")
    def fib() -> Reply:
        # As much as it takes to see that a body is too long, which `accept` refuses.
        body = request.environ["wsgi.input"].read(BODY_LIMIT + 1)
        return intake.accept(request.content_type, body)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Reply:
        # A 405 names the methods that are allowed.
        headers = [header for header in error.get_headers() if header[0] != "Content-Type"]
        return problem(error.code or 500, headers)

    return app


class _NoSessions(SessionInterface):
    """Has one session for all, which holds nothing. Flask would make one for each request."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none


class _Shell(Flask):
    """Leaves out what Flask does for each request that takes long and that two routes do not need."""

    session_interface = _NoSessions()

    def create_url_adapter(self, request: Request | None) -> "MapAdapter | None":
        # No route depends on the host, so its name is not looked at; nginx has checked it.
        if request is None:
            return None
        return self.url_map.bind("", path_info=request.environ["PATH_INFO"], default_method=request.method)

    def make_response(self, rv: "ResponseReturnValue") -> Response:
        # Flask would run it and copy what it answers. It can do all that is asked of a response here.
        return cast("Response", rv) if isinstance(rv, Reply) else super().make_response(rv)
