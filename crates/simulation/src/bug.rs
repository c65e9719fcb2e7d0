//! Bugs that can be planted into a simulation, to show that it finds them.

/// A bug, in the parts that the simulation itself provides.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Bug {
    /// Publishing returns before the event is stored, so the job is acknowledged too early.
    AckBeforeStored,
    /// A reader that comes back skips one place.
    SinceOffByOne,
    /// The queue does not notice that a job was submitted before.
    JobTwice,
    /// The queue does not notice that an event was published before.
    EventTwice,
    /// A job whose worker crashes is not delivered again.
    JobDropped,
    /// The readers get an event before it is stored.
    TailBeforeStored,
    /// The queue is not told that a long job is being worked on.
    NoSignOfLife,
}

impl Bug {
    /// Whether the bug is in the model of the queue's server.
    pub(crate) fn is_of_the_server(self) -> bool {
        matches!(
            self,
            Self::JobTwice | Self::EventTwice | Self::TailBeforeStored | Self::NoSignOfLife
        )
    }
}
