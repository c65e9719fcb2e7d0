"""One trace goes through all processes, and the export of traces harms nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from .client import JSON, Client, Job, accepted
from .eventually import eventually
from .stack import Stack, docker
from .traces import Receiver, Span, TraceParent

_ROOT = Path(__file__).parents[1]
_RECEIVER = Path(__file__).with_name("otlp_receiver.py")
# The name and port that `scripts/test` gives the five services. Nothing answers there but for these tests.
_ALIAS, _PORT = "otlp", 4318
_SERVICES = ("web", "calculator", "websocket")
_BINARY = str(_ROOT / "target/release/fibwire")
# SIGTERM ends a process within this time.
_SHUTDOWN_S = 10
_COMMAND_S = 60


@dataclass(frozen=True)
class Traced:
    """A system that exports its traces."""

    client: Client
    receiver: Receiver
    # The name of the service that has this role.
    services: Mapping[str, str]
    messaging_system: str

    def post(self, n: int, parent: TraceParent) -> tuple[Job, str]:
        """Posts a job to the client's channel. Returns it, and what the answer says of the trace."""
        body = {"n": n, "client": self.client.token}
        headers = {"Content-Type": JSON, "traceparent": str(parent)}
        response = self.client.request("POST", "/fib", content=json.dumps(body).encode(), headers=headers)
        return accepted(response), response.headers["traceresponse"]


@pytest.fixture
def traced(request: pytest.FixtureRequest, base_url: str) -> Iterator[Traced]:
    """The five services or, if those are not the system under test, a binary of its own."""
    if request.config.getoption("--compose-project") is None:
        services = dict.fromkeys(_SERVICES, "fibwire")
        with (
            receiving() as (receiver, address),
            binary({"OTEL_EXPORTER_OTLP_ENDPOINT": address}) as running,
            Client(running.url) as client,
        ):
            yield Traced(client, receiver, services, "fibwire")
    else:
        stack: Stack = request.getfixturevalue("stack")
        with receiving_in(stack) as receiver, Client(base_url) as client:
            yield Traced(client, receiver, {service: service for service in _SERVICES}, "nats")


def test_one_trace_goes_through_web_calculator_and_websocket(traced: Traced) -> None:
    parent = TraceParent.new(sampled=True)
    with traced.client.private() as socket:
        job, answer = traced.post(10, parent)
        result = socket.result(job)
    spans = traced.receiver.trace(parent.trace, lambda spans: len(spans) >= 7)
    by_name = {span.name: span for span in spans}
    assert len(spans) == len(by_name) == 7, spans

    request = by_name["POST /fib"]
    assert (request.service, request.kind, request.parent) == (traced.services["web"], "SERVER", parent.span)
    assert request.attributes["http.response.status_code"] == 202
    assert answer == f"00-{parent.trace}-{request.id}-01"

    submit = by_name["publish jobs.small"]
    assert (submit.service, submit.kind, submit.parent) == (traced.services["web"], "PRODUCER", request.id)
    assert (
        submit.attributes.items()
        >= {
            "messaging.system": traced.messaging_system,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": "jobs.small",
            "messaging.message.id": job.id,
        }.items()
    )

    wait = by_name["wait jobs.small"]
    assert (wait.service, wait.kind, wait.parent) == (traced.services["calculator"], "INTERNAL", submit.id)

    work = by_name["process jobs.small"]
    assert (work.service, work.kind, work.parent) == (traced.services["calculator"], "CONSUMER", submit.id)
    assert work.links == [submit.id]
    assert (
        work.attributes.items()
        >= {
            "messaging.system": traced.messaging_system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "jobs.small",
            "messaging.consumer.group.name": "small",
            "messaging.message.id": job.id,
            "fibwire.n": 10,
            "fibwire.attempt": 1,
        }.items()
    )
    assert request.start_ns <= submit.start_ns and wait.end_ns <= work.end_ns

    compute = by_name["compute"]
    assert (compute.service, compute.kind, compute.parent) == (traced.services["calculator"], "INTERNAL", work.id)

    publish = by_name["publish results.{client}"]
    assert (publish.service, publish.kind, publish.parent) == (traced.services["calculator"], "PRODUCER", work.id)
    assert (
        publish.attributes.items()
        >= {
            "messaging.operation.type": "send",
            "messaging.destination.template": "results.{client}",
            "messaging.message.id": f"{job.id}.result.0",
            "messaging.message.conversation_id": job.id,
        }.items()
    )

    send = by_name["process results.{client}"]
    assert (send.service, send.kind, send.parent) == (traced.services["websocket"], "CONSUMER", publish.id)
    assert send.links == [publish.id]
    assert (
        send.attributes.items()
        >= {
            "messaging.system": traced.messaging_system,
            "messaging.operation.type": "process",
            "messaging.destination.template": "results.{client}",
            "fibwire.event": "result",
            "fibwire.seq": result["seq"],
        }.items()
    )

    assert all(span.start_ns <= span.end_ns and not span.failed for span in spans), spans
    # Whoever knows the token can read the channel.
    assert all(traced.client.token.encode() not in body for body in traced.receiver.bodies())


