//! The binary as seen from outside: its commands, its exit codes, its size and how quickly it starts.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

use protocol::{Job, JobContext, TraceParent};
use queue::{Roles, SubmitError};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinSet};
use tungstenite::{Message, WebSocket};
use uuid::Uuid;

const BINARY: &str = env!("CARGO_BIN_EXE_fibwire");

/// A server on a free port, killed when it is dropped.
struct Server {
    process: Child,
    /// The directory of the server's data, if it keeps any.
    _directory: TempDir,
    /// Kept open, because the server logs to it.
    stderr: BufReader<ChildStderr>,
    url: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::of(Command::new(BINARY).args(arguments))
    }

    /// A server that may have as many files open as `ulimit` with these options says.
    fn with_file_limit(options: &str) -> Self {
        let script = format!("ulimit {options} && exec \"$0\" \"$@\"");
        Self::of(Command::new("sh").args(["-c", &script, BINARY]))
    }

    fn of(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = command
            .current_dir(&directory)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut stderr = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        let url = line
            .trim()
            .strip_prefix("fibwire is up: ")
            .expect("the address")
            .to_owned();
        Self {
            process,
            _directory: directory,
            stderr,
            url,
        }
    }

    /// The address of the metrics, which the server logs.
    fn metrics_address(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stderr.read_line(&mut line).expect("a line");
            assert!(!line.is_empty(), "no address of the metrics");
            let logged: Value = serde_json::from_str(&line).expect("a line of the log");
            if logged["message"] == "metrics are served" {
                return logged["listen"].as_str().expect("an address").to_owned();
            }
        }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("a URL")
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("a connection");
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).expect("a time-out");
        stream
    }

    /// The whole response to one request.
    fn request(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("a request");
        rest(&mut stream)
    }

    /// Posts a job with these further headers.
    fn post(&self, n: u64, headers: &str) -> String {
        let body = format!("n={n}");
        self.request(&format!(
            "POST /fib HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len(),
        ))
    }

    fn open_socket(&self) -> WebSocket<TcpStream> {
        let url = format!("ws://{}/ws", self.address());
        tungstenite::client(url, self.connect())
            .expect("a socket")
            .0
    }

    /// The most memory that the process has used so far.
    fn peak_memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))
            .expect("the status of a process");
        let peak = status.lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
            kib.parse::<u64>().ok()
        });
        peak.expect("a line with the peak") / 1024
    }

    /// Sends a signal, and returns the exit code and how long the process took to end.
    fn end_with(mut self, signal: &str) -> (Option<i32>, Duration) {
        let id = self.process.id().to_string();
        let start = Instant::now();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill").success());
        let status = self.process.wait().expect("an end");
        (status.code(), start.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Everything that comes until the server closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The next message. A long one comes with pings.
fn message(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("not a message: {other:?}"),
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    Command::new(BINARY)
        .current_dir(&directory)
        .args(arguments)
        .output()
        .expect("a process that ends")
}

fn stdout(output: Output) -> String {
    String::from_utf8(output.stdout).expect("text")
}

/// The digits and the SHA-256 of F(n) in the golden file.
fn golden(n: u64) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/fibonacci/tests/golden/fibonacci.tsv");
    let golden = fs::read_to_string(path).expect("the golden file");
    let line = golden
        .lines()
        .find(|line| line.starts_with(&format!("{n}\t")))
        .expect("a line for n");
    let fields: Vec<_> = line.split('\t').collect();
    (fields[3].to_owned(), fields[2].to_owned())
}

fn sha256(digits: &str) -> String {
    Sha256::digest(digits)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The digits of a number that was printed with a line end.
fn digits(printed: &str) -> &str {
    printed.strip_suffix('\n').expect("a line end")
}

#[test]
fn compute_prints_the_digits_and_a_line_end() {
    for n in [0, 1, 2, 10, 93, 94, 200] {
        let printed = stdout(run(&["compute", &n.to_string()]));
        assert_eq!(printed, golden(n).0 + "\n");
    }
    let million = stdout(run(&["compute", "1000000"]));
    assert_eq!(sha256(digits(&million)), golden(1_000_000).1);
}

#[test]
fn compute_writes_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(&["compute", "1000", "--out", file.path().to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty());
    let written = fs::read_to_string(file.path()).unwrap();
    assert_eq!(sha256(digits(&written)), golden(1000).1);
}

#[test]
fn it_is_not_an_error_if_the_reader_stops_reading() {
    let mut process = Command::new(BINARY)
        .args(["compute", "1000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn exit_codes_distinguish_wrong_usage_from_failure() {
    for wrong in [
        &["compute"] as &[_],
        &["compute", "-1"],
        &["compute", "1.5"],
        &["--listen", "nowhere"],
        &["--max-n", "many"],
        &["nonsense"],
        &["completions", "cobol"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    for failed in [
        &["compute", "10", "--out", "/nonexistent/file"] as &[_],
        &["submit", "10", "--url", "http://127.0.0.1:1"],
        &["submit", "10", "--url", "ftp://127.0.0.1"],
        &["--listen", "192.0.2.1:1"],
    ] {
        let output = run(failed);
        assert_eq!(output.status.code(), Some(1), "{failed:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let output = Command::new(BINARY).env("MAX_N", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("MAX_N"));
}

#[test]
fn submit_prints_the_value_or_the_servers_sentence() {
    let server = Server::start(&["--max-n", "6000000"]);
    let submit = |n: &str| run(&["submit", n, "--url", &server.url]);
    assert_eq!(sha256(digits(&stdout(submit("1000")))), golden(1000).1);
    let refused = submit("6000001");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("from 0 to 6000000")
    );
}

#[test]
fn submit_puts_a_long_result_together() {
    let server = Server::start(&[]);
    let digits = stdout(run(&["submit", "6000000", "--url", &server.url]));
    assert_eq!(digits, stdout(run(&["compute", "6000000"])));
}

#[test]
fn every_response_has_the_security_headers_and_every_error_is_a_problem() {
    let server = Server::start(&[]);
    let body = |length| format!("Content-Length: {length}\r\n\r\n{}", "x".repeat(length));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n".to_owned(), 200),
        ("GET /static/page.js HTTP/1.1\r\n".to_owned(), 200),
        ("GET /static/../lib.rs HTTP/1.1\r\n".to_owned(), 404),
        ("GET /nowhere HTTP/1.1\r\n".to_owned(), 404),
        ("GET /ws HTTP/1.1\r\n".to_owned(), 426),
        ("DELETE /fib HTTP/1.1\r\n".to_owned(), 405),
        (
            "POST /fib HTTP/1.1\r\nContent-Type: text/plain\r\n".to_owned(),
            415,
        ),
        (
            format!(
                "POST /fib HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}",
                body(5000)
            ),
            413,
        ),
    ] {
        let request = if request.contains("\r\n\r\n") {
            request
        } else {
            format!("{request}Host: localhost\r\nConnection: close\r\n\r\n")
        };
        let answer = server.request(&request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{answer}"
        );
        assert!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{request}{answer}"
        );
        assert_eq!(
            answer.contains("application/problem+json"),
            status != 200,
            "{request}{answer}"
        );
    }
}

#[test]
fn the_metrics_count_jobs_by_their_end() {
    let mut server = Server::start(&[
        "--metrics-listen",
        "127.0.0.1:0",
        "--memory-limit-mib",
        "16",
    ]);
    let metrics = server.metrics_address();
    let shown = || {
        let mut stream = TcpStream::connect(&metrics).expect("a connection");
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .expect("a request");
        rest(&mut stream)
    };
    let mut socket = server.open_socket();
    for n in [10, 20, 90_000_000] {
        let accepted = server.post(n, "");
        assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
        message(&mut socket);
    }
    let expected = [
        "fibwire_submissions_total{status=\"202\"} 3\n",
        "fibwire_jobs_total{lane=\"small\",outcome=\"result\"} 2\n",
        "fibwire_jobs_total{lane=\"large\",outcome=\"failed\"} 1\n",
        "fibwire_compute_seconds_count{lane=\"small\"} 2\n",
        "fibwire_delivery_seconds_count 3\n",
    ];
    // A job is counted a moment after its end was published.
    let start = Instant::now();
    while !expected.iter().all(|sample| shown().contains(sample)) {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", shown());
    }
    assert!(shown().ends_with("# EOF\n"));
}

#[test]
fn without_an_address_for_them_there_are_no_metrics() {
    let server = Server::start(&[]);
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address()
    );
    assert!(server.request(&request).starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_signal_ends_it_in_time() {
    for signal in ["-TERM", "-INT"] {
        let (code, took) = Server::start(&["--metrics-listen", "127.0.0.1:0"]).end_with(signal);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn a_socket_that_does_not_read_does_not_delay_the_end() {
    let server = Server::start(&[]);
    let _stopped = server.open_socket();
    let mut reader = server.open_socket();
    // Longer than what the system holds for a connection.
    let accepted = server.post(40_000_000, "");
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    while !message(&mut reader).contains(r#""type":"result""#) {}
    let (code, took) = server.end_with("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_long_message_is_not_copied_for_each_socket() {
    const SOCKETS: usize = 600;
    const MAX_MEMORY_MIB: u64 = 256;
    let server = Server::start(&[]);
    let mut sockets: Vec<_> = (0..SOCKETS).map(|_| server.open_socket()).collect();
    let accepted = server.post(5_000_000, "");
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    let expected = message(&mut sockets[0]);
    assert!(expected.len() > 1_000_000);
    for socket in &mut sockets[1..] {
        assert!(message(socket) == expected, "another message");
    }
    let peak = server.peak_memory_mib();
    println!("{SOCKETS} sockets with a message of 1 MB: {peak} MiB");
    assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
}

#[test]
fn a_request_for_another_host_gets_421() {
    let server = Server::start(&[]);
    let address = server.address();
    let port = address.rsplit(':').next().unwrap();
    for head in [
        "GET / HTTP/1.1",
        "GET /static/page.js HTTP/1.1",
        "POST /fib HTTP/1.1",
        "GET /nowhere HTTP/1.1",
        "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.test",
    ] {
        let answer = server.request(&format!(
            "{head}\r\nHost: evil.test:{port}\r\nConnection: close, upgrade\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 421 "), "{head}\n{answer}");
        assert!(
            answer.contains("application/problem+json"),
            "{head}\n{answer}"
        );
        assert!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{head}\n{answer}"
        );
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
        let answer = server.request(&request);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}\n{answer}");
    }
}

#[test]
fn only_the_own_page_and_listed_origins_may_post() {
    let server = Server::start(&["--allowed-origins", "https://friend.example"]);
    let own = server.url.clone();
    for (headers, status) in [
        (String::new(), 202),
        (
            format!("Origin: {own}\r\nSec-Fetch-Site: same-origin\r\n"),
            202,
        ),
        (
            "Origin: https://friend.example\r\nSec-Fetch-Site: cross-site\r\n".into(),
            202,
        ),
        ("Origin: https://evil.example\r\n".into(), 403),
        ("Origin: null\r\n".into(), 403),
        (
            "Origin: http://localhost:1\r\nSec-Fetch-Site: same-site\r\n".into(),
            403,
        ),
        ("Sec-Fetch-Site: cross-site\r\n".into(), 403),
    ] {
        let answer = server.post(1, &headers);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{headers}{answer}"
        );
        assert!(!answer.contains("access-control-"), "{headers}{answer}");
    }
}

#[test]
fn a_request_that_is_not_finished_ends_after_ten_seconds() {
    let server = Server::start(&[]);
    let start = Instant::now();
    let [mut head, mut body] = [server.connect(), server.connect()];
    head.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        .unwrap();
    body.write_all(b"POST /fib HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nn=1")
        .unwrap();
    assert_eq!(rest(&mut head), "");
    let answer = rest(&mut body);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let server = Server::with_file_limit("-S -n 64");
    let connections: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let answer = server.post(1, "");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    drop(connections);
}

#[test]
fn a_connection_for_which_there_is_no_file_gets_503() {
    let server = Server::with_file_limit("-n 128");
    let connections: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let answer = server.post(1, "");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    drop(connections);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(run(&["completions", shell])).contains("submit"),
            "{shell}"
        );
    }
}

/// These limits are those of the release build, which `scripts/test` runs these tests on.
#[test]
fn it_is_small_and_starts_at_once() {
    const MAX_BYTES: u64 = 16_000_000;
    const MAX_START: Duration = Duration::from_millis(50);
    let bytes = fs::metadata(BINARY).unwrap().len();
    // The quickest of several starts. The others mostly measure how busy the machine is.
    let start = (0..10)
        .map(|_| {
            let start = Instant::now();
            let server = Server::start(&[]);
            TcpStream::connect(server.address()).unwrap();
            start.elapsed()
        })
        .min()
        .unwrap();
    println!("{bytes} bytes, up in {start:?}");
    assert!(bytes < MAX_BYTES, "{bytes} bytes");
    assert!(start < MAX_START, "up in {start:?}");
}

#[test]
fn it_takes_little_memory_when_idle() {
    const MAX_KIB: u64 = 25 * 1024;
    let server = Server::start(&[]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .unwrap();
    let kib: u64 = resident.trim().parse().unwrap();
    println!("{kib} KiB");
    assert!(kib < MAX_KIB, "{kib} KiB");
}

#[test]
fn a_hundred_thousand_waiting_jobs_do_not_delay_the_start() {
    const MAX_START: Duration = Duration::from_secs(1);
    let directory = tempfile::tempdir().unwrap();
    Runtime::new().unwrap().block_on(async {
        let Roles {
            submitter, driver, ..
        } = Roles::on_disk(directory.path()).unwrap();
        let mut submissions: JoinSet<Result<(), SubmitError>> = JoinSet::new();
        for n in 0..100_000 {
            let job = Job {
                id: Uuid::now_v7(),
                n,
                client: None,
                context: JobContext::now(TraceParent::random()),
            };
            let submitter = submitter.clone();
            submissions.spawn(async move { submitter.submit(&job).await });
            if submissions.len() == 1000 {
                submissions.join_next().await.unwrap().unwrap().unwrap();
            }
        }
        for submitted in submissions.join_all().await {
            submitted.unwrap();
        }
        drop(driver);
    });
    let start = Instant::now();
    let server = Server::start(&["--data", directory.path().to_str().unwrap()]);
    let start = start.elapsed();
    drop(server);
    println!("up in {start:?}");
    assert!(start < MAX_START, "up in {start:?}");
}

#[test]
fn what_was_posted_before_an_interrupt_is_computed_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data", directory.path().to_str().unwrap()];
    let id = Uuid::now_v7();
    let mut server = Server::start(&data);
    let body = format!(r#"{{"n":20000000,"id":"{id}"}}"#);
    let answer = server.request(&format!(
        "POST /fib HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let process = server.process.id().to_string();
    let interrupt = Command::new("kill").args(["-INT", &process]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(server.process.wait().unwrap().code(), Some(0));

    let server = Server::start(&data);
    let url = format!(
        "ws://{}/ws?client={}&since=0",
        server.address(),
        "a".repeat(16)
    );
    let (mut socket, _) = tungstenite::client(url, server.connect()).unwrap();
    loop {
        let message = socket.read().unwrap().into_text().unwrap();
        if message.contains(&id.to_string()) && message.contains(r#""type":"result""#) {
            assert!(message.contains(r#""digits":4179753"#), "{message}");
            break;
        }
    }
}

#[test]
fn a_full_disk_refuses_jobs_and_loses_none() {
    /// The disk, and what something else takes of it at first.
    const DISK_KIB: u32 = 8 * 1024;
    const FILLER_KIB: u32 = 6 * 1024;
    const N: u64 = 1_000_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    // A disk of its own, which only this process and its server see.
    let script = format!(
        "mount -t tmpfs -o size={DISK_KIB}k fibwire-test {path} \
         && head -c {FILLER_KIB}k /dev/zero >{path}/filler && exec \"$0\" \"$@\""
    );
    let server = Server::of(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .args([BINARY, "--data", &format!("{path}/data")]),
    );
    let url = format!("ws://{}/ws?since=0", server.address());
    let (mut socket, _) = tungstenite::client(url, server.connect()).unwrap();
    let id = |answer: &str| {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        body["id"].as_str().unwrap().to_owned()
    };

    let mut accepted = HashSet::new();
    let refused = loop {
        let answer = server.post(N, "");
        if !answer.starts_with("HTTP/1.1 202 ") {
            break answer;
        }
        accepted.insert(id(&answer));
    };
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("disk"), "{refused}");
    assert!(accepted.len() > 1, "{accepted:?}");

    let filler = format!("/proc/{}/root{path}/filler", server.process.id());
    fs::remove_file(filler).unwrap();
    let start = Instant::now();
    let last = loop {
        let answer = server.post(1, "");
        if answer.starts_with("HTTP/1.1 202 ") {
            break id(&answer);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{answer}");
    };
    accepted.insert(last);
    while !accepted.is_empty() {
        let message: Value = serde_json::from_str(&message(&mut socket)).unwrap();
        if message["type"] == "result" {
            assert!(
                accepted.remove(message["id"].as_str().unwrap()),
                "twice: {message}"
            );
        }
    }
}
