//! The route `/events`: what a socket sends, as Server-Sent Events, for clients that speak only HTTP.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use futures_util::{StreamExt, stream};
use protocol::Problem;
use queue::Item;
use tokio::time::timeout;

use crate::{
    admission::{Admission, Admissions, Refusal, Sending, not_ready, unavailable},
    drain::{Drain, Place},
    metrics::Kind,
    request::Request,
};

/// How often a comment is sent while there is no event. nginx cuts a silent response after 60 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// A comment, which clients ignore.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The id of the last event that the client received. `EventSource` sends it when it reconnects.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The route. At the shutdown, every stream ends when `drain` says so.
pub(crate) fn routes(admissions: Admissions, drain: Drain) -> Router {
    Router::new()
        .route("/events", get(open))
        .with_state(Events { admissions, drain })
}

#[derive(Debug, Clone)]
struct Events {
    admissions: Admissions,
    drain: Drain,
}

/// An open stream. The connection takes one event at a time from it, so that only a few wait in memory
/// for a slow client.
struct Open {
    admission: Admission,
    place: Place,
    /// The event that the connection took last. It is sent once the connection asks for the next one.
    sending: Option<Sending>,
}

async fn open(
    State(events): State<Events>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let request = parse(query.as_deref().unwrap_or_default(), &headers);
    let admission = match events.admissions.admit(Kind::Events, &headers, request) {
        Ok(admission) => admission,
        Err(refusal) => return refuse(refusal),
    };
    let open = Open {
        admission,
        place: events.drain.place(),
        sending: None,
    };
    let pieces = stream::unfold(open, Open::next).flat_map(stream::iter);
    let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, Infallible>)));
    describe(&headers, &mut response);
    response
}

impl Open {
    /// The pieces of the next event, or of a comment if no event comes for a while. `None` when the server
    /// is shutting down and it is the turn of this client to leave.
    async fn next(mut self) -> Option<(Vec<Bytes>, Self)> {
        if let Some(sending) = self.sending.take() {
            self.admission.delivered(sending);
        }
        loop {
            let next = timeout(KEEP_ALIVE_INTERVAL, self.admission.cursor.next());
            let next = tokio::select! {
                biased;
                () = self.place.left() => return None,
                next = next => next,
            };
            let Ok(item) = next else {
                return Some((vec![COMMENT], self));
            };
            if let Some(message) = self.admission.message(&item) {
                self.admission.sent(message.len());
                self.sending = Some(self.admission.sending(&item));
                return Some((event(&item, message), self));
            }
        }
    }
}

/// An event in pieces, so that a message of megabytes is not copied for each client. A message has no line
/// breaks, since `protocol` encodes it without any.
fn event(item: &Item, message: Bytes) -> Vec<Bytes> {
    let seq = match item {
        Item::Entry(entry) => entry.seq,
        Item::Gap(seq) => *seq,
    };
    let head = format!("id: {seq}\ndata: ");
    vec![head.into(), message, Bytes::from_static(b"\n\n")]
}

/// The events that a request asks for. `Last-Event-ID` wins over `since`, because a client that reconnects repeats
/// its first query. `None` if a value is invalid.
fn parse(query: &str, headers: &HeaderMap) -> Option<Request> {
    let mut request = Request::parse(query)?;
    if let Some(id) = headers.get(LAST_EVENT_ID) {
        request.since = Some(id.to_str().ok()?.parse().ok()?);
    }
    Some(request)
}

/// Says what the response is, and lets a page of the request's origin read it: that origin is an allowed
/// one, since the request was admitted.
fn describe(request: &HeaderMap, response: &mut Response) {
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, content_type);
    let cache_control = HeaderValue::from_static("no-cache");
    headers.insert(header::CACHE_CONTROL, cache_control);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = request.get(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

fn refuse(refusal: Refusal) -> Response {
    let (status, detail) = match refusal {
        Refusal::OriginNotAllowed => (
            StatusCode::FORBIDDEN,
            "Pages of this origin may not read the results. Open the page at its own address.",
        ),
        Refusal::BadRequest => (
            StatusCode::BAD_REQUEST,
            "Send client as 16 to 64 characters of A-Z a-z 0-9 _ -, and since and Last-Event-ID as whole numbers.",
        ),
        Refusal::TooMany => return unavailable("Too many clients are connected. Try again later."),
        Refusal::NotReady => return not_ready(),
    };
    daemon::response(Problem::new(status, detail).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(query: &str, last_event_id: Option<&'static str>) -> Option<Option<u64>> {
        let mut headers = HeaderMap::new();
        if let Some(id) = last_event_id {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
        }
        parse(query, &headers).map(|request| request.since)
    }

    #[test]
    fn the_last_event_id_wins_over_since() {
        assert_eq!(since("", None), Some(None));
        assert_eq!(since("since=7", None), Some(Some(7)));
        assert_eq!(since("", Some("9")), Some(Some(9)));
        assert_eq!(since("since=7", Some("9")), Some(Some(9)));
    }

    #[test]
    fn an_invalid_last_event_id_is_refused() {
        for id in ["", "-1", "1.5", "x", "18446744073709551616"] {
            assert_eq!(since("since=7", Some(id)), None, "{id}");
        }
    }
}
