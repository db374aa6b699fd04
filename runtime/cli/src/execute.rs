//! One run: from a checked configuration to its outcome on disk and on the screen.

use crate::{
    apps::{self, Found, consent::Right},
    exit::{ExitCode, Failure},
    progress::{self, Progress},
    summary::{PhaseSummary, Summary, TaskSummary},
};
use life::Life;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use taps_bundle::Bundle;
use taps_config::Resolved;
use taps_coordinator::{Plan, RunHandle, RunLog, RunOutcome};
use taps_engine::core::Counts;
use taps_payload::SegmentStore;
use taps_records::{
    BundleRecord, Environment, EnvironmentExtra, FORMAT_VERSION, Level, LogEvent, Logger, RunDir,
    RunStarted, TaskCounts, write_failures_json, write_tasks_jsonl,
};
use taps_schema::{DriverError, DriverErrorKind, Report};

pub(crate) mod compiling;
pub(crate) mod data;
mod executors;
mod expected;
mod external;
pub(crate) mod faults;
pub(crate) mod life;
mod live;
pub(crate) mod prepare;
pub(crate) mod programs;
pub(crate) mod store;
mod verdict;

/// How a run ended: its summary, and what to show when it failed.
pub(crate) struct Finished {
    pub(crate) summary: Summary,
    pub(crate) failure: Option<Failure>,
}

/// An app that may run here.
pub(crate) struct Admitted {
    pub(crate) bundle: Bundle,
    /// Where it came from, for people and records.
    pub(crate) source: String,
    /// By what right.
    pub(crate) right: Right,
}

impl Admitted {
    /// An app and the right that it was found to have.
    pub(crate) fn new(found: Found, right: Right) -> Self {
        Self {
            source: found.shown(),
            bundle: found.bundle,
            right,
        }
    }

    /// An app of this program.
    pub(crate) fn built_in(bundle: Bundle) -> Self {
        Self {
            bundle,
            source: "built in".to_owned(),
            right: Right::BuiltIn,
        }
    }

    /// What records say of it.
    fn record(&self) -> BundleRecord {
        let app = self.bundle.app();
        BundleRecord {
            aot: if apps::cache().is_some() {
                "cached"
            } else {
                "uncached"
            },
            app: app.name.clone(),
            consent: self.right.word(),
            digest: self.bundle.digest().to_string(),
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            key: self.right.key().map(str::to_owned),
            source: self.source.clone(),
            version: app.version.clone(),
        }
    }
}

/// Runs the app once, in a run directory of its own.
pub(crate) fn once(
    resolved: &Resolved,
    app: &Admitted,
    handle: &RunHandle,
    progress: &Arc<Progress>,
    started: Instant,
    life: &Life,
) -> Finished {
    let mut summary = Summary {
        app: Some(resolved.app.clone()),
        executor: Some(resolved.executor.clone()),
        bundle: Some(app.record()),
        ..Summary::default()
    };
    let mut watched = None;
    let failure = run(
        resolved,
        app,
        handle,
        progress,
        life,
        &mut summary,
        &mut watched,
    )
    .err();
    // What those who watch make the end wait is no part of the run.
    summary.elapsed_s = started.elapsed().as_secs_f64();
    summary.spans = watched.and_then(live::end);
    summary.ok = failure.is_none();
    summary.error = failure.as_ref().map(Failure::message);
    Finished { summary, failure }
}

