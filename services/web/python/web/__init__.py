"""The page and POST /fib, as a Flask app. Parsing, checking and submitting are in Rust."""

import atexit

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from web._web import BODY_LIMIT, Submissions, problem

__all__ = ["create_app"]


def create_app() -> Flask:
    """Make the app, with the one queue connection of the process that it will run in."""
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=BODY_LIMIT, PROVIDE_AUTOMATIC_OPTIONS=False)
    # A path that is not a route gets 404 and not a redirect to a similar one.
    app.url_map.merge_slashes = False
    submissions = Submissions()
    atexit.register(submissions.close)

    @app.get("/")
    def page() -> str:
        return render_template("index.html", max_n=submissions.max_n)

    @app.post("/fib")
    def fib() -> Response:
        sent = request.headers
        status, headers, body = submissions.submit(
            request.get_data(),
            content_type=request.content_type,
            accept=sent.get("Accept"),
            host=sent.get("Host"),
            origin=sent.get("Origin"),
            sec_fetch_site=sent.get("Sec-Fetch-Site"),
            traceparent=sent.get("traceparent"),
        )
        return Response(body, status, headers)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        # A refused POST /fib is counted like every other answer to one, although Rust did not see the request.
        answer = submissions.refuse if request.endpoint == "fib" else problem
        status, headers, body = answer(error.code or 500)
        # The error's own headers say which methods are allowed.
        response = Response(body, status, error.get_headers())
        response.headers.update(headers)
        return response

    return app
