//! The binary is killed at random moments under load and started again on the same directory: of all
//! jobs accepted none is lost, none ends twice, and none has a wrong value.
//!
//! `KILLS=1000 cargo test --release --package fibwire --test kills` kills it more often than
//! `make test` does.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;
use uuid::Uuid;

const BINARY: &str = env!("CARGO_BIN_EXE_fibwire");
/// How many kills `make test` makes.
const KILLS: usize = 60;
/// The number of kills after which the jobs are counted and new ones begin.
const KILLS_A_ROUND: usize = 60;
/// How long the binary runs until it is killed, at most.
const MAX_LIFE: Duration = Duration::from_millis(600);
/// How many clients post and listen at the same time.
const CLIENTS: usize = 4;
/// The numbers that they ask for: short ones, and now and then one that arrives in parts.
const SMALL_N: u64 = 3000;
const LARGE_N: u64 = 6_000_000;
const LARGE_SHARE: u32 = 1000;
/// How long everything may take to be done once the kills have ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary on a directory, killed when this is dropped.
struct Server(Child);

impl Server {
    fn start(directory: &Path, port: u16) -> Self {
        let mut process = Command::new(BINARY)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(directory)
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut log = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                log.read_line(&mut line).expect("a line"),
                0,
                "it did not start"
            );
            if line.starts_with("fibwire is up: ") {
                break;
            }
            // What it says about an unfinished commit is JSON, and anything else an error.
            assert!(line.starts_with('{'), "{line}");
        }
        thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        Self(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Tells the clients to end, also if the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client's knowledge of its jobs.
#[derive(Default)]
struct Client {
    token: String,
    /// The n of each job that was accepted.
    accepted: HashMap<Uuid, u64>,
}

/// The events of a job in the log.
#[derive(Default)]
struct Record {
    ends: Vec<Value>,
    parts: HashMap<u64, String>,
}

fn run_round(kills: usize, seed: u64) -> (usize, usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let mut rng = Rng::with_seed(seed);
    let over = AtomicBool::new(false);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            Mutex::new(Client {
                token: Uuid::new_v4().simple().to_string(),
                ..Client::default()
            })
        })
        .collect();
    let mut server = Server::start(directory.path(), port);
    let _server = thread::scope(|scope| {
        for client in &clients {
            let rng = Rng::with_seed(rng.u64(..));
            scope.spawn(|| post(client, port, rng, &over));
            scope.spawn(|| listen(client, port, &over));
        }
        let _over = SetOnDrop(&over);
        for _ in 0..kills {
            // The moment of the kill is random, and this is not a wait for anything.
            thread::sleep(MAX_LIFE.mul_f64(rng.f64()));
            drop(server);
            server = Server::start(directory.path(), port);
        }
        server
    });
    let mut counts = (0, 0);
    for client in clients {
        let client = client.into_inner().expect("no client panicked");
        let records = read_all(&client, port);
        counts.0 += client.accepted.len();
        counts.1 += client.accepted.values().filter(|n| **n == LARGE_N).count();
        check(&client, &records);
    }
    counts
}

/// Posts job after job, each until it is accepted, with the same id each time.
fn post(client: &Mutex<Client>, port: u16, mut rng: Rng, over: &AtomicBool) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .build()
        .into();
    let token = client.lock().expect("not poisoned").token.clone();
    while !over.load(Ordering::Relaxed) {
        let n = if rng.u32(..LARGE_SHARE) == 0 {
            LARGE_N
        } else {
            rng.u64(..SMALL_N)
        };
        let id = Uuid::now_v7();
        let body = serde_json::json!({ "n": n, "client": token, "id": id });
        while !agent
            .post(format!("http://127.0.0.1:{port}/fib"))
            .send_json(&body)
            .is_ok_and(|answer| answer.status() == 202)
        {
            if over.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        client.lock().expect("not poisoned").accepted.insert(id, n);
    }
}

