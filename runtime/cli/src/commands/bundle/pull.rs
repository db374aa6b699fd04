//! `bundle pull`: from a registry.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where from: `HOST[:PORT]/PATH[:TAG][@sha256:…]`.
    reference: String,
    /// Write the bundle to a file, too; it is kept in the cache in any case.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name to log in with; the password is read with --password-stdin.
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Speak HTTP without TLS, which only the own machine gets unasked.
    #[arg(long)]
    plain_http: bool,
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
