//! One run of an app, and what its records say.

use super::{
    flags::{self, Common},
    slots,
};
use crate::{
    apps,
    commands::environment_extra,
    execute::{self, life::Life},
    exit::{ExitCode, Failure},
    progress::Progress,
    summary::Summary,
};
use serde::Deserialize;
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use taps_config::{Resolved, Schema, resolve};
use taps_coordinator::RunHandle;
use taps_records::Environment;

/// Runs apps, each in a run directory of its own that goes with the bench.
pub(super) struct Runner {
    schema: Schema,
    directory: tempfile::TempDir,
    handle: RunHandle,
    /// As it was before anything ran: the load is that of others.
    environment: Environment,
    python: Option<PathBuf>,
    run_flags: Vec<OsString>,
}

/// A run whose configuration was checked.
pub(super) struct Trial {
    resolved: Resolved,
    app: execute::Admitted,
}

/// A run that ended well.
pub(super) struct Ran {
    pub(super) summary: Summary,
    /// CPU seconds of this process and of all processes below it that ended, from configuration to records.
    pub(super) cpu_s: f64,
    run_dir: PathBuf,
}

impl Runner {
    pub(super) fn new(common: &Common) -> Result<Self, Failure> {
        let schema = apps::schema()?;
        common.check(&schema)?;
        let directory =
            tempfile::tempdir().map_err(|error| Failure::new(ExitCode::Records, error))?;
        let handle = RunHandle::default();
        let interrupted = handle.clone();
        // Without the handler Ctrl-C ends the program at once, and leaves the directory behind.
        let _ = ctrlc::set_handler(move || interrupted.interrupt());
        Ok(Self {
            schema,
            directory,
            handle,
            environment: Environment::collect(environment_extra()),
            python: common.python.clone(),
            run_flags: common.run_flags.clone(),
        })
    }

    /// A directory that goes with the bench.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The machine, before anything ran on it.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether the user wants the bench to end.
    pub(super) fn is_interrupted(&self) -> bool {
        self.handle.is_interrupted()
    }

    /// The flags that give a run its executor with so many slots, and those that all runs get.
    pub(super) fn executor_flags(
        &self,
        executor: &str,
        workers: u32,
    ) -> Result<Vec<OsString>, Failure> {
        let plugin = flags::executor(&self.schema, executor)?;
        let mut args = vec![format!("--executor={executor}").into()];
        args.extend(slots::flag(plugin, workers).map(OsString::from));
        if let Some(python) = self.python.as_ref().filter(|_| slots::needs_python(plugin)) {
            args.push("--executor.python".into());
            args.push(python.into());
        }
        args.extend(self.run_flags.iter().cloned());
        Ok(args)
    }

    /// Checks the configuration of a run: an app, an executor with so many slots, further flags of `run`.
    pub(super) fn check(
        &self,
        app: &str,
        executor: &str,
        workers: u32,
        more: &[String],
    ) -> Result<Trial, Failure> {
        let run_dir = self.directory().join("run");
        let mut args: Vec<OsString> = vec![app.into()];
        args.extend(more.iter().map(OsString::from));
        args.extend(self.executor_flags(executor, workers)?);
        args.push("--quiet".into());
        args.push("--run-dir".into());
        args.push(run_dir.into());
        let here = std::env::current_dir().map_err(|error| Failure::new(ExitCode::Usage, error))?;
        let resolved = resolve(&args, &self.schema, &here)
            .map_err(|errors| Failure::new(ExitCode::Usage, errors))?;
        execute::data::check(&resolved)?;
        Ok(Trial {
            app: execute::Admitted::built_in(apps::find(app)?),
            resolved,
        })
    }

    /// Runs it once. A second run takes the place of the first, and of its records.
    pub(super) fn run(&self, trial: &Trial) -> Result<Ran, Failure> {
        let run_dir = self.directory().join("run");
        // Of an earlier run; the last one goes with the directory above.
        let _ = fs::remove_dir_all(&run_dir);
        let before_s = cpu_s();
        let finished = execute::once(
            &trial.resolved,
            &trial.app,
            &self.handle,
            &Arc::new(Progress::new(false)),
            Instant::now(),
            &Life::First,
        );
        let cpu_s = cpu_s() - before_s;
        match finished.failure {
            Some(failure) => Err(failure),
            None => Ok(Ran {
                summary: finished.summary,
                cpu_s,
                run_dir,
            }),
        }
    }
}

