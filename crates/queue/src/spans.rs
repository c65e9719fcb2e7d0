//! The spans of messages, with the names and attributes of OpenTelemetry's
//! [conventions for messaging](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).

use protocol::{Audience, Event, Job, JobContext, event::Kind};
use trace::{Span, TARGET};
use tracing::info_span;

#[cfg(feature = "reader")]
use crate::log::Entry;
use crate::subjects;

/// The system that carries the messages, the value of `messaging.system`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum System {
    Nats,
    /// A queue within this process.
    Embedded,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Embedded => "fibwire",
        }
    }
}

/// A job is submitted.
pub(crate) fn submit(system: System, job: &Job) -> Span {
    let subject = subjects::of_lane(job.lane());
    Span::within(job.context.traceparent, || {
        info_span!(
            target: TARGET,
            "submit",
            otel.name = format!("publish {subject}"),
            otel.kind = "producer",
            messaging.system = system.name(),
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
            messaging.destination.name = subject,
            messaging.message.id = %job.id,
            messaging.message.conversation_id = %job.id,
            fibwire.n = trace::integer(job.n),
        )
    })
}

/// A job was taken, having waited since it was accepted, and is worked on.
pub(crate) fn work(system: System, job: &Job, attempt: u64) -> Span {
    let (subject, lane) = (subjects::of_lane(job.lane()), job.lane().name());
    let JobContext {
        accepted_us,
        traceparent,
    } = job.context;
    trace::record_past(traceparent, accepted_us, || {
        let attributes = [
            ("messaging.system", system.name().into()),
            ("messaging.operation.name", "wait".into()),
            ("messaging.destination.name", subject.into()),
            ("messaging.message.id", job.id.to_string()),
            ("messaging.message.conversation_id", job.id.to_string()),
        ];
        (format!("wait {subject}"), attributes)
    });
    Span::of_message(traceparent, || {
        info_span!(
            target: TARGET,
            "work",
            otel.name = format!("process {subject}"),
            otel.kind = "consumer",
            messaging.system = system.name(),
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = subject,
            messaging.consumer.group.name = lane,
            messaging.message.id = %job.id,
            messaging.message.conversation_id = %job.id,
            fibwire.n = trace::integer(job.n),
            fibwire.attempt = trace::integer(attempt),
        )
    })
}

/// An event is published.
pub(crate) fn publish(
    system: System,
    audience: &Audience,
    event: &Event,
    context: JobContext,
) -> Span {
    let destination = Destination::of(audience);
    Span::within(context.traceparent, || {
        info_span!(
            target: TARGET,
            "publish",
            otel.name = format!("publish {}", destination.shown()),
            otel.kind = "producer",
            messaging.system = system.name(),
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
            messaging.destination.name = destination.name,
            messaging.destination.template = destination.template,
            messaging.message.id = %event.message_id(),
            messaging.message.conversation_id = %event.id,
            fibwire.event = <&str>::from(Kind::from(&event.body)),
        )
    })
}

/// An event is sent to one reader. `None` if its trace is not sampled, or not known.
#[cfg(feature = "reader")]
pub(crate) fn send(system: System, entry: &Entry) -> Option<Span> {
    let sender = entry.context?.traceparent;
    let destination = Destination::of(&entry.audience);
    sender.is_sampled().then(|| {
        Span::of_message(sender, || {
            info_span!(
                target: TARGET,
                "send",
                otel.name = format!("process {}", destination.shown()),
                otel.kind = "consumer",
                messaging.system = system.name(),
                messaging.operation.name = "process",
                messaging.operation.type = "process",
                messaging.destination.name = destination.name,
                messaging.destination.template = destination.template,
                messaging.message.body.size = trace::integer(entry.message.len()),
                fibwire.event = <&str>::from(entry.kind),
                fibwire.seq = trace::integer(entry.seq),
            )
        })
    })
}

/// The place where an event is published. A private channel is named by a template, because its subject contains
/// the token that lets whoever knows it read the channel.
struct Destination {
    name: Option<&'static str>,
    template: Option<&'static str>,
}

impl Destination {
    fn of(audience: &Audience) -> Self {
        match audience {
            Audience::Public => Self {
                name: Some(subjects::PUBLIC_RESULTS),
                template: None,
            },
            Audience::Client(_) => Self {
                name: None,
                template: Some(subjects::PRIVATE_RESULTS),
            },
        }
    }

    fn shown(&self) -> &'static str {
        self.name.or(self.template).unwrap_or_default()
    }
}
