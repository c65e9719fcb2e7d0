//! The page and `POST /fib`, as Flask and nginx serve them: the same files, the same rules, the same
//! headers.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use pipeline::{BODY_LIMIT, Problem, Queue};
use rust_embed::RustEmbed;

/// The page's files, from where Flask has them.
#[derive(RustEmbed)]
#[folder = "../services/web/python/web"]
#[include = "templates/*"]
#[include = "static/*"]
struct Files;

/// nginx's own list of headers that go with every answer.
const SECURITY_HEADERS: &str = include_str!("../../services/nginx/security-headers.conf");

/// Puts the page, `POST /fib` and the headers of every answer around the routes of the sockets.
pub(crate) fn around(queue: Queue, max_n: u64) -> impl FnOnce(Router) -> Router {
    let headers = security_headers();
    move |sockets| {
        Router::new()
            .route("/", get(async || file("templates/index.html")))
            .route("/static/{*path}", get(asset))
            .route("/fib", post(fib))
            .with_state(Intake { queue, max_n })
            .merge(sockets)
            .fallback(async || refuse(StatusCode::NOT_FOUND))
            .method_not_allowed_fallback(async || refuse(StatusCode::METHOD_NOT_ALLOWED))
            .layer(middleware::map_response(move |mut response: Response| {
                response.headers_mut().extend(headers.clone());
                std::future::ready(response)
            }))
    }
}

#[derive(Clone)]
struct Intake {
    queue: Queue,
    max_n: u64,
}

async fn fib(State(intake): State<Intake>, headers: HeaderMap, body: Body) -> Response {
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    daemon::response(pipeline::accept(&intake.queue, content_type, &body, intake.max_n).await)
}

async fn asset(Path(path): Path<String>, _request: Request) -> Response {
    file(&format!("static/{path}"))
}

fn file(path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    let mut content_type = file.metadata.mimetype().to_owned();
    if content_type.starts_with("text/") {
        content_type += "; charset=utf-8";
    }
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // A page from one version with a script from another would be neither.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, file.data).into_response()
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
    fn every_header_that_nginx_sends_is_understood() {
        let lines = SECURITY_HEADERS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(security_headers().len(), lines.count());
        assert_eq!(security_headers()["x-content-type-options"], "nosniff");
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
