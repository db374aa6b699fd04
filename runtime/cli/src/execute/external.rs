//! Executors that are somebody else's engines: what the configuration says of them.

use crate::exit::{ExitCode, Failure};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use taps_bundle::Bundle;
use taps_config::Resolved;
use taps_coordinator::RunLog;
use taps_engine::Executor;
use taps_external::{BridgeOptions, External, ExternalEngine, Package};
use taps_records::Level;
use taps_sandbox::{InstancePolicy, Interrupt, LogLevel, RunContext, RunSetup};
use tempfile::TempDir;

/// Free memory below which payloads go to files on the disk instead.
const LEAST_FREE_BYTES: u64 = 256 << 20;

/// What the bridge and its engine print, in the run directory.
const LOG_FILE: &str = "engine.log";

/// An engine that was chosen.
pub(crate) struct Engine {
    which: ExternalEngine,
    workers: u32,
    /// It is started by the run, on this machine.
    is_local: bool,
    keep: bool,
    /// Where payloads go that all workers see. Removed with this.
    shared: Option<TempDir>,
}

/// How large payloads reach tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Inline,
    Engine,
    Shared,
}

impl Engine {
    /// The engine of that name, if it is one.
    pub(super) fn of(resolved: &Resolved, cpus: u32) -> Result<Option<Self>, Failure> {
        let name = resolved.executor.as_str();
        let Some(engine) = (ExternalEngine::ALL.into_iter()).find(|engine| engine.name() == name)
        else {
            return Ok(None);
        };
        let is_local = is_local(engine, resolved);
        let data = data(engine, is_local, resolved)?;
        let shared = match data {
            Data::Shared => Some(make_shared(resolved)?),
            _ => None,
        };
        Ok(Some(Self {
            which: engine,
            workers: workers(engine, resolved).unwrap_or(cpus),
            is_local,
            keep: data == Data::Engine,
            shared,
        }))
    }

    /// Workers that are expected.
    pub(super) fn workers(&self) -> u32 {
        self.workers
    }

    /// Where payloads go that all workers see.
    pub(super) fn shared_payloads(&self) -> Option<PathBuf> {
        self.shared
            .as_ref()
            .map(|directory| directory.path().join("payloads"))
    }

    /// Refuses an app whose tasks need what is not there on the engine's nodes.
    pub(super) fn check(&self, resolved: &Resolved, bundle: &Bundle) -> Result<(), Failure> {
        let name = self.which.name();
        let usage = |error: String, hint: &str| {
            let hint = hint.to_owned();
            Failure::new(ExitCode::Usage, error).hint(hint)
        };
        let app = bundle.app();
        if let Some(task) = app.tasks.iter().find(|task| !task.programs.is_empty()) {
            let (app, task, program) = (&app.name, &task.name, &task.programs[0]);
            return Err(usage(
                format!(
                    "the executor `{name}` runs no native programs; the task `{task}` of {app} needs `{program}`"
                ),
                "use `--executor process-pool` or `--executor thread-pool`",
            ));
        }
        if resolved.transformer.as_deref() == Some("shared-memory") {
            return Err(usage(
                format!("the transformer `shared-memory` does not reach the workers of `{name}`"),
                "use `--transformer file`, `redis` or `object-store`, or none and `--executor.data`",
            ));
        }
        let sees_paths = self.is_local || self.shared.is_some();
        let granted = |field: &String| resolved.grants.iter().any(|grant| grant.field == *field);
        let needs = app.tasks.iter().find_map(|task| {
            let field = task.grants.iter().find(|field| granted(field))?;
            Some((task, field))
        });
        match needs {
            Some((task, field)) if !sees_paths => Err(usage(
                format!(
                    "the task `{}` reads `app.{field}` where it runs, and workers of `{name}` do not see the files of \
                     this machine",
                    task.name
                ),
                "where they share a file system with it, name a directory of it: `--executor.shared-dir DIR`",
            )),
            _ => Ok(()),
        }
    }

