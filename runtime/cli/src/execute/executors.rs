//! The executor that a configuration names.

use super::external::Engine;
use crate::{
    apps,
    exit::{ExitCode, Failure},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use taps_bundle::Bundle;
use taps_config::{Instances, Resolved};
use taps_coordinator::RunLog;
use taps_engine::Executor;
use taps_executors::{NativeRunner, RunnerFactory, ThreadPool, sandboxed};
use taps_payload::{AccountSlot, SharedAccount, StoreOptions};
use taps_process_pool::{ProcessPool, ProcessPoolOptions, WorkerSetup, account_slots};
use taps_sandbox::{
    AotCache, InstancePolicy, Interrupt, LoadedComponent, PoolSize, RunContext, TaskRuntime,
};

/// An executor, before it is made.
pub(super) enum Chosen {
    ThreadPool {
        threads: u32,
    },
    Native {
        threads: u32,
    },
    ProcessPool {
        nodes: u32,
        workers_per_node: u32,
        account: SharedAccount,
    },
    External(Engine),
}

/// An executor, and where the statistics of its sandboxes are, if it has any in this process.
pub(super) struct Made {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) instances: Option<Arc<TaskRuntime>>,
    pub(super) processes: Option<Arc<ProcessPool>>,
}

impl Chosen {
    /// Reads the executor's own fields.
    pub(super) fn of(resolved: &Resolved) -> Result<Self, Failure> {
        let number = |field: &str| {
            let value = resolved.executor_config.get(field);
            value
                .and_then(serde_json::Value::as_u64)
                .map(|number| number.min(u64::from(u32::MAX)) as u32)
        };
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let threads = number("max_threads").unwrap_or(cpus).clamp(1, 4096);
        if let Some(engine) = Engine::of(resolved, cpus)? {
            return Ok(Self::External(engine));
        }
        match resolved.executor.as_str() {
            "native" => Ok(Self::Native { threads }),
            "process-pool" => {
                let nodes = number("nodes").unwrap_or(1).max(1);
                let asked = (number("workers_per_node"), number("max_processes"));
                let workers_per_node = match asked {
                    (Some(_), Some(_)) => {
                        let error = "executor.workers_per_node and executor.max_processes say the same \
                                     thing: give one of them";
                        return Err(Failure::new(ExitCode::Usage, error));
                    }
                    (Some(workers), None) => workers,
                    (None, all) => all.unwrap_or(cpus).div_ceil(nodes),
                };
                let payload = &resolved.general.engine.payload;
                let limit = payload
                    .limit_bytes
                    .unwrap_or_else(taps_payload::default_limit_bytes);
                let account = SharedAccount::create(limit, account_slots(nodes * workers_per_node))
                    .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
                Ok(Self::ProcessPool {
                    nodes,
                    workers_per_node,
                    account,
                })
            }
            _ => Ok(Self::ThreadPool { threads }),
        }
    }

    /// Refuses what cannot run there.
    pub(super) fn check(&self, resolved: &Resolved, bundle: &Bundle) -> Result<(), Failure> {
        match self {
            Self::External(engine) => engine.check(resolved, bundle),
            _ => Ok(()),
        }
    }

    /// A directory for payloads that all workers see, where an engine has nothing better.
    pub(super) fn shared_payloads(&self) -> Option<PathBuf> {
        match self {
            Self::External(engine) => engine.shared_payloads(),
            _ => None,
        }
    }

    /// The account of all payload stores, where there are several.
    pub(super) fn account(&self) -> Option<&SharedAccount> {
        match self {
            Self::ProcessPool { account, .. } => Some(account),
            _ => None,
        }
    }

    /// Attempts that can run at a time.
    pub(super) fn slots(&self) -> u32 {
        match self {
            Self::ThreadPool { threads } | Self::Native { threads } => *threads,
            Self::ProcessPool {
                nodes,
                workers_per_node,
                ..
            } => nodes * workers_per_node,
            Self::External(engine) => engine.workers(),
        }
    }

    /// Sandboxes that this process itself runs.
    pub(super) fn pool(&self) -> PoolSize {
        let workers = match self {
            Self::ThreadPool { threads } => *threads,
            Self::Native { .. } | Self::ProcessPool { .. } | Self::External(_) => 1,
        };
        PoolSize {
            workers,
            per_worker: 2,
        }
    }

    /// How tasks are interrupted: worker threads cannot be killed, so that `free` guests could not
    /// be stopped.
    pub(super) fn interrupt(&self, resolved: &Resolved) -> Interrupt {
        let free = resolved.general.engine.interrupt == taps_config::Interrupt::Free;
        match self {
            Self::ProcessPool { .. } if free => Interrupt::Free,
            _ => Interrupt::Epoch,
        }
    }

    /// This process's part of the account of all payload stores, where there are several.
    pub(super) fn account_slot(&self) -> Option<AccountSlot> {
        self.account().and_then(|account| account.slot(0))
    }

