"""The figures, as `make bench` writes them to a file. The units are in the names, or in a comparison's `figure`."""

from typing import TypedDict


class Times(TypedDict):
    """The distribution of some times."""

    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    max_us: float


class Load(Times):
    """The output of `bench load`."""

    n: int
    in_flight: int
    warm_up_jobs: int
    jobs: int
    elapsed_s: float
    jobs_per_second: float
    server_cpu_us_per_job: float | None
    driver_cpu_us_per_job: float
    syncs_per_job: float | None


class Idle(TypedDict):
    """The output of `bench idle`."""

    sockets: int
    opened_in_us: float
    broadcast_in_us: float
    server_kb_without_sockets: int
    server_kb_per_socket: float
    server_kb_per_socket_after_broadcast: float


class SmallJobs(Times):
    """The small jobs that were in flight while long numbers were requested."""

    count: int


class Large(TypedDict):
    """The output of `bench large`."""

    n: int
    runs: int
    best_us: float
    best_computing_us: float
    median_us: float
    small_jobs: SmallJobs | None


class Fsync(Times):
    """The output of `bench fsync`."""

    writes: int


class Machine(TypedDict):
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    load_average_before: float
    fsync: Fsync


class Alone(TypedDict):
    """F(n) computed and formatted without queue or socket."""

    n: int
    threads: int
    all_threads_s: float
    one_thread_s: float


class Mode(TypedDict):
    """The standalone binary, started in one of the ways in which it can store jobs."""

    label: str
    arguments: list[str]
    start_ms: float
    idle: Idle
    one: Load
    many: Load
    many_private: Load
    large: Large
    large_with_small_jobs: Large


class Binary(TypedDict):
    alone: Alone
    modes: list[Mode]


class PlainPair(TypedDict):
    """One load of the five services and one of the plain system, one right after the other."""

    services: Load
    services_cpu_us_per_job: dict[str, float]
    plain: Load


class BinaryPair(TypedDict):
    """One load of the standalone binary, on disk, and one of the plain system."""

    binary: Load
    plain: Load


class Services(TypedDict):
    alone: Alone
    one: list[PlainPair]
    many: list[PlainPair]
    binary_many: list[BinaryPair]
    many_private: Load
    large: Large
    large_with_small_jobs: Large
    large_on_one_thread: Large
    large_on_one_thread_with_small_jobs: Large


class Scaled(TypedDict):
    """The loads of one setup: the five services, with several containers of some, or a cluster."""

    label: str
    # All from the same round: the one whose `many` has the median rate.
    one: Load
    many: Load
    cpu_us_per_job: dict[str, float]


class Scaling(TypedDict):
    rounds: int
    scaled: list[Scaled]
    # For each round: jobs per second, with many in flight and three copies, divided by those with one copy.
    three_copies_over_one: list[float]


class Number(TypedDict):
    """The best time of F(n) with all its decimal digits, in each implementation."""

    n: int
    one_thread_s: float
    two_threads_s: float
    gmp_s: float
    flint_s: float
    # Not measured where one run would take minutes.
    cpython_s: float | None


class Arithmetic(TypedDict):
    # Library or program to version.
    versions: dict[str, str]
    numbers: list[Number]


class Comparison(TypedDict):
    """One figure, measured in pairs on two systems: this tree and another, or one binary in two environments."""

    label: str
    figure: str
    ours: list[float]
    theirs: list[float]


class Traced(TypedDict):
    """The binary that exports a share of all traces, and the same one that exports none."""

    share: float
    comparisons: list[Comparison]


class Figures(TypedDict, total=False):
    """Everything that one run has measured. Parts that were not asked for, or that failed, are missing."""

    date: str
    quick: bool
    machine: Machine
    binary: Binary
    # These two are None where no Docker engine answers.
    services: Services | None
    scaling: Scaling | None
    arithmetic: Arithmetic
    comparisons: list[Comparison]
    traced: Traced
    scraped: list[Comparison]
