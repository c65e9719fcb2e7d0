//! Following a stream: each message once and in order, and silence noticed within two seconds.
//!
//! The ordered consumer of `async_nats` does the same, but its heartbeats are five seconds apart. With a node of a
//! cluster that hangs, that is what every client waits for.

use std::time::Duration;

use async_nats::{
    Client, Message, StatusCode, Subscriber, header,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, push},
    },
};
use futures_util::StreamExt;
use tokio::time::timeout;
use uuid::Uuid;

/// How often a consumer that has nothing to deliver says so.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a consumer may be silent before it counts as gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// How long the server keeps a consumer that nobody follows.
const KEPT_UNFOLLOWED: Duration = Duration::from_secs(30);

/// Names the flow-control request that a consumer waits for an answer to.
const NATS_CONSUMER_STALLED: &str = "Nats-Consumer-Stalled";

/// A consumer that lives in the memory of one node, and what it delivers.
#[derive(Debug)]
pub(super) struct OrderedConsumer {
    client: Client,
    context: jetstream::Context,
    delivered: Subscriber,
    /// The consumer's own number of the last message that arrived here.
    last: u64,
}

impl OrderedConsumer {
    /// Follows `stream` from the first message after `position`.
    pub(super) async fn after(
        context: &jetstream::Context,
        stream: &str,
        position: u64,
    ) -> Result<Self, async_nats::Error> {
        let client = context.client();
        let deliver_subject = client.new_inbox();
        let delivered = client.subscribe(deliver_subject.clone()).await?;
        let config = push::Config {
            // Without a name, creating the consumer would need the permission to create any consumer.
            name: Some(format!("tail-{}", Uuid::new_v4().simple())),
            deliver_subject,
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: position + 1,
            },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: KEPT_UNFOLLOWED,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        context.create_consumer_on_stream(config, stream).await?;
        Ok(Self {
            client,
            context: context.clone(),
            delivered,
            last: 0,
        })
    }

    /// The next message. After an error, another consumer has to be made.
    ///
    /// # Errors
    ///
    /// If the consumer is silent, if it ended, or if a message was lost on the way from it.
    pub(super) async fn next(&mut self) -> Result<jetstream::Message, async_nats::Error> {
        loop {
            let message = timeout(LONGEST_SILENCE, self.delivered.next())
                .await
                .map_err(|_elapsed| "the consumer of the log is silent")?
                .ok_or("the connection is closed")?;
            match message.status {
                None => {
                    let message = jetstream::Message {
                        message,
                        context: self.context.clone(),
                    };
                    self.last += 1;
                    self.check_last(message.info()?.consumer_sequence)?;
                    return Ok(message);
                }
                Some(StatusCode::IDLE_HEARTBEAT) => self.answer(message).await?,
                Some(status) => {
                    return Err(format!("the consumer of the log ended: {status}").into());
                }
            }
        }
    }

    /// Answers a request for flow control. A heartbeat needs no answer, but it tells what was delivered.
    async fn answer(&self, message: Message) -> Result<(), async_nats::Error> {
        let headers = message.headers.unwrap_or_default();
        if let Some(last) = headers.get_last(header::NATS_LAST_CONSUMER) {
            self.check_last(last.as_str().parse()?)?;
        }
        // If the answer was lost, the consumer asks for it again with its heartbeats.
        let stalled = headers.get_last(NATS_CONSUMER_STALLED);
        let stalled = stalled.map(|subject| subject.as_str().into());
        if let Some(subject) = message.reply.or(stalled) {
            self.client.publish(subject, "".into()).await?;
        }
        Ok(())
    }

    /// Checks that the last message that the consumer delivered is the last one that arrived.
    fn check_last(&self, delivered: u64) -> Result<(), async_nats::Error> {
        if delivered == self.last {
            Ok(())
        } else {
            Err(format!("of {delivered} messages of the log, {} arrived", self.last).into())
        }
    }
}
