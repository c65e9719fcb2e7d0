//! The sockets, as their clients see them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use protocol::{
    Audience, ClientToken, Event, JobContext, TraceParent,
    event::{Body, Timings},
};
use queue::{JetStreamOptions, Reader, Roles, Worker};
use serde_json::{Value, json};
use testkit::within;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Bytes, Message, client::IntoClientRequest, http::HeaderValue, protocol::CloseFrame,
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use websocket::{Config, Metrics};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const TOKEN: &str = "0123456789abcdef";

/// A websocket server on a queue in memory.
struct Stage {
    worker: Worker,
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Stage {
    async fn start() -> Self {
        Self::with_max_sockets(100).await
    }

    async fn with_max_sockets(max_sockets: usize) -> Self {
        Self::with(max_sockets, 5).await
    }

    async fn with(max_sockets: usize, drain_s: u64) -> Self {
        let Roles { worker, reader, .. } = Roles::in_memory();
        Self::reading(reader, worker, max_sockets, drain_s).await
    }

    async fn reading(reader: Reader, worker: Worker, max_sockets: usize, drain_s: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = Config {
            allowed_origins: "https://friend.example".parse().expect("an origin"),
            max_sockets,
            drain_s,
        };
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(websocket::run(
            listener,
            reader,
            config,
            Metrics::default(),
            |sockets| sockets,
            shutdown.clone(),
        ));
        Self {
            worker,
            address,
            shutdown,
            tasks,
        }
    }

    async fn open(&self, query: &str) -> Socket {
        let url = format!("ws://{}/ws{query}", self.address);
        within("a socket", connect_async(url))
            .await
            .expect("a socket")
            .0
    }

    async fn open_from(&self, origin: &'static str) -> Socket {
        let url = format!("ws://{}/ws", self.address);
        let mut request = url.into_client_request().expect("a request");
        request
            .headers_mut()
            .insert("origin", HeaderValue::from_static(origin));
        connect_async(request).await.expect("a socket").0
    }

    async fn publish(&self, audience: &Audience, event: &Event) {
        self.worker
            .publish(audience, event, JobContext::now(TraceParent::random()))
            .await
            .expect("an event that is stored");
    }

    /// Stops the server, and raises what it failed with.
    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = within("a server that has ended", self.tasks.join_next()).await;
        ended.expect("a task").expect("no panic").expect("no error");
    }
}

fn private() -> Audience {
    Audience::Client(TOKEN.parse::<ClientToken>().expect("a token"))
}

fn result(id: Uuid) -> Event {
    let timings = Timings {
        queued_us: 1,
        computed_us: 2,
    };
    event(
        id,
        Body::Result {
            digits: 2,
            value: Some("55".into()),
            parts: None,
            timings,
        },
    )
}

fn event(id: Uuid, body: Body) -> Event {
    Event { id, n: 10, body }
}

async fn message(socket: &mut Socket) -> Value {
    loop {
        match within("a message", socket.next()).await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            // A long message comes with pings.
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("not a message: {other:?}"),
        }
    }
}

async fn close_code(socket: &mut Socket) -> u16 {
    match within("a close", socket.next()).await {
        Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => code.into(),
        other => panic!("not a close: {other:?}"),
    }
}

#[tokio::test]
async fn a_bare_socket_gets_one_message_for_each_broadcast_job() {
    let stage = Stage::start().await;
    let mut socket = stage.open("").await;
    let id = Uuid::now_v7();
    stage.publish(&private(), &result(Uuid::now_v7())).await;
    stage
        .publish(&Audience::Public, &event(id, Body::Started { attempt: 1 }))
        .await;
    stage.publish(&Audience::Public, &result(id)).await;
    let message = message(&mut socket).await;
    assert!(message["seq"].is_u64());
    assert_eq!(
        message,
        json!({
            "type": "result", "seq": message["seq"], "id": id.to_string(), "n": 10, "digits": 2,
            "value": "55", "timings": {"queued": 1, "computed": 2},
        })
    );
    stage.stop().await;
}

