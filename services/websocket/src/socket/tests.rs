//! Sockets over connections in memory, on a paused clock.

use axum::http::HeaderMap;
use protocol::{Audience, Event, JobContext, TraceParent, event::Body};
use queue::{Roles, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    Config, admission::Admissions, drain::Drain, frame_length::FrameLengths, metrics::Kind,
    request::Request,
};

/// The digits of F(10^6).
const LONG: usize = 208_988;
/// How much a slow but patient peer reads.
const SLOW_BYTES_A_SECOND: usize = 5_000;

/// A socket that a task serves, and the queue that it reads.
struct Stage {
    worker: Worker,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    /// Serves a socket over `connection`.
    async fn start(connection: DuplexStream) -> Self {
        Self::start_with(FrameLength::SHORT, connection).await
    }

    async fn start_with(frame_length: FrameLength, connection: DuplexStream) -> Self {
        let Roles { worker, reader, .. } = Roles::in_memory();
        let config = Config {
            allowed_origins: protocol::Origins::default(),
            max_sockets: 1,
            drain_s: 5,
        };
        let mut admission = Admissions::new(reader, config, Arc::default())
            .admit(Kind::WebSocket, &HeaderMap::new(), Request::parse(""))
            .unwrap();
        let shutdown = CancellationToken::new();
        let mut place = Drain::new(Duration::from_secs(5), shutdown.clone()).place();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut socket = Socket::new(connection, frame_length, Arc::default()).await;
            socket.serve(&mut admission, &mut place).await;
        });
        Self {
            worker,
            shutdown,
            tasks,
        }
    }

    async fn publish(&self, digits: usize) -> Uuid {
        let id = Uuid::now_v7();
        let body = Body::Part {
            index: 0,
            parts: 1,
            value: "7".repeat(digits),
        };
        let event = Event { id, n: 10, body };
        self.worker
            .publish(
                &Audience::Public,
                &event,
                JobContext::now(TraceParent::random()),
            )
            .await
            .unwrap();
        id
    }

    /// How many seconds it takes until the socket is no longer served.
    async fn seconds_to_end(mut self) -> f32 {
        let start = Instant::now();
        self.tasks.join_next().await.unwrap().unwrap();
        start.elapsed().as_secs_f32()
    }
}

async fn client(connection: DuplexStream) -> WebSocketStream<DuplexStream> {
    WebSocketStream::from_raw_socket(connection, Role::Client, None).await
}