fn run(
    resolved: &Resolved,
    app: &Admitted,
    handle: &RunHandle,
    progress: &Arc<Progress>,
    life: &Life,
    summary: &mut Summary,
    watched: &mut Option<taps_live::Live>,
) -> Result<(), Failure> {
    let armed = faults::settings(resolved).is_some();
    let bundle = if armed {
        let faults = taps_apps::faults().map_err(|error| Failure::new(ExitCode::Bundle, error))?;
        &app.bundle.clone().with_faults(&faults)
    } else {
        &app.bundle
    };
    let start = life.start();
    let logger = Arc::new(Logger::new(prepare::stderr_level(resolved)));
    let watching = live::prepare(resolved)?;
    let mut prepared = prepare::Prepared::new(resolved, bundle, &app.right)?;
    summary.loaded_s = start.elapsed().as_secs_f64();
    let dir = life.directory(resolved)?;
    let opened = prepared
        .enter(resolved, bundle, &dir)
        .and_then(|()| prepared.open_store(resolved, &dir))
        .and_then(|()| open_records(resolved, app, &dir, &logger, &prepared, life, start))
        .and_then(|log| {
            prepared.data().record_in(dir.path(), start)?;
            let mut plan = prepared.plan(resolved, bundle, (&dir, &log), start)?;
            plan.history = life.history();
            // What a resumed run finds lost it makes again.
            plan.settings.lineage |= plan.history.is_some();
            *watched = live::begin(watching, dir.path(), start, &logger, progress)?;
            Ok((plan, log))
        });
    let (plan, log) = opened.inspect_err(|_| {
        // Nothing ran, so nothing half-written stays; the failure matters more than what cannot
        // be removed.
        let _ = life.undo(&dir);
    })?;
    summary.run_dir = Some(dir.path().to_owned());
    let made = prepared.made();
    let syncing = Syncing::start(&log);
    logger.log(Level::RUN, "run", "Running app...");
    let outcome = conduct(plan, handle, progress, &logger)?;
    drop(syncing);
    prepared.data().close(&logger)?;
    let seconds = outcome.app_elapsed_ns as f64 / 1e9;
    logger.log(
        Level::RUN,
        "run",
        format_args!("Finished app (elapsed={seconds:.3}s)"),
    );
    if let Some(instances) = made.as_ref().and_then(|made| made.instances.as_ref()) {
        logger.log(
            Level::DEBUG,
            "run",
            format_args!("Sandboxes: {:?}", instances.statistics()),
        );
    }
    fill(summary, &outcome);
    prepared.sum_up(&mut summary.data, made.as_ref());
    let verdict = verdict::of(resolved, bundle, &outcome, summary);
    if let Err(failure) = &verdict
        && failure.exit == ExitCode::Usage
        && outcome.counts.submitted == 0
        && life.is_first()
    {
        // Refused before any work: nothing half-written stays.
        drop(log);
        summary.run_dir = None;
        return life
            .undo(&dir)
            .map_err(|error| Failure::new(ExitCode::Records, error))
            .and(verdict);
    }
    close_records(armed, &dir, &log, &outcome, summary, &verdict)?;
    let resumable = [
        ExitCode::Interrupted,
        ExitCode::Diverged,
        ExitCode::Runtime,
        ExitCode::Records,
    ];
    if !verdict
        .as_ref()
        .is_err_and(|failure| resumable.contains(&failure.exit))
    {
        remove_results(&dir, &logger);
        if let Err(error) = prepared.clean_programs() {
            let message = format_args!("the directory of programs was not removed: {error}");
            logger.log(Level::WARNING, "run", message);
        }
    }
    logger.log(
        Level::RUN,
        "run",
        format_args!("Results saved to {}", dir.path().display()),
    );
    logger.log(
        Level::RUN,
        "run",
        format_args!(
            "Finished benchmark (app={}, elapsed={:.3}s, tasks={})",
            resolved.app,
            start.elapsed().as_secs_f64(),
            outcome.counts.submitted
        ),
    );
    logger.flush();
    verdict
}

/// A run that has ended is not resumed: what was kept for that goes.
fn remove_results(dir: &RunDir, logger: &Logger) {
    let results = dir.path().join(prepare::RESULTS_DIRECTORY);
    if let Err(error) = std::fs::remove_dir_all(&results)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let message = format_args!("{} was not removed: {error}", results.display());
        logger.log(Level::WARNING, "run", message);
    }
}

/// Opens the run directory's files and says what is about to run.
fn open_records(
    resolved: &Resolved,
    app: &Admitted,
    dir: &RunDir,
    logger: &Arc<Logger>,
    prepared: &prepare::Prepared,
    life: &Life,
    start: Instant,
) -> Result<Arc<RunLog>, Failure> {
    let level = Level::new(resolved.general.logging.file_level.0);
    life.attach(logger, dir, level)?;
    let environment = Environment::collect(EnvironmentExtra {
        bundle: Some(app.record()),
        ..prepared.environment(&app.bundle)
    });
    let config = resolved.to_toml();
    announce(resolved, dir, logger, &environment, &config);
    if let Some(info) = prepared.store().map(SegmentStore::info) {
        let text = format_args!("Payload store: {} ({})", info.kind, info.reason);
        logger.log(Level::DEBUG, "run", text);
    }
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let first = if life.is_first() {
        dir.write_config(&config).map_err(records)?;
        dir.write_environment(&environment).map_err(records)?;
        LogEvent::RunStarted(Box::new(RunStarted {
            format: FORMAT_VERSION,
            app: resolved.app.clone(),
            app_version: app.bundle.app().version.clone(),
            executor: resolved.executor.clone(),
            slots: prepared.slots(),
            seed: resolved.general.run.seed,
            start_unix_ns: since_1970.saturating_sub(start.elapsed()).as_nanos() as u64,
            host: environment.hostname().to_owned(),
            components: component_digests(&app.bundle),
            config_toml: config,
        }))
    } else {
        LogEvent::Resumed {
            time_ns: start.elapsed().as_nanos() as u64,
            unix_ns: since_1970.as_nanos() as u64,
        }
    };
    let log = RunLog::new(life.event_log(dir)?, Arc::clone(logger), start);
    let log = life.striking(resolved, log);
    log.append(&first);
    Ok(Arc::new(log))
}

/// Digests of the components of an app, in their order.
pub(crate) fn component_digests(bundle: &Bundle) -> Vec<String> {
    let components = bundle.own_manifest().components.iter();
    components.map(|entry| entry.digest.to_string()).collect()
}

/// The records of a run cannot be written.
fn records(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitCode::Records, error)
}

