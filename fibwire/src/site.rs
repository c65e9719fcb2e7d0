//! The page and `POST /fib`, as nginx and Flask serve them: the same files, rules and headers.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use daemon::metrics::Submissions;
use protocol::{
    BODY_LIMIT, Hosts, JobContext, MaxN, Origins, Problem, Source, Submission, TraceParent,
};
use queue::Submitter;
use rust_embed::RustEmbed;

/// The files of the page, which Flask serves from the same place.
#[derive(RustEmbed)]
#[folder = "../services/web/python/web"]
#[include = "templates/*"]
#[include = "static/*"]
struct Files;

/// The placeholder for the largest n on the page. Flask's template engine fills in the same placeholder.
const MAX_N_PLACEHOLDER: &str = "{{ max_n }}";

/// nginx's list of the headers that every response carries.
const SECURITY_HEADERS: &str = include_str!("../../services/nginx/security-headers.conf");

/// The name of the header that says which trace a job is a part of.
static TRACERESPONSE: HeaderName = HeaderName::from_static(trace::Request::RESPONSE_HEADER);

/// Which requests are served.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) max_n: MaxN,
    /// The hosts that requests of any kind may be for.
    pub(crate) hosts: Hosts,
    /// The other origins whose pages may post jobs.
    pub(crate) origins: Origins,
}

/// Adds the page, `POST /fib`, the check of the host and the headers of every response to the routes
/// of the sockets.
pub(crate) fn around(
    submitter: Submitter,
    rules: Rules,
    submissions: Submissions,
) -> impl FnOnce(Router) -> Router {
    let site = Arc::new(Site {
        submitter,
        submissions,
        rules,
        security_headers: security_headers(),
    });
    move |sockets| {
        Router::new()
            .route("/", get(page))
            .route("/static/{*path}", get(asset))
            .route("/fib", post(fib))
            .with_state(Arc::clone(&site))
            .merge(sockets)
            .fallback(async || refuse(StatusCode::NOT_FOUND))
            .method_not_allowed_fallback(async || refuse(StatusCode::METHOD_NOT_ALLOWED))
            .layer(middleware::from_fn_with_state(site, guard))
    }
}

/// The data that every request needs. It is shared as a whole, since each request clones it several times.
struct Site {
    submitter: Submitter,
    submissions: Submissions,
    rules: Rules,
    security_headers: HeaderMap,
}

/// Refuses requests for other hosts, and adds the headers of every response.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = match site.rules.hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => daemon::response(problem.into()),
    };
    let headers = response.headers_mut();
    headers.extend(site.security_headers.clone());
    response
}

async fn fib(State(site): State<Arc<Site>>, headers: HeaderMap, body: Body) -> Response {
    let request = trace::Request::begin(traceparent(&headers));
    let traceparent = request.traceparent();
    let answer = match parse(&site.rules, &headers, body).await {
        Ok(submission) => {
            let job = submission.into_job(JobContext::now(traceparent));
            let outcome = site.submitter.submit(&job).await;
            protocol::Response::to_submission(&job, outcome, text(&headers, &header::ACCEPT))
        }
        Err(problem) => problem.into(),
    };
    site.submissions.count(answer.status);
    request.answer(&answer);
    let mut response = daemon::response(answer);
    let traceresponse = HeaderValue::try_from(traceparent.to_string()).expect("ASCII");
    response.headers_mut().insert(&TRACERESPONSE, traceresponse);
    response
}

async fn parse(rules: &Rules, headers: &HeaderMap, body: Body) -> Result<Submission, Problem> {
    rules.origins.check(&Source::of(headers))?;
    let body = daemon::read_body(body, BODY_LIMIT).await?;
    Submission::parse(text(headers, &header::CONTENT_TYPE), &body, rules.max_n)
}

/// The value of a header, if there is one and it is ASCII.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The trace that a request belongs to. A header that comes twice is ignored.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TraceParent::HEADER).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()?.parse().ok()
}

async fn asset(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    match path {
        Ok(Path(path)) => file(&format!("static/{path}"), &headers),
        // A path that is not UTF-8 names no file.
        Err(_) => refuse(StatusCode::NOT_FOUND),
    }
}

