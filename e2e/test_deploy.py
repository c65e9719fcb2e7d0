"""The files in deploy/ say the same as compose.yaml, and keep to what they promise."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from .stack import SERVICES

_ROOT = Path(__file__).parents[1]
_KUBERNETES = _ROOT / "deploy" / "kubernetes"
_UNIT = _ROOT / "deploy" / "systemd" / "fibwire.service"
# systemd's measure of what a service could do to the machine, from 0 (nothing) to 100.
_EXPOSURE = 12

_SECRETS = {"web", "calculator", "websocket"}
_METRICS = _SECRETS
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# nginx asks the name server of Kubernetes, and for complete names.
_ONLY_KUBERNETES = {"RESOLVER", "DOMAIN"}
# Kubernetes names the nodes of the queue.
_HOSTS = {"queue": "queue-0.queue", "queue-2": "queue-1.queue", "queue-3": "queue-2.queue"}


@pytest.fixture(scope="module")
def base() -> list[dict[str, Any]]:
    return rendered("base")


@pytest.fixture(scope="module")
def cluster() -> list[dict[str, Any]]:
    return rendered("cluster")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return services("compose.yaml")


@pytest.mark.parametrize("service", SERVICES)
def test_the_manifests_say_what_compose_yaml_says(
    base: list[dict[str, Any]], compose: dict[str, Any], service: str
) -> None:
    expected, container = compose[service], container_of(base, service)
    assert container["image"].split(":")[0] == f"fibwire-{expected['build']['target']}"
    assert settings(container, _ONLY_KUBERNETES) == {
        name: default(value) for name, value in expected["environment"].items() if value is not None
    }
    assert size(container["resources"]["limits"]["memory"]) == size(default(expected["mem_limit"]))
    # A health check of Compose is one of the probes, unless the kubelet can ask itself.
    asked = [
        probe["exec"]["command"] for name, probe in container.items() if name.endswith("Probe") and "exec" in probe
    ]
    by_itself = any("httpGet" in probe for name, probe in container.items() if name.endswith("Probe"))
    assert by_itself or expected["healthcheck"]["test"][1:] in asked


def test_the_ports_are_those_of_the_services(base: list[dict[str, Any]], compose: dict[str, Any]) -> None:
    (published,) = compose["nginx"]["ports"]
    metrics = metrics_port(compose)
    ports = {
        service: [port["containerPort"] for port in container_of(base, service).get("ports", [])]
        for service in SERVICES
    }
    assert ports == {
        "nginx": [int(published.rsplit(":", 1)[1])],
        "web": [8000, metrics],
        "queue": [int(default(compose["web"]["environment"]["QUEUE_URL"]).rsplit(":", 1)[1])],
        "calculator": [metrics],
        "websocket": [int(compose["websocket"]["environment"]["LISTEN"].rsplit(":", 1)[1]), metrics],
    }


def test_the_network_policies_are_the_networks_of_compose_yaml(
    base: list[dict[str, Any]], compose: dict[str, Any]
) -> None:
    policies = [resource["spec"] for resource in base if resource["kind"] == "NetworkPolicy"]
    allowed = {
        (source, target)
        for target in SERVICES
        for source in SERVICES
        if passes(policies, "Ingress", target, source) and passes(policies, "Egress", source, target)
    }
    assert allowed == {("nginx", "web"), ("nginx", "websocket")} | {(service, "queue") for service in _SECRETS}
    for source, target in allowed:
        assert set(compose[source]["networks"]) & set(compose[target]["networks"]), (source, target)


def test_only_a_namespace_for_monitoring_reaches_the_metrics(
    base: list[dict[str, Any]], compose: dict[str, Any]
) -> None:
    policies = [resource["spec"] for resource in base if resource["kind"] == "NetworkPolicy"]
    rules = [
        (policy["podSelector"], rule.get("from"))
        for policy in policies
        for rule in policy.get("ingress", [])
        if metrics_port(compose) in [port["port"] for port in rule["ports"]]
    ]
    ((pods, sources),) = rules
    assert {service for service in SERVICES if selects(pods, service)} == _METRICS
    assert sources == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


@pytest.mark.parametrize("overlay", ["base", "cluster", "ingress"])
def test_every_container_keeps_to_the_restricted_standard(overlay: str) -> None:
    for resource in rendered(overlay):
        if resource["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = resource["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_cluster_is_that_of_compose_cluster_yaml(cluster: list[dict[str, Any]]) -> None:
    expected = services("compose.cluster.yaml")
    for service in ("web", "calculator", "websocket"):
        environment = {name: default(value) for name, value in expected[service]["environment"].items()}
        for ours, theirs in _HOSTS.items():
            environment["QUEUE_URL"] = environment["QUEUE_URL"].replace(f"//{ours}:", f"//{theirs}:")
        container = settings(container_of(cluster, service))
        assert {name: container[name] for name in environment} == environment
    environment = settings(container_of(cluster, "queue"), {"QUEUE_NODE"})
    nodes = expected["queue"]["environment"]
    assert environment["QUEUE_NODES"] == ",".join(_HOSTS[node] for node in nodes["QUEUE_NODES"].split(","))
    (stateful,) = (resource for resource in cluster if resource["kind"] == "StatefulSet")
    assert stateful["spec"]["replicas"] == len(_HOSTS)


def test_the_ingress_has_the_limits_of_nginx(compose: dict[str, Any]) -> None:
    limits = {name: default(value) for name, value in compose["nginx"]["environment"].items()}
    (ingress,) = (resource for resource in rendered("ingress") if resource["kind"] == "Ingress")
    prefix = "nginx.ingress.kubernetes.io/"
    said = {name.removeprefix(prefix): value for name, value in ingress["metadata"]["annotations"].items()}
    assert said["limit-rps"] == limits["POST_RATE"]
    assert int(said["limit-rps"]) * int(said["limit-burst-multiplier"]) == int(limits["POST_BURST"])
    assert said["limit-connections"] == limits["REQUESTS_PER_ADDRESS"]
    conf = (_ROOT / "services/nginx/nginx.conf").read_text()
    assert f"client_max_body_size {said['proxy-body-size']};" in conf


def test_what_observes_is_confined_like_the_services(compose: dict[str, Any]) -> None:
    added = {name: service for name, service in services("compose.observe.yaml").items() if name not in SERVICES}
    for name, service in added.items():
        for key in ("read_only", "cap_drop", "security_opt", "pids_limit", "restart", "logging"):
            assert service[key] == compose["web"][key], (name, key)
        assert size(service["mem_limit"]) > 0
        # Built here as a user of its own, or another's image of one exact version.
        assert "build" in service or (service["user"][0] != "0" and re.search(r":v?\d+\.\d+\.\d+$", service["image"]))
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert ("healthcheck" in service) == (name != "nginx-exporter")


def test_only_the_gateway_is_on_the_networks_of_both_sides(compose: dict[str, Any]) -> None:
    observing = services("compose.observe.yaml")
    ours = {network for service in compose.values() for network in service["networks"]}
    sides = {
        name: {network in ours for network in service["networks"]}
        for name, service in observing.items()
        if "networks" in service
    }
    assert {name for name, on in sides.items() if on == {True, False}} == {"gateway"}
    assert {name for name, on in sides.items() if on == {False}} == {"prometheus", "grafana", "jaeger"}


def test_no_manifest_holds_a_secret() -> None:
    for overlay in ("base", "cluster", "ingress"):
        assert "Secret" not in {resource["kind"] for resource in rendered(overlay)}


def test_the_unit_can_do_little_to_the_machine() -> None:
    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={_EXPOSURE}", str(_UNIT)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert analysed.returncode == 0, analysed.stdout + analysed.stderr


@cache
def _kubectl() -> str:
    """A kubectl that is new enough."""
    found = subprocess.run([_ROOT / "scripts/kubectl"], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return found.stdout.strip()


def rendered(overlay: str) -> list[dict[str, Any]]:
    """The resources of a directory of deploy/kubernetes."""
    done = subprocess.run(
        [_kubectl(), "kustomize", str(_KUBERNETES / overlay)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def services(file: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((_ROOT / file).read_text())["services"]
    return services


def container_of(resources: list[dict[str, Any]], service: str) -> dict[str, Any]:
    """The one container of a service."""
    (container,) = (
        container
        for resource in resources
        if resource["kind"] in ("Deployment", "StatefulSet") and resource["metadata"]["name"] == service
        for container in resource["spec"]["template"]["spec"]["containers"]
    )
    found: dict[str, Any] = container
    return found


def settings(container: dict[str, Any], without: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
    return {variable["name"]: variable["value"] for variable in container["env"] if variable["name"] not in without}


def default(value: object) -> str:
    """A value of a compose file with its defaults filled in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def metrics_port(compose: dict[str, Any]) -> int:
    """The one port at which all of our services serve their metrics."""
    (port,) = {int(compose[service]["environment"]["METRICS_LISTEN"].rsplit(":", 1)[1]) for service in _METRICS}
    return port


def size(text: str) -> int:
    """A size in bytes, in the syntax of Compose or Kubernetes."""
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def passes(policies: list[dict[str, Any]], direction: str, of: str, peer: str) -> bool:
    """Whether the policies of a service let it talk to a peer in that direction."""
    rules = [
        rule for policy in policies if selects(policy["podSelector"], of) for rule in policy.get(direction.lower(), [])
    ]
    key = "from" if direction == "Ingress" else "to"
    return any(
        selects(place["podSelector"], peer) for rule in rules for place in rule.get(key, []) if "podSelector" in place
    )


def selects(selector: dict[str, Any], service: str) -> bool:
    labels = {"app": service}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(expression["key"]) in expression["values"] for expression in selector.get("matchExpressions", [])
    )
