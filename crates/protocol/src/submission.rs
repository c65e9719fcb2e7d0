//! The body of a `POST /fib`, parsed and checked. A [`Submission`] holds only valid values.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{ClientToken, Job, JobContext, MaxN, Problem};

/// The longest body in bytes.
pub const BODY_LIMIT: usize = 1024;

/// A valid request for a Fibonacci number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Which Fibonacci number to compute.
    pub n: u64,
    /// The private channel for the result. Without one the result is public.
    pub client: Option<ClientToken>,
    /// The id that the sender chose for the job, which makes it safe to send it again.
    pub id: Option<Uuid>,
}

impl Submission {
    /// Parses and checks a body of the given content type.
    ///
    /// # Errors
    ///
    /// The [`Problem`] to answer with: 413 for a body that is too long, 415 for one that is neither a
    /// form nor JSON, 400 for one that cannot be parsed, 422 for a wrong field.
    pub fn parse(content_type: Option<&str>, body: &[u8], max_n: MaxN) -> Result<Self, Problem> {
        if body.len() > BODY_LIMIT {
            return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let media_type = content_type.unwrap_or_default();
        let media_type = media_type
            .split_once(';')
            .map_or(media_type, |(essence, _)| essence)
            .trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            parse_json(body, max_n)
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            parse_form(body, max_n)
        } else {
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send application/json, as in {\"n\": 10}, or application/x-www-form-urlencoded, as in n=10.",
            ))
        }
    }

    /// The job that the sender asks for. A job whose sender chose no id gets one that is made from the
    /// current time.
    #[must_use]
    pub fn into_job(self, context: JobContext) -> Job {
        Job {
            id: self.id.unwrap_or_else(Uuid::now_v7),
            n: self.n,
            client: self.client,
            context,
        }
    }

    fn check(
        n: Option<&str>,
        client: Option<String>,
        id: Option<&str>,
        max_n: MaxN,
    ) -> Result<Self, Problem> {
        Ok(Self {
            n: check_n(n, max_n)?,
            client: client.map(ClientToken::try_from).transpose().map_err(|_| {
                wrong("Send client as 16 to 64 characters of A-Z a-z 0-9 _ -, or leave it out.")
            })?,
            id: id.map(check_id).transpose()?,
        })
    }
}

/// `n` is kept as it was written: a JSON number may be of any size, and `1.0` is refused although
/// its value is whole.
#[derive(Deserialize)]
struct JsonFields<'a> {
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    client: Option<String>,
    id: Option<String>,
}

fn parse_json(body: &[u8], max_n: MaxN) -> Result<Submission, Problem> {
    let json: &RawValue = serde_json::from_slice(body).map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "Send well-formed JSON, as in {\"n\": 10}.",
        )
    })?;
    // Serde would also accept an array of the fields' values.
    let fields = json
        .get()
        .starts_with('{')
        .then(|| serde_json::from_str(json.get()));
    let Some(Ok(JsonFields { n, client, id })) = fields else {
        return Err(wrong(
            "Send one JSON object with n, and client and id as strings, as in {\"n\": 10}.",
        ));
    };
    let n = match n.map(RawValue::get) {
        Some(quoted) if quoted.starts_with('"') => {
            Some(serde_json::from_str::<String>(quoted).map_err(|_| wrong_n(max_n))?)
        }
        other => other.map(str::to_owned),
    };
    Submission::check(n.as_deref(), client, id.as_deref(), max_n)
}

#[derive(Deserialize)]
struct FormFields {
    n: Option<String>,
    client: Option<String>,
    id: Option<String>,
}

fn parse_form(body: &[u8], max_n: MaxN) -> Result<Submission, Problem> {
    let fields: FormFields = serde_urlencoded::from_bytes(body)
        .map_err(|_| wrong("Send each of n, client and id once, as in n=10."))?;
    Submission::check(
        fields.n.as_deref(),
        fields.client,
        fields.id.as_deref(),
        max_n,
    )
}

fn check_n(n: Option<&str>, max_n: MaxN) -> Result<u64, Problem> {
    let digits = n.ok_or_else(|| wrong_n(max_n))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong_n(max_n));
    }
    match digits.parse() {
        Ok(n) if n <= max_n.get() => Ok(n),
        _ => Err(wrong_n(max_n)),
    }
}

fn check_id(id: &str) -> Result<Uuid, Problem> {
    // The parser also accepts UUIDs without hyphens, in braces, or as a URN. Those are refused, so
    // that one id has one text.
    const HYPHENATED_LEN: usize = 36;
    Some(id)
        .filter(|id| id.len() == HYPHENATED_LEN)
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| {
            wrong("Send id as a UUID, as in 0198c2f0-6a7e-7000-8000-000000000000, or leave it out.")
        })
}

