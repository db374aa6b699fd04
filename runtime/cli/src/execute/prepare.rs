//! What a run needs before it may write anything: components compiled and linked, limits, grants.

use super::{
    compiling::Notice,
    data::Data,
    executors::{Chosen, Made},
    programs::RunPrograms,
    store,
};
use crate::{
    apps::{self, consent::Right, data::LaidOut},
    exit::{ExitCode, Failure},
    summary::DataSummary,
};
use std::{fs, path::Path, sync::Arc, time::Instant};
use taps_bundle::Bundle;
use taps_config::{GrantKind, Resolved, parse_size};
use taps_coordinator::{Durable, Memo, Plan, ResultFiles, RunLog, TaskRoutes};
use taps_engine::{
    Limits,
    core::{OutcomeSet, OwnRetries, RetryPolicy, Settings},
};
use taps_payload::{SegmentStore, StoreOptions};
use taps_programs::Programs;
use taps_records::{EnvironmentExtra, Level, RunDir, RunDirOptions};
use taps_sandbox::{Grant, Interrupt, LoadedComponent, RunContext, Sandbox};

/// Where in the run directory results are kept for a resume.
pub(crate) const RESULTS_DIRECTORY: &str = "results";

/// Components and settings of a run.
pub(super) struct Prepared {
    /// Its clock interrupts guests; must outlive the run.
    _sandbox: Sandbox,
    driver: Option<LoadedComponent>,
    components: Vec<LoadedComponent>,
    store: Option<(SegmentStore, StoreOptions)>,
    grants: Vec<Grant>,
    /// Data of the bundle that grants lead to.
    _bundle_data: Option<LaidOut>,
    executor: Chosen,
    made: Option<Made>,
    data: Data,
    /// Before what they run with: dropped last.
    programs: Option<RunPrograms>,
    opened_programs: Option<Programs>,
}

fn bundle_failure(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitCode::Bundle, error)
}

