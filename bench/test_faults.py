"""Which faults a seed chooses, and what is told about them. Docker is a script here."""

from itertools import pairwise, permutations
from pathlib import Path

import pytest

from bench import faults_page
from bench.chaos import PAUSE_LIMIT_S, RECOVERY_LIMIT_S, as_before, longest_pause, problems, reopened
from bench.faults import CALM_S, Kind, containers, schedule
from bench.faults_page import CrowdReport, FaultRun, Head, Injected, Report, Slot
from bench.figures import Times

SERVICES = ("calculator", "nginx", "queue", "web", "websocket")
NODES = ("queue", "queue-2", "queue-3")
CLUSTER = (*NODES, "calculator-1", "calculator-2", "nginx", "web-1", "web-2")
TIMES: Times = {"p50_us": 1e3, "p90_us": 2e3, "p99_us": 3e3, "p99_9_us": 4e3, "max_us": 5e3}


def report(slowest_ms: list[int | None], findings: dict[str, int] | None = None) -> Report:
    timeline: list[Slot] = [{"jobs": 10, "slowest_ms": slowest} for slowest in slowest_ms]
    return {
        "jobs": 1000,
        "long_jobs": 10,
        "accepted": 1000,
        "done": 999,
        "failed": 1,
        "reasons": {"it was interrupted": 1},
        "findings": findings or {},
        "examples": [],
        "posts": 1100,
        "refused": {"503": 7},
        "not_answered": 3,
        "repeats_of_accepted": 40,
        "sockets": 60,
        "cuts": 5,
        "accepted_after": TIMES,
        "ended_after": TIMES,
        "long_ended_after": TIMES,
        "slot_ms": 100,
        "timeline": timeline,
        "pauses": [{"began_s": 1.5, "lasted_s": 8}, {"began_s": 20, "lasted_s": 12}],
    }


def injected(recovered_s: float | None, containers: list[str] | None = None) -> Injected:
    return {
        "kind": Kind.KILL,
        "containers": containers or ["web"],
        "met": True,
        "began_s": 1,
        "ended_s": 2,
        "recovered_s": recovered_s,
        "as_before_s": recovered_s,
        "pause_s": 0.75,
        "reopened": None,
        "most_reopened": None,
    }


def a_run(faults: list[Injected], findings: dict[str, int] | None = None) -> FaultRun:
    return {
        "seed": 7,
        "containers": list(SERVICES),
        "planned": len(faults),
        "injected": faults,
        "report": report([1], findings),
        "crowd": None,
    }


def test_a_seed_always_gives_the_same_faults() -> None:
    assert schedule(7, 240, SERVICES) == schedule(7, 240, SERVICES[::-1])
    assert schedule(7, 240, SERVICES) != schedule(8, 240, SERVICES)


@pytest.mark.parametrize("seed", range(20))
def test_faults_follow_one_another_with_time_to_recover(seed: int) -> None:
    faults = schedule(seed, 240, SERVICES)
    for fault, following in pairwise(faults):
        assert following.at_s - fault.at_s - fault.hold_s > CALM_S
    assert 6 <= len(faults) <= 24
    assert faults[-1].at_s + faults[-1].slot_s < 240


@pytest.mark.parametrize("seed", range(20))
def test_a_run_kills_a_long_job_and_a_long_result(seed: int) -> None:
    faults = {(fault.kind, fault.containers) for fault in schedule(seed, 240, SERVICES)}
    assert {(Kind.KILL_IN_JOB, ("calculator",)), (Kind.KILL_IN_RESULT, ("websocket",))} <= faults


def test_only_a_longer_run_does_without_the_queue_for_more_than_two_minutes() -> None:
    assert Kind.AWAY not in [fault.kind for fault in schedule(7, 240, SERVICES)]
    (away,) = [fault for fault in schedule(7, 600, SERVICES) if fault.kind == Kind.AWAY]
    assert away.containers == ("queue",)
    assert away.hold_s == 150


def test_a_long_run_disturbs_everything_in_every_way() -> None:
    single = {(fault.kind, fault.containers[0]) for fault in schedule(7, 1200, SERVICES) if len(fault.containers) == 1}
    for kind in (Kind.KILL, Kind.FREEZE, Kind.RESTART, Kind.CUT):
        assert {(kind, service) for service in SERVICES} <= single


@pytest.mark.parametrize("seed", range(20))
def test_never_are_two_nodes_disturbed_at_once(seed: int) -> None:
    for fault in schedule(seed, 1200, CLUSTER):
        nodes = [name for name in fault.containers if name in NODES]
        assert len(nodes) < 2 or fault.kind is Kind.IN_TURN, fault


def test_a_long_run_empties_every_node_and_kills_each_after_each_other() -> None:
    faults = schedule(7, 2400, CLUSTER)
    assert {fault.containers for fault in faults if fault.kind is Kind.EMPTY} == {(node,) for node in NODES}
    assert {fault.containers for fault in faults if fault.kind is Kind.IN_TURN} == set(permutations(NODES, 2))