    /// Makes the executor.
    pub(super) fn make(
        &self,
        resolved: &Resolved,
        bundle: &Bundle,
        context: &Arc<RunContext>,
        policy: InstancePolicy,
        (run_dir, log): (&Path, &Arc<RunLog>),
    ) -> Result<Arc<dyn Executor>, Failure> {
        let runtime = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(ExitCode::Runtime, error)
        };
        let setup = RunSetup::of(context, Interrupt::Epoch, policy, Vec::new());
        let package = Package::new(setup, bundle).map_err(|error| runtime(error.into()))?;
        let log = Arc::clone(log);
        let name = self.which.name();
        let number = |field: &str, default: u64| {
            let value = resolved.executor_config.get(field);
            value.and_then(serde_json::Value::as_u64).unwrap_or(default)
        };
        let options = BridgeOptions {
            engine: self.which,
            python: text(resolved, "python").unwrap_or("python3").into(),
            config: self.config(resolved),
            guard_role: crate::internal::guard_role().map(OsString::from).into(),
            log: run_dir.join(LOG_FILE),
            start_timeout: super::executors::seconds(resolved, "start_timeout", 60.0),
            stop_timeout: super::executors::seconds(resolved, "stop_timeout", 10.0),
            batch_max: number("batch_max", 1) as usize,
            batch_linger: Duration::from_millis(number("batch_linger_ms", 0)),
            keep: self.keep,
            sees_host_paths: self.is_local || self.shared.is_some(),
            shared_scratch: self.shared.as_ref().map(|shared| shared.path().to_owned()),
            binary: match text(resolved, "worker_binary") {
                Some(path) => Some(path.into()),
                None => std::env::current_exe().ok(),
            },
            version: env!("CARGO_PKG_VERSION"),
            workers: self.workers,
            log_line: Box::new(move |level, line| log.say(weight(level), name, line)),
        };
        let executor = External::new(options, Arc::clone(context), package)
            .map_err(|error| runtime(error.into()))?;
        Ok(Arc::new(executor))
    }

    /// The engine's own fields.
    fn config(&self, resolved: &Resolved) -> serde_json::Map<String, serde_json::Value> {
        let fields = resolved.executor_config.iter();
        let own = fields.filter(|(name, _)| !taps_config::COMMON_FIELDS.contains(&name.as_str()));
        let mut config: serde_json::Map<_, _> = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // How many an own engine starts is said here, not left to what it counts itself.
        for field in ["workers", "num_cpus"] {
            if let Some(value) = config.get_mut(field)
                && value.is_null()
                && self.is_local
            {
                *value = self.workers.into();
            }
        }
        config
    }
}

fn text<'a>(resolved: &'a Resolved, field: &str) -> Option<&'a str> {
    resolved.executor_config.get(field)?.as_str()
}

fn is_local(engine: ExternalEngine, resolved: &Resolved) -> bool {
    let field = |name: &str| resolved.executor_config.get(name);
    match engine {
        ExternalEngine::Dask => text(resolved, "scheduler").is_none(),
        ExternalEngine::Ray => text(resolved, "address").is_none_or(|address| address == "local"),
        ExternalEngine::ParslLocal => true,
        ExternalEngine::ParslHtex => field("htex")
            .and_then(|htex| htex.get("provider")?.get("kind")?.as_str())
            .is_none_or(|kind| kind == "LocalProvider"),
        ExternalEngine::TaskVine => {
            field("factory").and_then(serde_json::Value::as_bool) == Some(true)
                && text(resolved, "batch_type").is_none_or(|kind| kind == "local")
        }
        ExternalEngine::Globus => false,
        ExternalEngine::HyperQueue => text(resolved, "server_dir").is_none(),
    }
}

/// Workers that the configuration asks for.
fn workers(engine: ExternalEngine, resolved: &Resolved) -> Option<u32> {
    let config = &resolved.executor_config;
    let asked = match engine {
        ExternalEngine::Ray => config.get("num_cpus"),
        ExternalEngine::ParslHtex => config.get("htex")?.get("max_workers_per_node"),
        _ => config.get("workers"),
    };
    asked?
        .as_u64()
        .map(|workers| workers.clamp(1, 1 << 20) as u32)
}

fn data(engine: ExternalEngine, is_local: bool, resolved: &Resolved) -> Result<Data, Failure> {
    let name = engine.name();
    let place = resolved.place_of("engine.executor.data");
    let refused = |error: String| Err(Failure::new(ExitCode::Usage, format!("{place}: {error}")));
    let sees_files = is_local || text(resolved, "shared_dir").is_some();
    let is_transformed = resolved.transformer.is_some();
    match text(resolved, "data").unwrap_or("auto") {
        "inline" => Ok(Data::Inline),
        "engine" if !engine.keeps_results() => refused(format!(
            "`{name}` has no references to results; use `inline`, or `shared` with `executor.shared_dir`"
        )),
        "engine" | "shared" if is_transformed => refused(
            "a transformer is chosen, which takes payloads already; use `auto`, or no transformer"
                .to_owned(),
        ),
        "engine" => Ok(Data::Engine),
        "shared" if !sees_files => refused(format!(
            "the workers of `{name}` are elsewhere; name a directory that they see by `executor.shared_dir`"
        )),
        "shared" => Ok(Data::Shared),
        _ if is_transformed => Ok(Data::Inline),
        _ if sees_files => Ok(Data::Shared),
        _ if engine.keeps_results() => Ok(Data::Engine),
        _ => Ok(Data::Inline),
    }
}

/// A directory of the run's own that all workers see: where it was asked for, else in memory, else on the disk.
fn make_shared(resolved: &Resolved) -> Result<TempDir, Failure> {
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory)
        .is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= LEAST_FREE_BYTES);
    let place = match text(resolved, "shared_dir") {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|error| {
                let place = resolved.place_of("engine.executor.shared_dir");
                Failure::new(
                    ExitCode::Usage,
                    format!("{place}: make {directory}: {error}"),
                )
            })?;
            PathBuf::from(directory)
        }
        None if has_room => memory.to_owned(),
        None => std::env::temp_dir(),
    };
    // Whose it is can be told from its name.
    let prefix = format!("taps-{}-", std::process::id());
    let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&place);
    made.map_err(|error| {
        let error = format!("make a directory in {}: {error}", place.display());
        Failure::new(ExitCode::Runtime, error)
    })
}

fn weight(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARNING,
        LogLevel::Error => Level::ERROR,
    }
}
