//! The common parts of every process of fibwire: logging, metrics, the export of traces, HTTP within limits,
//! health checks, and ending when told to. It knows neither the queue nor the arithmetic.

mod connection;
mod exit;
mod files;
pub mod health;
mod http;
mod logging;
pub mod metrics;
mod run;
mod termination;
mod traces;

pub use exit::exit_code;
pub use http::{read_body, response, serve};
pub use logging::init as init_logging;
pub use run::run;
pub use traces::Traces;