    /// Makes the executor. `store` is how the payload store of this process was made.
    pub(super) fn make(
        &self,
        resolved: &Resolved,
        bundle: &Bundle,
        components: Vec<LoadedComponent>,
        context: &Arc<RunContext>,
        store: StoreOptions,
        run: (&Path, &Arc<RunLog>),
    ) -> Result<Made, Failure> {
        match self {
            Self::External(engine) => {
                // The workers do the same; here it shows what is wrong before any is started.
                runtime(resolved, bundle, components, context)?;
                let executor = engine.make(resolved, bundle, context, policy(resolved), run)?;
                Ok(Made {
                    executor,
                    instances: None,
                    processes: None,
                })
            }
            Self::Native { threads } => {
                let factory = native(bundle, context)?;
                Ok(Made::threads("native", *threads, factory, None))
            }
            Self::ThreadPool { threads } => {
                let runtime = Arc::new(runtime(resolved, bundle, components, context)?);
                let factory = sandboxed(Arc::clone(&runtime));
                Ok(Made::threads(
                    "thread-pool",
                    *threads,
                    factory,
                    Some(runtime),
                ))
            }
            Self::ProcessPool {
                nodes,
                workers_per_node,
                account,
            } => {
                // The workers do the same; here it shows what is wrong before any is started.
                runtime(resolved, bundle, components, context)?;
                let (host, memory_bytes) = machine();
                let options = ProcessPoolOptions {
                    nodes: *nodes,
                    workers_per_node: *workers_per_node,
                    host,
                    memory_bytes,
                    heartbeat_timeout: seconds(resolved, "heartbeat_timeout", 30.0),
                    start_timeout: seconds(resolved, "start_timeout", 60.0),
                    look_ahead: resolved
                        .executor_config
                        .get("look_ahead")
                        .and_then(serde_json::Value::as_u64)
                        .unwrap_or(0) as u32,
                };
                let setup = WorkerSetup {
                    bundle: Arc::new(bundle.clone()),
                    cache_directory: AotCache::default_directory()
                        .filter(|_| apps::cache().is_some()),
                    interrupt: self.interrupt(resolved),
                    policy: policy(resolved),
                    notes: Vec::new(),
                    context: Arc::clone(context),
                    store,
                    account: account.clone(),
                };
                let pool = ProcessPool::new(options, setup)
                    .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
                let pool = Arc::new(pool);
                Ok(Made {
                    executor: Arc::clone(&pool) as Arc<dyn Executor>,
                    instances: None,
                    processes: Some(pool),
                })
            }
        }
    }
}

impl Made {
    fn threads(
        name: &'static str,
        threads: u32,
        factory: RunnerFactory,
        instances: Option<Arc<TaskRuntime>>,
    ) -> Self {
        let (host, memory_bytes) = machine();
        Self {
            executor: Arc::new(ThreadPool::new(name, threads, host, memory_bytes, factory)),
            instances,
            processes: None,
        }
    }
}

/// Name and memory of this machine.
fn machine() -> (String, u64) {
    let name = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    (
        name.nodename().to_string_lossy().into_owned(),
        memory.totalram * u64::from(memory.mem_unit),
    )
}

fn native(bundle: &Bundle, context: &Arc<RunContext>) -> Result<RunnerFactory, Failure> {
    let linked = taps_apps::package(&bundle.app().name)
        .filter(|_| *bundle.source() == taps_bundle::Source::Embedded)
        .and_then(|package| NativeRunner::factory(package, Arc::clone(context)));
    linked.ok_or_else(|| {
        let error = "the executor `native` runs built-in apps only";
        Failure::new(ExitCode::Usage, error).hint("use `--executor thread-pool`")
    })
}

fn runtime(
    resolved: &Resolved,
    bundle: &Bundle,
    components: Vec<LoadedComponent>,
    context: &Arc<RunContext>,
) -> Result<TaskRuntime, Failure> {
    let policy = policy(resolved);
    let runtime = TaskRuntime::new(components, bundle.manifest(), Arc::clone(context), policy)
        .map_err(|error| Failure::new(ExitCode::Bundle, error))?;
    if resolved.general.engine.interrupt == taps_config::Interrupt::Free {
        let note = "interrupt `free` fell back to `epoch`: the workers of this executor are threads \
                    and cannot be killed";
        return Ok(runtime.with_note(note.to_owned()));
    }
    Ok(runtime)
}

fn policy(resolved: &Resolved) -> InstancePolicy {
    match resolved.general.engine.instances {
        Instances::Auto => InstancePolicy::Auto,
        Instances::Fresh => InstancePolicy::Fresh,
        Instances::Prewarmed => InstancePolicy::Prewarmed,
        Instances::Reuse => InstancePolicy::Reuse,
    }
}

pub(super) fn seconds(resolved: &Resolved, field: &str, default: f64) -> Duration {
    let value = resolved.executor_config.get(field);
    let seconds = value.and_then(serde_json::Value::as_f64).unwrap_or(default);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
