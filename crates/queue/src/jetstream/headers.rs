//! The headers of the messages in both streams: the id by which a stream recognises a message, and
//! what travels with a job and its events.

use async_nats::{HeaderMap, header::NATS_MESSAGE_ID};
use protocol::{Event, Job, JobContext, TraceId, TraceParent};
use tracing::field::{DisplayValue, display};

pub(super) fn of_job(job: &Job) -> HeaderMap {
    of_message(job.id.to_string(), job.context.traceparent)
}

pub(super) fn of_event(event: &Event, context: JobContext) -> HeaderMap {
    let mut headers = of_message(event.message_id().to_string(), context.traceparent);
    headers.insert(
        JobContext::ACCEPTED_US_HEADER,
        context.accepted_us.to_string(),
    );
    headers
}

fn of_message(id: String, traceparent: TraceParent) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id);
    headers.insert(TraceParent::HEADER, traceparent.to_string());
    headers
}

/// The trace that a message belongs to, if it says so.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TraceParent::HEADER)?.as_str().parse().ok()
}

/// The id of that trace, as a field of a line of the log.
pub(super) fn trace_id(headers: Option<&HeaderMap>) -> Option<DisplayValue<TraceId>> {
    headers
        .and_then(traceparent)
        .map(|traceparent| display(traceparent.trace_id()))
}

/// The context of an event, if its message has one.
pub(super) fn context(headers: &HeaderMap) -> Option<JobContext> {
    let accepted_us = headers.get(JobContext::ACCEPTED_US_HEADER)?.as_str();
    Some(JobContext {
        accepted_us: accepted_us.parse().ok()?,
        traceparent: traceparent(headers)?,
    })
}
