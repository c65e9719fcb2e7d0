"""Wrong requests get the status that docs/openapi.yaml gives for them, with a problem document."""

from collections.abc import Iterator
from itertools import repeat
from urllib.parse import urlsplit

import pytest

from .client import FORM, JSON, Client, problem, told
from .raw_socket import RawSocket

BIG = 10**30


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"n": 1', b"n=1", b'{"n": 01}', b'{"n": NaN}', b'{"n": Infinity}', b'{"n": 1}}', b'\xff{"n": 1}',
     b'{"n": "\xff"}', b"{'n': 1}", b"[" * 1000],
)  # fmt: skip
def test_json_that_cannot_be_parsed_is_a_400(client: Client, body: bytes) -> None:
    problem(client.post(body, JSON), 400)


@pytest.mark.parametrize("body", [b"[]", b"[10]", b"[10, null, null]", b"1", b'"1"', b"null", b"true"])
def test_json_that_is_not_an_object_is_refused(client: Client, body: bytes) -> None:
    response = client.post(body, JSON)
    assert response.status_code in (400, 422), told(response)
    problem(response, response.status_code)


@pytest.mark.parametrize(
    "n",
    ["-1", "1.5", "1.0", "1e3", "1E3", "true", "false", "null", '""', '" "', '" 10"', '"10 "', '"-1"', '"+1"',
     '"1.5"', '"1e3"', '"abc"', '"0x10"', '"1_000"', '"\\uff11\\uff10"', '"\\u0661"', "[]", "[10]", "{}", '{"n": 1}',
     str(BIG), f'"{BIG}"', "9" * 900, f'"{"9" * 900}"', "18446744073709551616", "18446744073709551617", "1e400"],
)  # fmt: skip
def test_an_n_that_is_not_a_whole_number_in_range_is_a_422(client: Client, n: str) -> None:
    problem(client.post(f'{{"n": {n}}}'.encode(), JSON), 422)


@pytest.mark.parametrize("n", ["-1", "1.5", "1.0", "1e3", "abc", "", "%20", "true", str(BIG), "1%00", "%ef%bc%91"])
def test_a_form_whose_n_is_not_a_whole_number_in_range_is_a_422(client: Client, n: str) -> None:
    problem(client.post(f"n={n}".encode(), FORM), 422)


@pytest.mark.parametrize(("body", "kind"), [(b"{}", JSON), (b'{"N": 1}', JSON), (b"", FORM), (b"m=1", FORM)])
def test_a_missing_n_is_a_422(client: Client, body: bytes, kind: str) -> None:
    problem(client.post(body, kind), 422)


def test_n_is_at_most_max_n(client: Client, max_n: int) -> None:
    document = problem(client.post_json({"n": max_n + 1}), 422)
    digits = "".join(filter(str.isdecimal, document["detail"]))
    assert str(max_n) in digits, f"the detail does not name the limit: {document}"


@pytest.mark.parametrize("token", ["", "a" * 15, "a" * 65, "a" * 15 + ".", "a" * 15 + "*", "a" * 15 + ">",
                                   "a" * 15 + " ", "a" * 15 + "\u00e9", "\u0000" * 16, 1, [], {}])  # fmt: skip
def test_a_client_that_is_not_a_token_is_a_422(client: Client, token: object) -> None:
    problem(client.post_json({"n": 10, "client": token}), 422)


@pytest.mark.parametrize("id", ["", "1", "not-a-uuid", "0" * 31, "g" * 32, "00000000-0000-0000-0000-00000000000",
                                "../../../../etc/passwd", 1, [], {}])  # fmt: skip
def test_an_id_that_is_not_a_uuid_is_a_422(client: Client, id: object) -> None:
    problem(client.post_json({"n": 10, "client": client.token, "id": id}), 422)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/xml", "multipart/form-data; boundary=x", "json",
                                  "application/jsonx", "text/json"])  # fmt: skip
def test_another_content_type_is_a_415(client: Client, kind: str | None) -> None:
    problem(client.post(b'{"n": 10}', kind), 415)


@pytest.mark.parametrize("size", [1025, 5 * 1024, 100 * 1024])
@pytest.mark.parametrize("kind", [JSON, FORM])
def test_a_body_of_more_than_1_kib_is_a_413(client: Client, size: int, kind: str) -> None:
    problem(client.post(b"n=10&m=".ljust(size, b"1"), kind), 413)


def test_a_body_of_unknown_length_is_measured_too(client: Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield from repeat(b" " * 512, 10)

    problem(client.request("POST", "/fib", content=chunks(), headers={"Content-Type": JSON}), 413)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_on_fib_is_a_405_that_allows_post(client: Client, method: str) -> None:
    response = client.request(method, "/fib")
    problem(response, 405)
    assert "POST" in allowed(response.headers["Allow"]), told(response)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_another_method_on_the_page_is_a_405_that_allows_get(client: Client, method: str) -> None:
    response = client.request(method, "/")
    problem(response, 405)
    assert "GET" in allowed(response.headers["Allow"]), told(response)


@pytest.mark.parametrize("path", ["/nope", "/fib/", "/fib/1", "/index.html", "/ws/1", "/static/nope.js", "/static/",
                                  "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%ff", "/.git/config"])  # fmt: skip
def test_another_path_is_a_404(client: Client, path: str) -> None:
    problem(client.request("GET", path), 404)


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test",
                                  "evil.test,localhost", "evil,evil", "[::2]", "192.0.2.1:8080"])  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/static/page.js"), ("POST", "/fib"), ("GET", "/ws"), ("GET", "/events")],
)
def test_an_unknown_host_is_a_421(client: Client, method: str, path: str, host: str) -> None:
    body = b"n=10" if method == "POST" else None
    problem(client.request(method, path, content=body, headers={"Host": host, "Content-Type": FORM}), 421)


def test_a_page_of_an_unknown_host_cannot_open_a_socket(base_url: str) -> None:
    # What a browser sends for a page of a site whose name resolves to this server (DNS rebinding).
    host = f"evil.test:{urlsplit(base_url).port}"
    with RawSocket(base_url, headers={"Host": host, "Origin": f"http://{host}"}) as socket:
        assert socket.status == 421


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_this_machine_s_own_names_are_known_with_any_port(base_url: str, client: Client, host: str) -> None:
    response = client.request("GET", "/", headers={"Host": host})
    assert response.status_code == 200, told(response)
    with RawSocket(base_url, headers={"Host": host, "Origin": f"http://{host.lower()}"}) as socket:
        assert socket.status == 101


def test_a_refused_job_is_not_queued(client: Client) -> None:
    with client.private() as socket:
        problem(client.post_json({"n": -1, "client": client.token}), 422)
        problem(client.post_json({"n": 10, "client": client.token, "id": "1"}), 422)
        job = client.submit(10)
        socket.result(job)
        assert {event["id"] for event in socket.seen if event["n"] in (-1, 10)} == {job.id}, str(socket)


def allowed(header: str) -> set[str]:
    return {method.strip() for method in header.split(",")}
