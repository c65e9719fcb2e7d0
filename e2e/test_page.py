"""The page in a real browser, against the real system."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .browser import INSECURE_HOST
from .client import Client, Job
from .conftest import NewPage
from .expected import fibonacci, last, length_and_first
from .on_page import ask, card, grouped, posted, shows

LONG_N = 6_000_000


def test_submitting_1000_with_the_keyboard_alone_shows_all_of_it(page: Page) -> None:
    page.keyboard.type("1000")
    page.keyboard.press("Enter")
    shows(page, 1000)
    expect(card(page, 1000).locator(".facts")).to_contain_text("209 digits")


def test_results_are_shown_newest_first(page: Page) -> None:
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


def test_the_hint_says_how_large_n_may_be(page: Page, max_n: int) -> None:
    expect(page.locator("#hint")).to_have_text(f"A whole number from 0 to {grouped(max_n)}")


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("-3", "That is less than 0. "),
        ("\u22123", "That is less than 0. "),
        ("1.5", "That is not a whole number in digits. "),
        ("1e3", "That is not a whole number in digits. "),
        ("abc", "That is not a whole number in digits. "),
        ("1" + "0" * 30, "That is too large. "),
        ("1" * 5 * 1024, "That is too large. "),
        ("", ""),
        (" ", ""),
    ],
    ids=lambda text: text[:12],
)
def test_a_person_who_types_something_else_is_told_what_to_type(
    page: Page, max_n: int, typed: str, reason: str
) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    ask(page, typed)
    sentence = f"{reason}Type a whole number from 0 to {grouped(max_n)}."
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text(sentence)
    expect(page.locator("#hint")).to_be_hidden()
    expect(page.locator("#n")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#n")).to_be_focused()
    expect(page.locator(".card")).to_have_count(0)
    assert sent == [], "the server was asked all the same"
    # The next try takes the sentence away.
    ask(page, "10")
    shows(page, 10)
    expect(page.locator("#refusal")).to_be_empty()
    expect(page.locator("#hint")).to_be_visible()
    expect(page.locator("#n")).not_to_have_attribute("aria-invalid", "true")


def test_one_more_than_the_limit_is_too_large(page: Page, max_n: int) -> None:
    ask(page, str(max_n + 1))
    expect(page.locator("#refusal")).to_contain_text("too large")


def test_a_number_may_be_pasted_with_spaces_and_zeros(page: Page) -> None:
    for typed, n in ((" 10\u00a0", 10), ("1 000", 1000), ("0011", 11), ("00", 0)):
        with page.expect_request("**/fib") as posting:
            ask(page, typed)
        assert posted(posting.value)["n"] == str(n)
        shows(page, n)


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


def test_a_long_result_is_downloaded_in_full(page: Page, tmp_path: Path) -> None:
    ask(page, str(LONG_N))
    long = card(page, LONG_N)
    expect(long).to_have_attribute("data-state", "done", timeout=120_000)
    digits, first = length_and_first(LONG_N)
    expect(long.locator(".facts")).to_contain_text(f"{grouped(digits)} digits")
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
    expect(page.locator("#connection [role=status]")).to_have_text("Reconnecting…")
    missed = client.submit(78, private=False)
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator(f".card[data-id='{missed.id}'] .value")).to_have_text(fibonacci(78))


def test_without_scripts_the_form_queues_a_job_and_the_answer_leads_to_its_result(
    new_page: NewPage, client: Client, max_n: int
) -> None:
    with client.private() as socket:
        before = socket.result(client.submit(1))["seq"]
    page = new_page(java_script_enabled=False)
    expect(page.locator("#hint")).to_contain_text(str(max_n))
    expect(page.locator("noscript p")).to_be_visible()
    page.locator("#n").fill("79")
    with page.expect_response("**/fib") as answering:
        page.get_by_role("button", name="Compute").click()
    assert (answering.value.status, answering.value.request.method) == (202, "POST")
    expect(page.get_by_role("heading", level=2)).to_have_text("F(79) is queued")
    id = page.locator("code").inner_text()
    link = page.get_by_role("link", name="the results of the last ten minutes")
    assert link.get_attribute("href") == "events?since=0"
    # From a later place than that of the link, because other tests have left hundreds of megabytes in between.
    with client.events({"since": str(before)}) as events:
        assert events.result(Job(id, 79))["value"] == fibonacci(79)


# The browser reports a refusal, and looks for an icon of the answer, which has none.
@pytest.mark.browser_errors("status of 422", "status of 404")
def test_without_scripts_a_number_that_is_refused_is_answered_with_the_reason(new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.locator("#n").fill("-3")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("body")).to_contain_text("whole number from 0 to")


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


def test_a_job_carries_the_page_s_own_id(page: Page) -> None:
    with page.expect_request("**/fib") as posting:
        ask(page, "10")
    sent = posted(posting.value)
    assert sent.keys() == {"n", "client", "id"} and sent["n"] == "10"
    answer = posting.value.response()
    assert answer is not None and answer.json()["id"] == sent["id"]
