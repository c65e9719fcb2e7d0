//! Posts jobs over one connection that stays open. To save time, it renders the request once and then
//! replaces only the id, and it reads nothing of the answer but its status, length and id.

use std::io;

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::{Uuid, fmt::Hyphenated};

use crate::target::{Channel, Target};

/// How many headers an answer may have.
const MAX_HEADERS: usize = 32;
/// How many bytes an answer may have.
const MAX_ANSWER: usize = 16 * 1024;

/// One connection, and the request that is sent over it.
#[derive(Debug)]
pub(crate) struct Poster {
    target: Target,
    stream: Option<TcpStream>,
    request: Vec<u8>,
    /// The offset of the id in the request.
    id_at: usize,
    answer: Vec<u8>,
}

/// How a POST was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With 202 and this id.
    Accepted(Uuid),
    /// With another status.
    Refused(u16),
}

impl Poster {
    /// A poster of jobs for F(`n`) whose results go to `channel`. It connects when it has to.
    pub(crate) fn new(target: &Target, n: u64, channel: &Channel) -> Self {
        let (request, id_at) = render(target, n, channel);
        Self {
            target: target.clone(),
            stream: None,
            request,
            id_at,
            answer: Vec::with_capacity(MAX_ANSWER),
        }
    }

    /// From now on posts jobs for F(`n`) whose results go to `channel`, over the same connection.
    pub(crate) fn switch_to(&mut self, n: u64, channel: &Channel) {
        (self.request, self.id_at) = render(&self.target, n, channel);
    }

    /// Posts a job with this id and waits for the answer.
    ///
    /// # Errors
    ///
    /// When there was no answer. The next post then opens a new connection.
    pub(crate) async fn post(&mut self, id: Uuid) -> io::Result<Answer> {
        let mut stream = self.ready().await?;
        id.hyphenated()
            .encode_lower(&mut self.request[self.id_at..][..Hyphenated::LENGTH]);
        stream.write_all(&self.request).await?;
        self.answer.clear();
        let head = loop {
            more(&mut stream, &mut self.answer).await?;
            if let Some(head) = Head::parse(&self.answer)? {
                break head;
            }
        };
        while self.answer.len() < head.length + head.body {
            more(&mut stream, &mut self.answer).await?;
        }
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(match head.status {
            202 => Answer::Accepted(accepted(&self.answer[head.length..])?),
            status => Answer::Refused(status),
        })
    }

    /// Connects, unless there is a connection already.
    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        self.stream = Some(self.ready().await?);
        Ok(())
    }

    /// Takes the connection. `post` puts it back once the whole answer has been read, so that a
    /// connection with half an answer in it is never used again.
    async fn ready(&mut self) -> io::Result<TcpStream> {
        match self.stream.take() {
            Some(stream) => Ok(stream),
            None => self.target.connect().await,
        }
    }
}

/// A request with an id of zeros, and the offset of that id.
fn render(target: &Target, n: u64, channel: &Channel) -> (Vec<u8>, usize) {
    let client = channel
        .token()
        .map_or_else(String::new, |token| format!(r#""client":"{token}","#));
    let end = format!(r#"{}"}}"#, Uuid::nil());
    let body = format!(r#"{{"n":{n},{client}"id":"{end}"#);
    let request = format!(
        "POST /fib HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        target.host(),
        body.len()
    );
    let id_at = request.len() - end.len();
    (request.into_bytes(), id_at)
}

async fn more(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    if answer.len() >= MAX_ANSWER {
        return Err(invalid("answer too long"));
    }
    match stream.read_buf(answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The head of an answer, as far as it is needed.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// The length of the head itself, in bytes.
    length: usize,
    /// The length of the body that follows, in bytes.
    body: usize,
    /// Whether the server closes the connection after the answer.
    closes: bool,
}

impl Head {
    /// Parses a head. Returns `None` while it is incomplete.
    fn parse(answer: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response
            .parse(answer)
            .map_err(|error| invalid(&error.to_string()))?
        else {
            return Ok(None);
        };
        let value = |name: &str| {
            response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .and_then(|header| std::str::from_utf8(header.value).ok())
        };
        Ok(Some(Self {
            status: response.code.unwrap_or_default(),
            length,
            body: value("content-length")
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| invalid("answer without a length"))?,
            closes: value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        }))
    }
}

fn accepted(body: &[u8]) -> io::Result<Uuid> {
    #[derive(Deserialize)]
    struct Accepted {
        id: Uuid,
    }
    serde_json::from_slice::<Accepted>(body)
        .map(|accepted| accepted.id)
        .map_err(|_| invalid("202 without an id"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_once_it_is_complete() {
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc";
        let length = answer.len() - 3;
        assert_eq!(Head::parse(&answer[..length - 1]).unwrap(), None);
        assert_eq!(
            Head::parse(answer).unwrap(),
            Some(Head {
                status: 202,
                length,
                body: 3,
                closes: true
            })
        );
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        let answer = b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Head::parse(answer).is_err());
        assert!(Head::parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
