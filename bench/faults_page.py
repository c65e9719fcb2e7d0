"""Renders docs/faults.md from what `make chaos` saw."""

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from bench.figures import Machine, Times
from bench.page import NOTHING, describe, paragraph, significant, table, time

# The findings that have a column of their own, and its title.
_FINDINGS = {"lost": "lost", "twice": "twice", "wrong": "wrong", "missed": "missed"}


class Slot(TypedDict):
    jobs: int
    # None where a job did not end.
    slowest_ms: int | None


class Pause(TypedDict):
    """A time in which no job was accepted, counted from the first job."""

    began_s: float
    lasted_s: float


class Report(TypedDict):
    """The part of the output of `bench audit` that is used."""

    jobs: int
    long_jobs: int
    accepted: int
    done: int
    failed: int
    # Why, and how many.
    reasons: dict[str, int]
    findings: dict[str, int]
    # The first few findings, with their details.
    examples: list[dict[str, Any]]
    posts: int
    refused: dict[str, int]
    not_answered: int
    repeats_of_accepted: int
    sockets: int
    cuts: int
    accepted_after: Times
    ended_after: Times
    long_ended_after: Times
    slot_ms: int
    timeline: list[Slot]
    pauses: list[Pause]


class CrowdReport(TypedDict):
    """The output of `bench crowd`."""

    sockets: int
    ends: int
    missed: int
    unread: int
    gaps: int
    not_opened: int
    reopened_by_second: list[int]


class Injected(TypedDict):
    """A fault. Times count from the first job, or from the end of the fault where they are called after something."""

    kind: str
    containers: list[str]
    # Whether it met what it was to disturb.
    met: bool
    began_s: float
    ended_s: float
    # None if that did not happen.
    recovered_s: float | None
    as_before_s: float | None
    # The longest time without an accepted job, until the next fault.
    pause_s: float
    # How many sockets of a crowd were opened again until the next fault, and how many in one second, at most.
    reopened: int | None
    most_reopened: int | None


class FaultRun(TypedDict):
    seed: int
    # All that were there to be disturbed.
    containers: list[str]
    planned: int
    injected: list[Injected]
    report: Report
    crowd: CrowdReport | None


class Head(TypedDict):
    date: str
    commit: str
    machine: Machine


def render(runs: Sequence[FaultRun], head: Head) -> str:
    machine = head["machine"]
    seeds = ", ".join(str(run["seed"]) for run in runs)
    introduction = paragraph(
        f"Written by `make chaos` on {head['date']}, at commit {head['commit']}, with the "
        f"{'seeds' if len(runs) > 1 else 'seed'} {seeds}, on {', '.join(runs[0]['containers'])}. The next run replaces "
        "this page."
    )
    repeating = paragraph(
        f"While clients post jobs at a fixed rate, services are disturbed, one or two at a time. A seed decides what is "
        f"posted and what is disturbed in which order, so `make chaos SEED={runs[0]['seed']}` repeats a run. The machine "
        f"decides the rest: the moment at which a fault meets a job is never the same twice."
    )
    return f"""# Faults

{introduction}

- {describe(machine)}, {machine["memory_gb"]:.0f} GB of memory
- load average before the run: {machine["load_average_before"]:.2f}

{repeating}

## What became of the jobs

{paragraph(_JOBS)}

{jobs(runs)}

{reasons(runs)}

{paragraph(_TIMES)}

{times(runs)}

## How long it takes to recover

{paragraph(_RECOVERY)}

{recovery(runs)}

{crowds(runs)}## What the faults are

- *killed*: the main process gets SIGKILL, from outside of Docker, whose restart policy then applies. The fault
  is over when the next process has started. *In a long job* and *in a long result* mean that this happens just after
  a client was told that a job of ten million was begun, or received the first part of such a value.
- *frozen*: `docker pause` for {_FREEZE}, longer than the 10 s after which a job is given to another calculator. All
  connections stay open.
- *restarted*: `docker restart`, that is, SIGTERM and a new process.
- *cut from the network*: `docker network disconnect` from all networks for {_CUT}, then `connect`. Neither side
  of an open connection is told.
- *away for 150 s*: killed, and not started again before. Only in runs of at least eight minutes.
- *killed and its disk emptied*, *killed one after the other*: only where the queue has several nodes. The second node
  is killed as soon as the first one runs again. After each fault of any kind the next one waits until every node has all of
  each stream.
"""


