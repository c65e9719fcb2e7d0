"""The page and POST /fib. What the routes do is in Rust; this is their shell."""

from typing import TYPE_CHECKING

from flask import Flask, Request, Response, render_template, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException

from web._web import BODY_LIMIT, Intake, Reply, problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers

__all__ = ["create_app"]


def create_app() -> Flask:
    """Makes the app, with the one queue connection of the process that it will run in."""
    app = Flask(__name__)
    app.config.update(PROVIDE_AUTOMATIC_OPTIONS=False)
    app.session_interface = _NoSessions()
    intake = Intake()

    @app.get("/")
    def page() -> str:
        return render_template("index.html")

    @app.post("/fib")
    def fib() -> Response:
        # As much as it takes to see that a body is too long, which `accept` refuses.
        body = request.environ["wsgi.input"].read(BODY_LIMIT + 1)
        return _response(intake.accept(request.content_type, body))

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        response = _response(problem(error.code or 500))
        # A 405 names the methods that are allowed.
        for name, value in error.get_headers():
            response.headers.setdefault(name, value)
        return response

    return app


class _NoSessions(SessionInterface):
    """Has one session for all, which holds nothing. Flask would make one for each request."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none


class _Answer(Response):
    """Sends its headers as they are. Flask would check and copy them; the length is the server's to add."""

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> "Headers":
        return self.headers


def _response(reply: Reply) -> Response:
    # Passed through, the body reaches the server in one piece, which sends it with the headers.
    return _Answer(reply.body, reply.status, reply.headers, direct_passthrough=True)