async fn page(State(site): State<Arc<Site>>, request: HeaderMap) -> Response {
    page_for(site.rules.max_n, &request)
}

/// The page with the largest n filled in, or 304 if the client has it already.
fn page_for(max_n: MaxN, request: &HeaderMap) -> Response {
    let template = Files::get("templates/index.html").expect("the page is embedded");
    let version = format!("{}-{max_n}", hex(&template.metadata.sha256_hash()));
    let text = str::from_utf8(&template.data).expect("the page is UTF-8");
    let text = text.replace(MAX_N_PLACEHOLDER, &max_n.to_string());
    cached(request, &version, template.metadata.mimetype(), text.into())
}

/// A file, or 304 if the client has it already.
fn file(path: &str, request: &HeaderMap) -> Response {
    match Files::get(path) {
        Some(file) => {
            let version = hex(&file.metadata.sha256_hash());
            let content_type = file.metadata.mimetype();
            cached(request, &version, content_type, file.data.into())
        }
        None => refuse(StatusCode::NOT_FOUND),
    }
}

fn cached(request: &HeaderMap, version: &str, media_type: &str, body: Body) -> Response {
    let etag = format!("\"{version}\"");
    let cached = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches(known.trim(), &etag));
    let headers = [
        // The browser asks each time, so that it never mixes the files of two versions.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, etag),
    ];
    if cached {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut content_type = media_type.to_owned();
    if content_type.starts_with("text/") {
        content_type += "; charset=utf-8";
    }
    let content_type = [(header::CONTENT_TYPE, content_type)];
    (headers, content_type, body).into_response()
}

/// Half of a file's hash, which is enough to tell its versions apart.
fn hex(sha256: &[u8; 32]) -> String {
    sha256[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether an element of `If-None-Match` names the tag. A weak tag matches too.
fn matches(known: &str, etag: &str) -> bool {
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
}

fn refuse(status: StatusCode) -> Response {
    daemon::response(Problem::of_status(status).into())
}

/// The headers of lines such as `add_header NAME "VALUE" always;`.
fn security_headers() -> HeaderMap {
    SECURITY_HEADERS
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("add_header ")?.split_once(" \"")?;
            let value = value.strip_suffix("\" always;")?;
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::try_from(value).ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_in_the_list_of_nginx_is_parsed() {
        let lines = SECURITY_HEADERS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(security_headers().len(), lines.count());
        assert_eq!(security_headers()["x-content-type-options"], "nosniff");
    }

    #[test]
    fn a_client_that_has_the_file_gets_304() {
        let path = "static/page.css";
        let hash = Files::get(path).unwrap().metadata.sha256_hash();
        let tag = format!("\"{}\"", hex(&hash));
        for (value, status) in [
            (tag.clone(), 304),
            (format!("\"other\", W/{tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let mut request = HeaderMap::new();
            request.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            let response = file(path, &request);
            assert_eq!(response.status(), status, "{value}");
            assert_eq!(response.headers()[header::ETAG], tag, "{value}");
        }
    }

    #[test]
    fn the_page_names_the_largest_n_and_so_does_its_version() {
        let tags = ["10", "11"].map(|max_n| {
            let response = page_for(max_n.parse().unwrap(), &HeaderMap::new());
            response.headers()[header::ETAG].clone()
        });
        assert_ne!(tags[0], tags[1]);
        let page = Files::get("templates/index.html").unwrap();
        let page = str::from_utf8(&page.data).unwrap();
        assert_eq!(page.matches(MAX_N_PLACEHOLDER).count(), 1);
    }

    #[test]
    fn the_page_and_what_it_loads_are_embedded() {
        let page = Files::get("templates/index.html").unwrap();
        let page = std::str::from_utf8(&page.data).unwrap();
        let assets: Vec<_> = page
            .split('"')
            .filter_map(|text| {
                text.strip_prefix("/static/")
                    .or(text.strip_prefix("static/"))
            })
            .collect();
        assert!(!assets.is_empty());
        for asset in assets {
            assert!(Files::get(&format!("static/{asset}")).is_some(), "{asset}");
        }
    }
}