_FREEZE = "12 to 15 s"
_CUT = "3 to 12 s"
_JOBS = (
    "Private and public clients post small and long jobs, each until it is accepted, and post some again that were "
    "accepted. Each follows its channel over one socket after the other, some of which are cut on purpose. At the end "
    "everything settles, each client posts a last job, and its channel is read again from the place before the first job "
    "up to that one. A job that was accepted and has no end there is lost; one that has two ended twice. Every digit is "
    "checked. A job is missed if a client's sockets did not receive what the log holds."
)
_TIMES = (
    "Times count from when a POST was due, whether or not its client was still busy with the one before. They "
    "contain all faults."
)
_RECOVERY = (
    "Times count from the end of the fault; the worst of each kind is shown. A new client is served when it has opened "
    "a socket, has got a 202, and has received its result; one tries every 100 ms. That has to happen within 5 s. "
    "All clients are served as before at the beginning of the first second in which every small job ended within a second. "
    "That is later where jobs have piled up, and where clients hold sockets whose other end is gone without a word. After "
    "that comes the longest time in which no job was accepted from anyone, from the beginning of the fault on; half a "
    "second or less counts as none. The last column is about the sockets that `--crowd` adds."
)


def jobs(runs: Sequence[FaultRun]) -> str:
    header = [
        "seed",
        "faults",
        "jobs",
        "of them long",
        "accepted",
        "done",
        "failed",
        *_FINDINGS.values(),
        "other findings",
        "posted again",
        "POSTs refused",
        "not answered",
        "sockets",
    ]
    return table(header, [_job_row(run) for run in runs])


def _job_row(run: FaultRun) -> list[str]:
    report = run["report"]
    findings = report["findings"]
    others = [f"{count} {name}" for name, count in findings.items() if name not in _FINDINGS]
    return [
        str(run["seed"]),
        str(len(run["injected"])),
        *(str(count) for count in (report["jobs"], report["long_jobs"], report["accepted"])),
        *(str(count) for count in (report["done"], report["failed"])),
        *(str(findings.get(name, 0)) for name in _FINDINGS),
        ", ".join(others).replace("_", " ") or NOTHING,
        str(report["repeats_of_accepted"]),
        ", ".join(f"{count} with {status}" for status, count in report["refused"].items()) or NOTHING,
        str(report["not_answered"]),
        str(report["sockets"]),
    ]


def reasons(runs: Sequence[FaultRun]) -> str:
    failed = [
        f"{count} with seed {run['seed']}: “{reason}”"
        for run in runs
        for reason, count in run["report"]["reasons"].items()
    ]
    return paragraph(
        "A job may fail, with its reason, as long as it does so once: " + "; ".join(failed or ["none did"]) + "."
    )


def times(runs: Sequence[FaultRun]) -> str:
    rows = []
    for run in runs:
        report = run["report"]
        for label, quantiles in (
            ("202", report["accepted_after"]),
            ("end of a small job", report["ended_after"]),
            ("end of a long job", report["long_ended_after"]),
        ):
            us = [quantiles["p50_us"], quantiles["p90_us"], quantiles["p99_us"], quantiles["max_us"]]
            rows.append([f"seed {run['seed']}: {label}", *map(time, us)])
    return table(["", "p50", "p90", "p99", "max"], rows)


def recovery(runs: Sequence[FaultRun]) -> str:
    faults: dict[tuple[str, str], list[Injected]] = {}
    for run in runs:
        for fault in run["injected"]:
            faults.setdefault((fault["kind"], _concerned(fault)), []).append(fault)
    rows = [
        [
            f"{concerned} {kind}",
            str(len(alike)),
            _worst(fault["recovered_s"] for fault in alike),
            _worst(fault["as_before_s"] for fault in alike),
            _worst(fault["pause_s"] for fault in alike),
            _most(fault["most_reopened"] for fault in alike),
        ]
        for (kind, concerned), alike in sorted(faults.items())
    ]
    header = [
        "fault",
        "times",
        "a new client is served after",
        "all clients as before after",
        "no job accepted for",
        "sockets back in one second",
    ]
    return table(header, rows)


def crowds(runs: Sequence[FaultRun]) -> str:
    """The fate of the sockets that only listen, if there were any."""
    told = [
        f"With seed {run['seed']}, {crowd['sockets']} further sockets stayed open. Together they received {crowd['ends']} "
        f"ends of jobs; {crowd['missed']} missed some, {crowd['unread']} did not come to the end, and {crowd['gaps']} were "
        f"told of a gap. They were opened again {sum(crowd['reopened_by_second'])} times, and "
        f"{crowd['not_opened']} attempts failed."
        for run in runs
        if (crowd := run["crowd"])
    ]
    return "".join(f"{paragraph(sentence)}\n\n" for sentence in told)


def _most(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return str(max(known)) if known else NOTHING


def _concerned(fault: Injected) -> str:
    return " and ".join(fault["containers"])


def _worst(times_s: Iterable[float | None]) -> str:
    """The longest of the times, or that one of them never came."""
    worst_s = 0.0
    for time_s in times_s:
        if time_s is None:
            return "not before the next fault"
        worst_s = max(worst_s, time_s)
    return f"{significant(worst_s)} s"
