//! The binary from outside: its commands, its exit codes, its size and how soon it is up.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

const BINARY: &str = env!("CARGO_BIN_EXE_fibwire");

/// A server on a free port, killed when it is dropped.
struct Server {
    process: Child,
    /// Kept open: the server logs to it.
    _stderr: BufReader<ChildStderr>,
    url: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(BINARY)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
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
            _stderr: stderr,
            url,
        }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("a URL")
    }

    /// The whole answer to one request.
    fn request(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("a connection");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY)
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

/// The digits of a number that was printed, which ends with a line end.
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
fn a_reader_that_stops_reading_is_no_error() {
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
fn exit_codes_tell_wrong_usage_from_failure() {
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
fn every_answer_has_the_security_headers_and_every_error_is_a_problem() {
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
                "POST /fib HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}",
                body(5000)
            ),
            413,
        ),
    ] {
        let request = if request.contains("\r\n\r\n") {
            request
        } else {
            format!("{request}Host: x\r\nConnection: close\r\n\r\n")
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
fn a_signal_ends_it_in_time() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&[]);
        let id = server.process.id().to_string();
        let start = Instant::now();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
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

/// The limits are the release build's, which is what the tests are run on; see `scripts/test`.
#[test]
fn it_is_small_and_up_at_once() {
    const MAX_BYTES: u64 = 15_000_000;
    const MAX_START: Duration = Duration::from_millis(50);
    let bytes = fs::metadata(BINARY).unwrap().len();
    // The quickest of several: the others tell how busy the machine is.
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
