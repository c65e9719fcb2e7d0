"""The rights of each container and the networks that it reaches, seen from outside."""

import json
import re
import sys
from socket import inet_aton

import httpx
import pytest

from .client import Client, problem
from .stack import SERVICES, Container, Stack, monitoring, run

pytestmark = pytest.mark.compose

EACH_SERVICE = pytest.mark.parametrize("service", SERVICES)

_NATS_PORT = 4222
_WEB_PORT = 8000


def test_one_port_is_published_and_by_nginx(stack: Stack, base_url: str) -> None:
    published = {
        (container.service, binding["HostIp"], binding["HostPort"])
        for container in stack.containers()
        for bindings in container.inspect()["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {("nginx", "127.0.0.1", base_url.rpartition(":")[2])}


def test_nginx_shares_no_network_with_the_queue_or_the_calculator(stack: Stack) -> None:
    networks = {container.service: set(container.networks()) for container in stack.containers()}
    assert networks["nginx"].isdisjoint(networks["queue"] | networks["calculator"]), networks


@pytest.mark.parametrize(("service", "reaches"), [("nginx", False), ("web", True), ("websocket", True)])
def test_nginx_cannot_reach_the_queue(stack: Stack, service: str, reaches: bool) -> None:
    container = stack.container(service)
    for address in stack.container("queue").networks().values():
        connect = f"import socket; socket.create_connection(({address!r}, {_NATS_PORT}), timeout=2)"
        done = container.in_its_network(sys.executable, "-c", connect)
        assert (done.returncode == 0) is reaches, f"{service} to the queue: {done.stderr}"


def test_nginx_cannot_resolve_the_queue(stack: Stack) -> None:
    nginx = stack.container("nginx")
    assert nginx.exec("getent", "hosts", "web").returncode == 0
    assert nginx.exec("getent", "hosts", "queue").returncode != 0


def test_requests_share_their_connections_to_web(stack: Stack, client: Client) -> None:
    before = ports_to_web(stack)
    for n in range(100):
        client.submit(n)
    made = ports_to_web(stack) - before
    assert len(made) < 10, f"100 requests made {len(made)} connections"


@EACH_SERVICE
def test_a_container_has_no_privilege_and_cannot_write_to_its_image(stack: Stack, service: str) -> None:
    assert_unprivileged(stack.container(service))


@EACH_SERVICE
def test_a_container_has_limits_a_health_check_and_a_restart_policy(stack: Stack, service: str) -> None:
    assert_limited(stack.container(service))
    assert stack.container(service).inspect()["Config"]["Healthcheck"]["Test"]


def test_web_is_flask_with_exactly_the_two_routes(stack: Stack) -> None:
    program = """
import json
import os
import flask
from web import create_app
# The app that serves requests has the port of the metrics.
del os.environ["METRICS_LISTEN"]
app = create_app()
assert isinstance(app, flask.Flask)
routes = [(rule.rule, rule.endpoint, sorted(rule.methods - {"HEAD", "OPTIONS"})) for rule in app.url_map.iter_rules()]
print(json.dumps(sorted(routes)))
"""
    done = stack.container("web").exec("python", "-c", program)
    assert done.returncode == 0, done.stderr
    routes = {rule: methods for rule, endpoint, methods in json.loads(done.stdout) if endpoint != "static"}
    assert routes == {"/": ["GET"], "/fib": ["POST"]}


def test_the_queue_syncs_each_message_before_it_acknowledges_it(stack: Stack) -> None:
    assert monitoring(stack.container("queue"), "/varz")["jetstream"]["config"]["sync_always"] is True


def test_no_log_holds_a_token_or_a_password(stack: Stack, client: Client) -> None:
    with client.private() as socket:
        socket.result(client.submit(10))
    with client.private_events(since=10**12) as events:
        events.next()
    problem(client.post_json({"n": -1, "client": client.token}), 422)
    password = stack.container("web").exec("cat", "/run/credentials/password")
    assert len(password.stdout.strip()) >= 16, password.stderr
    for container in stack.containers():
        logs = run("docker", "logs", container.id)
        for secret in (client.token, password.stdout.strip()):
            assert secret not in logs.stdout + logs.stderr, f"a secret is in the log of {container.service}"


def test_no_log_holds_a_token_when_nginx_fails(stack: Stack, client: Client) -> None:
    websocket, query = stack.container("websocket"), f"client={client.token}"
    # Not by a client that knows what the contract allows.
    with httpx.Client(base_url=client.base_url, trust_env=False) as http:
        refused = [
            http.post(f"/ws?{query}", content=b"x" * 2000),
            http.get(f"/ws?{query}", headers={"Host": "evil.test"}),
            http.get(f"/events?{query}", headers={"X": "x" * 40_000}),
            http.get(f"/ws?{query}&more={'x' * 40_000}"),
        ]
        assert [response.status_code for response in refused] == [413, 421, 431, 414]
        with client.private():
            # The socket breaks, and then nothing answers.
            websocket.stop()
            try:
                assert {http.get(f"{path}?{query}").status_code for path in ("/ws", "/events")} <= {502, 503}
            finally:
                websocket.start()
    stack.wait_until_ready()
    logs = run("docker", "logs", stack.container("nginx").id)
    assert '"request":"GET /events","status":50' in logs.stdout
    assert client.token not in logs.stdout + logs.stderr


def assert_unprivileged(container: Container) -> None:
    status = dict(re.findall(r"^(\w+):\s*(.*)$", container.proc("status"), re.MULTILINE))
    assert "0" not in status["Uid"].split(), status["Uid"]
    assert "0" not in status["Gid"].split(), status["Gid"]
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, status
    assert status["NoNewPrivs"] == "1", status
    (root,) = [line for line in container.proc("mountinfo").splitlines() if line.split()[4] == "/"]
    assert "ro" in root.split()[5].split(","), root


def assert_limited(container: Container) -> None:
    inspected = container.inspect()
    assert inspected["HostConfig"]["Memory"] > 0
    assert inspected["HostConfig"]["PidsLimit"] > 0
    assert inspected["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def ports_to_web(stack: Stack) -> set[str]:
    """The ports of nginx's connections to web, including those that were closed within the last minute."""
    nginx, web = stack.container("nginx"), stack.container("web")
    addresses = web.networks()
    (shared,) = nginx.networks().keys() & addresses.keys()
    # As the kernel writes it: the bytes of the address in reverse order.
    remote = f"{inet_aton(addresses[shared])[::-1].hex().upper()}:{_WEB_PORT:04X}"
    connections = [line.split() for line in nginx.proc("net/tcp").splitlines()[1:]]
    return {fields[1] for fields in connections if fields[2] == remote}
