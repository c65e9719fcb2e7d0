//! The things that each service must not be able to do on the queue.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, jetstream};
use protocol::{Audience, Lane};
use testkit::NatsServer;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::stage::{Stage, context, entry, job, result};

/// A plain NATS client as `user`, and the errors that the server sends it.
pub(crate) async fn client(server: &NatsServer, user: &str) -> (Client, mpsc::Receiver<String>) {
    let (refusals, received) = mpsc::channel(16);
    let password = std::fs::read_to_string(server.password_file(user)).expect("a password");
    let client = ConnectOptions::with_user_and_password(user.into(), password)
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .request_timeout(Some(Duration::from_secs(1)))
        .event_callback(move |event| {
            let refusals = refusals.clone();
            async move {
                if let async_nats::Event::ServerError(error) = event {
                    refusals.send(error.to_string()).await.ok();
                }
            }
        })
        .connect(server.url())
        .await
        .expect("a connection");
    (client, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_can_do_what_is_another_services() {
    let mut stage = Stage::jetstream().await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let delivery = stage.deliver(&mut jobs, &job(1)).await;
    for (user, subject) in [
        ("web", "results.public"),
        ("web", "$JS.API.STREAM.INFO.RESULTS"),
        ("web", "$JS.API.STREAM.INFO.JOBS"),
        ("web", "$JS.API.CONSUMER.MSG.NEXT.JOBS.small"),
        ("web", "$JS.API.STREAM.PURGE.JOBS"),
        ("web", "$JS.API.DIRECT.GET.JOBS"),
        ("calculator", "jobs.small"),
        ("calculator", "$JS.API.STREAM.DELETE.JOBS"),
        ("calculator", "$JS.API.DIRECT.GET.RESULTS"),
        ("websocket", "jobs.small"),
        ("websocket", "results.public"),
        ("websocket", "$JS.API.STREAM.INFO.JOBS"),
        ("websocket", "$JS.API.DIRECT.GET.JOBS"),
        ("websocket", "$JS.API.STREAM.DELETE.RESULTS"),
        ("websocket", "$JS.API.CONSUMER.DELETE.RESULTS.tail"),
    ] {
        let (client, mut refusals) = client(stage.server(), user).await;
        client.publish(subject, "{}".into()).await.unwrap();
        client.flush().await.unwrap();
        let refusal = refusals.recv().await.unwrap().to_lowercase();
        assert!(
            refusal.contains("permissions violation for publish"),
            "{user} {subject}: {refusal}"
        );
    }
    for (user, subject) in [
        ("web", "results.>"),
        ("web", "_INBOX.>"),
        ("web", "_INBOX_websocket.>"),
        ("calculator", "results.>"),
        ("calculator", "jobs.>"),
        ("websocket", "results.>"),
        ("websocket", "_INBOX_calculator.>"),
        ("websocket", ">"),
    ] {
        let (client, mut refusals) = client(stage.server(), user).await;
        let _subscription = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let refusal = refusals.recv().await.unwrap().to_lowercase();
        assert!(
            refusal.contains("permissions violation for subscription"),
            "{user} {subject}: {refusal}"
        );
    }
    delivery.ack().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_jobs_cannot_deliver_into_the_log() {
    let mut stage = Stage::jetstream().await;
    let mut jobs = stage.worker.jobs(Lane::Small);
    let _delivery = stage.deliver(&mut jobs, &job(1)).await;
    let mut cursor = stage.cursor(&[Audience::Public], None);
    let (client, _) = client(stage.server(), "calculator").await;
    // Two accounts close this hole: subject permissions do not apply to JetStream's own deliveries.
    let forger = jetstream::consumer::push::Config {
        durable_name: Some("forger".into()),
        filter_subject: "jobs.large".into(),
        deliver_subject: "results.public".into(),
        ..Default::default()
    };
    jetstream::new(client)
        .create_consumer_on_stream(forger, "JOBS")
        .await
        .unwrap();
    stage.submit(&job(2_000_000)).await;
    let event = result(Uuid::now_v7());
    stage
        .worker
        .publish(&Audience::Public, &event, context())
        .await
        .unwrap();
    assert_eq!(entry(&mut cursor).await.1, event);
    let (client, _) = self::client(stage.server(), "websocket").await;
    let stream = jetstream::new(client).get_stream("RESULTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_connects_without_the_right_password() {
    let server = NatsServer::start();
    for (user, password) in [("web", "wrong"), ("web", ""), ("admin", "password-of-web")] {
        let refused = ConnectOptions::with_user_and_password(user.into(), password.into())
            .connect(server.url())
            .await;
        assert_eq!(
            refused.unwrap_err().kind(),
            ConnectErrorKind::AuthorizationViolation
        );
    }
    let refused = async_nats::connect(server.url()).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        ConnectErrorKind::AuthorizationViolation
    );
}