/// A connection whose far end reads slowly, and between which and the server `buffer` bytes fit. The
/// task moves the bytes.
fn slow(buffer: usize, tasks: &mut JoinSet<()>) -> (DuplexStream, DuplexStream) {
    let (server, near) = duplex(buffer);
    let (far, peer) = duplex(1);
    tasks.spawn(async move {
        let (mut from_server, mut to_server) = split(near);
        let (mut from_peer, mut to_peer) = split(far);
        let slowly = async {
            let mut second = interval(Duration::from_secs(1));
            second.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut bytes = vec![0; SLOW_BYTES_A_SECOND];
            loop {
                second.tick().await;
                let read = from_server.read(&mut bytes).await.unwrap_or_default();
                if read == 0 || to_peer.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
        };
        let back = tokio::io::copy(&mut from_peer, &mut to_server);
        tokio::join!(slowly, back).1.ok();
    });
    (server, peer)
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_a_long_message_whole_however_much_is_buffered_on_the_way() {
    let lengths = FrameLengths::new();
    for (buffer, frame_length) in [1024, 64 * 1024, 1024 * 1024]
        .into_iter()
        .flat_map(|buffer| [(buffer, FrameLength::SHORT), (buffer, lengths.next())])
    {
        let mut pipes = JoinSet::new();
        let (server, peer) = slow(buffer, &mut pipes);
        let stage = Stage::start_with(frame_length, server).await;
        let mut peer = client(peer).await;
        let start = Instant::now();
        let id = stage.publish(LONG).await;
        let text = loop {
            match peer.next().await {
                Some(Ok(Message::Text(text))) => break text,
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("not a message after {:?}: {other:?}", start.elapsed()),
            }
        };
        assert!(text.len() > LONG && text.contains(&id.to_string()));
        assert!(start.elapsed() > STALL_TIMEOUT, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_gone_after_35_seconds() {
    for digits in [10, LONG] {
        let (server, _peer) = duplex(16);
        let stage = Stage::start(server).await;
        stage.publish(digits).await;
        let seconds = stage.seconds_to_end().await;
        assert!((34.9..35.1).contains(&seconds), "{digits}: {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_but_takes_nothing_is_gone_after_35_seconds() {
    let (server, peer) = duplex(64);
    let stage = Stage::start(server).await;
    let (_unread, mut to_server) = split(peer);
    let mut floods = JoinSet::new();
    floods.spawn(async move {
        let mut second = interval(Duration::from_secs(1));
        // A pong without a payload, whose mask is zero.
        while to_server.write_all(&[0x8A, 0x80, 0, 0, 0, 0]).await.is_ok() {
            second.tick().await;
        }
    });
    stage.publish(LONG).await;
    let seconds = stage.seconds_to_end().await;
    assert!((34.9..35.1).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_after_25_seconds_and_gone_10_seconds_later() {
    let (server, mut peer) = duplex(1024);
    let stage = Stage::start(server).await;
    let start = Instant::now();
    let mut ping = [0; 2];
    peer.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0]);
    assert_eq!(start.elapsed().as_secs(), 25);
    assert_eq!(stage.seconds_to_end().await.round(), 10.0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_peer_that_takes_nothing() {
    let (server, _peer) = duplex(16);
    let stage = Stage::start(server).await;
    stage.publish(LONG).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    stage.shutdown.cancel();
    let seconds = stage.seconds_to_end().await;
    assert!(seconds <= CLOSE_TIMEOUT.as_secs_f32() + 0.1, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_the_middle_of_a_message_closes_with_1001() {
    let (server, peer) = duplex(1024);
    let stage = Stage::start(server).await;
    stage.publish(LONG).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    stage.shutdown.cancel();
    // The socket takes its turn, and then that comes, before the peer reads anything.
    for _ in 0..2 {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let mut peer = client(peer).await;
    let closed = loop {
        match peer.next().await {
            Some(Ok(Message::Close(Some(frame)))) => break frame.code,
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("not a close: {other:?}"),
        }
    };
    assert_eq!(closed, CloseCode::Away);
    assert!(peer.next().await.is_none());
    assert!(stage.seconds_to_end().await < 0.1);
}

#[tokio::test(start_paused = true)]
async fn no_frame_is_longer_than_its_limit() {
    sends_no_longer_frames(FrameLength::SHORT).await;
    sends_no_longer_frames(FrameLengths::new().next()).await;
}

async fn sends_no_longer_frames(frame_length: FrameLength) {
    let limit = frame_length.bytes();
    let (server, mut peer) = duplex(1024);
    let stage = Stage::start_with(frame_length, server).await;
    stage.publish(LONG).await;
    let mut opcodes = Vec::new();
    let mut payload = Vec::new();
    loop {
        let first = peer.read_u8().await.unwrap();
        let length = match peer.read_u8().await.unwrap() {
            126 => peer.read_u16().await.unwrap().into(),
            length => usize::from(length),
        };
        assert!(length <= limit);
        let mut frame = vec![0; length];
        peer.read_exact(&mut frame).await.unwrap();
        if first != 0x89 {
            opcodes.push(first);
            payload.extend(frame);
        }
        if first == 0x80 {
            break;
        }
    }
    // Text, continuations, and a last one.
    assert_eq!(opcodes[0], 0x01);
    assert!(
        opcodes[1..opcodes.len() - 1]
            .iter()
            .all(|&opcode| opcode == 0)
    );
    assert!(payload.starts_with(b"{") && payload.ends_with(b"}") && payload.len() > LONG);
}
