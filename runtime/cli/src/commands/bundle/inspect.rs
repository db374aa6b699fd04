//! `bundle inspect`: what a bundle holds and may do.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Public key that a signature must be of to count as known; may be given several times.
    #[arg(long, value_name = "PEM")]
    key: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
