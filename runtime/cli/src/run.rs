//! `run`: from arguments to a checked configuration, and to a run.

use crate::apps::{
    self,
    consent::{self, Wanted},
};
use crate::execute::{self, Admitted, compiling, life::Life};
use crate::exit::{ExitCode, Failure};
use crate::progress::Progress;
use crate::render::{self, Style};
use crate::summary::{self, Summary};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;
use taps_config::{Resolved, Switches, preview, resolve, run_help};
use taps_coordinator::RunHandle;

/// Runs `taps-wasm run` with these arguments, and says how it ended.
pub(crate) fn command(args: &[OsString]) -> ExitCode {
    let started = Instant::now();
    match prepare(args) {
        Ok(Prepared::Done) => ExitCode::Ok,
        Ok(Prepared::Run { resolved, app }) => go(&resolved, &app, started, &Life::First),
        Err((failure, switches)) => refuse(failure, switches, started),
    }
}

/// Nothing was run.
pub(crate) fn refuse(failure: Failure, switches: Switches, started: Instant) -> ExitCode {
    let summary = Summary {
        elapsed_s: started.elapsed().as_secs_f64(),
        error: Some(failure.message()),
        ..Summary::default()
    };
    report(&[summary], failure.exit, Some(failure), switches)
}

/// Runs what was prepared, and says how it ended.
pub(crate) fn go(resolved: &Resolved, app: &Admitted, started: Instant, life: &Life) -> ExitCode {
    let switches = resolved.switches;
    let shown = render::stderr_is_terminal() && !switches.quiet && !switches.no_progress;
    let progress = Arc::new(Progress::new(shown));
    let ended = execute(resolved, app, started, &progress, life);
    progress.finish();
    report(&ended.runs, ended.exit, ended.failure, switches)
}

/// What is left to do after the arguments were understood.
enum Prepared {
    /// Nothing: help or the plan was shown.
    Done,
    /// A run.
    Run {
        resolved: Box<Resolved>,
        app: Box<Admitted>,
    },
}

/// Loads the app, resolves the configuration, and serves `--help` and `--dry-run`.
fn prepare(args: &[OsString]) -> Result<Prepared, (Failure, Switches)> {
    let start_dir = std::env::current_dir().map_err(|error| {
        let failure = Failure::new(ExitCode::Usage, error).hint("the working directory is gone");
        (failure, Switches::default())
    })?;
    let seen = preview(args, &start_dir);
    let failed = |failure| (failure, seen.switches);
    compiling::tell(seen.switches);
    let (schema, found) = apps::schema_for(&seen).map_err(failed)?;
    if seen.switches.help || args.is_empty() {
        render::data(&run_help(&schema, &seen, render::columns())).map_err(failed)?;
        return Ok(Prepared::Done);
    }
    let resolved = resolve(args, &schema, &start_dir).map_err(|errors| {
        let hint = match (&seen.app, &seen.base) {
            (Some(app), Some(base)) => {
                format!("`taps-wasm run {app} --app.base {base} --help` shows every flag")
            }
            (Some(app), None) => format!("`taps-wasm run {app} --help` shows every flag"),
            (None, _) => "`taps-wasm list apps` shows what there is to run".to_owned(),
        };
        failed(Failure::new(ExitCode::Usage, errors).hint(hint))
    })?;
    execute::data::check(&resolved).map_err(failed)?;
    let style = Style::for_stderr();
    for notice in &resolved.notices {
        render::note(&format!("{} {notice}", style.warning("note:")));
    }
    if resolved.switches.dry_run {
        show_plan(&resolved).map_err(failed)?;
        return Ok(Prepared::Done);
    }
    let found = match found {
        Some(found) => found,
        None => apps::find_with_origin(&resolved.app).map_err(failed)?,
    };
    let right = consent::ask(&found, &Wanted::from(&seen)).map_err(failed)?;
    Ok(Prepared::Run {
        resolved: Box::new(resolved),
        app: Box::new(Admitted::new(found, right)),
    })
}

/// `--dry-run`: the resolved configuration, as TOML or as JSON.
fn show_plan(resolved: &Resolved) -> Result<(), Failure> {
    if !resolved.switches.json {
        return render::data(&resolved.to_toml());
    }
    let sections: serde_json::Map<_, _> = resolved
        .sections()
        .map(|(name, fields)| {
            let name = if name.is_empty() { "config" } else { name };
            let fields = fields.iter().cloned().collect();
            (name.to_owned(), serde_json::Value::Object(fields))
        })
        .collect();
    render::json(&serde_json::json!({
        "ok": true,
        "dry_run": true,
        "app": resolved.app,
        "executor": resolved.executor,
        "faults": execute::faults::settings(resolved),
        "config": sections,
    }))
}

/// How the runs of a command ended.
struct Ended {
    /// One summary for each run that began.
    runs: Vec<Summary>,
    /// Exit code of the worst.
    exit: ExitCode,
    /// What to show on stderr, when something failed.
    failure: Option<Failure>,
}

/// Runs the app, `repeat` times. `started` is when the program began.
fn execute(
    resolved: &Resolved,
    app: &Admitted,
    mut started: Instant,
    progress: &Arc<Progress>,
    life: &Life,
) -> Ended {
    let handle = RunHandle::default();
    let interrupted = handle.clone();
    // Without the handler Ctrl-C ends the program at once; the event log survives that too.
    let _ = ctrlc::set_handler(move || interrupted.interrupt());
    let mut ended = Ended {
        runs: Vec::new(),
        exit: ExitCode::Ok,
        failure: None,
    };
    let times = match life {
        Life::First => resolved.general.run.repeat.max(1),
        Life::Resumed(_) => 1,
    };
    for _ in 0..times {
        let finished = execute::once(resolved, app, &handle, progress, started, life);
        started = Instant::now();
        ended.runs.push(finished.summary);
        if let Some(failure) = finished.failure {
            ended.exit = failure.exit;
            ended.failure = Some(failure);
            break;
        }
    }
    ended
}

/// Shows the end: with `--json` one object on stdout, otherwise a summary on stderr for each run
/// that began; and the failure, if there is one.
fn report(
    runs: &[Summary],
    exit: ExitCode,
    failure: Option<Failure>,
    switches: Switches,
) -> ExitCode {
    let style = Style::for_stderr();
    if !switches.quiet && !switches.json {
        for run in runs.iter().filter(|run| run.run_dir.is_some()) {
            render::note(&run.to_text(&style));
        }
    }
    let exit = match failure {
        Some(failure) => render::outcome(Err(failure)),
        None => exit,
    };
    if switches.json {
        let printed = render::json(&summary::to_json(runs)).map(|()| exit);
        return render::outcome(printed);
    }
    exit
}
