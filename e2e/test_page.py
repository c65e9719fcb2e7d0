"""The page in a real browser, against the real system."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from .browser import INSECURE_HOST
from .client import Client, problem
from .conftest import NewPage
from .expected import fibonacci, last, length_and_first

LONG_N = 6_000_000


def ask(page: Page, n: str) -> None:
    """Types `n` and presses Enter, with the keyboard alone."""
    page.locator("#n").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(n)
    page.keyboard.press("Enter")


def card(page: Page, n: int) -> Locator:
    return page.locator(f"#own .card[data-n='{n}']")


def shows(page: Page, n: int) -> None:
    """Waits until F(n) stands on the page in full."""
    expect(card(page, n).locator(".value")).to_have_text(fibonacci(n))
    expect(card(page, n)).to_have_attribute("data-state", "done")


def posted(request: Request) -> dict[str, Any]:
    """The job that the page has posted."""
    body = request.post_data_json
    assert isinstance(body, dict), body
    return body


def test_submitting_1000_with_the_keyboard_alone_shows_all_of_it(page: Page) -> None:
    page.keyboard.type("1000")
    page.keyboard.press("Enter")
    shows(page, 1000)
    expect(card(page, 1000).locator(".facts")).to_contain_text("209 digits")


def test_results_stand_newest_first(page: Page) -> None:
    for n in (1, 10, 90, 10):
        ask(page, str(n))
        expect(page.locator("#own .card").first).to_have_attribute("data-n", str(n))
        expect(page.locator("#own .card").first).to_have_attribute("data-state", "done")
    titles = page.locator("#own .card h3").all_text_contents()
    assert titles == ["F(10)", "F(90)", "F(10)", "F(1)"]


def test_many_clicks_in_a_row_are_all_answered(page: Page) -> None:
    page.locator("#n").fill("12")
    for _ in range(20):
        page.get_by_role("button", name="Compute").click()
    expect(page.locator("#own .card[data-state=done][data-n='12']")).to_have_count(20)


@pytest.mark.browser_errors("status of 4")
@pytest.mark.parametrize("typed", ["-1", "1.5", "abc", "", "1" + "0" * 30, "1e3", " 10", "9" * 900])
def test_a_refusal_is_said_in_the_server_s_own_sentence(page: Page, client: Client, typed: str) -> None:
    sentence = problem(client.post_json({"n": typed}), 422)["detail"]
    ask(page, typed)
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text(sentence)
    expect(page.locator("#n")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#n")).to_be_focused()
    expect(page.locator(".card")).to_have_count(0)
    # The next try takes the sentence away.
    ask(page, "10")
    shows(page, 10)
    expect(page.locator("#refusal")).to_be_empty()
    expect(page.locator("#n")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.browser_errors("status of 413")
def test_5_kib_of_digits_are_refused_in_the_server_s_own_sentence(page: Page, client: Client) -> None:
    sentence = problem(client.post_json({"n": "1" * 5 * 1024}), 413)["detail"]
    ask(page, "1" * 5 * 1024)
    expect(page.locator("#refusal")).to_have_text(sentence)


def test_a_reload_loses_nothing(page: Page) -> None:
    for n in (1000, 10, 93):
        ask(page, str(n))
        shows(page, n)
    for _ in range(3):
        page.reload()
        for n in (1000, 10, 93):
            shows(page, n)
        assert page.locator("#own h3").all_text_contents() == ["F(93)", "F(10)", "F(1000)"]


def test_a_reload_right_after_the_click_loses_nothing(page: Page) -> None:
    for n in range(50, 60):
        ask(page, str(n))
        page.reload()
    for n in range(50, 60):
        shows(page, n)


def test_a_job_submitted_before_the_first_connection_is_not_missed(new_page: NewPage) -> None:
    for n in range(40, 50):
        page = new_page()
        ask(page, str(n))
        shows(page, n)


def test_a_long_result_is_shown_by_its_ends_and_downloaded_in_full(page: Page, tmp_path: Path) -> None:
    ask(page, str(LONG_N))
    long = card(page, LONG_N)
    expect(long).to_have_attribute("data-state", "done", timeout=120_000)
    digits, first = length_and_first(LONG_N)
    expect(long.locator(".value")).to_have_text(f"{first}…{last(LONG_N)}")
    expect(long.locator(".facts")).to_contain_text(f"{digits:,} digits".replace(",", "\u202f"))
    with page.expect_download() as downloading:
        long.get_by_role("button", name="Download").click()
    assert downloading.value.suggested_filename == f"fibonacci-{LONG_N}.txt"
    saved = tmp_path / "saved"
    downloading.value.save_as(saved)
    text = saved.read_text()
    assert (len(text), text[:20], text[-20:]) == (digits, first, last(LONG_N))


def test_a_reload_in_the_middle_of_a_long_job_loses_nothing(page: Page) -> None:
    ask(page, str(LONG_N))
    card(page, LONG_N).wait_for()
    page.reload()
    expect(card(page, LONG_N)).to_have_attribute("data-state", "done", timeout=120_000)
    expect(card(page, LONG_N).get_by_role("button", name="Download")).to_be_visible()


def test_20_899_digits_are_shown_by_their_ends(page: Page) -> None:
    ask(page, "100000")
    value = fibonacci(100_000)
    expect(card(page, 100_000).locator(".value")).to_have_text(f"{value[:20]}…{value[-20:]}")
    expect(card(page, 100_000).get_by_role("button", name="Download")).to_be_visible()


def test_copy_copies_all_digits(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "100000")
    card(page, 100_000).get_by_role("button", name="Copy").click()
    expect(card(page, 100_000).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == fibonacci(100_000)


def test_a_broadcast_is_shown_apart(page: Page, client: Client) -> None:
    job = client.submit(77, private=False)
    broadcast = page.locator(f"#broadcast .card[data-id='{job.id}']")
    expect(broadcast.locator(".value")).to_have_text(fibonacci(77))
    expect(page.get_by_role("heading", name="Broadcast")).to_be_visible()
    expect(page.locator("#own .card")).to_have_count(0)


def test_two_people_do_not_see_each_others_results(new_page: NewPage, client: Client) -> None:
    one, two = new_page(), new_page()
    ask(one, "201")
    shows(one, 201)
    ask(two, "202")
    shows(two, 202)
    sentinel = client.submit(203, private=False)
    for page in (one, two):
        page.locator(f".card[data-id='{sentinel.id}']").wait_for()
    expect(one.locator("[data-n='202']")).to_have_count(0)
    expect(two.locator("[data-n='201']")).to_have_count(0)


# A page that goes offline says so in its console.
@pytest.mark.browser_errors("net::ERR_INTERNET_DISCONNECTED")
def test_a_lost_network_is_told_and_its_return_brings_what_was_missed(page: Page, client: Client) -> None:
    ask(page, "10")
    shows(page, 10)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    missed = client.submit(78, private=False)
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator(f".card[data-id='{missed.id}'] .value")).to_have_text(fibonacci(78))


# The browser looks for an icon of the answer, which has none.
@pytest.mark.browser_errors("status of 404")
def test_without_scripts_the_form_still_queues_a_job(new_page: NewPage, client: Client) -> None:
    page = new_page(java_script_enabled=False)
    with client.bare() as socket:
        page.locator("#n").fill("79")
        with page.expect_response("**/fib") as answering:
            page.get_by_role("button", name="Compute").click()
        answer = answering.value
        assert (answer.status, answer.request.method) == (202, "POST")
        id = answer.json()["id"]
        event = socket.until(lambda event: event["id"] == id, "result")
    assert event["value"] == fibonacci(79)


# Where the origin is not trustworthy, the browser says that it ignores one of the security headers.
@pytest.mark.browser_errors("Cross-Origin-Opener-Policy header has been ignored")
def test_where_the_browser_calls_the_page_insecure_it_works_too(new_page: NewPage, base_url: str) -> None:
    port = base_url.rpartition(":")[2]
    page = new_page(f"http://{INSECURE_HOST}:{port}/")
    assert page.evaluate("() => isSecureContext") is False
    ask(page, "1000")
    shows(page, 1000)
    card(page, 1000).get_by_role("button", name="Copy").click()
    expect(card(page, 1000).get_by_role("button", name="Copied")).to_be_visible()


def test_everything_comes_from_the_server_itself(new_page: NewPage, base_url: str) -> None:
    page = new_page("about:blank")
    requests: list[tuple[str, int]] = []
    page.on("response", lambda response: requests.append((response.url, response.status)))
    page.goto("/")
    page.locator("#connection[data-state=connected]").wait_for()
    assert len(requests) > 3
    assert [request for request in requests if not request[0].startswith(base_url + "/") or request[1] != 200] == []


def test_the_token_is_random_and_private_to_the_tab(new_page: NewPage) -> None:
    def token(page: Page) -> str:
        with page.expect_websocket() as connecting:
            page.reload()
        client = connecting.value.url.partition("client=")[2].partition("&")[0]
        return str(client)

    one, two = new_page(), new_page()
    tokens = [token(one), token(two)]
    assert tokens[0] != tokens[1]
    assert all(len(token) >= 32 for token in tokens), tokens
    assert token(one) == tokens[0]
    assert one.evaluate("() => localStorage.length + document.cookie.length") == 0


def test_a_job_carries_what_was_typed_and_the_page_s_own_id(page: Page) -> None:
    with page.expect_request("**/fib") as posting:
        ask(page, "0010")
    sent = posted(posting.value)
    assert sent.keys() == {"n", "client", "id"} and sent["n"] == "0010"
    answer = posting.value.response()
    assert answer is not None and answer.json()["id"] == sent["id"]
