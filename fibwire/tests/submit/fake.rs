//! A fake server whose every step the test decides. A real one cannot be made to fail at a chosen
//! moment.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::within;
use tokio::{net::TcpListener, runtime::Runtime};
use tungstenite::{
    Message, WebSocket,
    handshake::derive_accept_key,
    protocol::{CloseFrame, Role, frame::coding::CloseCode},
};

/// How long the client may take to send what the test reads.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that answers each request in the way that the test says.
pub(crate) struct Fake {
    runtime: Runtime,
    listener: TcpListener,
}

/// `fibwire submit`, started by the test.
pub(crate) struct Client(Option<Child>);

/// A request that was not answered yet. If it is dropped, the connection is cut.
pub(crate) struct Request {
    stream: TcpStream,
    line: String,
    headers: HashMap<String, String>,
}

/// A `POST /fib` that was not answered yet.
pub(crate) struct Post {
    request: Request,
    pub(crate) id: String,
    pub(crate) client: String,
}

/// An open socket. If it is dropped, the connection is cut.
pub(crate) struct Socket(WebSocket<TcpStream>);

impl Fake {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        Self { runtime, listener }
    }

    /// Starts `fibwire submit` with this server's address.
    pub(crate) fn client(&self, arguments: &[&str]) -> Client {
        let url = format!("http://{}", self.listener.local_addr().expect("an address"));
        let process = Command::new(env!("CARGO_BIN_EXE_fibwire"))
            .args(["submit", "--url", &url])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        Client(Some(process))
    }

    /// Waits for the next request.
    pub(crate) fn request(&self) -> Request {
        let accepted = self
            .runtime
            .block_on(within("a request", self.listener.accept()));
        let (stream, _) = accepted.expect("a connection");
        let mut stream = stream.into_std().expect("a stream");
        stream.set_nonblocking(false).expect("a blocking stream");
        stream
            .set_read_timeout(Some(READ_TIMEOUT))
            .expect("a timeout");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(read(&mut stream, 1)[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let mut lines = head.lines();
        Request {
            stream,
            line: lines.next().expect("a request line").to_owned(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
        }
    }

    /// Waits for a `POST /fib`.
    pub(crate) fn post(&self) -> Post {
        let mut request = self.request();
        assert_eq!(request.line, "POST /fib HTTP/1.1");
        let length = request.headers["content-length"].parse().expect("a length");
        let body = read(&mut request.stream, length);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let field = |name: &str| body[name].as_str().expect(name).to_owned();
        Post {
            id: field("id"),
            client: field("client"),
            request,
        }
    }

    /// Waits for the opening of a socket whose query is `query`, and lets it succeed. `TOKEN` in it
    /// stands for whatever token the client chose.
    pub(crate) fn socket(&self, query: &str) -> Socket {
        let request = self.request();
        let target = request.line.split(' ').nth(1).expect("a target");
        let (token, rest) = target
            .strip_prefix("/ws?client=")
            .expect("an opening of a socket")
            .split_at(32);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(format!("client=TOKEN{rest}"), query);
        request.upgrade()
    }

    /// Accepts the first socket and the first post.
    pub(crate) fn begin(&self) -> (Socket, Post) {
        let socket = self.socket("client=TOKEN");
        (socket, self.post())
    }
}

impl Request {
    /// Answers with a status and an empty body.
    pub(crate) fn answer(self, status: u16, retry_after: Option<u32>) {
        let retry_after = retry_after.map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
        self.write(status, &retry_after, "");
    }

    fn upgrade(mut self) -> Socket {
        let key = derive_accept_key(self.headers["sec-websocket-key"].as_bytes());
        write!(
            self.stream,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        )
        .expect("an answer");
        Socket(WebSocket::from_raw_socket(self.stream, Role::Server, None))
    }

    fn write(mut self, status: u16, headers: &str, body: &str) {
        write!(
            self.stream,
            "HTTP/1.1 {status} Status\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("an answer");
    }
}

impl Post {
    /// Accepts the job, and returns its id.
    pub(crate) fn accept(self) -> String {
        let body = json!({"id": self.id, "n": 10}).to_string();
        self.request.write(202, "", &body);
        self.id
    }

    /// Answers with a status and an empty body.
    pub(crate) fn answer(self, status: u16, retry_after: Option<u32>) {
        self.request.answer(status, retry_after);
    }
}

impl Socket {
    pub(crate) fn send(&mut self, message: &Value) {
        self.0
            .send(Message::text(message.to_string()))
            .expect("a socket that takes a message");
    }

    /// Sends the beginning of a message and cuts the connection.
    pub(crate) fn send_half(mut self, message: &Value) {
        let text = message.to_string();
        let length = u8::try_from(text.len()).expect("a length of two bytes");
        let mut frame = vec![0x81, 126, 0, length];
        frame.extend(&text.as_bytes()[..text.len() / 2]);
        self.0.get_mut().write_all(&frame).expect("half a frame");
    }

    pub(crate) fn close(mut self, code: u16, reason: &'static str) {
        self.0
            .close(Some(CloseFrame {
                code: CloseCode::from(code),
                reason: reason.into(),
            }))
            .expect("a socket to close");
    }
}

impl Client {
    /// Waits until the client ends.
    pub(crate) fn output(mut self) -> Output {
        let process = self.0.take().expect("a running client");
        process.wait_with_output().expect("the client's end")
    }

    /// Waits until the client ends with exit code 0, and returns what it printed.
    pub(crate) fn printed(self) -> String {
        let output = self.output();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until the client ends with exit code 1, having printed no number, and returns what it
    /// wrote to standard error.
    pub(crate) fn complaint(self) -> String {
        let output = self.output();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), printed.as_ref()), (Some(1), ""));
        String::from_utf8(output.stderr).expect("text")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("the request's bytes");
    bytes
}
