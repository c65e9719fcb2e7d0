//! `fibwire submit` against a server that fails in every way that docs/protocol.md allows, and in some
//! that it does not.

mod fake;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use fake::Fake;

fn part(id: &str, seq: u64, index: u32) -> Value {
    let value = ["12", "34", "5"][index as usize];
    json!({"type": "part", "seq": seq, "id": id, "n": 10, "index": index, "parts": 3, "value": value})
}

/// The result of a job whose parts are `12`, `34` and `5`.
fn long_result(id: &str, seq: u64) -> Value {
    let timings = json!({"queued": 1, "computed": 2});
    json!({"type": "result", "seq": seq, "id": id, "n": 10, "digits": 5, "parts": 3, "timings": timings})
}

fn result(id: &str, seq: u64) -> Value {
    let timings = json!({"queued": 1, "computed": 2});
    json!({"type": "result", "seq": seq, "id": id, "n": 10, "digits": 2, "value": "55", "timings": timings})
}

#[test]
fn a_refusal_that_passes_is_followed_by_the_same_post() {
    for status in [429, 502, 503, 504] {
        let fake = Fake::start();
        let client = fake.client(&["10"]);
        let (mut socket, refused) = fake.begin();
        let (id, token) = (refused.id.clone(), refused.client.clone());
        refused.answer(status, None);
        let again = fake.post();
        assert_eq!((&again.id, &again.client), (&id, &token), "{status}");
        again.accept();
        socket.send(&result(&id, 1));
        assert_eq!(client.printed(), "55\n", "{status}");
    }
}

#[test]
fn a_post_is_not_repeated_earlier_than_the_server_asks() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, refused) = fake.begin();
    refused.answer(503, Some(1));
    let answered = Instant::now();
    let id = fake.post().accept();
    assert!(answered.elapsed() >= Duration::from_secs(1));
    socket.send(&result(&id, 1));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn a_post_without_an_answer_is_sent_again_with_the_same_id() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, lost) = fake.begin();
    let id = lost.id.clone();
    drop(lost);
    assert_eq!(fake.post().accept(), id);
    socket.send(&result(&id, 1));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn a_refusal_that_does_not_pass_is_told() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (_socket, post) = fake.begin();
    post.answer(422, None);
    assert!(client.complaint().contains("422"));
}

#[test]
fn a_result_that_is_cut_in_the_middle_is_resumed_after_the_last_message() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    socket.send(&part(&id, 7, 0));
    socket.send_half(&part(&id, 9, 1));
    let mut socket = fake.socket("client=TOKEN&since=7");
    socket.send(&part(&id, 9, 1));
    drop(socket);
    let mut socket = fake.socket("client=TOKEN&since=9");
    socket.send(&part(&id, 10, 2));
    socket.send(&long_result(&id, 11));
    assert_eq!(client.printed(), "12345\n");
}

#[test]
fn a_socket_that_is_lost_before_any_message_is_resumed_from_the_beginning() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (socket, post) = fake.begin();
    let id = post.accept();
    drop(socket);
    fake.socket("client=TOKEN&since=0").send(&result(&id, 1));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn parts_are_put_together_by_their_index_in_whatever_order_they_come() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let fake = Fake::start();
        let client = fake.client(&["10"]);
        let (mut socket, post) = fake.begin();
        let id = post.accept();
        for (seq, index) in (1..).zip(order) {
            socket.send(&part(&id, seq, index));
        }
        socket.send(&long_result(&id, 4));
        assert_eq!(client.printed(), "12345\n", "{order:?}");
    }
}

#[test]
fn after_a_gap_the_number_is_asked_for_again() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let token = post.client.clone();
    let lost = post.accept();
    socket.send(&part(&lost, 7, 0));
    drop(socket);
    let mut socket = fake.socket("client=TOKEN&since=7");
    // The log began again: its places are lower.
    socket.send(&json!({"type": "gap", "seq": 3}));
    let again = fake.post();
    assert_ne!(again.id, lost);
    assert_eq!(again.client, token);
    let id = again.accept();
    // The remaining parts of the first job do not make a number.
    socket.send(&part(&lost, 4, 2));
    socket.send(&long_result(&lost, 5));
    drop(socket);
    let mut socket = fake.socket("client=TOKEN&since=5");
    for index in 0..3 {
        socket.send(&part(&id, 6 + u64::from(index), index));
    }
    socket.send(&long_result(&id, 9));
    assert_eq!(client.printed(), "12345\n");
}

