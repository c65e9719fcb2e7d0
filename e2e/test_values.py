"""F(n) as the whole system computes it, compared with values that are computed here."""

import pytest

from .client import Client, Event
from .expected import MODULI, fibonacci, last, length_and_first, residue, residue_of

_PART_BYTES = 512 * 1024
_LONG_N = 6_000_000


# Where 64-bit floats (79), signed and unsigned 64-bit (93, 94) and 128-bit integers (185, 187) would break.
@pytest.mark.parametrize(
    "n", [0, 1, 2, 3, 10, 78, 79, 90, 92, 93, 94, 184, 185, 186, 187, 188, 500, 1000, 4_000, 9_999, 100_000]
)
def test_a_value_is_exact(client: Client, n: int) -> None:
    with client.private() as socket:
        event = socket.result(client.submit(n))
    assert event["value"] == fibonacci(n)
    assert event["digits"] == len(fibonacci(n))


def test_the_values_that_the_brief_names(client: Client) -> None:
    with client.private() as socket:
        values = [socket.result(client.submit(n))["value"] for n in (0, 1, 2, 10)]
    assert values == ["0", "1", "1", "55"]


def test_the_expected_values_agree_with_the_plain_loop() -> None:
    a, b = 0, 1
    for n in range(300):
        assert fibonacci(n) == str(a)
        a, b = b, a + b
    assert fibonacci(1000) == (
        "43466557686937456435688527675040625802564660517371780402481729089536555417949051890403879840079255"
        "169295922593080322634775209689623239873322471161642996440906533187938298969649928516003704476137795"
        "166849228875"
    )
    assert length_and_first(1000) == (209, fibonacci(1000)[:20])
    assert last(1000) == fibonacci(1000)[-20:]


def test_a_long_result_comes_in_parts_after_a_preview(client: Client) -> None:
    with client.private() as socket:
        job = client.submit(_LONG_N)
        result = socket.result(job, within_s=120)
        own = [event for event in socket.seen if event["id"] == job.id]
    kinds = [event["type"] for event in own]
    preview = own[kinds.index("preview")]
    parts = [event for event in own if event["type"] == "part"]
    digits, first = length_and_first(_LONG_N)

    assert {event["n"] for event in own} == {_LONG_N}
    assert [event["seq"] for event in own] == sorted({event["seq"] for event in own}), kinds
    assert kinds.count("preview") == 1 and kinds.index("preview") < kinds.index("part"), kinds
    assert kinds[-1] == "result", kinds
    assert (preview["digits"], preview["first"], preview["last"]) == (digits, first, last(_LONG_N)), preview
    check_progress(own)
    check_parts(parts, result)


def test_a_long_broadcast_comes_in_parts_to_a_bare_socket_too(client: Client) -> None:
    with client.bare() as socket:
        job = client.submit(_LONG_N, private=False)
        result = socket.result(job, within_s=120)
        own = [event for event in socket.seen if event["id"] == job.id]
    assert {event["type"] for event in own} == {"part", "result"}
    check_parts(own[:-1], result)


def test_a_long_result_is_read_again_after_a_reconnect_in_its_middle(client: Client) -> None:
    with client.private() as socket:
        job = client.submit(_LONG_N)
        part = socket.until(lambda event: event["type"] == "part", "part", within_s=120)
    parts = [part]
    with client.private(since=part["seq"]) as socket:
        result = socket.result(job, within_s=120)
        parts += [event for event in socket.seen if event["type"] == "part"]
    check_parts(parts, result)


def test_small_jobs_are_answered_while_a_long_one_is_computed(client: Client, other: Client, max_n: int) -> None:
    with client.private() as mine, other.private() as theirs:
        long = client.submit(min(max_n, 20_000_000))
        for n in range(20):
            assert theirs.result(other.submit(n), within_s=5)["value"] == fibonacci(n)
        mine.result(long, within_s=120)


def test_a_quick_job_has_only_its_result(client: Client) -> None:
    with client.private() as socket:
        job = client.submit(90)
        socket.result(job)
        assert [event["type"] for event in socket.seen if event["id"] == job.id] == ["result"], str(socket)


def check_progress(events: list[Event]) -> None:
    fractions = [event["fraction"] for event in events if event["type"] == "progress"]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions), fractions
    attempts = [event["attempt"] for event in events if event["type"] == "started"]
    assert attempts in ([], [1]), attempts


def check_parts(parts: list[Event], result: Event) -> None:
    """Checks that the parts together are F(n): its length, its ends, and its residues modulo two primes."""
    n = result["n"]
    assert "value" not in result, result.keys()
    assert [part["index"] for part in parts] == list(range(result["parts"]))
    assert {part["parts"] for part in parts} == {result["parts"]}
    assert all(0 < len(part["value"]) <= _PART_BYTES for part in parts), [len(part["value"]) for part in parts]
    value = "".join(part["value"] for part in parts)
    assert value.isascii() and value.isdecimal()
    assert len(value) == result["digits"] == length_and_first(n)[0]
    assert value.startswith(length_and_first(n)[1]) and value.endswith(last(n))
    assert [residue_of(value, modulus) for modulus in MODULI] == [residue(n, modulus) for modulus in MODULI]
