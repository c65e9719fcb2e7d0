"""The measurements of each system, and how often each is made. Nothing here is formatted; that is page.py's task."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench import compute, figures
from bench.systems import (
    FiveServices,
    PlainSystem,
    Running,
    Unavailable,
    binary,
    compose_is_ready,
    docker_disk,
    free_port,
    receiver,
    say,
    scraper,
)

T = TypeVar("T")
U = TypeVar("U")

LARGE_N = 100_000_000
IN_FLIGHT = 64
_FIRST_JOB_WITHIN_S = 60


@dataclass(frozen=True)
class Mode:
    """A way in which the standalone binary stores jobs, and the arguments that select it (see systems.binary)."""

    label: str
    arguments: tuple[str, ...] = ()


ON_DISK = Mode("on disk", ("--data", "{data}"))
MODES = (Mode("in memory", ("--in-memory",)), ON_DISK)


@dataclass(frozen=True)
class Scale:
    """How many there are of each service, or of the copies that a cluster keeps."""

    label: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def _three(service: str, *environment: tuple[str, str]) -> Scale:
    return Scale(f"three of {service}", ("--scale", f"{service}=3"), environment)


_ALL_CORES = f"0-{(os.cpu_count() or 1) - 1}"
SCALES = (Scale("one of each"), _three("web", ("WEB_CPUS", _ALL_CORES)), _three("calculator"), _three("websocket"))
COPIES = tuple(
    Scale(f"three nodes of the queue and two of each, {label}", (), (("QUEUE_REPLICAS", str(copies)),))
    for copies, label in ((1, "one copy"), (3, "three copies"))
)


@dataclass(frozen=True)
class Size:
    """How much is measured of everything."""

    starts: int = 21
    sockets: int = 10_000
    one_jobs: int = 20_000
    many_jobs: int = 200_000
    large_runs: int = 5
    services_one_jobs: int = 4000
    services_many_jobs: int = 10_000
    services_private_s: int = 10
    # Odd, so that one pair or round is in the middle.
    pairs: int = 5
    rounds: int = 3
    numbers: Sequence[int] = compute.NUMBERS
    arithmetic_s: float = compute.SECONDS


FULL = Size()
QUICK = Size(
    starts=5,
    sockets=1000,
    one_jobs=2000,
    many_jobs=20_000,
    large_runs=2,
    services_one_jobs=500,
    services_many_jobs=2000,
    services_private_s=2,
    pairs=3,
    rounds=1,
    numbers=(1000, 100_000, 10**6, 10**7),
    arithmetic_s=0.3,
)


@dataclass(frozen=True)
class Driver:
    """The driver, bench/src."""

    path: Path

    def load(self, url: str, in_flight: int, *options: str | Path) -> figures.Load:
        load: figures.Load = json.loads(self._run("load", "--url", url, "--in-flight", str(in_flight), *options))
        return load

    def idle(self, running: Running, sockets: int) -> figures.Idle:
        server = ("--url", running.url, "--pid", str(running.pid))
        idle: figures.Idle = json.loads(self._run("idle", *server, "--sockets", str(sockets)))
        return idle

    def large(self, url: str, runs: int, *options: str) -> figures.Large:
        number = ("--n", str(LARGE_N), "--runs", str(runs))
        large: figures.Large = json.loads(self._run("large", "--url", url, *number, *options))
        return large

    def fsync(self, directory: Path) -> figures.Fsync:
        fsync: figures.Fsync = json.loads(self._run("fsync", directory))
        return fsync

    def _run(self, *arguments: str | Path) -> str:
        return subprocess.run([self.path, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def machine(driver: Driver, directory: Path, load_average: float) -> figures.Machine:
    def value(file: str, name: str) -> str | None:
        lines = Path("/proc", file).read_text(encoding="ascii").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)

    memory = value("meminfo", "MemTotal")
    assert memory, "every Linux has it"
    return {
        # Not every architecture has a name there.
        "processor": value("cpuinfo", "model name") or platform.machine(),
        "cores": cores(),
        "memory_gb": int(memory.removesuffix("kB")) * 1024 / 1e9,
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average_before": load_average,
        "fsync": driver.fsync(directory),
    }


def cores() -> int:
    return len(os.sched_getaffinity(0))


def alone(example: Path, size: Size) -> figures.Alone:
    """F(n) without queue or socket. `example` is the fibonacci crate's example `seconds`."""
    return {
        "n": LARGE_N,
        "threads": cores(),
        "all_threads_s": compute.ours(example, LARGE_N, cores(), size.large_runs),
        "one_thread_s": compute.ours(example, LARGE_N, 1, size.large_runs),
    }