#[test]
fn a_result_with_a_part_missing_is_not_printed() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    socket.send(&part(&id, 1, 0));
    socket.send(&part(&id, 2, 2));
    socket.send(&long_result(&id, 3));
    assert!(client.complaint().contains("part 1 is missing"));
}

#[test]
fn a_result_of_the_wrong_length_is_not_printed() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    let mut short = result(&id, 1);
    short["value"] = "5".into();
    socket.send(&short);
    assert!(client.complaint().contains("1 of 2 digits"));
}

#[test]
fn the_result_of_another_number_is_not_printed() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    let mut other = result(&id, 1);
    other["n"] = 11.into();
    socket.send(&other);
    assert!(client.complaint().contains("F(11)"));
}

#[test]
fn an_announcement_of_absurdly_many_parts_does_no_harm() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    let mut absurd = part(&id, 1, 0);
    absurd["parts"] = u32::MAX.into();
    socket.send(&absurd);
    socket.send(&result(&id, 2));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn results_of_other_jobs_and_unknown_types_are_skipped() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    let mut other = result("0198c0de-0000-7000-8000-000000000000", 1);
    other["value"] = "21".into();
    socket.send(&other);
    socket.send(&json!({"type": "rumour", "seq": 2, "id": id, "n": 10}));
    socket.send(&result(&id, 3));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn a_malformed_message_is_an_error() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    let mut malformed = result(&id, 1);
    malformed["digits"] = "two".into();
    socket.send(&malformed);
    assert!(client.complaint().contains("message"));
}

#[test]
fn a_failed_job_tells_the_reason() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (mut socket, post) = fake.begin();
    let id = post.accept();
    socket.send(&json!({"type": "failed", "seq": 1, "id": id, "n": 10, "reason": "Too large."}));
    assert!(client.complaint().contains("Too large."));
}

#[test]
fn a_socket_that_is_closed_for_good_tells_the_servers_sentence() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    let (socket, post) = fake.begin();
    post.accept();
    socket.close(1008, "This origin may not open a socket.");
    assert!(
        client
            .complaint()
            .contains("This origin may not open a socket.")
    );
}

#[test]
fn a_socket_that_is_closed_for_now_is_opened_again() {
    for code in [1001, 1013] {
        let fake = Fake::start();
        let client = fake.client(&["10"]);
        let (mut socket, post) = fake.begin();
        let id = post.accept();
        socket.send(&json!({"type": "progress", "seq": 3, "id": id, "n": 10, "fraction": 0.5}));
        socket.close(code, "Come back.");
        fake.socket("client=TOKEN&since=3").send(&result(&id, 4));
        assert_eq!(client.printed(), "55\n", "{code}");
    }
}

#[test]
fn an_opening_is_repeated_no_earlier_than_the_server_asks() {
    let fake = Fake::start();
    let client = fake.client(&["10"]);
    fake.request().answer(503, Some(1));
    let answered = Instant::now();
    let (mut socket, post) = fake.begin();
    assert!(answered.elapsed() >= Duration::from_secs(1));
    let id = post.accept();
    drop(socket);
    for status in [429, 502, 503, 504] {
        fake.request().answer(status, None);
    }
    socket = fake.socket("client=TOKEN&since=0");
    socket.send(&result(&id, 1));
    assert_eq!(client.printed(), "55\n");
}

#[test]
fn a_wait_beyond_the_deadline_is_not_begun() {
    let fake = Fake::start();
    let client = fake.client(&["10", "--timeout", "3600"]);
    let (_socket, post) = fake.begin();
    post.answer(503, Some(7200));
    assert!(client.complaint().contains("no result in time"));
}

#[test]
fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
    let fake = Fake::start();
    let client = fake.client(&["10", "--timeout", "1"]);
    let _opening = fake.request();
    assert!(client.complaint().contains("fibwire: WebSocket"));

    let client = fake.client(&["10", "--timeout", "1"]);
    let (_socket, post) = fake.begin();
    post.accept();
    assert!(client.complaint().contains("no result in time"));
}
