"""The two routes, with a real queue behind them."""

import asyncio
import json
import re
import socket
import time
import urllib.request
from uuid import UUID

import nats
import pytest
from conftest import Server
from flask import Response
from flask.testing import FlaskClient
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StreamConfig

from web import create_app


async def declare_jobs(server: Server) -> None:
    """Declare the stream, as the calculator does."""
    calculator = await connect(server)
    config = StreamConfig(name="JOBS", subjects=["jobs.small", "jobs.large"], discard=DiscardPolicy.NEW)
    await calculator.jetstream().add_stream(config)
    await calculator.close()


async def take_job(server: Server, lane: str) -> dict[str, object]:
    """Take the next job of a lane, as the calculator does."""
    job: dict[str, object] = json.loads((await take_message(server, lane)).data)
    return job


async def take_message(server: Server, lane: str) -> Msg:
    calculator = await connect(server)
    lanes = await calculator.jetstream().pull_subscribe(f"jobs.{lane}", durable=lane, stream="JOBS")
    [message] = await lanes.fetch(1, timeout=5)
    await message.ack_sync()
    await calculator.close()
    return message


async def connect(server: Server) -> Client:
    password = server.password_file("calculator").read_text()
    return await nats.connect(server.url, user="calculator", password=password, inbox_prefix="_INBOX_calculator")


def test_there_are_two_routes_and_static_files(client: FlaskClient) -> None:
    implied = {"HEAD", "OPTIONS"}
    routes = {(rule.rule, *((rule.methods or set()) - implied)) for rule in client.application.url_map.iter_rules()}
    assert routes == {("/", "GET"), ("/fib", "POST"), ("/static/<path:filename>", "GET")}