def test_a_run_may_have_one_kind_of_faults() -> None:
    assert {fault.kind for fault in schedule(7, 1200, CLUSTER, Kind.IN_TURN)} == {Kind.IN_TURN}
    with pytest.raises(ValueError, match="one after the other"):
        schedule(7, 1200, SERVICES, Kind.IN_TURN)


def test_one_node_of_several_is_chosen() -> None:
    nodes = ("queue-1", "queue-2", "queue-3", "web")
    (away,) = [fault for fault in schedule(7, 600, nodes) if fault.kind == Kind.AWAY]
    assert away.containers[0] in nodes[:3]


def test_containers_are_found_by_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    lines = "a1 queue 1\\nb2 calculator 2\\nc3 calculator 1\\n"
    docker.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked; printf '{lines}'\n", encoding="ascii")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = containers("a-project")
    assert {name: container.id for name, container in found.items()} == {
        "calculator-1": "c3",
        "calculator-2": "b2",
        "queue": "a1",
    }
    assert "label=com.docker.compose.project=a-project" in (tmp_path / "asked").read_text(encoding="ascii")


def test_all_is_as_before_when_a_whole_second_was_fast() -> None:
    slow = [2000] * 15
    assert as_before(report([*slow, *[20] * 5, 1500, *[20] * 20]), 0.5, 4.0) == pytest.approx(1.6)
    assert as_before(report([20] * 40), 0.55, 4.0) == 0
    assert as_before(report([20] * 15 + [None] * 25), 1.0, 4.0) is None


def test_what_was_found_and_late_recoveries_are_problems() -> None:
    assert problems(a_run([injected(0.5)])) == []
    assert problems(a_run([injected(0.5)], {"lost": 2})) == ["2 lost"]
    for recovered_s in (None, RECOVERY_LIMIT_S + 1):
        assert len(problems(a_run([injected(0.5), injected(recovered_s)]))) == 1


def test_a_long_pause_is_a_problem_only_where_another_node_could_have_led() -> None:
    long = {**injected(0.5, ["queue"]), "pause_s": PAUSE_LIMIT_S + 1}
    alone = a_run([long])  # type: ignore[list-item]
    assert problems(alone) == []
    assert len(problems({**alone, "containers": list(CLUSTER)})) == 1


def test_a_socket_of_a_crowd_that_missed_something_is_a_problem() -> None:
    run = a_run([injected(0.5)])
    crowd: CrowdReport = {
        "sockets": 100, "ends": 500, "missed": 0, "unread": 0, "gaps": 0, "not_opened": 7, "reopened_by_second": [0, 40, 60],
    }  # fmt: skip
    assert problems({**run, "crowd": crowd}) == []
    assert problems({**run, "crowd": {**crowd, "missed": 1, "unread": 2, "gaps": 3}}) == [
        "1 of 100 sockets missed",
        "2 of 100 sockets unread",
        "3 gaps in the crowd",
    ]
    assert reopened(crowd, began_s=0.5, until_s=1.9) == [0, 40]
    assert reopened(crowd, began_s=-5, until_s=20) == [0, 40, 60]


def test_sockets_of_a_server_that_was_told_to_end_may_not_come_back_together() -> None:
    def came_back(most: int, kind: Kind = Kind.RESTART, service: str = "websocket-1", count: int = 10_000) -> int:
        fault: Injected = {**injected(0.5, [service]), "kind": kind, "reopened": count, "most_reopened": most}
        return len(problems(a_run([fault])))

    assert came_back(4000) == 0
    assert came_back(4001) == 1
    # Nobody could tell the clients, or there are so few that they need not wait.
    assert came_back(10_000, Kind.KILL) == 0
    assert came_back(10_000, service="nginx") == 0
    assert came_back(1000, count=1000) == 0


def test_a_pause_belongs_to_the_fault_that_it_overlaps() -> None:
    assert longest_pause(report([]), began_s=9, until_s=20) == 8
    assert longest_pause(report([]), began_s=9.5, until_s=20) == 0
    assert longest_pause(report([]), began_s=2, until_s=21) == 12


def test_the_page_shows_the_worst_of_each_kind() -> None:
    head: Head = {
        "date": "2026-01-01",
        "commit": "abc1234",
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "memory_gb": 8,
            "kernel": "Linux",
            "load_average_before": 0.5,
            "fsync": {**TIMES, "writes": 100},
        },
    }
    faults = [injected(0.25), injected(1.5), injected(0.1, ["queue", "web"]), injected(None, ["nginx"])]
    page = faults_page.render([a_run(faults, {"twice": 3, "gap": 1})], head)
    for row in (
        "| 7 | 4 | 1000 | 10 | 1000 | 999 | 1 | 0 | 3 | 0 | 0 | 1 gap | 40 | 7 with 503 | 3 | 60 |",
        "| web killed | 2 | 1.50 s | 1.50 s | 0.75 s | — |",
        "| queue and web killed | 1 | 0.10 s | 0.10 s | 0.75 s | — |",
        "| nginx killed | 1 | not before the next fault | not before the next fault | 0.75 s | — |",
        "| seed 7: 202 | 1.00 ms | 2.00 ms | 3.00 ms | 5.00 ms |",
    ):
        assert row in page.splitlines()