def binary_in_mode(driver: Driver, path: Path, mode: Mode, size: Size) -> figures.Mode:
    """All figures of one mode of the binary in `path`."""
    say(f"the binary, {mode.label}")
    start = start_ms(path, mode.arguments, size.starts)
    with binary(path, mode.arguments) as running:
        idle = driver.idle(running, size.sockets)
    with binary(path, mode.arguments) as running:
        one, many, many_private = _loads(driver, running, size)
    with binary(path, mode.arguments) as running:
        large = driver.large(running.url, size.large_runs)
        large_with_small_jobs = driver.large(running.url, size.large_runs, "--with-small-jobs")
    return {
        "label": mode.label,
        "arguments": list(mode.arguments),
        "start_ms": start,
        "idle": idle,
        "one": one,
        "many": many,
        "many_private": many_private,
        "large": large,
        "large_with_small_jobs": large_with_small_jobs,
    }


def start_ms(path: Path, arguments: Sequence[str], starts: int, environment: Mapping[str, str] | None = None) -> float:
    """The median of some starts, each from before the fork to the line that says that the binary is up."""
    starts_ms = []
    for _ in range(starts):
        with binary(path, arguments, environment) as running:
            starts_ms.append(running.start_ms)
    return statistics.median(starts_ms)


def _loads(driver: Driver, running: Running, size: Size) -> tuple[figures.Load, figures.Load, figures.Load]:
    """Loads the binary with one job in flight, with many, and with many over private sockets."""

    def load(in_flight: int, jobs: int, *options: str) -> figures.Load:
        server = ("--pid", str(running.pid), "--disk", running.directory)
        return driver.load(running.url, in_flight, "--jobs", str(jobs), *server, *options)

    return (
        load(1, size.one_jobs),
        load(IN_FLIGHT, size.many_jobs),
        load(IN_FLIGHT, size.many_jobs, "--sockets", f"private={IN_FLIGHT}"),
    )


def services(driver: Driver, root: Path, path: Path, alone: figures.Alone, size: Size) -> figures.Services | None:
    """The five services of the tree in `root` and the binary in `path`, in pairs with the plain system. None without a
    Docker engine.
    """
    if not compose_is_ready(root):
        say("the five services are not measured: no Docker engine answers")
        return None
    say("the five services")
    five, plain = FiveServices(root), PlainSystem(root)
    with five.project.removed_afterwards(), plain.project.removed_afterwards():
        url, plain_url = five.up(), plain.up()
        # The plain system has no health checks.
        _wait_for_a_job(driver, plain_url)
        server = _disk_options()

        def pairs(in_flight: int, jobs: int) -> list[figures.PlainPair]:
            def load_services() -> tuple[figures.Load, dict[str, float]]:
                before = five.cpu_us()
                load = driver.load(url, in_flight, "--jobs", str(jobs), *server)
                after = five.cpu_us()
                all_jobs = load["warm_up_jobs"] + load["jobs"]
                return load, {name: (after[name] - before[name]) / all_jobs for name in after}

            def load_plain() -> figures.Load:
                return driver.load(plain_url, in_flight, "--jobs", str(jobs))

            return [
                {"services": load, "services_cpu_us_per_job": cpu, "plain": plain_load}
                for (load, cpu), plain_load in in_turn(load_services, load_plain, size.pairs)
            ]

        one = pairs(1, size.services_one_jobs)
        many = pairs(IN_FLIGHT, size.services_many_jobs)
        with binary(path, ON_DISK.arguments) as running:
            binary_many = in_turn(
                lambda: driver.load(running.url, IN_FLIGHT, "--jobs", str(size.many_jobs)),
                lambda: driver.load(plain_url, IN_FLIGHT, "--jobs", str(size.services_many_jobs)),
                size.pairs,
            )
        plain.stop()
        private = ("--sockets", f"private={IN_FLIGHT}", "--seconds", str(size.services_private_s))
        many_private = driver.load(url, IN_FLIGHT, *private, *server)
        large = driver.large(url, size.large_runs)
        large_with_small_jobs = driver.large(url, size.large_runs, "--with-small-jobs")
        url = five.up(THREADS="1")
        return {
            "alone": alone,
            "one": one,
            "many": many,
            "binary_many": [{"binary": load, "plain": plain_load} for load, plain_load in binary_many],
            "many_private": many_private,
            "large": large,
            "large_with_small_jobs": large_with_small_jobs,
            "large_on_one_thread": driver.large(url, size.large_runs),
            "large_on_one_thread_with_small_jobs": driver.large(url, size.large_runs, "--with-small-jobs"),
        }