def test_each_event_of_a_long_result_has_its_spans(traced: Traced) -> None:
    parent = TraceParent.new(sampled=True)
    with traced.client.private() as socket:
        job, _ = traced.post(10_000_000, parent)
        socket.result(job)
        sent = sorted(event["type"] for event in socket.seen)
    assert sent.count("part") == 4 and "preview" in sent

    def events(spans: list[Span], name: str) -> list[str]:
        return sorted(
            str(span.attributes["fibwire.event"]) for span in spans if span.name == f"{name} results.{{client}}"
        )

    spans = traced.receiver.trace(
        parent.trace, lambda spans: events(spans, "publish") == events(spans, "process") == sent
    )
    published = {span.id: span for span in spans if span.kind == "PRODUCER"}
    for span in spans:
        if span.name == "process results.{client}":
            assert published[span.parent].attributes["fibwire.event"] == span.attributes["fibwire.event"]


def test_an_event_stream_has_the_spans_of_a_socket(traced: Traced) -> None:
    parent = TraceParent.new(sampled=True)
    with traced.client.private_events() as events:
        job, _ = traced.post(10, parent)
        while events.next()["id"] != job.id:
            pass
        # The event is sent when the connection asks for the next one.
        traced.post(11, TraceParent.new(sampled=False))
        events.next()
    spans = traced.receiver.trace(parent.trace, lambda spans: len(spans) >= 7)
    (send,) = [span for span in spans if span.name == "process results.{client}"]
    assert send.service == traced.services["websocket"]


def test_a_trace_that_its_sender_does_not_sample_is_not_exported(traced: Traced) -> None:
    unsampled, sampled = TraceParent.new(sampled=False), TraceParent.new(sampled=True)
    with traced.client.private() as socket:
        for parent in (unsampled, sampled):
            job, answer = traced.post(10, parent)
            assert re.fullmatch(f"00-{parent.trace}-[0-9a-f]{{16}}-0{int(parent.sampled)}", answer)
            socket.result(job)
    traced.receiver.trace(sampled.trace, lambda spans: len(spans) >= 7)
    assert unsampled.trace not in {span.trace for span in traced.receiver.spans()}


def test_a_request_without_a_valid_traceparent_begins_a_trace(client: Client) -> None:
    traces = set()
    for header in ({}, {"traceparent": "00-0-0-01"}, {"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}):
        response = client.request("POST", "/fib", content=b'{"n": 1}', headers={"Content-Type": JSON, **header})
        accepted(response)
        found = re.fullmatch(r"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-0[01]", response.headers["traceresponse"])
        assert found is not None, response.headers
        traces.add(found[1])
    assert len(traces) == 3


@pytest.mark.compose
def test_the_access_log_names_the_trace(stack: Stack, client: Client) -> None:
    parent = TraceParent.new(sampled=False)
    headers = {"Content-Type": JSON, "traceparent": str(parent)}
    refused, accepted = (
        client.request("POST", "/fib", content=body, headers=headers).status_code for body in (b"", b'{"n": 1}')
    )
    assert (refused, accepted) == (400, 202)

    def logged() -> bool:
        lines = [
            json.loads(line)
            for line in docker("logs", stack.container("nginx").id).splitlines()
            if parent.trace in line
        ]
        assert [(line["trace_id"], line["status"]) for line in lines] == [(parent.trace, 400), (parent.trace, 202)]
        return True

    eventually(logged, "two lines of the access log")


@pytest.mark.compose
def test_a_service_that_ends_exports_its_last_spans(stack: Stack, traced: Traced) -> None:
    parent = TraceParent.new(sampled=True)
    with traced.client.private() as reader:
        job, _ = traced.post(10, parent)
        reader.result(job)
    containers = [stack.container(service) for service in _SERVICES]
    try:
        # Long before the next batch is due.
        for container in containers:
            container.stop()
        ended = {span.service for span in traced.receiver.trace(parent.trace, lambda spans: len(spans) >= 7)}
    finally:
        for container in containers:
            container.start()
        stack.wait_until_ready()
    assert ended == set(_SERVICES)


def test_a_line_of_the_log_names_the_trace_of_its_job() -> None:
    parent = TraceParent.new(sampled=False)
    with binary({"MEMORY_LIMIT_MIB": "1"}) as running, Client(running.url) as client, client.private() as socket:
        body = {"n": 50_000_000, "client": client.token}
        headers = {"Content-Type": JSON, "traceparent": str(parent)}
        id = accepted(client.request("POST", "/fib", content=json.dumps(body).encode(), headers=headers)).id
        socket.until(lambda event: event["type"] == "failed", "failure")
    (line,) = [line for line in map(json.loads, running.log()) if line["message"] == "job failed"]
    assert (line["trace_id"], line["id"]) == (parent.trace, id)


def test_a_receiver_that_hangs_delays_nothing_and_not_the_end() -> None:
    # The system accepts the connections for this socket, and nobody answers them.
    with socket.create_server(("127.0.0.1", 0), backlog=128) as hanging:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hanging.getsockname()[1]}",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BSP_MAX_QUEUE_SIZE": "16",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
        }
        with binary(environment) as running, Client(running.url) as client, client.private() as reader:
            jobs = [client.submit(n) for n in range(200)]
            assert len(reader.results(jobs)) == len(jobs)
            reader.result(client.submit(7), within_s=1)
            began = time.monotonic()
            assert running.stop() == 0, running.log()
            assert time.monotonic() - began < _SHUTDOWN_S
    assert any("not exported" in line for line in running.log()), running.log()