/// Listens, and comes back from where it was whenever the socket is lost.
fn listen(client: &Mutex<Client>, port: u16, over: &AtomicBool) {
    let token = client.lock().expect("not poisoned").token.clone();
    let mut last = None;
    while !over.load(Ordering::Relaxed) {
        let Some(mut socket) = connect(&token, last, port) else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        while !over.load(Ordering::Relaxed)
            && let Ok(message) = socket.read()
        {
            if let Some(event) = parse(&message) {
                let seq = event["seq"].as_u64();
                assert_ne!(
                    event["type"], "gap",
                    "a socket that came back from {last:?}"
                );
                assert!(seq > last, "{seq:?} after {last:?}");
                last = seq;
            }
        }
    }
}

/// Everything that the log has for a client, up to the end of a job that is posted now.
fn read_all(client: &Client, port: u16) -> HashMap<Uuid, Record> {
    let sentinel = Uuid::now_v7();
    let open = |records: &HashMap<Uuid, Record>| {
        client
            .accepted
            .keys()
            .any(|id| records.get(id).is_none_or(|record| record.ends.is_empty()))
    };
    let body = serde_json::json!({ "n": 1, "client": client.token, "id": sentinel });
    let mut records: HashMap<Uuid, Record> = HashMap::new();
    let mut socket = connect(&client.token, Some(0), port).expect("a server that is up");
    let deadline = Instant::now() + PATIENCE;
    let mut posted = false;
    while !records.contains_key(&sentinel) {
        assert!(
            Instant::now() < deadline,
            "a job has no end, or more cannot be read"
        );
        if !posted && !open(&records) {
            ureq::post(format!("http://127.0.0.1:{port}/fib"))
                .send_json(&body)
                .expect("202");
            posted = true;
        }
        let Some(event) = socket.read().ok().as_ref().and_then(parse) else {
            continue;
        };
        let Some(id) = event["id"].as_str().and_then(|id| id.parse().ok()) else {
            assert_eq!(event["type"], "gap", "{event}");
            continue;
        };
        let record = records.entry(id).or_default();
        match event["type"].as_str() {
            Some("result" | "failed") => record.ends.push(event),
            Some("part") => {
                let index = event["index"].as_u64().expect("an index");
                let value = event["value"].as_str().expect("digits").to_owned();
                assert_eq!(
                    record.parts.insert(index, value),
                    None,
                    "part {index} of {id} twice"
                );
            }
            _ => {}
        }
    }
    records
}

fn check(client: &Client, records: &HashMap<Uuid, Record>) {
    let mut values = HashMap::new();
    for (id, n) in &client.accepted {
        let record = &records[id];
        assert_eq!(record.ends.len(), 1, "the ends of {id}: {:?}", record.ends);
        let end = &record.ends[0];
        if end["type"] == "failed" {
            // The binary was killed three times while it worked on it.
            assert!(
                end["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("interrupted"))
            );
            continue;
        }
        let value = end["value"].as_str().map_or_else(
            || {
                let parts = end["parts"].as_u64().expect("parts");
                (0..parts)
                    .map(|index| record.parts[&index].as_str())
                    .collect()
            },
            str::to_owned,
        );
        let expected = values
            .entry(*n)
            .or_insert_with(|| fibonacci::fibonacci(*n).to_string());
        assert!(value == *expected, "F({n}) of {id} is wrong");
    }
}

type Socket = tungstenite::WebSocket<std::net::TcpStream>;

fn connect(token: &str, since: Option<u64>, port: u16) -> Option<Socket> {
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    // So that the end of the test is noticed.
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    let since = since.map_or_else(String::new, |since| format!("&since={since}"));
    let url = format!("ws://127.0.0.1:{port}/ws?client={token}{since}");
    let (socket, _) = tungstenite::client(url, stream).ok()?;
    Some(socket)
}

fn parse(message: &tungstenite::Message) -> Option<Value> {
    match message {
        tungstenite::Message::Text(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn kills_lose_no_job_and_repeat_none() {
    let mut kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut round = 0;
    while kills > 0 {
        let now = kills.min(KILLS_A_ROUND);
        let (jobs, large) = run_round(now, seed.wrapping_add(round));
        println!(
            "{now} kills: {jobs} jobs accepted, {large} of them large, each with one right end"
        );
        kills -= now;
        round += 1;
    }
}