fn wrong_n(max_n: MaxN) -> Problem {
    wrong(format!(
        "n must be a whole number from 0 to {max_n}, in digits only."
    ))
}

fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceParent;

    const JSON: Option<&str> = Some("application/json");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn parse(content_type: Option<&str>, body: &str) -> Result<Submission, u16> {
        Submission::parse(content_type, body.as_bytes(), "1000".parse().unwrap())
            .map_err(|problem| problem.status().as_u16())
    }

    fn of_n(n: u64) -> Result<Submission, u16> {
        Ok(Submission {
            n,
            client: None,
            id: None,
        })
    }

    #[test]
    fn n_is_an_integer_or_a_string_of_digits() {
        for (content_type, body, n) in [
            (JSON, r#"{"n":10}"#, 10),
            (JSON, r#"{"n":"10"}"#, 10),
            (JSON, r#" { "n" : 0 , "other" : [1.5] } "#, 0),
            (JSON, r#"{"n":1000,"client":null,"id":null}"#, 1000),
            (Some("Application/JSON; charset=utf-8"), r#"{"n":"007"}"#, 7),
            (FORM, "n=10", 10),
            (FORM, "n=%31%30&other=x", 10),
        ] {
            assert_eq!(parse(content_type, body), of_n(n), "{body}");
        }
    }

    #[test]
    fn an_n_that_is_not_a_whole_number_in_range_is_refused() {
        for n in [
            "1.0",
            "1e3",
            "true",
            "null",
            "-1",
            "1001",
            "[1]",
            "{}",
            r#""""#,
            r#"" 1""#,
            r#""1.5""#,
            r#""-0""#,
            r#""abc""#,
            r#""+1""#,
            r#""١""#,
            "1000000000000000000000000000000",
            r#""18446744073709551616""#,
        ] {
            assert_eq!(parse(JSON, &format!(r#"{{"n":{n}}}"#)), Err(422), "{n}");
        }
        for body in [
            "n=", "n=1.5", "n=-1", "n=+1", "n=1001", "m=1", "", "n=1&n=2", "n=%FF",
        ] {
            assert_eq!(parse(FORM, body), Err(422), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_gets_400_and_json_that_is_not_an_object_gets_422() {
        for body in [
            "",
            "{",
            "n=10",
            r#"{"n":01}"#,
            r#"{"n":10}x"#,
            "{\"n\":\"\u{1}\"}",
        ] {
            assert_eq!(parse(JSON, body), Err(400), "{body}");
        }
        for body in [
            "[]",
            "[10,null,null]",
            "5",
            "null",
            "{}",
            r#"{"n":1,"n":2}"#,
            r#"{"n":1,"client":5}"#,
        ] {
            assert_eq!(parse(JSON, body), Err(422), "{body}");
        }
    }

    #[test]
    fn another_content_type_is_refused() {
        for content_type in [
            None,
            Some(""),
            Some("text/plain"),
            Some("multipart/form-data; boundary=x"),
        ] {
            assert_eq!(parse(content_type, "n=10"), Err(415), "{content_type:?}");
        }
    }

    #[test]
    fn a_body_over_the_limit_is_too_large() {
        let at_limit = format!("n=10&x={}", "y".repeat(BODY_LIMIT - 7));
        assert_eq!(parse(FORM, &at_limit), of_n(10));
        assert_eq!(parse(FORM, &(at_limit + "y")), Err(413));
    }

    #[test]
    fn a_valid_client_and_a_valid_id_are_accepted() {
        let id = "0198c2f0-6a7e-7000-8000-00000000000a";
        let client = "0123456789abcdef";
        let expected = Submission {
            n: 1,
            client: Some(client.parse().unwrap()),
            id: Some(Uuid::try_parse(id).unwrap()),
        };
        assert_eq!(
            parse(
                JSON,
                &format!(r#"{{"n":1,"client":"{client}","id":"{id}"}}"#)
            ),
            Ok(expected.clone())
        );
        assert_eq!(
            parse(
                FORM,
                &format!("n=1&client={client}&id={}", id.to_uppercase())
            ),
            Ok(expected)
        );
        for wrong in [
            "client=short",
            "client=",
            "id=",
            "id=7",
            "id=0198c2f06a7e7000800000000000000a",
        ] {
            assert_eq!(parse(FORM, &format!("n=1&{wrong}")), Err(422), "{wrong}");
        }
    }

    #[test]
    fn a_job_whose_sender_chose_no_id_gets_one_made_from_the_time() {
        let job = Submission {
            n: 1,
            client: None,
            id: None,
        }
        .into_job(JobContext::now(TraceParent::random()));
        assert_eq!(job.id.get_version_num(), 7);
    }
}
