//! The queue: carries jobs from those who submit them to those who work on them, and events from
//! there into a log that any number of readers follow. It computes nothing and knows no HTTP.
//!
//! There are three roles, and each is a type that can do what its role needs and nothing else:
//!
//! - [`Submitter`] submits jobs (the web service);
//! - [`Worker`] takes jobs and publishes events (the calculator);
//! - [`Reader`] reads events through [`Cursor`]s (the websocket service).
//!
//! There are two kinds of queue that behave alike: `jetstream` connects processes through a NATS
//! server, `embedded` connects the parts of one process and keeps what they exchange in memory or on
//! disk.
//!
//! A constructor returns a role together with its [`Driver`], which does what has to go on in the
//! background. Whoever calls the constructor runs the driver and ends it by dropping it.
//!
//! A role measures what it does, and its `register` shows that to whoever asks its registry.
//!
//! The files of the roles use those of the kinds, and never the other way round.

#![cfg_attr(
    not(all(feature = "embedded", feature = "jetstream")),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        reason = "a build with fewer roles needs less of what they share"
    )
)]
#![cfg_attr(
    not(feature = "custom"),
    allow(
        unreachable_pub,
        reason = "what another kind of queue needs is public to it alone"
    )
)]

#[cfg(feature = "jetstream")]
mod backoff;
#[cfg(feature = "custom")]
pub mod custom;
mod driver;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
#[cfg(feature = "jetstream")]
mod jetstream;
mod limits;
#[cfg(feature = "reader")]
mod log;
pub mod metrics;
#[cfg(feature = "reader")]
mod reader;
#[cfg(feature = "embedded")]
mod roles;
mod spans;
mod stored;
mod subjects;
#[cfg(feature = "submitter")]
mod submitter;
#[cfg(feature = "worker")]
mod taken;
#[cfg(feature = "worker")]
mod worker;

pub use driver::{Driver, Readiness, Stopped};
#[cfg(feature = "embedded")]
pub use embedded::{Inspection, OpenError};
pub use error::{PublishError, SubmitError};
#[cfg(feature = "jetstream")]
pub use jetstream::{ConnectError, JetStreamOptions};
#[cfg(feature = "reader")]
pub use log::{Cursor, Entry, Item};
#[cfg(feature = "reader")]
pub use reader::{NotReady, Reader};
#[cfg(feature = "embedded")]
pub use roles::Roles;
#[cfg(feature = "submitter")]
pub use submitter::Submitter;
#[cfg(feature = "worker")]
pub use worker::{Delivery, Jobs, Worker};
