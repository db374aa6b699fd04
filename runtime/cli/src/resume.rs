//! `resume`: a run that was killed or interrupted goes on.

use crate::{
    apps::{
        self,
        consent::{self, Wanted},
    },
    execute::{
        Admitted, compiling, component_digests,
        life::{Earlier, Life, other_app},
        prepare,
    },
    exit::{ExitCode, Failure},
    render::{self, Style},
    run,
};
use parking_lot::Mutex;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Instant,
};
use taps_config::{Preview, Resolved, Switches, preview, resolve};
use taps_coordinator::{HistoryError, HistoryReader};
use taps_records::{CONFIG_FILE, LogError, RunDir, RunDirOptions};

/// What to do where there is no run.
const NAME_IT: &str = "name the run directory: the last line of a run says where it is";

/// Resumes the run of that directory, and says how it ended.
pub(crate) fn command(run: &Path, switches: Switches, keys: Vec<String>) -> ExitCode {
    let started = Instant::now();
    compiling::tell(switches);
    match prepare(run, switches, keys) {
        Ok((resolved, app, life)) => run::go(&resolved, &app, started, &life),
        Err(failure) => run::refuse(failure, switches, started),
    }
}

fn prepare(
    run: &Path,
    switches: Switches,
    keys: Vec<String>,
) -> Result<(Resolved, Admitted, Life), Failure> {
    let (resolved, app) = configuration(run, switches, keys)?;
    let options = RunDirOptions {
        log_file: resolved.general.logging.file_name.clone(),
        tasks_file: resolved.general.engine.task_record_file_name.clone(),
        ..RunDirOptions::new(resolved.app.clone(), resolved.executor.clone())
    };
    let dir = RunDir::open(run, &options)
        .map_err(|error| Failure::new(ExitCode::Records, error).hint(NAME_IT))?;
    let mut reader = HistoryReader::default();
    let reopened = dir
        .reopen_event_log(|event| reader.take(event))
        .map_err(refused)?;
    if reader.started().components != component_digests(&app.bundle) {
        return Err(other_app(&resolved));
    }
    let results = prepare::results(&resolved, &dir);
    let history = reader.finish(&results).map_err(|error| {
        let ended = matches!(error, HistoryError::Ended { .. });
        let failure = Failure::new(ExitCode::Usage, error);
        if ended {
            failure.hint("only a run that was killed or interrupted is resumed; start a new one")
        } else {
            failure
        }
    })?;
    let style = Style::for_stderr();
    if let Some(dropped) = reopened.dropped {
        let (bytes, at) = (dropped.bytes, dropped.at);
        render::note(&format!(
            "{} the log is damaged: {bytes} bytes from byte {at} on are dropped",
            style.warning("note:")
        ));
    }
    if !switches.quiet && !switches.json {
        let (ended, submitted) = (history.ended(), history.submitted());
        render::note(&format!(
            "Resuming {} with {ended} of {submitted} tasks done",
            dir.path().display()
        ));
    }
    let earlier = Earlier {
        dir,
        history: Mutex::new(Some(history)),
        log: Mutex::new(Some(reopened.log)),
    };
    Ok((resolved, app, Life::Resumed(Box::new(earlier))))
}

/// The configuration that the run began with, and its app.
fn configuration(
    run: &Path,
    switches: Switches,
    keys: Vec<String>,
) -> Result<(Resolved, Admitted), Failure> {
    let config = std::path::absolute(run.join(CONFIG_FILE)).unwrap_or_else(|_| run.into());
    if !config.is_file() {
        let error = format!(
            "{} is no run directory: it has no {CONFIG_FILE}",
            run.display()
        );
        return Err(Failure::new(ExitCode::Records, error).hint(NAME_IT));
    }
    let args: [OsString; 2] = ["--config".into(), config.clone().into()];
    let start_dir = config.parent().map_or_else(PathBuf::new, Path::to_owned);
    let seen = Preview {
        switches,
        keys,
        ..preview(&args, &start_dir)
    };
    let (schema, found) = apps::schema_for(&seen)?;
    let mut resolved = resolve(&args, &schema, &start_dir)
        .map_err(|errors| Failure::new(ExitCode::Usage, errors))?;
    resolved.switches = switches;
    let found = match found {
        Some(found) => found,
        None => apps::find_with_origin(&resolved.app)?,
    };
    let right = consent::ask(&found, &Wanted::from(&seen))?;
    Ok((resolved, Admitted::new(found, right)))
}

/// Why a log cannot be gone on with.
fn refused(error: LogError) -> Failure {
    let hint = match &error {
        LogError::InUse { .. } => "the run is still going on: wait for it, or end it",
        LogError::Version { .. } => "resume it with the program that began it",
        LogError::NoStart { .. } => "the run was killed before it began; start a new one",
        _ => "a log that cannot be read cannot be gone on with; start a new run",
    };
    Failure::new(ExitCode::Records, error).hint(hint)
}
