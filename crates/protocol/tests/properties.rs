//! Properties of the parsers, on random input. `make fuzz` runs them for longer.

use std::num::{NonZeroU64, NonZeroU128};

use proptest::prelude::*;
use protocol::{
    BODY_LIMIT, ClientToken, Event, Job, JobContext, MaxN, Submission, TraceParent,
    event::{self, Body, Kind, Timings},
};
use uuid::Uuid;

const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
    "text/plain",
];

/// Bytes that are close to a valid body more often than chance would have it.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "[0-9]{0,25}",
        "\"[0-9]{0,25}\"",
        "-?[0-9]{1,3}(\\.[0-9])?(e[0-9])?",
        "null|true|\\[1\\]|\\{\\}|\"\"",
        "\"[A-Za-z0-9_-]{14,66}\"",
        "\"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}\"",
    ];
    let field = ("n|client|id|m", value);
    let fields = prop::collection::vec(field, 0..5);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..BODY_LIMIT + 10),
        fields.clone().prop_map(|fields| {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }),
        fields.prop_map(|fields| {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", value.trim_matches('"')))
                .collect();
            fields.join("&").into_bytes()
        }),
    ]
}

fn token() -> impl Strategy<Value = Option<ClientToken>> {
    prop::option::of("[A-Za-z0-9_-]{16,64}".prop_map(|text| text.parse().expect("a token")))
}

fn event_body() -> impl Strategy<Value = Body> {
    let digits = "[0-9]{1,40}";
    prop_oneof![
        any::<u64>().prop_map(|attempt| Body::Started { attempt }),
        (any::<u64>(), digits, digits).prop_map(|(digits, first, last)| Body::Preview {
            digits,
            first,
            last
        }),
        (0..=1024_u16).prop_map(|share| Body::Progress {
            fraction: f64::from(share) / 1024.0
        }),
        (any::<u32>(), any::<u32>(), digits).prop_map(|(index, parts, value)| Body::Part {
            index,
            parts,
            value
        }),
        (
            any::<u64>(),
            prop::option::of(digits),
            prop::option::of(any::<u32>()),
            any::<(u64, u64)>()
        )
            .prop_map(|(digits, value, parts, (queued_us, computed_us))| {
                Body::Result {
                    digits,
                    value,
                    parts,
                    timings: Timings {
                        queued_us,
                        computed_us,
                    },
                }
            }),
        any::<String>().prop_map(|reason| Body::Failed { reason }),
    ]
}

proptest! {
    #[test]
    fn a_submission_is_valid_or_refused_with_a_sentence(
        content_type in prop::option::of(prop::sample::select(&CONTENT_TYPES)),
        body in body(),
        max_n in 0..=1_000_000_000_u64,
    ) {
        let max_n: MaxN = max_n.to_string().parse().unwrap();
        match Submission::parse(content_type, &body, max_n) {
            Ok(submission) => {
                prop_assert!(submission.n <= max_n.get());
                prop_assert!(body.len() <= BODY_LIMIT);
                let job = submission.clone().into_job(JobContext::now(TraceParent::random()));
                prop_assert_eq!((job.n, &job.client), (submission.n, &submission.client));
                prop_assert!(submission.id.is_none_or(|id| id == job.id));
            }
            Err(problem) => {
                let status = problem.status().as_u16();
                prop_assert!([400, 413, 415, 422].contains(&status), "{}", status);
                let document: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
                prop_assert!(document["detail"].as_str().unwrap().ends_with('.'));
            }
        }
    }

    #[test]
    fn a_number_means_the_same_in_both_content_types(n in 0..=2_000_000_000_u64) {
        let json = Submission::parse(Some("application/json"), format!("{{\"n\":{n}}}").as_bytes(), MaxN::default());
        let form = Submission::parse(Some("application/x-www-form-urlencoded"), format!("n={n}").as_bytes(), MaxN::default());
        prop_assert_eq!(&json, &form);
        prop_assert_eq!(json.is_ok(), n <= MaxN::default().get());
    }

    #[test]
    fn a_job_is_the_same_after_the_wire(id: u128, n: u64, client in token(), accepted_us: u64) {
        let context = JobContext { accepted_us, traceparent: TraceParent::random() };
        let job = Job { id: Uuid::from_u128(id), n, client, context };
        prop_assert_eq!(Job::decode(&job.encode(), context.traceparent).unwrap(), job);
    }

    #[test]
    fn an_event_is_the_same_after_the_wire(id: u128, n: u64, seq: u64, body in event_body()) {
        let event = Event { id: Uuid::from_u128(id), n, body };
        let (kind, message) = event::message(&event.encode(), seq).unwrap();
        prop_assert_eq!(kind, Kind::from(&event.body));
        let json: serde_json::Value = serde_json::from_slice(&message).unwrap();
        prop_assert_eq!(json["seq"].as_u64(), Some(seq));
        prop_assert_eq!(serde_json::from_slice::<Event>(&message).unwrap(), event);
    }

    #[test]
    fn random_bytes_are_no_event_and_do_no_harm(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((_, message)) = event::message(&payload, 7) {
            let has_place = message.starts_with(br#"{"seq":7,"#);
            prop_assert!(has_place);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        }
    }

    #[test]
    fn a_traceparent_is_the_same_after_the_wire(trace_id: NonZeroU128, parent_id: NonZeroU64, sampled: bool) {
        let parent = TraceParent::new(trace_id, parent_id, sampled);
        prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        prop_assert_eq!(TraceParent::from_bytes(parent.to_bytes()), Some(parent));
    }

    #[test]
    fn any_text_that_is_a_traceparent_begins_as_one(text in "\\PC{0,70}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,3}") {
        if let Ok(parent) = text.parse::<TraceParent>() {
            prop_assert_eq!(&text[2..53], &parent.to_string()[2..53]);
        }
    }

    #[test]
    fn a_token_is_exactly_what_its_alphabet_and_length_allow(text in "\\PC{0,70}|[A-Za-z0-9_-]{0,70}") {
        let valid = (16..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        prop_assert_eq!(text.parse::<ClientToken>().is_ok(), valid);
    }
}
