//! `export`: a run in the formats of other tools.

use super::report::unreadable;
use crate::exit::{ExitCode, Failure};
use crate::render;
use clap::ValueEnum;
use std::io;
use std::path::{Path, PathBuf};
use taps_export::{Destination, ExportError, Format, WfVersion};

/// Flags of `export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run directory, or its events.log.
    run: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    format: Name,
    /// Where it goes; `-` for stdout, where it is JSON. Text is compressed when the name ends with `.gz`. Otherwise it
    /// is in the run directory: `wfformat.json`, `trace.json.gz`, `parquet/` or `run.sqlite`.
    #[arg(long, short, visible_alias = "output", value_name = "PATH")]
    out: Option<PathBuf>,
    /// Replace an export that is there.
    #[arg(long)]
    force: bool,
    /// Version of WfFormat; 1.6 unless set.
    #[arg(long, value_enum, value_name = "VERSION")]
    wfformat_version: Option<Version>,
}

/// A format as it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// One JSON document of WfCommons: tasks, files, and how they were executed.
    Wfformat,
    /// A trace for Perfetto and Chrome: workers, attempts and their parts, dependencies.
    Perfetto,
    /// A directory of Parquet files: the tables of a run.
    Parquet,
    /// One SQLite database: the same tables.
    Sqlite,
}

/// A version of WfFormat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Version {
    /// With metrics.
    #[value(name = "1.6")]
    V1_6,
    /// Without metrics.
    #[value(name = "1.5")]
    V1_5,
}

impl From<Version> for WfVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V1_6 => Self::V1_6,
            Version::V1_5 => Self::V1_5,
        }
    }
}

/// Standard output; somebody who has seen enough of it is no error.
struct Stdout {
    out: io::StdoutLock<'static>,
    is_closed: bool,
}

impl Stdout {
    fn unless_closed(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_closed {
            let written = self.out.write_all(bytes);
            self.unless_closed(written)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.unless_closed(flushed)
    }
}

pub(crate) fn export(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let format = format(arguments)?;
    let to_stdout = arguments
        .out
        .as_ref()
        .is_some_and(|out| out.as_os_str() == "-");
    if to_stdout {
        return stream(arguments, format);
    }
    let path = arguments
        .out
        .clone()
        .unwrap_or_else(|| place(&arguments.run, format));
    let to = Destination::Path {
        path: &path,
        replace: arguments.force,
    };
    let notes = taps_export::export(&arguments.run, format, to).map_err(failed)?;
    tell(&notes);
    render::data(&format!("{}\n", path.display()))?;
    Ok(ExitCode::Ok)
}

fn stream(arguments: &Arguments, format: Format) -> Result<ExitCode, Failure> {
    if !format.is_text() {
        let error = "`--out -`: only JSON goes to stdout, with `--format wfformat` or `perfetto`";
        return Err(Failure::new(ExitCode::Usage, error));
    }
    let mut out = io::BufWriter::with_capacity(
        256 << 10,
        Stdout {
            out: io::stdout().lock(),
            is_closed: false,
        },
    );
    let to = Destination::Stream(&mut out);
    let notes = taps_export::export(&arguments.run, format, to).map_err(failed)?;
    tell(&notes);
    Ok(ExitCode::Ok)
}

fn format(arguments: &Arguments) -> Result<Format, Failure> {
    if arguments.wfformat_version.is_some() && arguments.format != Name::Wfformat {
        let error = "`--wfformat-version` is only for `--format wfformat`";
        return Err(Failure::new(ExitCode::Usage, error));
    }
    Ok(match arguments.format {
        Name::Wfformat => {
            let version = arguments.wfformat_version.map(Into::into);
            Format::WfFormat(version.unwrap_or_default())
        }
        Name::Perfetto => Format::Perfetto,
        Name::Parquet => Format::Parquet,
        Name::Sqlite => Format::Sqlite,
    })
}

/// In the run directory, or beside the log.
fn place(run: &Path, format: Format) -> PathBuf {
    let name = format.file_name();
    if run.is_dir() {
        run.join(name)
    } else {
        run.with_file_name(name)
    }
}

/// Says what could not be read or told.
fn tell(notes: &[String]) {
    for note in notes {
        render::note(&format!("note: {note}"));
    }
}

fn failed(error: ExportError) -> Failure {
    match error {
        ExportError::Run(error) => unreadable(error),
        ExportError::Exists { .. } => Failure::new(ExitCode::Usage, error)
            .hint("--force replaces it, and --out names another place"),
        ExportError::InTheWay { .. } | ExportError::NoDirectory { .. } => {
            Failure::new(ExitCode::Usage, error).hint("--out names another place")
        }
        ExportError::Write { .. } | ExportError::Sqlite { .. } | ExportError::Parquet { .. } => {
            Failure::new(ExitCode::Records, error).hint("--out names another place")
        }
        error => Failure::new(ExitCode::Records, error),
    }
}