impl Prepared {
    /// Compiles and links; nothing is written but the cache of compiled code.
    pub(super) fn new(
        resolved: &Resolved,
        bundle: &Bundle,
        right: &Right,
    ) -> Result<Self, Failure> {
        let runtime = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(ExitCode::Runtime, error)
        };
        if !bundle.app().driver {
            let error = format!(
                "{} offers tasks but has no driver to run",
                bundle.app().name
            );
            return Err(bundle_failure(error));
        }
        let executor = Chosen::of(resolved)?;
        executor.check(resolved, bundle)?;
        // Before anything is compiled: it is quicker, and says more often what is wrong.
        let programs = RunPrograms::find(resolved, bundle, right)?;
        let bundle_data = LaidOut::for_run(resolved, bundle)?;
        let grants = grants(resolved, bundle_data.as_ref())?;
        let sandbox = Sandbox::new(executor.pool(), apps::cache())
            .map_err(|error| runtime(error.into()))?
            .sized_for(bundle.manifest())
            .watched_by(Notice::default());
        let components = sandbox
            .load_all(bundle, executor.interrupt(resolved))
            .map_err(bundle_failure)?;
        let driver = match components.first() {
            // The driver is always interrupted by epochs: mostly, that is the code that is there.
            Some(first) if first.profile().interrupt == Interrupt::Epoch => first.clone(),
            _ => sandbox
                .load(bundle, 0, Interrupt::Epoch)
                .map_err(bundle_failure)?,
        };
        Ok(Self {
            data: Data::open(resolved, bundle, executor.shared_payloads())?,
            driver: Some(driver),
            _sandbox: sandbox,
            components,
            store: None,
            grants,
            _bundle_data: bundle_data,
            programs,
            opened_programs: None,
            executor,
            made: None,
        })
    }

    /// Makes what lies in the run directory: what the app writes there, and the place of its programs.
    pub(super) fn enter(
        &mut self,
        resolved: &Resolved,
        bundle: &Bundle,
        dir: &RunDir,
    ) -> Result<(), Failure> {
        for grant in &mut self.grants {
            if let Ok(inside) = grant.host_path.strip_prefix(taps_config::RUN_DIR) {
                grant.host_path = dir.path().join(inside);
                make_directory(&grant.field, &grant.host_path)?;
            }
        }
        if let Some(programs) = &mut self.programs {
            self.opened_programs = Some(programs.open(resolved, bundle, dir.path())?);
        }
        Ok(())
    }

    /// Removes what programs left, where the run is not resumed.
    pub(super) fn clean_programs(&self) -> std::io::Result<()> {
        self.programs.as_ref().map_or(Ok(()), RunPrograms::clean)
    }

    /// Opens the payload store. Payloads beyond the limit go to the run directory, unless told otherwise.
    pub(super) fn open_store(&mut self, resolved: &Resolved, dir: &RunDir) -> Result<(), Failure> {
        let options = store::options(resolved, dir.path(), self.executor.account_slot())?;
        let store = SegmentStore::new(options.clone())
            .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        self.data.place_in(&store);
        self.store = Some((store, options));
        Ok(())
    }

    /// The payload store.
    pub(super) fn store(&self) -> Option<&SegmentStore> {
        self.store.as_ref().map(|(store, _)| store)
    }

    /// What payloads took.
    pub(super) fn sum_up(&self, data: &mut DataSummary, made: Option<&Made>) {
        if let Some(store) = self.store() {
            let (info, statistics) = (store.info(), store.statistics());
            data.store = Some(info.kind.to_owned());
            data.huge_pages = info.huge_pages;
            data.peak_bytes = statistics.peak_bytes;
            data.peak_spilled_bytes = statistics.peak_spilled_bytes;
        }
        // Of all processes, where there are several.
        if let Some(account) = self.executor.account() {
            data.peak_bytes = account.peak_live_bytes();
            data.peak_spilled_bytes = account.peak_spilled_bytes();
        }
        if let Some(pool) = made.and_then(|made| made.processes.as_ref()) {
            (data.sent_bytes, data.received_bytes) = pool.traffic_bytes();
        }
    }

    /// Worker slots of the run.
    pub(super) fn slots(&self) -> u32 {
        self.executor.slots()
    }

    /// What was made for the run, once [`Prepared::plan`] has put it together.
    pub(super) fn made(&mut self) -> Option<Made> {
        self.made.take()
    }

    /// The transformer of the run.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// What `environment.json` says beyond the machine.
    pub(super) fn environment(&self, bundle: &Bundle) -> EnvironmentExtra {
        let mut extra = crate::commands::environment_extra();
        for entry in &bundle.own_manifest().components {
            extra
                .components
                .insert(entry.file.clone(), entry.digest.to_string());
        }
        if let Some(info) = self.store().map(SegmentStore::info) {
            extra.runtime.insert(
                "payload_store".into(),
                format!("{} ({})", info.kind, info.reason),
            );
        }
        if let Some(programs) = &self.programs {
            extra.natives.clone_from(programs.versions());
            let confinement = programs.confinement();
            extra.runtime.insert("programs".into(), confinement);
        }
        if let Some(component) = self.components.first() {
            extra
                .runtime
                .insert("profile".into(), component.profile().name().to_owned());
        }
        extra
    }

    /// Puts everything together.
    pub(super) fn plan(
        &mut self,
        resolved: &Resolved,
        bundle: &Bundle,
        (dir, log): (&RunDir, &Arc<RunLog>),
        start: Instant,
    ) -> Result<Plan, Failure> {
        let engine = &resolved.general.engine;
        let Some((store, store_options)) = self.store.clone() else {
            return Err(Failure::new(
                ExitCode::Runtime,
                "the payload store is not open",
            ));
        };
        let context = Arc::new(RunContext {
            start,
            store,
            sink: Plan::sink(log),
            grants: self.grants.clone(),
            environment: resolved.general.run.env_vars.clone().into_iter().collect(),
            inline_max_bytes: engine.payload.inline_max_bytes,
            map_min_bytes: engine.payload.map_min_bytes,
            verify_payloads: engine.payload.verify,
            data: self.data.plane(),
            programs: self.opened_programs.take(),
        });
        let components = std::mem::take(&mut self.components);
        let made = (self.executor).make(
            resolved,
            bundle,
            components,
            &context,
            store_options,
            (dir.path(), log),
        )?;
        let executor = Arc::clone(&made.executor);
        self.made = Some(made);
        let Some(driver) = self.driver.take() else {
            return Err(Failure::new(
                ExitCode::Runtime,
                "the driver was used already",
            ));
        };
        let defaults = Limits::default();
        // What the bundle asks for counts where the run says nothing.
        let asked = &bundle.own_manifest().capabilities;
        let asked_bytes = asked.memory_limit.as_deref().and_then(parse_size);
        let asked_ms = asked.wall_limit_s.map(|limit| limit.saturating_mul(1000));
        Ok(Plan {
            driver,
            routes: TaskRoutes::of(bundle),
            executor,
            context,
            log: Arc::clone(log),
            settings: settings(resolved)?,
            limits: Limits {
                timeout_ms: engine
                    .task_timeout
                    .map(|limit| limit.as_millis().max(1) as u64)
                    .or(asked_ms),
                memory_bytes: engine
                    .task_memory_bytes
                    .or(asked_bytes)
                    .unwrap_or(defaults.memory_bytes),
                ..defaults
            },
            config: app_config(resolved, &self.grants),
            seed: resolved.general.run.seed,
            kernels: engine.kernels,
            faults: super::faults::settings(resolved),
            history: None,
            results: Some(results(resolved, dir)),
            watchdog: engine.watchdog,
            memo: memo(resolved, bundle)?,
        })
    }
}