def test_the_page_has_one_input_and_one_button(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.content_type.startswith("text/html")
    assert page.text.count("<input") == 1
    assert page.text.count('type="submit"') == 1


def test_the_page_says_the_largest_n(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.text.count("3000000") == 1
    assert "{{" not in page.text


@pytest.mark.parametrize(("n", "lane"), [(10, "small"), (2_000_000, "large")])
def test_a_submission_is_a_job_in_the_queue(client: FlaskClient, server: Server, n: int, lane: str) -> None:
    asyncio.run(declare_jobs(server))
    answer = client.post("/fib", json={"n": n, "client": "0123456789abcdef"})
    assert answer.status_code == 202
    assert answer.content_type == "application/json"
    accepted = answer.get_json()
    assert UUID(accepted["id"]).version == 7
    assert accepted == {"id": accepted["id"], "n": n}
    job = asyncio.run(take_job(server, lane))
    assert job == {**accepted, "client": "0123456789abcdef", "accepted_us": job["accepted_us"]}


def test_a_job_is_a_part_of_the_trace_of_its_post(client: FlaskClient, server: Server) -> None:
    asyncio.run(declare_jobs(server))
    sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for headers, expected in (({"traceparent": sent}, "4bf92f3577b34da6a3ce929d0e0e4736"), ({}, "[0-9a-f]{32}")):
        answer = client.post("/fib", json={"n": 10}, headers=headers)
        told = re.fullmatch(f"00-({expected})-[0-9a-f]{{16}}-0[01]", answer.headers["traceresponse"])
        assert told is not None, answer.headers
        message = asyncio.run(take_message(server, "small"))
        assert message.headers is not None
        assert re.fullmatch(f"00-{told[1]}-[0-9a-f]{{16}}-0[01]", message.headers["traceparent"])


def test_an_id_used_again_queues_nothing_new(client: FlaskClient, server: Server) -> None:
    asyncio.run(declare_jobs(server))
    first = {"n": "1", "id": "0198c2f0-6a7e-7000-8000-00000000000a"}
    answers = [client.post("/fib", data=data) for data in (first, first, {"n": "2"})]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert answers[0].data == answers[1].data
    assert [asyncio.run(take_job(server, "small"))["n"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("POST", "/fib", b"{", "application/json", 400),
        ("POST", "/fib", b'{"n":1.5}', "application/json", 422),
        ("POST", "/fib", b"n=3000001", "application/x-www-form-urlencoded", 422),
        ("POST", "/fib", b"n=1", "text/plain", 415),
        ("POST", "/fib", b"n=1", None, 415),
        ("POST", "/fib", b"n=1&x=" + b"y" * 1024, "application/x-www-form-urlencoded", 413),
        ("GET", "/fib", b"", None, 405),
        ("OPTIONS", "/fib", b"", None, 405),
        ("POST", "/", b"", None, 405),
        ("GET", "/nowhere", b"", None, 404),
        ("GET", "/static/../__init__.py", b"", None, 404),
        ("GET", "/static//page.css", b"", None, 404),
    ],
)
def test_a_refusal_is_a_problem_that_says_what_to_do(  # noqa: PLR0917 - a row of the table above
    client: FlaskClient, method: str, path: str, body: bytes, content_type: str | None, status: int
) -> None:
    answer = client.open(path, method=method, data=body, content_type=content_type)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert problem["status"] == status
    assert problem["detail"].endswith(".")
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://localhost"}, 202),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, 202),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://friend.example, http://localhost"}, 403),
        ({"Origin": "http://localhost:8081", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_the_own_page_and_listed_origins_may_post(
    server: Server, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    asyncio.run(declare_jobs(server))
    monkeypatch.setenv("QUEUE_URL", server.url)
    monkeypatch.setenv("QUEUE_PASSWORD_FILE", str(server.password_file("web")))
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://friend.example")
    answer = create_app().test_client().post("/fib", data={"n": "1"}, headers=headers)
    assert answer.status_code == status
    assert not any(name.startswith("Access-Control-") for name, _ in answer.headers)
    if status == 403:
        assert answer.content_type == "application/problem+json"
        assert answer.get_json()["status"] == 403


def test_a_refused_head_gets_the_headers_alone(client: FlaskClient) -> None:
    answer = client.head("/fib")
    assert answer.status_code == 405
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Allow"] == "POST"
    assert answer.data == b""


def test_after_request_sees_every_response(client: FlaskClient) -> None:
    @client.application.after_request
    def mark(response: Response) -> Response:
        response.headers["X-Seen"] = str(response.status_code)
        return response

    for method, path, status in [("GET", "/", 200), ("POST", "/fib", 415), ("GET", "/fib", 405), ("GET", "/no", 404)]:
        assert client.open(path, method=method).headers["X-Seen"] == str(status)


def test_posts_are_counted_by_their_status(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(declare_jobs(server))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("METRICS_LISTEN", address)
        monkeypatch.setenv("QUEUE_URL", server.url)
        monkeypatch.setenv("QUEUE_PASSWORD_FILE", str(server.password_file("web")))
        with pytest.raises(OSError, match="METRICS_LISTEN"):
            create_app()
    client = create_app().test_client()
    requests: list[tuple[str, str, bytes]] = [
        ("POST", "/fib", b"n=10"),
        ("POST", "/fib", b"n=-1"),
        ("POST", "/fib", b"n=" + b"9" * 2000),
        ("GET", "/fib", b""),
        ("POST", "/", b"n=10"),
    ]
    for method, path, body in requests:
        client.open(path, method=method, data=body, content_type="application/x-www-form-urlencoded")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    counted = {line for line in text.splitlines() if line.startswith("fibwire_submissions_total")}
    # Flask itself refused the body that is too long. The last two are not submissions.
    assert counted == {f'fibwire_submissions_total{{status="{status}"}} 1' for status in (202, 422, 413)}
    assert "fibwire_submit_seconds_count 1\n" in text


def test_without_a_queue_a_post_gets_503_within_two_seconds(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("QUEUE_PASSWORD_FILE", str(server.password_file("web")))
    client = create_app().test_client()
    start = time.monotonic()
    answer = client.post("/fib", data={"n": "10"})
    assert time.monotonic() - start < 2
    assert answer.status_code == 503
    assert answer.get_json()["status"] == 503
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_N", "many"),
        ("QUEUE_URL", "not an address"),
        ("ALLOWED_ORIGINS", "anybody"),
        ("METRICS_LISTEN", "everywhere"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_a_wrong_setting_stops_the_process_and_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("QUEUE_PASSWORD_FILE", str(server.password_file("web")))
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=variable):
        create_app()
