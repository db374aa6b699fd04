//! What guests say on workers that are elsewhere, on its way to the run.

use crate::{GuestSink, LogLevel, RunContext, Speaker, Stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use taps_transform::{Operation, OperationSink};

/// What a guest said, and what its worker did for it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// A log line.
    Line {
        /// Who.
        speaker: Speaker,
        /// Its weight.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// Standard output or error.
    Output {
        /// Who.
        speaker: Speaker,
        /// Which.
        stream: Stream,
        /// What was written.
        text: String,
        /// Bytes beyond the limit, which are lost.
        dropped_bytes: u64,
    },
    /// An operation of the worker's data plane.
    Operation(Operation),
}

impl Said {
    /// Says it where the run hears it.
    pub fn tell(self, run: &RunContext) {
        match self {
            Self::Line {
                speaker,
                level,
                message,
            } => run.sink.log(speaker, level, &message),
            Self::Output {
                speaker,
                stream,
                text,
                dropped_bytes,
            } => run.sink.output(speaker, stream, &text, dropped_bytes),
            Self::Operation(operation) => {
                if let Some(plane) = &run.data {
                    plane.record(operation);
                }
            }
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { message, .. } => f.write_str(message),
            Self::Output { text, .. } => f.write_str(text.trim_end()),
            Self::Operation(operation) => write!(f, "{operation:?}"),
        }
    }
}

/// Takes what is said, one way or another: makes a sink of it.
pub struct Voice<F>(pub F);

impl<F: Fn(Said) + Send + Sync> GuestSink for Voice<F> {
    fn log(&self, speaker: Speaker, level: LogLevel, message: &str) {
        (self.0)(Said::Line {
            speaker,
            level,
            message: message.to_owned(),
        });
    }

    fn output(&self, speaker: Speaker, stream: Stream, text: &str, dropped_bytes: u64) {
        (self.0)(Said::Output {
            speaker,
            stream,
            text: text.to_owned(),
            dropped_bytes,
        });
    }
}

impl<F: Fn(Said) + Send + Sync> OperationSink for Voice<F> {
    fn record(&self, operation: Operation) {
        (self.0)(Said::Operation(operation));
    }
}