/// Where results are kept for a resume.
pub(crate) fn results(resolved: &Resolved, dir: &RunDir) -> ResultFiles {
    let durable = match resolved.general.engine.durable {
        taps_config::Durable::None => Durable::None,
        taps_config::Durable::Spill => Durable::Spill,
        taps_config::Durable::All => Durable::All,
    };
    ResultFiles::new(dir.path().join(RESULTS_DIRECTORY), durable)
}

/// Results of earlier runs, where the configuration names a directory.
fn memo(resolved: &Resolved, bundle: &Bundle) -> Result<Option<Memo>, Failure> {
    let Some(directory) = &resolved.general.engine.memoize else {
        return Ok(None);
    };
    let memo = Memo::open(directory.clone(), super::component_digests(bundle));
    memo.map(Some).map_err(|error| {
        let path = directory.display();
        Failure::new(
            ExitCode::Usage,
            format!("engine.memoize: make {path}: {error}"),
        )
    })
}

fn settings(resolved: &Resolved) -> Result<Settings, Failure> {
    let engine = &resolved.general.engine;
    let defaults = RetryPolicy::default();
    let on =
        OutcomeSet::from_names(engine.retry_on.iter().map(String::as_str)).map_err(|name| {
            Failure::new(
                ExitCode::Usage,
                format!("engine.retry_on: no outcome `{name}`"),
            )
        })?;
    let mut own = OwnRetries::default();
    for (outcome, retries) in &engine.retries_for {
        own = own.with(outcome, *retries).map_err(|name| {
            let error = format!("engine.retries_for: no outcome `{name}`");
            Failure::new(ExitCode::Usage, error)
        })?;
    }
    Ok(Settings {
        max_outstanding: engine.max_outstanding as usize,
        default_retry: RetryPolicy {
            retries: engine.retries,
            backoff_ms: engine.retry_backoff.as_millis() as u64,
            on,
            own,
            ..defaults
        },
        crash_limit: engine.crash_limit,
        lineage: engine.lineage,
    })
}

/// Paths that the configuration names become grants; directories to write are made.
fn grants(resolved: &Resolved, data: Option<&LaidOut>) -> Result<Vec<Grant>, Failure> {
    let mut grants: Vec<Grant> = Vec::new();
    for asked in &resolved.grants {
        let same_field = grants
            .iter()
            .filter(|grant| grant.field == asked.field)
            .count();
        let mut guest_path = format!("/{}", asked.field);
        if same_field > 0 {
            guest_path = format!("{guest_path}-{same_field}");
        }
        let kind = match asked.kind {
            GrantKind::InputFile => {
                let name = asked
                    .host_path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy();
                guest_path = format!("{guest_path}/{name}");
                taps_sandbox::GrantKind::File
            }
            GrantKind::InputDir => taps_sandbox::GrantKind::Directory,
            GrantKind::OutputDir => {
                if !asked.host_path.starts_with(taps_config::RUN_DIR) {
                    make_directory(&asked.field, &asked.host_path)?;
                }
                taps_sandbox::GrantKind::WritableDirectory
            }
        };
        grants.push(Grant {
            field: asked.field.clone(),
            kind,
            host_path: match data {
                Some(data) => data.path(&asked.host_path),
                None => asked.host_path.clone(),
            },
            guest_path,
        });
    }
    Ok(grants)
}

fn make_directory(field: &str, path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| {
        let path = path.display();
        Failure::new(
            ExitCode::Usage,
            format!("app.{field}: make {path}: {error}"),
        )
    })
}

/// The app's configuration as the driver sees it: host paths replaced by virtual ones.
fn app_config(resolved: &Resolved, grants: &[Grant]) -> String {
    let mut config = resolved.app_config.clone();
    for (field, value) in &mut config {
        let mut paths = grants
            .iter()
            .filter(|grant| grant.field == *field)
            .map(|grant| serde_json::Value::from(grant.guest_path.clone()));
        match value {
            serde_json::Value::Array(items) if grants.iter().any(|g| g.field == *field) => {
                *items = paths.collect();
            }
            single => {
                if let Some(path) = paths.next() {
                    *single = path;
                }
            }
        }
    }
    serde_json::Value::Object(config).to_string()
}

/// Least weight of a line shown on stderr; none with `--quiet`.
pub(super) fn stderr_level(resolved: &Resolved) -> Option<Level> {
    let shown = !resolved.switches.quiet && !resolved.switches.json;
    shown.then(|| Level::new(resolved.general.logging.level.0))
}

/// Makes the run directory.
pub(super) fn run_directory(resolved: &Resolved) -> Result<RunDir, Failure> {
    let general = &resolved.general;
    let options = RunDirOptions {
        format: general.run.dir_format.pattern().to_owned(),
        name: resolved.app.clone(),
        executor: resolved.executor.clone(),
        log_file: general.logging.file_name.clone(),
        tasks_file: general.engine.task_record_file_name.clone(),
    };
    RunDir::create(&options).map_err(|error| Failure::new(ExitCode::Records, error))
}