/// The first lines of a log; their texts are those that TaPS's log parsers look for.
fn announce(
    resolved: &Resolved,
    dir: &RunDir,
    logger: &Logger,
    environment: &Environment,
    config: &str,
) {
    let arguments: Vec<_> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    logger.log(
        Level::RUN,
        "run",
        format_args!("CLI Arguments: {}", arguments.join(" ")),
    );
    logger.log(
        Level::RUN,
        "run",
        format_args!("Runtime directory: {}", dir.path().display()),
    );
    logger.log(
        Level::DEBUG,
        "run",
        format_args!("Environment:\n{environment}"),
    );
    logger.log(
        Level::DEBUG,
        "run",
        format_args!("Configuration:\n{config}"),
    );
    logger.log(
        Level::RUN,
        "run",
        format_args!(
            "Starting benchmark... (app={}, executor={})",
            resolved.app, resolved.executor
        ),
    );
}

/// Runs the plan, with progress where somebody watches.
fn conduct(
    plan: Plan,
    handle: &RunHandle,
    progress: &Arc<Progress>,
    logger: &Logger,
) -> Result<RunOutcome, Failure> {
    let mut show = |counts: &Counts| {
        progress.update(progress::Counts {
            submitted: counts.submitted,
            finished: counts.succeeded + counts.failed + counts.cancelled,
            running: counts.running,
            failed: counts.failed,
        });
    };
    if progress.is_shown() {
        let above = Arc::clone(progress);
        logger.set_writer(move |line| above.above(line));
    }
    let shown: Option<&mut dyn FnMut(&Counts)> = if progress.is_shown() {
        Some(&mut show)
    } else {
        None
    };
    let outcome = taps_coordinator::run(plan, handle, shown);
    logger.reset_writer();
    outcome.map_err(|error| Failure::new(ExitCode::Runtime, error))
}

fn fill(summary: &mut Summary, outcome: &RunOutcome) {
    let counts = outcome.counts;
    summary.app_elapsed_s = outcome.app_elapsed_ns as f64 / 1e9;
    summary.tasks = TaskSummary {
        submitted: counts.submitted,
        succeeded: counts.succeeded,
        failed: counts.failed + counts.cancelled,
        retried: counts.retried,
        recomputed: counts.recomputed,
        memoized: outcome.memoized,
    };
    summary.data.copied_bytes = outcome.travel.copied_bytes();
    summary.data.inputs.clone_from(&outcome.travel.inputs);
    summary.data.outputs.clone_from(&outcome.travel.outputs);
    let ended = counts.succeeded + counts.failed + counts.cancelled;
    summary.tasks_per_s = if summary.app_elapsed_s > 0.0 {
        ended as f64 / summary.app_elapsed_s
    } else {
        0.0
    };
    summary.phases = outcome
        .phases
        .iter()
        .map(|(name, ns)| PhaseSummary {
            name: name.clone(),
            elapsed_s: *ns as f64 / 1e9,
        })
        .collect();
}

/// Writes the last event and the views of the log; that of faults where the run was to have any.
fn close_records(
    armed: bool,
    dir: &RunDir,
    log: &RunLog,
    outcome: &RunOutcome,
    summary: &mut Summary,
    verdict: &Result<(), Failure>,
) -> Result<(), Failure> {
    let report = match &outcome.driver {
        Some(Ok(Ok(report))) => Some(report.clone()),
        _ => None,
    };
    log.append(&LogEvent::RunFinished {
        ok: verdict.is_ok(),
        exit_code: verdict
            .as_ref()
            .err()
            .map_or(0, |failure| i32::from(failure.exit.number())),
        report,
        error: verdict.as_ref().err().map(Failure::message),
        counts: TaskCounts {
            submitted: summary.tasks.submitted,
            succeeded: summary.tasks.succeeded,
            failed: summary.tasks.failed,
            retried: summary.tasks.retried,
        },
        time_ns: log.now_ns(),
    });
    log.close().map_err(records)?;
    if armed {
        let injected = write_failures_json(&dir.events_path(), &dir.failures_path());
        summary.faults = Some(injected.map_err(records)?);
    }
    match dir.tasks_path() {
        Some(tasks) => write_tasks_jsonl(&dir.events_path(), tasks)
            .map(|_| ())
            .map_err(records),
        None => Ok(()),
    }
}

/// Brings the log to the disk once a second, from a thread of its own, until dropped.
struct Syncing {
    stop: taps_sandbox::CancelToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Syncing {
    fn start(log: &RunLog) -> Self {
        let stop = taps_sandbox::CancelToken::new();
        let control = taps_sandbox::Control::new(stop.clone(), None);
        // Without the thread only a loss of power loses more.
        let thread = log.sync_handle().and_then(|sync| {
            thread::Builder::new()
                .name("log-sync".into())
                .spawn(move || {
                    while control.sleep(Duration::from_secs(1)).is_ok() && sync.sync().is_ok() {}
                })
                .ok()
        });
        Self { stop, thread }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
