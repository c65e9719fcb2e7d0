//! What every process of fibwire does the same way: log, serve HTTP within limits, answer a health
//! check, and end when told to. No process's own work is here.

mod exit;
pub mod health;
mod http;
mod logging;
mod termination;

pub use exit::exit_code;
pub use http::{response, serve};
pub use logging::init as init_logging;
pub use termination::until_terminated;
