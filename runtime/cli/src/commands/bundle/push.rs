//! `bundle push`: to a registry.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Where to: `HOST[:PORT]/PATH[:TAG]`; the tag is the app's version unless set.
    reference: String,
    /// Signature to send along; `BUNDLE.sig` is, if it is there.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
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