def test_a_receiver_that_is_away_harms_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "10"}
    with binary(environment) as running, Client(running.url) as client, client.private() as reader:
        jobs = [client.submit(n) for n in range(200)]
        assert len(reader.results(jobs)) == len(jobs)
        assert running.stop() == 0, running.log()


def test_the_last_spans_are_exported_at_the_end() -> None:
    with receiving() as (receiver, address):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with binary(environment) as running, Client(running.url) as client, client.private() as reader:
            reader.result(client.submit(10))
            assert receiver.spans() == []
            assert running.stop() == 0, running.log()
        names = {span.name for span in receiver.spans()}
    assert {"POST /fib", "process jobs.small", "process results.{client}"} <= names


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp:4318"), ("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_SDK_DISABLED", "1")],
)
def test_a_wrong_variable_ends_the_process_with_a_sentence(variable: str, value: str) -> None:
    command = [_BINARY, "--listen", "127.0.0.1:0", "--in-memory"]
    environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", variable: value}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    assert done.returncode == 1 and variable in done.stderr, done


@dataclass(frozen=True)
class Binary:
    """A running binary."""

    process: subprocess.Popen[str]
    url: str
    _log: list[str]

    def stop(self) -> int:
        """Ends it by SIGTERM, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=_COMMAND_S)
        self._log.extend(rest.splitlines())
        return self.process.returncode

    def log(self) -> list[str]:
        """The lines of its log. It is whole once the process has ended."""
        return [line for line in self._log if line.startswith("{")]


@contextmanager
def binary(environment: Mapping[str, str]) -> Iterator[Binary]:
    """A binary on a free port, which keeps nothing on disk."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = subprocess.Popen(
        [_BINARY, "--listen", "127.0.0.1:0", "--in-memory"],
        env={**clean, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
    running = Binary(process, url, [])
    try:
        yield running
    finally:
        if process.poll() is None:
            running.stop()


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """A receiver on this machine, and its address."""
    command = [sys.executable, str(_RECEIVER), "127.0.0.1:0"]
    with NamedTemporaryFile(prefix="otlp-") as printed, subprocess.Popen(command, stdout=printed) as process:
        receiver = Receiver(Path(printed.name).read_text)
        try:
            yield receiver, eventually(receiver.address, "a receiver that listens")
        finally:
            process.terminate()


@contextmanager
def receiving_in(stack: Stack) -> Iterator[Receiver]:
    """A receiver in the network of the five services, under the name at which they look for one."""
    web = stack.container("web").inspect()
    (network,) = [name for name in web["NetworkSettings"]["Networks"] if name.endswith("_back")]
    id = docker(
        "run", "--detach", "--rm", "--network", network, "--network-alias", _ALIAS, "--entrypoint", "python",
        web["Image"], "-c", _RECEIVER.read_text(), f"0.0.0.0:{_PORT}",
    ).strip()  # fmt: skip
    receiver = Receiver(lambda: docker("logs", id))
    try:
        eventually(receiver.address, "a receiver that listens")
        yield receiver
    finally:
        docker("stop", "--time", "0", id)
