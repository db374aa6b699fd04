//! `explain`: what became of a run, or of one of its tasks, in plain words.

mod run;
mod task;

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use taps_records::{EVENTS_FILE, ExplainError, LogError, TaskSelector, explain_run, explain_task};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
enum ExplainFailure {
    /// There is nothing of that name.
    #[error("there is no run `{}`", path.display())]
    NoRun { path: PathBuf },
    /// A directory is not that of a run.
    #[error("{} is no run directory: it has no {EVENTS_FILE}", path.display())]
    NoLog { path: PathBuf },
    /// A text names no task.
    #[error(
        "`{given}` names no task: a number, or NAME[n] for the n-th submission of a name, from 0"
    )]
    NotATask { given: String },
}

pub(crate) fn explain(run: &Path, task: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let log = event_log(run)?;
    if let Some(task) = task {
        let selector = selector(task)?;
        let told = explain_task(&log, &selector).map_err(|error| task_failure(run, error))?;
        print(json, &told, |text| task::write(text, &told))?;
    } else {
        let told = explain_run(&log).map_err(log_failure)?;
        print(json, &told, |text| run::write(text, &told, run))?;
    }
    Ok(ExitCode::Ok)
}

fn print(
    json: bool,
    told: &impl serde::Serialize,
    write: impl FnOnce(&mut String),
) -> Result<(), Failure> {
    if json {
        return render::json(told);
    }
    let mut text = String::new();
    write(&mut text);
    render::data(&text)
}

/// The event log of a run that is named by its directory or by the log.
fn event_log(run: &Path) -> Result<PathBuf, Failure> {
    let path = run.to_owned();
    if run.is_file() {
        return Ok(path);
    }
    let log = run.join(EVENTS_FILE);
    if log.is_file() {
        return Ok(log);
    }
    let error = if run.exists() {
        ExplainFailure::NoLog { path }
    } else {
        ExplainFailure::NoRun { path }
    };
    Err(Failure::new(ExitCode::Records, error)
        .hint("name the directory of a run, or its events.log"))
}

fn selector(task: &str) -> Result<TaskSelector, Failure> {
    TaskSelector::parse(task).ok_or_else(|| {
        let given = task.to_owned();
        Failure::new(ExitCode::Usage, ExplainFailure::NotATask { given })
            .hint(format!("`{task}[0]` is the first task of the name {task}"))
    })
}

fn log_failure(error: LogError) -> Failure {
    let hint = match &error {
        LogError::NotALog { .. } => "name the directory of a run, or its events.log",
        LogError::Version { .. } => "use the version of taps-wasm that made the run",
        LogError::NoStart { .. } => "nothing has happened in the run yet, or it was killed before",
        _ => return Failure::new(ExitCode::Records, error),
    };
    Failure::new(ExitCode::Records, error).hint(hint)
}

fn task_failure(run: &Path, error: ExplainError) -> Failure {
    match error {
        ExplainError::Log(error) => log_failure(error),
        error @ ExplainError::NoSuchTask { .. } => {
            Failure::new(ExitCode::Usage, error).hint(format!(
                "`taps-wasm explain {}` tells of the run as a whole",
                run.display()
            ))
        }
    }
}

/// A heading and what it is about.
fn line(text: &mut String, heading: &str, what: &str) {
    for (position, part) in plain(what).lines().enumerate() {
        let heading = if position == 0 { heading } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{heading:<10}{part}");
    }
}

/// Indented by the width of a heading, and by more for details.
fn below(text: &mut String, depth: usize, what: &str) {
    let indent = " ".repeat(10 + 2 * depth);
    for part in plain(what).lines() {
        let _ = writeln!(text, "{indent}{part}");
    }
}

/// A number of things.
fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

/// What a guest says can neither hide lines nor steer the terminal.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Wall clock in local time, to the millisecond.
fn wall(unix_s: f64) -> String {
    let millisecond = (unix_s * 1e3) as i64;
    let timestamp = jiff::Timestamp::from_millisecond(millisecond).unwrap_or_default();
    let local = timestamp.to_zoned(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
