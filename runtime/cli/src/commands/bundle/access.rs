//! Speaking to a registry: the flags of it, the connection, and how far a transfer is.

use crate::{
    apps::BundleCache,
    exit::{ExitCode, Failure},
    render,
};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::{
    io::Read as _,
    time::{Duration, Instant},
};
use taps_bundle::ArchiveLimits;
use taps_registry::{
    Kind, Login, Options, Patience, Places, Progress, Reference, Registry, RegistryError, Transfer,
};

/// Flags of everything that speaks to a registry.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// Name to log in with; the password is read with --password-stdin.
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Speak HTTP without TLS, which only the own machine gets unasked.
    #[arg(long)]
    plain_http: bool,
}

/// Longest password, in bytes; tokens that take its place are long.
const LONGEST_PASSWORD: u64 = 64 << 10;

impl Access {
    /// The connection to the registry of a reference. Nothing is sent yet.
    pub(super) fn open(
        &self,
        reference: &Reference,
        cache: &BundleCache,
    ) -> Result<Registry, Failure> {
        let login = match &self.username {
            Some(username) => Some(Login {
                username: username.clone(),
                password: password()?,
            }),
            None => None,
        };
        let options = Options {
            login,
            places: Places::from_environment(),
            plain_http: self.plain_http,
            downloads: cache.downloads(),
            limits: ArchiveLimits::default(),
            patience: Patience::default(),
        };
        Registry::open(reference, options).map_err(failure)
    }
}

fn password() -> Result<String, Failure> {
    let usage = |error: String| {
        Failure::new(ExitCode::Usage, error).hint("as in `--username NAME --password-stdin < FILE`")
    };
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_PASSWORD)
        .read_to_string(&mut text)
        .map_err(|error| usage(format!("--password-stdin: read standard input: {error}")))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(usage(
            "--password-stdin: standard input is empty".to_owned(),
        ));
    }
    Ok(password.to_owned())
}

/// A reference, or why it is none.
pub(super) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse()
        .map_err(|error| failure(RegistryError::Reference(error)))
}

/// How a failure of a registry is told.
pub(super) fn failure(error: RegistryError) -> Failure {
    let exit = match error.kind() {
        Kind::Usage => ExitCode::Usage,
        Kind::Bundle => ExitCode::Bundle,
        Kind::Outside => ExitCode::Runtime,
    };
    let hint = error.hint();
    let failure = Failure::new(exit, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Tells how far a transfer is: a line on a terminal that changes, elsewhere a line now and then.
pub(super) struct Shown {
    bar: ProgressBar,
}

impl Shown {
    /// Time between two lines where there is no terminal.
    const PAUSE: Duration = Duration::from_secs(10);

    /// Begins: `what` says what is done with what.
    pub(super) fn new(what: String) -> (Self, Progress) {
        // Hidden where stderr is no terminal.
        let bar = ProgressBar::new(0);
        let template = "{msg} [{bar:24}] {bytes} of {total_bytes} ({bytes_per_sec})";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.clone());
        let (shown, last) = (bar.clone(), Mutex::new(Instant::now()));
        let progress = Progress::new(move |transfer: Transfer| {
            if !shown.is_hidden() {
                shown.set_length(transfer.total);
                shown.set_position(transfer.done);
                return;
            }
            let mut last = last.lock();
            if last.elapsed() >= Self::PAUSE {
                *last = Instant::now();
                render::note(&line(&what, transfer));
            }
        });
        (Self { bar }, progress)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(what: &str, transfer: Transfer) -> String {
    let (done, total) = (DecimalBytes(transfer.done), DecimalBytes(transfer.total));
    format!("{what}: {done} of {total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let transfer = Transfer {
            done: 1_500_000,
            total: 3_000_000,
        };
        assert_eq!(
            line("pull a.b/c", transfer),
            "pull a.b/c: 1.50 MB of 3.00 MB"
        );
    }

    #[test]
    fn failures_end_with_the_code_of_their_kind() {
        let exit = |text: &str| reference(text).map_err(|failure| failure.exit);
        assert_eq!(exit("nothing").err(), Some(ExitCode::Usage));
        assert!(exit("a.b/c:1").is_ok());
    }
}