def scaling(driver: Driver, root: Path, size: Size) -> figures.Scaling | None:
    """The five services with more of each, and a cluster with one copy and with three. None without a Docker engine."""
    if not compose_is_ready(root):
        say("nothing is scaled: no Docker engine answers")
        return None
    scaled = _scaled(driver, FiveServices(root), SCALES, size)
    # Afresh, since a stream is out of reach for a while when its copies become more or fewer.
    copies = _scaled(driver, FiveServices(root, cluster=True), COPIES, size, afresh=True)
    one, three = (
        [round["many"]["jobs_per_second"] for round in rounds] for rounds in (copies[scale] for scale in COPIES)
    )
    by_rate = {
        scale: sorted(rounds, key=lambda round: round["many"]["jobs_per_second"])
        for scale, rounds in (scaled | copies).items()
    }
    return {
        "rounds": size.rounds,
        "scaled": [rounds[size.rounds // 2] for rounds in by_rate.values()],
        "three_copies_over_one": [over / under for under, over in zip(one, three, strict=True)],
    }


def _scaled(
    driver: Driver, five: FiveServices, scales: Sequence[Scale], size: Size, *, afresh: bool = False
) -> dict[Scale, list[figures.Scaled]]:
    """Loads of each scale, in several rounds, if `afresh` each on empty volumes."""
    measured: dict[Scale, list[figures.Scaled]] = {scale: [] for scale in scales}
    with five.project.removed_afterwards():
        for scale in list(scales) * size.rounds:
            if afresh:
                five.project.remove()
            measured[scale].append(_at_scale(driver, five, scale, size))
    return measured


def _at_scale(driver: Driver, five: FiveServices, scale: Scale, size: Size) -> figures.Scaled:
    say(scale.label)
    server = _disk_options()
    url = five.up(*scale.arguments, **dict(scale.environment))
    # nginx may still know the address of a container that is gone.
    _wait_for_a_job(driver, url)
    one = driver.load(url, 1, "--jobs", str(size.services_one_jobs), *server)
    before = five.cpu_us()
    many = driver.load(url, IN_FLIGHT, "--jobs", str(size.services_many_jobs), *server)
    after = five.cpu_us()
    jobs = many["warm_up_jobs"] + many["jobs"]
    cpu_us = {name: (after[name] - before[name]) / jobs for name in after}
    return {"label": scale.label, "one": one, "many": many, "cpu_us_per_job": cpu_us}


def _disk_options() -> tuple[str | Path, ...]:
    disk = docker_disk()
    return ("--disk", disk) if disk else ()


def _wait_for_a_job(driver: Driver, url: str) -> None:
    """Waits until the system at `url` does a job."""
    deadline = time.monotonic() + _FIRST_JOB_WITHIN_S
    command: list[str | Path] = [driver.path, "load", "--url", url, "--in-flight", "1", "--jobs", "1"]
    while subprocess.run(command, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise Unavailable(f"{url} did no job within {_FIRST_JOB_WITHIN_S} s")
        time.sleep(1)


def in_turn(ours: Callable[[], T], theirs: Callable[[], U], pairs: int) -> list[tuple[T, U]]:
    """Measures both in turn. Every other time the second goes first, in case that matters."""
    measured = []
    for pair in range(pairs):
        if pair % 2 == 0:
            first = ours()
            second = theirs()
        else:
            second = theirs()
            first = ours()
        measured.append((first, second))
    return measured


@dataclass(frozen=True)
class Variant:
    """A binary that is compared with another binary, or with itself in another environment."""

    path: Path
    # Instead of those of each mode.
    arguments: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    # Whether its metrics are read every second.
    scraped: bool = False

    @contextmanager
    def running(self, mode: Mode) -> Iterator[Running]:
        environment = dict(self.environment)
        scraping: AbstractContextManager[None] = nullcontext()
        if self.scraped:
            address = f"127.0.0.1:{free_port()}"
            environment["METRICS_LISTEN"] = address
            scraping = scraper(f"http://{address}/metrics")
        with binary(self.path, self.arguments_in(mode), environment) as running, scraping:
            yield running

    def arguments_in(self, mode: Mode) -> Sequence[str]:
        return mode.arguments if self.arguments is None else self.arguments


def compare_traced(driver: Driver, root: Path, path: Path, share: float, size: Size) -> figures.Traced:
    """Compares the binary in `path` that exports this share of all traces with one that exports none."""
    with receiver(root) as address:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(share),
        }
        traced = Variant(path, environment=environment)
        return {"share": share, "comparisons": compare_binaries(driver, traced, Variant(path), size)}


def compare_scraped(driver: Driver, path: Path, size: Size) -> list[figures.Comparison]:
    """Compares the binary in `path` whose metrics are read every second with one that has none."""
    return compare_binaries(driver, Variant(path, scraped=True), Variant(path), size)


def compare_binaries(driver: Driver, ours: Variant, theirs: Variant, size: Size) -> list[figures.Comparison]:
    """Compares two binaries in every mode, with a new process for each measurement."""

    def start(variant: Variant, mode: Mode) -> float:
        return start_ms(variant.path, variant.arguments_in(mode), size.starts, variant.environment)

    def cpu_us_per_job(variant: Variant, mode: Mode) -> float:
        with variant.running(mode) as running:
            options = ("--jobs", str(size.many_jobs), "--pid", str(running.pid))
            load = driver.load(running.url, IN_FLIGHT, *options)
        assert load["server_cpu_us_per_job"] is not None
        return load["server_cpu_us_per_job"]

    def measured(measure: Callable[[str], float], variant: Variant, mode: Mode) -> float:
        with variant.running(mode) as running:
            return measure(running.url)

    measurements: dict[str, Callable[[Variant, Mode], float]] = {
        "start, ms": start,
        f"{IN_FLIGHT} in flight, CPU per job, µs": cpu_us_per_job,
    }
    for figure, measure in _compared(driver, size.one_jobs, size.many_jobs, size.large_runs).items():
        measurements[figure] = partial(measured, measure)

    compared = []
    for mode in MODES:
        say(f"both binaries, {mode.label}")
        for figure, measurement in measurements.items():
            our_figure = partial(measurement, ours, mode)
            their_figure = partial(measurement, theirs, mode)
            compared.append(_compare(f"the binary, {mode.label}", figure, our_figure, their_figure, size.pairs))
    return compared


def compare_services(driver: Driver, ours: Path, theirs: Path, size: Size) -> list[figures.Comparison]:
    """Compares the five services of two trees, which run next to each other."""
    if not compose_is_ready(ours):
        raise Unavailable("no Docker engine answers")
    say("the five services of both trees")

    @contextmanager
    def up(root: Path) -> Iterator[str]:
        five = FiveServices(root)
        with five.project.removed_afterwards():
            yield five.up()

    measurements = _compared(driver, size.services_one_jobs, size.services_many_jobs, size.large_runs)
    with up(ours) as our_url, up(theirs) as their_url:
        return [
            _compare("the five services", figure, partial(measure, our_url), partial(measure, their_url), size.pairs)
            for figure, measure in measurements.items()
        ]


def _compared(driver: Driver, one_jobs: int, many_jobs: int, large_runs: int) -> dict[str, Callable[[str], float]]:
    """The figures by which trees are compared, each with what measures it at a URL."""
    many = ("--jobs", str(many_jobs))
    private = ("--sockets", f"private={IN_FLIGHT}")
    return {
        "1 in flight, p50, µs": lambda url: driver.load(url, 1, "--jobs", str(one_jobs))["p50_us"],
        f"{IN_FLIGHT} in flight, jobs per second": lambda url: driver.load(url, IN_FLIGHT, *many)["jobs_per_second"],
        f"{IN_FLIGHT} private sockets, jobs per second": lambda url: driver.load(url, IN_FLIGHT, *many, *private)[
            "jobs_per_second"
        ],
        "all digits of F(10^8), best, ms": lambda url: driver.large(url, large_runs)["best_us"] / 1e3,
    }


def _compare(
    label: str, figure: str, ours: Callable[[], float], theirs: Callable[[], float], pairs: int
) -> figures.Comparison:
    measured = in_turn(ours, theirs, pairs)
    return {
        "label": label,
        "figure": figure,
        "ours": [our for our, _ in measured],
        "theirs": [their for _, their in measured],
    }
