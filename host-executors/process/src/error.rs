//! What can go wrong between the processes of a pool.

use rustix::io::Errno;

/// Why messages could not be exchanged. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other side is gone, or the socket failed.
    #[error("exchange messages")]
    Closed(#[source] Errno),
    /// A message could not be written.
    #[error("encode a message")]
    Encode(#[source] postcard::Error),
    /// Bytes that are no message.
    #[error("decode a message")]
    Decode(#[source] postcard::Error),
    /// A length that no message has.
    #[error("take a message of {len} bytes: it is too long")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// A message that makes no sense where it came.
    #[error("make sense of a message: {0}")]
    Nonsense(&'static str),
    /// A message came without its descriptors.
    #[error("take {count} descriptors of a message: it came with {found}")]
    Descriptors {
        /// How many the message names.
        count: usize,
        /// How many are there.
        found: usize,
    },
}

/// Why a process of the pool could not do its work. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No channel where the parent should have left one.
    #[error("find the channel to the parent: this command is started by `taps-wasm run` only")]
    NoChannel(#[source] std::io::Error),
    /// The system refused.
    #[error("{operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The coordinator is gone.
    #[error("go on: the coordinator is gone")]
    Alone,
    /// The parent speaks another language.
    #[error("understand the parent: {0}")]
    Protocol(String),
}

impl ProcessError {
    pub(crate) fn system(operation: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { operation, source }
    }
}

/// Without the coordinator there is nothing left to do, and nobody to tell.
pub(crate) fn unless_alone(served: Result<(), ProcessError>) -> Result<(), ProcessError> {
    match served {
        Err(ProcessError::Alone) => Ok(()),
        other => other,
    }
}

impl From<ChannelError> for ProcessError {
    fn from(error: ChannelError) -> Self {
        if let ChannelError::Closed(Errno::PIPE | Errno::CONNRESET) = error {
            return Self::Alone;
        }
        Self::Protocol(taps_engine::chain(&error))
    }
}
