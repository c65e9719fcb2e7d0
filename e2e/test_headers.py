"""Security headers are on every response, whichever part of the system answers."""

import re

import httpx
import pytest

from .client import FORM, JSON, Client, told

POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
    "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
}  # fmt: skip

ANSWERS = {
    "page": ("GET", "/", b"", None, 200),
    "script": ("GET", "/static/page.js", b"", None, 200),
    "style": ("GET", "/static/page.css", b"", None, 200),
    "icon": ("GET", "/static/favicon.svg", b"", None, 200),
    "accepted": ("POST", "/fib", b"n=10", FORM, 202),
    "not parseable": ("POST", "/fib", b"{", JSON, 400),
    "not found": ("GET", "/nope", b"", None, 404),
    "wrong method": ("GET", "/fib", b"", None, 405),
    "too long": ("POST", "/fib", b"n=" + b"1" * 5000, FORM, 413),
    "wrong type": ("POST", "/fib", b"n=10", "text/plain", 415),
    "wrong field": ("POST", "/fib", b"n=-1", FORM, 422),
}


@pytest.fixture(params=ANSWERS)
def answer(request: pytest.FixtureRequest, client: Client) -> httpx.Response:
    method, path, body, kind, status = ANSWERS[request.param]
    response = client.request(method, path, content=body, headers={} if kind is None else {"Content-Type": kind})
    assert response.status_code == status, told(response)
    return response


def test_every_answer_has_the_security_headers_once(answer: httpx.Response) -> None:
    def only(name: str) -> str:
        values = answer.headers.get_list(name)
        assert len(values) == 1, f"{name}: {values}\n{told(answer)}"
        return values[0]

    policy = {directive.strip() for directive in only("Content-Security-Policy").split(";")}
    assert policy - {""} == POLICY, told(answer)
    assert only("X-Content-Type-Options") == "nosniff"
    assert only("Referrer-Policy") == "no-referrer"


def test_no_answer_reveals_a_version(answer: httpx.Response) -> None:
    assert not re.search(r"\d", answer.headers.get("Server", "")), told(answer)
    assert "X-Powered-By" not in answer.headers, told(answer)


def test_no_answer_sets_a_cookie(answer: httpx.Response) -> None:
    assert "Set-Cookie" not in answer.headers, told(answer)


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("/static/page.js", {"text/javascript", "application/javascript"}),
        ("/static/page.css", {"text/css"}),
        ("/static/favicon.svg", {"image/svg+xml"}),
    ],
)
def test_a_static_file_has_its_own_type(client: Client, path: str, kinds: set[str]) -> None:
    response = client.request("GET", path)
    assert response.headers["Content-Type"].split(";")[0] in kinds, told(response)


def test_a_job_s_answer_is_not_cached(client: Client) -> None:
    response = client.post_form({"n": "10"})
    assert response.headers.get("Cache-Control", "no-store") == "no-store", told(response)
