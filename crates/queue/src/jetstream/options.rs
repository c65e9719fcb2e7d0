//! Where the queue is and how to log in to it.

use std::path::PathBuf;

/// Where the queue is and how to log in to it.
#[derive(Debug, Clone, clap::Args)]
pub struct JetStreamOptions {
    /// Address of the NATS server.
    #[arg(
        long = "queue-url",
        env = "QUEUE_URL",
        value_name = "QUEUE_URL",
        default_value = "nats://127.0.0.1:4222"
    )]
    pub url: async_nats::ServerAddr,
    /// File that contains the password of the service's queue user. It is read at each attempt to connect, so it may
    /// appear later and may change.
    #[arg(
        long = "queue-password-file",
        env = "QUEUE_PASSWORD_FILE",
        value_name = "QUEUE_PASSWORD_FILE"
    )]
    pub password_file: PathBuf,
}
