//! `data`: input data of the apps, from where it is published to a directory.

mod fetch;
mod record;
mod sets;

use crate::{
    exit::{ExitCode, Failure},
    render,
};
use record::Record;
use sets::{DataSet, SETS};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What `data` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the data sets that are known, and the apps that take them.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring a data set to a directory, and check it.
    ///
    /// Files that are there and right are not fetched again. One that is not what its makers published is
    /// removed, and nothing else is changed.
    Fetch {
        /// Name of the data set.
        set: String,
        /// Directory; `data/NAME` unless set.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Address of a mirror: the files are taken from below it by their names.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
    },
    /// Check a data set in a directory against the published digests and the record of its fetching.
    Check {
        /// Name of the data set.
        set: String,
        /// Directory; `data/NAME` unless set.
        directory: Option<PathBuf>,
    },
}

pub(crate) fn command(what: Command) -> Result<ExitCode, Failure> {
    match what {
        Command::List { json } => list(json),
        Command::Fetch { set, to, from } => {
            let set = find(&set)?;
            fetch::fetch(set, &to.unwrap_or_else(|| place(set)), from.as_deref())
        }
        Command::Check { set, directory } => {
            let set = find(&set)?;
            check(set, &directory.unwrap_or_else(|| place(set)))
        }
    }
}

fn find(name: &str) -> Result<&'static DataSet, Failure> {
    SETS.iter().find(|set| set.name == name).ok_or_else(|| {
        let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
        let error = format!("no data set `{name}`; there are {}", names.join(", "));
        let failure = Failure::new(ExitCode::Usage, error);
        match taps_config::nearest(name, names) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure,
        }
    })
}

fn place(set: &DataSet) -> PathBuf {
    Path::new("data").join(set.name)
}

fn list(json: bool) -> Result<ExitCode, Failure> {
    if json {
        render::json(&SETS)?;
        return Ok(ExitCode::Ok);
    }
    let mut text = String::new();
    for set in SETS {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:14} {}", set.name, set.about);
        let _ = writeln!(text, "{:14} for {}", "", set.used_by);
        let _ = writeln!(text, "{:14} terms: {}", "", set.terms);
    }
    render::data(&text)?;
    Ok(ExitCode::Ok)
}

fn check(set: &DataSet, directory: &Path) -> Result<ExitCode, Failure> {
    let checked = match Record::read(directory, set)? {
        Some(record) => record.check(directory)?,
        None => published(set, directory)?,
    };
    render::data(&format!(
        "{}: {checked} files in {} are right\n",
        set.name,
        directory.display()
    ))?;
    Ok(ExitCode::Ok)
}

/// Compares files that somebody else has brought with the published digests.
fn published(set: &DataSet, directory: &Path) -> Result<usize, Failure> {
    for file in set.files {
        let (Some(md5), false) = (file.md5, file.archive) else {
            let error = format!(
                "{}: nothing to compare with: its makers publish no digests of these files, and {} was not \
                 fetched by this program",
                set.name,
                directory.display()
            );
            return Err(Failure::new(ExitCode::CheckFailed, error));
        };
        let path = directory.join(file.name());
        let found = record::digests(&path).map_err(|error| record::unreadable(&path, &error))?;
        if found.md5 != md5 {
            return Err(differs(&path, "MD5", md5, &found.md5));
        }
    }
    Ok(set.files.len())
}

/// A file is not what it should be.
fn differs(path: &Path, kind: &str, expected: &str, found: &str) -> Failure {
    let error = format!(
        "{}: its {kind} is {found}, and should be {expected}",
        path.display()
    );
    Failure::new(ExitCode::CheckFailed, error).hint("fetch it again, or from elsewhere with --from")
}
