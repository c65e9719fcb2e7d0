"""The compose stack with three queue nodes and two of each service, seen from outside."""

from dataclasses import dataclass
from functools import partial

import httpx
from websockets.exceptions import WebSocketException

from .client import Client
from .eventually import eventually
from .stack import Container, docker, monitoring, streams

NODES = ("queue", "queue-2", "queue-3")
STREAMS = ("JOBS", "RESULTS")

# A node that lost its volume copies both streams.
_HEALED_S = 60


@dataclass(frozen=True)
class Cluster:
    """The running containers of the compose project of a cluster."""

    project: str
    base_url: str

    def containers(self, service: str) -> list[Container]:
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]
        ids = docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
        assert ids, f"service {service} of project {self.project} has no containers"
        return [Container(service, id) for id in ids]

    def node(self, name: str) -> Container:
        (container,) = self.containers(name)
        return container

    def leader(self, stream: str) -> Container:
        """The node that leads a stream, as all nodes say."""
        (leader,) = {streams(self.node(name))[stream]["cluster"]["leader"] for name in NODES}
        return self.node(leader)

    def wait_until_healed(self) -> None:
        """Waits until every node has up-to-date copies of all streams and consumers, and a job gets its result."""
        for node in map(self.node, NODES):
            eventually(partial(monitoring, node, "/healthz"), f"{node.service} having all of each stream", _HEALED_S)
        eventually(self._works, "a job coming through", _HEALED_S)

    def _works(self) -> bool:
        try:
            with Client(self.base_url) as client, client.private() as socket:
                return bool(socket.result(client.submit(1))["value"] == "1")
        except (httpx.TransportError, WebSocketException):
            return False
