"""The metrics of a system, read as Prometheus reads them."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from .stack import Stack

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# The services that have metrics, and their port.
SERVICES = ("web", "calculator", "websocket")
PORT = 9464

# Prints the content type, a line end and the body.
_READ = f"""
import sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:{PORT}/metrics", headers={{"Accept": {CONTENT_TYPE!r}}})
with urllib.request.urlopen(request, timeout=5) as answer:
    sys.stdout.write(answer.headers["Content-Type"] + "\\n" + answer.read().decode())
"""


@dataclass(frozen=True)
class Exposition:
    """The metrics of one process."""

    process: str
    content_type: str
    text: str

    def families(self) -> list[Metric]:
        """The families, if the text keeps to OpenMetrics."""
        return list(text_string_to_metric_families(self.text))  # type: ignore[no-untyped-call]

    def samples(self) -> Iterator[Sample]:
        return (sample for family in self.families() for sample in family.samples)


@dataclass(frozen=True)
class Metrics:
    """The metrics of all processes of a system."""

    read: Callable[[], list[Exposition]]

    def value(self, name: str, **labels: str) -> float:
        """A sample as it is now."""
        return value(self.read(), name, **labels)


def value(expositions: list[Exposition], name: str, **labels: str) -> float:
    """A sample, summed over the processes that show it. At least one has to."""
    values = [
        sample.value
        for exposition in expositions
        for sample in exposition.samples()
        if sample.name == name and sample.labels == labels
    ]
    assert values, f"no process shows {name}{labels}"
    return sum(values)


def of_url(url: str) -> Metrics:
    """The metrics of the standalone binary."""

    def read() -> list[Exposition]:
        answer = httpx.get(url, headers={"Accept": CONTENT_TYPE}, timeout=5, trust_env=False)
        assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text}"
        return [Exposition("binary", answer.headers["Content-Type"], answer.text)]

    return Metrics(read)


def of_stack(stack: Stack) -> Metrics:
    """The metrics of the five services, whose ports are reachable only from their networks."""

    def read() -> list[Exposition]:
        return [_of_service(stack, service) for service in SERVICES]

    return Metrics(read)


def _of_service(stack: Stack, service: str) -> Exposition:
    done = stack.container(service).in_its_network(sys.executable, "-c", _READ)
    assert done.returncode == 0, f"{service}: {done.stderr}"
    content_type, _, text = done.stdout.partition("\n")
    return Exposition(service, content_type, text)
