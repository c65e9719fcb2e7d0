"""Faults of containers: which ones a seed chooses, and how each is begun and ended."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations, permutations
from typing import Any

_COMMAND_S = 120
_COMES_BACK_WITHIN_S = 60
_LOOK_EVERY_S = 0.05
_FREEZE_ATTEMPTS = 10

# Before the first fault, after the last one, and between two of them. A fault has to be over, and the
# system as before, when the next one begins.
_HEAD_S = 5
_TAIL_S = 12
CALM_S = 8
# Runs of at least this length contain an absence of the queue that is longer than the two minutes for which it
# remembers the id of a job.
_AWAY_S = 150
_WITH_ABSENCE_S = 480
# A job is given to another calculator when nothing has been heard of it for 10 s.
_FREEZE_S = (12, 15)
_CUT_S = (3, 12)
# One in how many faults concerns two containers.
_PAIR_ONE_IN = 4


class Kind(StrEnum):
    KILL = "killed"
    FREEZE = "frozen"
    RESTART = "restarted"
    CUT = "cut from the network"
    AWAY = "away for 150 s"
    EMPTY = "killed and its disk emptied"
    IN_TURN = "killed one after the other"
    KILL_IN_JOB = "killed in a long job"
    KILL_IN_RESULT = "killed in a long result"


# How long it takes to begin and end a fault of this kind, besides the time for which it is held.
_EFFORT_S = {
    Kind.KILL: 3,
    Kind.FREEZE: 1,
    Kind.RESTART: 5,
    Kind.CUT: 2,
    Kind.AWAY: 4,
    Kind.EMPTY: 6,
    Kind.IN_TURN: 4,
    Kind.KILL_IN_JOB: 20,
    Kind.KILL_IN_RESULT: 14,
}
_OF_ANY_SERVICE = (Kind.KILL, Kind.FREEZE, Kind.RESTART, Kind.CUT)


@dataclass(frozen=True)
class Fault:
    kind: Kind
    # The names of one or two containers.
    containers: tuple[str, ...]
    hold_s: float = 0
    # When it begins, counted from the first job.
    at_s: float = 0

    @property
    def slot_s(self) -> float:
        return self.hold_s + _EFFORT_S[self.kind] + CALM_S

    def __str__(self) -> str:
        held = f" for {self.hold_s:.0f} s" if self.kind in (Kind.FREEZE, Kind.CUT) else ""
        return f"{' and '.join(self.containers)} {self.kind}{held}"


def nodes_of(containers: Iterable[str]) -> list[str]:
    """The nodes of the queue, if it has several. Any one of them may end, and any two one after the other."""
    nodes = sorted(name for name in containers if name.startswith("queue"))
    return nodes if len(nodes) > 1 else []


def schedule(seed: int, seconds: float, containers: Sequence[str], only: Kind | None = None) -> list[Fault]:
    """The faults of a run, one after the other, of all kinds or of one. Every fault of the deck is drawn once before
    one is drawn again.
    """
    rng = random.Random(seed)
    names = sorted(containers)
    nodes = nodes_of(names)
    in_deck = [Fault(kind, (name,)) for kind in _OF_ANY_SERVICE for name in names]
    in_deck += [Fault(Kind.EMPTY, (node,)) for node in nodes]
    in_deck += [Fault(Kind.IN_TURN, pair) for pair in permutations(nodes, 2)]
    pairs = [pair for pair in combinations(names, 2) if not set(pair) <= set(nodes)]
    if only is not None:
        in_deck, pairs = [fault for fault in in_deck if fault.kind == only], []
        if not in_deck:
            raise ValueError(f"nothing here can be {only}")
    chosen = [
        Fault(kind, (rng.choice(of_service),))
        for kind, service in ((Kind.KILL_IN_JOB, "calculator"), (Kind.KILL_IN_RESULT, "websocket"))
        if only is None and (of_service := [name for name in names if name.startswith(service)])
    ]
    queues = [name for name in names if name.startswith("queue")]
    if seconds >= _WITH_ABSENCE_S and queues and only is None:
        chosen.append(Fault(Kind.AWAY, (rng.choice(queues),), _AWAY_S))
    left_s = seconds - _HEAD_S - _TAIL_S - sum(fault.slot_s for fault in chosen)
    deck: list[Fault] = []
    while True:
        if not deck:
            deck = [_held(fault, rng) for fault in in_deck]
            rng.shuffle(deck)
        if pairs and rng.randrange(_PAIR_ONE_IN) == 0:
            fault = _held(Fault(rng.choice(_OF_ANY_SERVICE), rng.choice(pairs)), rng)
        else:
            fault = deck.pop()
        if fault.slot_s > left_s:
            break
        left_s -= fault.slot_s
        chosen.append(fault)
    rng.shuffle(chosen)
    at_s: float = _HEAD_S
    planned = []
    for fault in chosen:
        planned.append(replace(fault, at_s=at_s))
        at_s += fault.slot_s
    return planned


def _held(fault: Fault, rng: random.Random) -> Fault:
    held = {Kind.FREEZE: _FREEZE_S, Kind.CUT: _CUT_S}.get(fault.kind)
    return fault if held is None else replace(fault, hold_s=round(rng.uniform(*held), 1))


@dataclass
class Container:
    name: str
    id: str
    # The networks that it has been cut from, with its aliases there.
    _left: dict[str, list[str]] = field(default_factory=dict)

    def begin(self, kind: Kind) -> None:
        beginnings: dict[Kind, Callable[[], object]] = {
            Kind.FREEZE: self._freeze,
            Kind.RESTART: lambda: _docker("restart", self.id),
            Kind.CUT: self._cut,
            # Docker does not start again what it has killed itself.
            Kind.AWAY: lambda: _docker("kill", self.id),
            Kind.EMPTY: self._empty,
        }
        beginnings.get(kind, self._kill)()

    def end(self, kind: Kind) -> None:
        """Returns when the container runs again as before the fault. Whether it works is another question."""
        endings: dict[Kind, Callable[[], object]] = {
            Kind.FREEZE: lambda: _docker("unpause", self.id),
            Kind.CUT: self._connect,
            Kind.AWAY: lambda: _docker("start", self.id),
            Kind.EMPTY: lambda: _docker("start", self.id),
        }
        if kind in endings:
            endings[kind]()

    def is_whole(self) -> bool:
        """Whether a node of the queue has up-to-date copies of all that it is to have."""
        healthz = "http://127.0.0.1:8222/healthz"
        with suppress(RuntimeError):
            _docker("exec", self.id, "wget", "-q", "-T", "2", "-O", "/dev/null", healthz)
            return True
        return False

    def _empty(self) -> None:
        _docker("kill", self.id)
        image = self._inspect()["Image"]
        _docker("run", "--rm", "--volumes-from", self.id, "--entrypoint", "sh", image, "-c", "rm -rf /data/*")

    def _freeze(self) -> None:
        # On a busy machine the kernel may not have stopped all processes in time; Docker lets them go on then.
        for _ in range(_FREEZE_ATTEMPTS - 1):
            with suppress(RuntimeError):
                _docker("pause", self.id)
                return
        _docker("pause", self.id)

    def _kill(self) -> None:
        """As the kernel would do it: Docker has not been asked to, so it starts the container again."""
        before = self._running()
        os.kill(before["Pid"], signal.SIGKILL)
        self._running(started_after=before["StartedAt"])

    def _running(self, started_after: str | None = None) -> dict[str, Any]:
        """The state of the container once it runs, and has been started again if it is to be."""
        deadline = time.monotonic() + _COMES_BACK_WITHIN_S
        while True:
            state: dict[str, Any] = self._inspect()["State"]
            # A container that does not run has process 0, which would stand for this process's own group.
            if state["Running"] and state["Pid"] > 0 and state["StartedAt"] != started_after:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not run within {_COMES_BACK_WITHIN_S} s")
            time.sleep(_LOOK_EVERY_S)

    def _cut(self) -> None:
        for name, network in self._inspect()["NetworkSettings"]["Networks"].items():
            self._left[name] = network["Aliases"] or []
            _docker("network", "disconnect", name, self.id)

    def _connect(self) -> None:
        while self._left:
            name, aliases = self._left.popitem()
            # Docker adds the container's own id itself.
            options = [part for alias in aliases if not self.id.startswith(alias) for part in ("--alias", alias)]
            _docker("network", "connect", *options, name, self.id)

    def _inspect(self) -> dict[str, Any]:
        inspected: list[dict[str, Any]] = json.loads(_docker("inspect", self.id))
        return inspected[0]


def containers(project: str) -> dict[str, Container]:
    """The containers of a Compose project by name: the service's, with a number where a service has several."""
    label = "com.docker.compose"
    columns = [f'{{{{.Label "{label}.{name}"}}}}' for name in ("service", "container-number")]
    filters = [f"label={label}.project={project}", f"label={label}.oneoff=False"]
    options = [part for condition in filters for part in ("--filter", condition)]
    listed = _docker("ps", "--no-trunc", *options, "--format", " ".join(["{{.ID}}", *columns]))
    found = [line.split() for line in listed.splitlines()]
    services = [service for _, service, _ in found]
    named = [
        Container(service if services.count(service) == 1 else f"{service}-{number}", id)
        for id, service, number in found
    ]
    return {container.name: container for container in sorted(named, key=lambda container: container.name)}


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
