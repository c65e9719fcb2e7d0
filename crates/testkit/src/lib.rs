//! Real parts for tests: a nats-server of one's own, and waiting for a state. For tests only.

mod eventually;
mod nats_server;

pub use eventually::{eventually, within};
pub use nats_server::NatsServer;