/// CPU seconds of this process, and of those below it that ended and were waited for: these in steps of 10 ms.
fn cpu_s() -> f64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let own_s = own.tv_sec as f64 + own.tv_nsec as f64 / 1e9;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may have blanks in it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let below = fields.split_whitespace().skip(13).take(2);
    let ticks: f64 = below.filter_map(|field| field.parse::<f64>().ok()).sum();
    own_s + ticks / rustix::param::clock_ticks_per_second() as f64
}

/// What the records say of an attempt, as far as benches look.
#[derive(Debug, Deserialize)]
pub(super) struct Task {
    pub(super) phase: Option<String>,
    /// CPU seconds of the attempt, its sandbox included.
    #[serde(default)]
    pub(super) cpu_time: f64,
    pub(super) monotonic_submit_ns: Option<u64>,
    pub(super) monotonic_execution_start_ns: Option<u64>,
    pub(super) monotonic_task_start_ns: Option<u64>,
    pub(super) monotonic_task_end_ns: Option<u64>,
    pub(super) monotonic_execution_end_ns: Option<u64>,
    pub(super) monotonic_received_ns: Option<u64>,
    #[serde(default)]
    pub(super) inputs: Vec<Transfer>,
    #[serde(default)]
    pub(super) outputs: Vec<Transfer>,
}

/// A payload on its way.
#[derive(Debug, Deserialize)]
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) copies: u64,
}

impl Task {
    /// Seconds of the task function.
    pub(super) fn compute_s(&self) -> f64 {
        between_s(self.monotonic_task_start_ns, self.monotonic_task_end_ns)
    }

    /// Seconds on the worker: sandbox, arguments, function, results.
    pub(super) fn execution_s(&self) -> f64 {
        between_s(
            self.monotonic_execution_start_ns,
            self.monotonic_execution_end_ns,
        )
    }
}

fn between_s(from_ns: Option<u64>, to_ns: Option<u64>) -> f64 {
    match (from_ns, to_ns) {
        (Some(from), Some(to)) => to.saturating_sub(from) as f64 / 1e9,
        _ => 0.0,
    }
}

/// The records of a run cannot be read.
pub(super) fn unread(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitCode::Records, error)
}

/// Attempts of a run, of a phase of it where one is named.
pub(super) fn tasks(run_dir: &Path, phase: Option<&str>) -> Result<Vec<Task>, Failure> {
    let file = fs::File::open(run_dir.join("tasks.jsonl")).map_err(unread)?;
    let mut tasks = Vec::new();
    for line in BufReader::new(file).lines() {
        let task: Task = serde_json::from_str(&line.map_err(unread)?).map_err(unread)?;
        if phase.is_none() || task.phase.as_deref() == phase {
            tasks.push(task);
        }
    }
    Ok(tasks)
}

/// Seconds from the first submission to when the last end was known.
pub(super) fn makespan_s(tasks: &[Task]) -> f64 {
    let first = tasks
        .iter()
        .filter_map(|task| task.monotonic_submit_ns)
        .min();
    let last = tasks
        .iter()
        .filter_map(|task| task.monotonic_received_ns)
        .max();
    between_s(first, last)
}

impl Ran {
    /// Attempts of a phase, or of all.
    pub(super) fn tasks(&self, phase: Option<&str>) -> Result<Vec<Task>, Failure> {
        tasks(&self.run_dir, phase)
    }

    /// Seconds of the phase of that name.
    pub(super) fn phase_s(&self, name: &str) -> Result<f64, Failure> {
        let mut phases = self.summary.phases.iter();
        let phase = phases.find(|phase| phase.name == name);
        phase.map(|phase| phase.elapsed_s).ok_or_else(|| {
            let app = self.summary.app.as_deref().unwrap_or_default();
            unread(format!("{app} had no phase `{name}`"))
        })
    }
}
