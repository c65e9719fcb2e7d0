//! Tools for tests: a real nats-server for each test, and waiting for a state.

mod eventually;
mod nats_server;

pub use eventually::{eventually, within};
pub use nats_server::NatsServer;
