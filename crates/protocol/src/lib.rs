//! The data that crosses a process boundary in fibwire: types and their wire formats, but no transport.
//!
//! A [`Submission`] is the checked body of a `POST /fib`. It becomes a [`Job`], which a calculator
//! turns into [`Event`]s for the job's [`Audience`]. A request that cannot be served is answered
//! with a [`Problem`]. A [`JobContext`] travels with the job and its events.

mod audience;
mod client_token;
mod clock;
mod context;
pub mod event;
mod hosts;
mod job;
mod json;
mod max_n;
mod origins;
mod problem;
mod response;
mod submission;
mod trace_parent;

pub use audience::Audience;
pub use client_token::{ClientToken, InvalidClientToken};
pub use clock::unix_us;
pub use context::JobContext;
pub use event::Event;
pub use hosts::{Hosts, InvalidHosts};
pub use job::{Job, Lane, MAX_SMALL_N};
pub use max_n::{InvalidMaxN, MaxN};
pub use origins::{InvalidOrigin, Origins, Source};
pub use problem::Problem;
pub use response::Response;
pub use submission::{BODY_LIMIT, Submission};
pub use trace_parent::{InvalidTraceParent, TraceId, TraceParent};