#[tokio::test]
async fn a_client_gets_its_own_events_and_the_broadcasts_and_resumes_after_any() {
    let stage = Stage::start().await;
    let mut socket = stage.open(&format!("?client={TOKEN}")).await;
    let mut stranger = stage.open("?client=another-token-of-16").await;
    let ids = [(); 4].map(|()| Uuid::now_v7());
    for (index, id) in ids.into_iter().enumerate() {
        let audience = if index % 2 == 0 {
            private()
        } else {
            Audience::Public
        };
        stage.publish(&audience, &result(id)).await;
    }
    let mut seqs = Vec::new();
    for id in ids {
        let message = message(&mut socket).await;
        assert_eq!(message["id"], id.to_string());
        seqs.push(message["seq"].as_u64().unwrap());
    }
    assert!(seqs.is_sorted());
    assert_eq!(message(&mut stranger).await["id"], ids[1].to_string());
    for (index, seq) in seqs.iter().enumerate().take(3) {
        let mut resumed = stage.open(&format!("?client={TOKEN}&since={seq}")).await;
        for id in &ids[index + 1..] {
            assert_eq!(message(&mut resumed).await["id"], id.to_string());
        }
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_place_that_is_not_held_is_told_as_a_gap() {
    let stage = Stage::start().await;
    let mut socket = stage.open(&format!("?client={TOKEN}&since=1")).await;
    let gap = message(&mut socket).await;
    assert_eq!(gap, json!({"type": "gap", "seq": gap["seq"]}));
    let mut resumed = stage
        .open(&format!("?client={TOKEN}&since={}", gap["seq"]))
        .await;
    stage.publish(&private(), &result(Uuid::now_v7())).await;
    assert_eq!(message(&mut resumed).await["type"], "result");
    stage.stop().await;
}

#[tokio::test]
async fn a_wrong_query_or_origin_closes_with_1008() {
    let stage = Stage::start().await;
    for query in [
        "?client=short",
        "?client=",
        "?client=0123456789abcdef&since=x",
    ] {
        assert_eq!(
            close_code(&mut stage.open(query).await).await,
            1008,
            "{query}"
        );
    }
    for origin in ["null", "https://evil.example"] {
        assert_eq!(
            close_code(&mut stage.open_from(origin).await).await,
            1008,
            "{origin}"
        );
    }
    let mut friend = stage.open_from("https://friend.example").await;
    stage
        .publish(&Audience::Public, &result(Uuid::now_v7()))
        .await;
    assert_eq!(message(&mut friend).await["type"], "result");
    stage.stop().await;
}

#[tokio::test]
async fn a_frame_over_4_kib_closes_with_1009_and_a_short_one_does_nothing() {
    let stage = Stage::start().await;
    let mut socket = stage.open("").await;
    for frame in [
        Message::text("x".repeat(4096)),
        Message::binary(vec![0; 4096]),
    ] {
        socket.send(frame).await.unwrap();
    }
    socket
        .send(Message::Ping(Bytes::from_static(b"here?")))
        .await
        .unwrap();
    let pong = within("a pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"here?")));
    socket.send(Message::text("x".repeat(4097))).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);
    stage.stop().await;
}

#[tokio::test]
async fn one_socket_too_many_closes_with_1013_until_another_closes() {
    let stage = Stage::with_max_sockets(1).await;
    let mut first = stage.open("").await;
    assert_eq!(close_code(&mut stage.open("").await).await, 1013);
    first.close(None).await.unwrap();
    while within("the end", first.next()).await.is_some() {}
    let socket = testkit::eventually("a place", async || {
        let mut socket = stage.open("").await;
        stage
            .publish(&Audience::Public, &result(Uuid::now_v7()))
            .await;
        match within("a message", socket.next()).await {
            Some(Ok(Message::Text(_))) => Some(socket),
            _ => None,
        }
    });
    drop(socket.await);
    stage.stop().await;
}

#[tokio::test]
async fn a_shutdown_closes_every_socket_with_1001() {
    let stage = Stage::start().await;
    let mut sockets = [
        stage.open("").await,
        stage.open(&format!("?client={TOKEN}")).await,
    ];
    stage.shutdown.cancel();
    for socket in &mut sockets {
        assert_eq!(close_code(socket).await, 1001);
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_shutdown_sends_clients_away_evenly_once_nobody_is_accepted() {
    const WINDOW: Duration = Duration::from_secs(1);
    const SOCKETS: u32 = 450;
    const STREAMS: u32 = 150;
    const CLIENTS: u32 = SOCKETS + STREAMS;
    let stage = Stage::with(CLIENTS as usize, WINDOW.as_secs()).await;
    let mut clients = JoinSet::new();
    for _ in 0..SOCKETS {
        let mut socket = stage.open("").await;
        clients.spawn(async move {
            assert_eq!(close_code(&mut socket).await, 1001);
            Instant::now()
        });
    }
    for _ in 0..STREAMS {
        let mut events = EventStream::open(&stage, "/events", "").await;
        clients.spawn(async move {
            assert_eq!(events.line().await, None);
            Instant::now()
        });
    }
    let start = Instant::now();
    stage.shutdown.cancel();
    testkit::eventually("a refused connection", async || {
        TcpStream::connect(stage.address).await.err()
    })
    .await;
    let refused_at = Instant::now();
    let mut left_at = clients.join_all().await;
    left_at.sort_unstable();
    // On a busy machine a client may leave later than planned, but never earlier.
    for (count, at) in (1..).zip(&left_at) {
        let planned = WINDOW * count / CLIENTS;
        let after = at.duration_since(start);
        assert!(
            after >= planned.saturating_sub(Duration::from_millis(5)),
            "client {count} left after {after:?}"
        );
    }
    let left_before = left_at.partition_point(|at| *at < refused_at);
    assert!(left_before < left_at.len() / 5, "{left_before}");
    stage.stop().await;
}

#[tokio::test]
async fn a_reader_that_stops_delays_only_itself() {
    const PARTS: u32 = 64;
    let stage = Stage::start().await;
    let mut stopped = stage.open("").await;
    let mut reader = stage.open("").await;
    let id = Uuid::now_v7();
    for index in 0..PARTS {
        let value = "7".repeat(512 * 1024);
        stage
            .publish(
                &Audience::Public,
                &event(
                    id,
                    Body::Part {
                        index,
                        parts: PARTS,
                        value,
                    },
                ),
            )
            .await;
    }
    for index in 0..PARTS {
        assert_eq!(message(&mut reader).await["index"], index);
    }
    for index in 0..PARTS {
        assert_eq!(message(&mut stopped).await["index"], index);
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_socket_that_does_not_read_does_not_delay_the_end() {
    let stage = Stage::start().await;
    let _stopped = stage.open("").await;
    let id = Uuid::now_v7();
    for index in 0..64 {
        let part = Body::Part {
            index,
            parts: 64,
            value: "7".repeat(512 * 1024),
        };
        stage.publish(&Audience::Public, &event(id, part)).await;
    }
    // Another one that reads shows that the first has been sent as much as it takes.
    let mut reader = stage.open("?since=0").await;
    message(&mut reader).await;
    let start = Instant::now();
    stage.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let stage = Stage::start().await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    stage.stop().await;
}

/// A stream of Server-Sent Events.
struct EventStream {
    lines: Lines<BufReader<TcpStream>>,
}

impl EventStream {
    /// Sends a request for one, and reads the status and headers of the answer. With HTTP/1.0 its body
    /// is not chunked.
    async fn request(stage: &Stage, version: &str, path: &str, headers: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(stage.address)
            .await
            .expect("a connection");
        let request = format!("GET {path} {version}\r\nHost: x\r\n{headers}\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut events = Self {
            lines: BufReader::new(stream).lines(),
        };
        let mut head = String::new();
        while let Some(line) = events.line().await
            && !line.is_empty()
        {
            head += &line.to_ascii_lowercase();
            head.push('\n');
        }
        (events, head)
    }

    async fn open(stage: &Stage, path: &str, headers: &str) -> Self {
        let (events, head) = Self::request(stage, "HTTP/1.0", path, headers).await;
        assert!(head.starts_with("http/1.0 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream\n"), "{head}");
        events
    }

    async fn line(&mut self) -> Option<String> {
        within("a line", self.lines.next_line())
            .await
            .expect("text")
    }

    /// The id and the message of the next event.
    async fn event(&mut self) -> (u64, Value) {
        let mut id = None;
        while let Some(line) = self.line().await {
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().expect("a number"));
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (
                    id.expect("an id"),
                    serde_json::from_str(data).expect("JSON"),
                );
            }
        }
        panic!("the stream ended");
    }
}

#[tokio::test]
async fn an_event_stream_sends_the_messages_of_a_socket_and_resumes_after_any() {
    let stage = Stage::start().await;
    let path = format!("/events?client={TOKEN}");
    let mut socket = stage.open(&format!("?client={TOKEN}")).await;
    let mut events = EventStream::open(&stage, &path, "").await;
    let mut bare = EventStream::open(&stage, "/events", "").await;
    let ids = [(); 3].map(|()| Uuid::now_v7());
    stage.publish(&private(), &result(ids[0])).await;
    let started = event(ids[1], Body::Started { attempt: 1 });
    stage.publish(&Audience::Public, &started).await;
    stage.publish(&Audience::Public, &result(ids[1])).await;
    stage.publish(&private(), &result(ids[2])).await;
    let mut seqs = Vec::new();
    for _ in 0..4 {
        let (seq, message) = events.event().await;
        assert_eq!(message, self::message(&mut socket).await);
        assert_eq!(message["seq"], seq);
        seqs.push(seq);
    }
    let (_, broadcast) = bare.event().await;
    assert_eq!(broadcast["id"], ids[1].to_string());
    assert_eq!(broadcast["type"], "result");
    let last_seen = format!("Last-Event-ID: {}\r\n", seqs[2]);
    for (query, headers) in [
        (format!("&since={}", seqs[2]), ""),
        (String::new(), last_seen.as_str()),
        // What `EventSource` sends when it reconnects to an address that names a place.
        (format!("&since={}", seqs[0]), last_seen.as_str()),
    ] {
        let mut resumed = EventStream::open(&stage, &format!("{path}{query}"), headers).await;
        assert_eq!(resumed.event().await.0, seqs[3]);
    }
    stage.stop().await;
}

#[tokio::test]
async fn an_event_stream_is_told_of_a_gap_and_a_bare_one_is_not() {
    let stage = Stage::start().await;
    let path = format!("/events?client={TOKEN}&since=1");
    let mut events = EventStream::open(&stage, &path, "").await;
    let mut bare = EventStream::open(&stage, "/events?since=1", "").await;
    let (seq, gap) = events.event().await;
    assert_eq!(gap, json!({"type": "gap", "seq": seq}));
    let id = Uuid::now_v7();
    stage.publish(&Audience::Public, &result(id)).await;
    assert_eq!(bare.event().await.1["id"], id.to_string());
    stage.stop().await;
}

#[tokio::test]
async fn an_event_stream_is_refused_with_a_problem() {
    let stage = Stage::start().await;
    for (path, headers, status) in [
        ("/events?client=short", "", 400),
        ("/events?since=x", "", 400),
        ("/events", "Last-Event-ID: x\r\n", 400),
        ("/events", "Origin: https://evil.example\r\n", 403),
    ] {
        let (_, head) = EventStream::request(&stage, "HTTP/1.1", path, headers).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(
            head.contains("content-type: application/problem+json\n"),
            "{head}"
        );
    }
    let origin = "Origin: https://friend.example\r\n";
    let (_, head) = EventStream::request(&stage, "HTTP/1.1", "/events", origin).await;
    let allowed = "access-control-allow-origin: https://friend.example\n";
    assert!(head.contains(allowed), "{head}");
    stage.stop().await;
}

#[tokio::test]
async fn nobody_is_served_before_the_log_can_be_read() {
    let nowhere = JetStreamOptions {
        urls: vec!["nats://127.0.0.1:1".parse().expect("an address")],
        password_file: "/dev/null".into(),
        replicas: 1,
        job_id_window: Duration::ZERO,
        ack_wait: Duration::ZERO,
    };
    let (reader, _driver) = Reader::connect(&nowhere).await.expect("a valid address");
    let stage = Stage::reading(reader, Roles::in_memory().worker, 100, 5).await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, headers) in [("/ws", upgrade), ("/events", "")] {
        let (_, head) = EventStream::request(&stage, "HTTP/1.1", path, headers).await;
        assert!(head.starts_with("http/1.1 503 "), "{head}");
        assert!(head.contains("retry-after: "), "{head}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn event_streams_and_sockets_count_together() {
    let stage = Stage::with_max_sockets(1).await;
    let events = EventStream::open(&stage, "/events", "").await;
    assert_eq!(close_code(&mut stage.open("").await).await, 1013);
    let (_, head) = EventStream::request(&stage, "HTTP/1.1", "/events", "").await;
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    drop(events);
    testkit::eventually("a place", async || {
        let (_, head) = EventStream::request(&stage, "HTTP/1.1", "/events", "").await;
        head.starts_with("http/1.1 200 ").then_some(())
    })
    .await;
    stage.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_every_event_stream_as_a_complete_response() {
    let stage = Stage::start().await;
    let (mut events, _) = EventStream::request(&stage, "HTTP/1.1", "/events", "").await;
    stage.shutdown.cancel();
    let mut last = None;
    while let Some(line) = events.line().await {
        if !line.is_empty() {
            last = Some(line);
        }
    }
    // The chunk of length zero.
    assert_eq!(last.as_deref(), Some("0"));
    stage.stop().await;
}

#[tokio::test]
async fn a_reader_of_events_that_stops_delays_neither_others_nor_the_shutdown() {
    // Together more than the kernel's buffers hold.
    const PARTS: u32 = 32;
    let stage = Stage::start().await;
    let stopped = EventStream::open(&stage, "/events", "").await;
    let mut reader = stage.open("").await;
    let id = Uuid::now_v7();
    for index in 0..PARTS {
        let part = Body::Part {
            index,
            parts: PARTS,
            value: "7".repeat(512 * 1024),
        };
        stage.publish(&Audience::Public, &event(id, part)).await;
        assert_eq!(message(&mut reader).await["index"], index);
    }
    stage.stop().await;
    drop(stopped);
}
