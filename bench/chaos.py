"""The command behind `make chaos`: disturbs the five services while jobs are posted, and accounts for every job."""

import argparse
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self, cast

from bench import faults_page, measure
from bench.faults import CALM_S, Container, Fault, Kind, containers, nodes_of, schedule
from bench.faults_page import CrowdReport, FaultRun, Head, Injected, Report
from bench.systems import Project, Unavailable, compose_is_ready, free_port

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
DRIVER = TARGET / "release" / "bench"
# The five services and a cluster can be disturbed at the same time.
NAME = "chaos-cluster" if os.environ.get("CLUSTER") else "chaos"
# Where a run's figures and, if it found something, the services' logs are put.
ARTIFACTS = TARGET / NAME

RATE = 100
LONG_EVERY_S = 3
# A new client is to be served within 5 s. A machine that does other work as well gets twice that.
RECOVERY_LIMIT_S = 10
# A stream without a leader has a new one within 9 s (docs/scaling.md), and a job passes through two streams.
NODE_RECOVERY_LIMIT_S = 20
# How long no job may be accepted when one node of several is disturbed.
PAUSE_LIMIT_S = 10
# Over how long a websocket process spreads the end of its sockets (DRAIN), from how many sockets on it takes that
# long, and how many times as many as evenly may come back in a second.
DRAIN_S = 5
SPREAD_SOCKETS = 2500
PEAK_LIMIT = 2
_WHOLE_PATIENCE_S = 120
_RECOVERY_PATIENCE_S = 60
# How long to wait for a long job that is to be disturbed, and how long it has to be.
_LONG_JOB_S = 40
_LONG_N = 10_000_000
# A second of jobs, each of which ended within a second of when it was due, is as before.
_AS_BEFORE_MS = 1000
_AS_BEFORE_SLOTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Posts jobs at a fixed rate while services are killed, frozen, restarted and cut from the network, "
        "then reads the whole log. Exit code 1 if a job was lost, ended twice or wrongly, or if a new client had to wait "
        "too long after a fault. With CLUSTER=yes the queue has three nodes, which are disturbed one at a time, also by "
        "emptying their disks, and there are two of each service.",
    )
    parser.add_argument("--seed", type=int, help="decides jobs and faults; without it a new one is drawn and printed")
    parser.add_argument(
        "--minutes",
        type=float,
        default=4,
        help="how long each run posts jobs; from 8 on, the queue is once away for 150 s",
    )
    parser.add_argument("--runs", type=int, default=1, help="how many runs, with one seed after the other")
    parser.add_argument(
        "--only",
        type=lambda name: Kind[name],
        metavar="KIND",
        help=f"one kind of faults: {', '.join(Kind.__members__)}",
    )
    parser.add_argument(
        "--crowd",
        type=int,
        metavar="SOCKETS",
        default=0,
        help="keep so many further sockets open, which must not miss anything. Then no job is long",
    )
    parser.add_argument("--rate", type=int, default=RATE, help="jobs per second")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write what happened to this Markdown page")
    parser.add_argument(
        "--project",
        metavar="NAME",
        help="a running Compose project, in which nothing else may be going on. Without it, the five services are started. "
        "COMPOSE_FILE, as for Compose itself, names other files",
    )
    parser.add_argument("--url", help="where that project answers")
    args = parser.parse_args()
    if (args.project is None) != (args.url is None):
        parser.error("--project and --url belong together")
    load_average = os.getloadavg()[0]
    first_seed = secrets.randbelow(10**6) if args.seed is None else args.seed

    # So that SIGTERM also stops the systems that were started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        build()
        with running(args.project, args.url) as (project, url):
            runs = []
            for seed in range(first_seed, first_seed + args.runs):
                runs.append(disturbed(seed, args, project, url))
                (ARTIFACTS / f"seed-{seed}.json").write_text(json.dumps(runs[-1], indent=1) + "\n", encoding="utf-8")
                if problems(runs[-1]):
                    save_logs(project, seed)
    except (Unavailable, subprocess.CalledProcessError, RuntimeError, TimeoutError, ValueError) as error:
        sys.exit(f"chaos: {error}")
    text = faults_page.render(runs, head(load_average))
    if args.page:
        args.page.write_text(text, encoding="utf-8")
        say(f"written: {args.page}")
    print(text)
    found = [f"seed {run['seed']}: {problem}" for run in runs for problem in problems(run)]
    for problem in found:
        say(problem)
    for run in runs:
        for example in run["report"]["examples"]:
            say(f"seed {run['seed']}: {json.dumps(example)}")
    sys.exit(bool(found))


