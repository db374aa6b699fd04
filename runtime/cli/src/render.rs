//! What is printed: data on stdout, everything else on stderr.

use crate::exit::{ExitCode, Failure, causes};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use taps_config::ConfigErrors;

/// Prints data. A reader that went away (`| head`) is no error.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Runtime, error).hint("stdout cannot be written"))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
    data(&(text + "\n"))
}

/// Prints lines to stderr. When even that fails, nobody is there to be told.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The exit code of a command, after its failure was shown.
pub(crate) fn outcome(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        note(&failure_text(&failure, &Style::for_stderr()));
        failure.exit
    })
}

/// Shows what clap has to say: help and version on stdout, errors on stderr.
pub(crate) fn clap_error(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::Usage
    } else {
        ExitCode::Ok
    }
}

/// Words of colour, or plain ones.
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colour when stderr is a terminal and `NO_COLOR` is not set.
    pub(crate) fn for_stderr() -> Self {
        Self::for_stream(io::stderr().is_terminal())
    }

    /// Colour when stdout is a terminal and `NO_COLOR` is not set.
    pub(crate) fn for_stdout() -> Self {
        Self::for_stream(io::stdout().is_terminal())
    }

    fn for_stream(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: is_terminal && !refused,
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// For what went wrong.
    pub(crate) fn error(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// For what is worth a look.
    pub(crate) fn warning(&self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// For what is fine, and for advice.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("1;32", text)
    }
}

fn failure_text(failure: &Failure, style: &Style) -> String {
    let mut text = match failure.error.downcast_ref::<ConfigErrors>() {
        Some(errors) => config_text(errors, style),
        None => chain_text(failure, style),
    };
    if let Some(hint) = &failure.hint {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{} {hint}", style.good("hint:"));
    }
    text
}

fn config_text(errors: &ConfigErrors, style: &Style) -> String {
    let error = style.error("error:");
    if errors.len() == 1 {
        return format!("{error} {errors}");
    }
    let mut text = format!("{error} {} problems in the configuration", errors.len());
    for problem in errors {
        let _ = write!(text, "\n  {problem}");
    }
    text
}

fn chain_text(failure: &Failure, style: &Style) -> String {
    let messages = causes(failure.error.as_ref());
    let mut text = format!("{} {}", style.error("error:"), messages[0]);
    for cause in &messages[1..] {
        let _ = write!(text, "\n  because: {}", cause.replace('\n', "\n    "));
    }
    text
}

/// Columns of the terminal on stdout; 100 when it is none.
pub(crate) fn columns() -> usize {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return 100;
    }
    rustix::termios::tcgetwinsize(stdout)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0)
        .unwrap_or(100)
}

/// Whether progress can be shown.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("load the bundle")]
    struct Load(#[source] std::io::Error);

    #[test]
    fn failures_show_causes_and_a_hint() {
        let failure = Failure::new(ExitCode::Bundle, Load(io::Error::other("no such file")))
            .hint("name a built-in app");
        let text = failure_text(&failure, &Style { colour: false });
        assert_eq!(
            text,
            "error: load the bundle\n  because: no such file\nhint: name a built-in app"
        );
        assert_eq!(failure.message(), "load the bundle: no such file");
    }

    #[test]
    fn colour_is_only_around_the_word() {
        let style = Style { colour: true };
        assert_eq!(style.error("error:"), "\u{1b}[1;31merror:\u{1b}[0m");
    }
}
