//! The address of the queue, and how to log in to it.

use std::{path::PathBuf, time::Duration};

use crate::limits::{ACK_WAIT, JOB_ID_WINDOW};

/// Where the queue is and how to log in to it.
#[derive(Debug, Clone, clap::Args)]
pub struct JetStreamOptions {
    /// Addresses of the NATS servers of one cluster, separated by commas.
    #[arg(
        long = "queue-url",
        env = "QUEUE_URL",
        value_name = "QUEUE_URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222"
    )]
    pub urls: Vec<async_nats::ServerAddr>,
    /// File that contains the password of the service's queue user. It is read at each attempt to connect, so it may
    /// appear later and may change.
    #[arg(
        long = "queue-password-file",
        env = "QUEUE_PASSWORD_FILE",
        value_name = "QUEUE_PASSWORD_FILE"
    )]
    pub password_file: PathBuf,
    /// How many servers store each message of a stream that this service declares.
    #[arg(
        long = "queue-replicas",
        env = "QUEUE_REPLICAS",
        value_name = "QUEUE_REPLICAS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=5)
    )]
    pub replicas: u8,
    /// How long the queue remembers the id of a job that is done. Only tests shorten it.
    #[arg(skip = JOB_ID_WINDOW)]
    pub job_id_window: Duration,
    /// A job is delivered again after this time without a sign of life from its worker. Only tests
    /// shorten it.
    #[arg(skip = ACK_WAIT)]
    pub ack_wait: Duration,
}