def say(message: str) -> None:
    print(f"chaos: {message}", file=sys.stderr, flush=True)


def build() -> None:
    environment = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "never"}
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "bench"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)


@contextmanager
def running(project: str | None, url: str | None) -> Iterator[tuple[str, str]]:
    """The name and the address of the project given, or of the five services in one of their own."""
    if project is not None and url is not None:
        yield project, url
        return
    if not compose_is_ready(ROOT):
        raise Unavailable("no Docker engine answers")
    # If Docker chose the port, it would choose a different one after a restart.
    address = f"127.0.0.1:{free_port()}"
    limits = ("POST_RATE", "POST_BURST", "REQUESTS_PER_ADDRESS", "SOCKETS_PER_ADDRESS")
    environment = {"LISTEN": address, "SYNC_INTERVAL": "always", **dict.fromkeys(limits, "30000")}
    five = Project(ROOT, suffix=f"-{NAME}", environment=environment)
    with five.removed_afterwards():
        say("starting the services")
        five.run("up")
        yield five.name, f"http://{address}"


def disturbed(seed: int, args: argparse.Namespace, project: str, url: str) -> FaultRun:
    """One run: the jobs and the faults that belong to the seed."""
    seconds, rate = args.minutes * 60, args.rate
    targets = containers(project)
    planned = schedule(seed, seconds, list(targets), args.only)
    say(f"seed {seed}: {seconds:.0f} s, {rate} jobs per second, {len(planned)} faults of {', '.join(targets)}")
    for fault in planned:
        say(f"  {fault.at_s:4.0f} s  {fault}")
    # A long public result for each of ten thousand sockets would be all that there is to do for minutes.
    long_every_s = 2 * seconds if args.crowd else LONG_EVERY_S
    with crowd_of(args.crowd, seconds, url) as crowd, Driver(seed, seconds, rate, long_every_s, url) as driver:
        injected: list[Injected] = []
        for fault in planned:
            # Where the last one took longer than planned, the system still gets its time to be as before.
            calm_s = injected[-1]["ended_s"] + CALM_S if injected else 0
            driver.wait_until(max(fault.at_s, calm_s))
            if driver.now_s() + fault.slot_s > seconds:
                say(f"no time left for {fault}")
                continue
            injected.append(inject(fault, targets, driver, url))
        report = driver.report()
        crowded = crowd.report() if crowd else None
        crowd_s = crowd.began_unix_s - driver.began_unix_s if crowd else 0
    for done, following in zip(injected, [*injected[1:], None], strict=True):
        until_s = seconds if following is None else following["began_s"]
        done["as_before_s"] = as_before(report, done["ended_s"], until_s)
        done["pause_s"] = longest_pause(report, done["began_s"], until_s)
        if crowded:
            by_second = reopened(crowded, done["began_s"] - crowd_s, until_s - crowd_s)
            done["reopened"], done["most_reopened"] = sum(by_second), max(by_second, default=0)
    return {
        "seed": seed,
        "containers": list(targets),
        "injected": injected,
        "planned": len(planned),
        "report": report,
        "crowd": crowded,
    }


