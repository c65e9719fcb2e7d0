"""Prometheus reaches nothing but metrics, and what observes the services is confined like them."""

import json
import sys

import httpx
import pytest

from .stack import SERVICES, Container, Stack
from .test_isolation import assert_limited, assert_unprivileged

pytestmark = pytest.mark.observe

# What compose.observe.yaml adds and a Debian package can stand in for; the others are only validated.
_ADDED = ("gateway", "nginx-exporter", "prometheus")

_GATEWAY_PORT = 9465
# Every port that something in this project listens on.
_PORTS = (4222, 4318, 6222, 8000, 8080, 8081, 8082, 8222, 9113, 9464, _GATEWAY_PORT)

# Prints which of the places given as ADDRESS:PORT can be connected to.
_REACHED = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(place):
    address, _, port = place.rpartition(":")
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
with ThreadPoolExecutor(32) as pool:
    places = sys.argv[1:]
    print(json.dumps([place for place, is_reached in zip(places, pool.map(reached, places)) if is_reached]))
"""

# Prints the status of each request given as METHOD and URL that is sent to a proxy.
_ASK_PROXY = """
import http.client, json, sys
proxy, *requests = sys.argv[1:]
statuses = []
for request in requests:
    connection = http.client.HTTPConnection(proxy, timeout=5)
    connection.request(*request.split(" "))
    statuses.append(connection.getresponse().status)
    connection.close()
print(json.dumps(statuses))
"""


def test_prometheus_reaches_nothing_but_the_gateway(observed: Stack) -> None:
    gateway = observed.container("gateway")
    prometheus = observed.container("prometheus")
    (shared,) = prometheus.networks().keys() & gateway.networks().keys()
    containers = [*observed.containers(), gateway, observed.container("nginx-exporter")]
    places = [
        f"{address}:{port}" for container in containers for address in container.networks().values() for port in _PORTS
    ]
    assert reached(prometheus, places) == [f"{gateway.networks()[shared]}:{_GATEWAY_PORT}"]


def test_the_services_do_not_reach_what_observes_them(observed: Stack) -> None:
    gateway = observed.container("gateway")
    addresses = [*observed.container("prometheus").networks().values(), *gateway.networks().values()]
    places = [f"{address}:{port}" for address in addresses for port in (_GATEWAY_PORT, 9090)]
    for service in SERVICES:
        assert reached(observed.container(service), places) == [], service


def test_the_gateway_passes_on_metrics_and_nothing_else(observed: Stack) -> None:
    prometheus, gateway = observed.container("prometheus"), observed.container("gateway")
    (shared,) = prometheus.networks().keys() & gateway.networks().keys()
    (calculator,) = observed.container("calculator").networks().values()
    (queue,) = observed.container("queue").networks().values()
    expected = {
        "GET /targets": 200,
        f"GET http://{calculator}:9464/metrics": 200,
        f"GET http://{calculator}:9464/": 403,
        f"GET http://{calculator}:9464/metrics?debug": 403,
        f"GET http://{queue}:8222/metrics": 403,
        "GET http://queue:4222/metrics": 403,
        "GET http://nginx:8082/stub_status": 403,
        "GET http://web:8000/": 403,
        "GET /metrics": 403,
        f"POST http://{calculator}:9464/metrics": 501,
        f"CONNECT {queue}:4222": 501,
    }
    proxy = f"{gateway.networks()[shared]}:{_GATEWAY_PORT}"
    done = prometheus.in_its_network(sys.executable, "-c", _ASK_PROXY, proxy, *expected)
    assert done.returncode == 0, done.stderr
    assert dict(zip(expected, json.loads(done.stdout), strict=True)) == expected


def test_only_pages_are_published_and_on_this_machine_alone(observed: Stack, base_url: str) -> None:
    published = {
        (container.service, binding["HostIp"], inside)
        for container in (*observed.containers(), *map(observed.container, _ADDED))
        for inside, bindings in container.inspect()["NetworkSettings"]["Ports"].items()
        for binding in bindings or []
    }
    assert published == {("nginx", "127.0.0.1", "8080/tcp"), ("prometheus", "127.0.0.1", "9090/tcp")}
    with httpx.Client(base_url=base_url, trust_env=False) as http:
        assert http.get("/stub_status").status_code == 404
        assert http.get("/stub_status", headers={"Host": "nginx:8082"}).status_code == 421


@pytest.mark.parametrize("service", _ADDED)
def test_what_observes_has_no_privilege_and_has_limits(observed: Stack, service: str) -> None:
    assert_unprivileged(observed.container(service))
    assert_limited(observed.container(service))


def reached(container: Container, places: list[str]) -> list[str]:
    """The places that can be connected to from a container."""
    done = container.in_its_network(sys.executable, "-c", _REACHED, *places)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found
