//! `bundle build`: a bundle of a crate, or of components.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Directory of a crate with or without a bundle.toml; or components, the driver's first.
    #[arg(value_name = "DIR | COMPONENT")]
    what: Vec<PathBuf>,
    /// The bundle; `NAME-VERSION.taps` in the present directory unless set.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with this private key.
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// Have cargo fetch nothing.
    #[arg(long)]
    offline: bool,
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