class Program:
    """A command of `bench` that writes an event a line, the last of which is its report."""

    def __init__(self, command: str, options: dict[str, str | float], first: str) -> None:
        arguments = [str(part) for option in options.items() for part in option]
        self._first = first
        self._process = subprocess.Popen([DRIVER, command, *arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._report: dict[str, Any] | None = None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            event = self._events.get(timeout=_RECOVERY_PATIENCE_S)
        except queue.Empty:
            raise TimeoutError(f"there was nothing that had {self._first}") from None
        self.began_unix_s: float = event[f"{self._first}_unix_s"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _ended(self) -> dict[str, Any]:
        """Waits for the report."""
        self._process.wait()
        self._reader.join()
        if self._report is None:
            raise RuntimeError(f"what had {self._first} ended with {self._process.returncode} and without a report")
        return self._report

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            event = json.loads(line)
            if event["event"] == "report":
                self._report = event
            else:
                self._events.put(event)


class Driver(Program):
    """`bench audit`, running."""

    def __init__(self, seed: int, seconds: float, rate: int, long_every_s: float, url: str) -> None:
        options: dict[str, str | float] = {
            "--url": url,
            "--seed": seed,
            "--seconds": round(seconds),
            "--rate": rate,
            "--long-every": round(long_every_s),
        }
        super().__init__("audit", options, "started")

    def now_s(self) -> float:
        """The time since the first job was due."""
        return time.time() - self.began_unix_s

    def wait_until(self, at_s: float) -> None:
        time.sleep(max(0.0, at_s - self.now_s()))

    def wait_for_long_job(self, event: str) -> bool:
        """Waits until a long job is told of, as `started` or as `part`. Returns whether one was."""
        while not self._events.empty():
            self._events.get()
        deadline = time.monotonic() + _LONG_JOB_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                told = self._events.get(timeout=left)
            except queue.Empty:
                break
            if told["event"] == event and told["n"] >= _LONG_N:
                return True
        return False

    def report(self) -> Report:
        """Waits until every job has been accounted for."""
        return cast(Report, self._ended())


class Crowd(Program):
    """`bench crowd`, running: sockets that stay open until no more jobs are posted."""

    def __init__(self, sockets: int, seconds: float, url: str) -> None:
        super().__init__("crowd", {"--url": url, "--sockets": sockets, "--seconds": round(seconds)}, "gathered")

    def report(self) -> CrowdReport:
        """Waits until every socket has received the last job."""
        return cast(CrowdReport, self._ended())


def crowd_of(sockets: int, seconds: float, url: str) -> AbstractContextManager[Crowd | None]:
    return Crowd(sockets, seconds, url) if sockets else nullcontext()


def reopened(crowd: CrowdReport, began_s: float, until_s: float) -> list[int]:
    """How many sockets were opened again in each second between two times since the crowd gathered."""
    return crowd["reopened_by_second"][max(0, int(began_s)) : int(until_s) + 1]


def inject(fault: Fault, targets: dict[str, Container], driver: Driver, url: str) -> Injected:
    """Begins a fault, ends it, and waits until a new client is served again."""
    aim = {Kind.KILL_IN_JOB: "started", Kind.KILL_IN_RESULT: "part"}.get(fault.kind)
    met = aim is None or driver.wait_for_long_job(aim)
    concerned = [targets[name] for name in fault.containers]
    began_s = driver.now_s()
    # One after the other, where that is the fault.
    with ThreadPoolExecutor(1 if fault.kind is Kind.IN_TURN else len(concerned)) as pool:
        try:
            list(pool.map(lambda container: container.begin(fault.kind), concerned))
            time.sleep(fault.hold_s)
        finally:
            list(pool.map(lambda container: container.end(fault.kind), concerned))
    ended_s = driver.now_s()
    recovered_s = recover(url)
    # Another node must not be disturbed while only two have what was accepted.
    whole = wait_until_whole([targets[name] for name in nodes_of(targets)])
    told = "not " if recovered_s is None else f"{recovered_s:.2f} s after it was "
    say(f"{began_s:6.1f} s  {fault}{'' if met else ', but met no long job'}: {told}over at {ended_s:.1f} s")
    if not whole:
        raise TimeoutError(f"the queue's nodes did not have everything {_WHOLE_PATIENCE_S} s after {fault}")
    return {
        "kind": fault.kind,
        "containers": list(fault.containers),
        "met": met,
        "began_s": began_s,
        "ended_s": ended_s,
        "recovered_s": recovered_s,
        "as_before_s": None,
        "pause_s": 0,
        "reopened": None,
        "most_reopened": None,
    }


def wait_until_whole(nodes: list[Container]) -> bool:
    """Waits until every node of the queue has what it is to have. Returns whether that came."""
    deadline = time.monotonic() + _WHOLE_PATIENCE_S
    while not all(node.is_whole() for node in nodes):
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def recover(url: str) -> float | None:
    """How long it takes from now until a new client has posted a job and got its result."""
    command = [str(DRIVER), "recover", "--url", url, "--within", str(_RECOVERY_PATIENCE_S)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if done.returncode else json.loads(done.stdout)["recovered_us"] / 1e6


def as_before(report: Report, ended_s: float, until_s: float) -> float | None:
    """How long after a fault a whole second of jobs took no longer than usual; None if none did until then."""
    slot_s = report["slot_ms"] / 1e3
    first, last = int(ended_s / slot_s), int(until_s / slot_s)
    slots = report["timeline"][first:last]
    fast = [slot["slowest_ms"] is not None and slot["slowest_ms"] <= _AS_BEFORE_MS for slot in slots]
    for begin in range(len(fast) - _AS_BEFORE_SLOTS + 1):
        if all(fast[begin : begin + _AS_BEFORE_SLOTS]):
            return max(0.0, (first + begin) * slot_s - ended_s)
    return None


def longest_pause(report: Report, began_s: float, until_s: float) -> float:
    """The longest time in which no job was accepted, of those that overlap this one."""
    pauses = report["pauses"]
    return max(
        (
            pause["lasted_s"]
            for pause in pauses
            if pause["began_s"] < until_s and pause["began_s"] + pause["lasted_s"] > began_s
        ),
        default=0,
    )


def problems(run: FaultRun) -> list[str]:
    """The failures that a run found."""
    found = [f"{count} {finding}" for finding, count in run["report"]["findings"].items()]
    nodes = nodes_of(run["containers"])
    if crowd := run["crowd"]:
        found += [f"{crowd[what]} of {crowd['sockets']} sockets {what}" for what in ("missed", "unread") if crowd[what]]
        found += [f"{crowd['gaps']} gaps in the crowd"] if crowd["gaps"] else []
    for done in run["injected"]:
        of_nodes = set(done["containers"]) <= set(nodes)
        if of_nodes and done["pause_s"] > PAUSE_LIMIT_S:
            found.append(
                f"no job was accepted for {done['pause_s']:.1f} s when {done['containers']} had been {done['kind']}"
            )
        found += came_back_together(done)
        recovered_s = done["recovered_s"]
        if recovered_s is None or recovered_s > (NODE_RECOVERY_LIMIT_S if of_nodes else RECOVERY_LIMIT_S):
            after = "never" if recovered_s is None else f"only after {recovered_s:.1f} s"
            found.append(
                f"a new client was served {after} when {' and '.join(done['containers'])} had been {done['kind']}"
            )
    return found


def came_back_together(done: Injected) -> list[str]:
    """Whether too many clients of a websocket process that was shut down came back at a time."""
    told_to_end = done["kind"] == Kind.RESTART and all(name.startswith("websocket") for name in done["containers"])
    count, most = done["reopened"] or 0, done["most_reopened"] or 0
    if not told_to_end or count < SPREAD_SOCKETS or most <= PEAK_LIMIT * count / DRAIN_S:
        return []
    return [f"{most} of {count} sockets came back in one second when {done['containers']} had been {done['kind']}"]


def save_logs(project: str, seed: int) -> None:
    for container in containers(project).values():
        with (ARTIFACTS / f"seed-{seed}-{container.name}.log").open("w", encoding="utf-8") as file:
            subprocess.run(["docker", "logs", "--timestamps", container.id], stdout=file, stderr=file, check=True)
    say(f"the services' logs are in {ARTIFACTS}")


def head(load_average: float) -> Head:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git("rev-parse", "--short", "HEAD") + (" with changes" if changed else ""),
        "machine": measure.machine(measure.Driver(DRIVER), TARGET, load_average),
    }


if __name__ == "__main__":
    main()
