//! What the event log costs: `event_log TASKS ROUNDS` runs the bag of `synthetic`, no-op tasks with 1,000
//! outstanding on two threads, by turns with its log and with one that keeps nothing, so many times each, and prints
//! for each round both rates, in tasks per second, and both costs, in µs of CPU per task: with, without, with, without.
//! The costs are exact to the hundredth of a second that a run took, and do not depend on what else the machine does.
//!
//! Log files are made in the working directory, brought to the disk once a second as the program does, and
//! removed.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figure")]

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use taps_bundle::Bundle;
use taps_coordinator::{Plan, RunHandle, RunLog, TaskRoutes};
use taps_engine::{Limits, core::Settings};
use taps_executors::{ThreadPool, sandboxed};
use taps_payload::{SegmentStore, StoreOptions};
use taps_records::{EventLog, LogSync, Logger};
use taps_sandbox::{InstancePolicy, Interrupt, PoolSize, RunContext, Sandbox, TaskRuntime};
use taps_schema::Kernels;

type Error = Box<dyn std::error::Error>;

const THREADS: u32 = 2;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let (Some(tasks), Some(rounds)) = (args.next().transpose()?, args.next().transpose()?) else {
        return Err("usage: event_log TASKS ROUNDS".into());
    };
    let bundles = taps_apps::bundles()?;
    let mut named = bundles.into_iter();
    let bundle = named.find(|bundle| bundle.app().name == "synthetic");
    let bundle = bundle.ok_or("no synthetic")?;
    let size = PoolSize {
        workers: THREADS,
        per_worker: 1,
    };
    let sandbox = Sandbox::new(size, None)?;
    rate(&sandbox, &bundle, tasks.min(10_000), None)?;
    let folder = tempfile::tempdir_in(".")?;
    for round in 0..rounds {
        let path = folder.path().join(format!("{round}.log"));
        // Who comes first changes: the machine may get slower or faster with time.
        let ((with, with_us), (without, without_us)) = if round % 2 == 0 {
            let with = rate(&sandbox, &bundle, tasks, Some(&path))?;
            (with, rate(&sandbox, &bundle, tasks, None)?)
        } else {
            let without = rate(&sandbox, &bundle, tasks, None)?;
            (rate(&sandbox, &bundle, tasks, Some(&path))?, without)
        };
        println!("{with:.0} {without:.0} {with_us:.2} {without_us:.2}");
    }
    Ok(())
}

/// Tasks per second of one run, whose log is at `path`, or nowhere, and µs of CPU per task.
fn rate(
    sandbox: &Sandbox,
    bundle: &Bundle,
    tasks: u32,
    path: Option<&Path>,
) -> Result<(f64, f64), Error> {
    let start = Instant::now();
    let logger = Arc::new(Logger::new(None));
    let log = Arc::new(match path {
        Some(path) => RunLog::new(EventLog::create(path)?, logger, start),
        None => RunLog::discarding(logger, start),
    });
    let plan = plan(sandbox, bundle, tasks, &log, start)?;
    let syncing = log.sync_handle().map(Syncing::start);
    let began = cpu_us()?;
    let outcome = taps_coordinator::run(plan, &RunHandle::default(), None)?;
    let cpu = (cpu_us()? - began) / f64::from(tasks);
    drop(syncing);
    log.close()?;
    if let Some(path) = path {
        std::fs::remove_file(path)?;
    }
    match outcome.driver {
        Some(Ok(Ok(report))) => {
            let report: taps_schema::Report = serde_json::from_str(&report)?;
            if !report.passed() {
                return Err(format!("{report:?}").into());
            }
        }
        other => return Err(format!("{other:?}").into()),
    }
    let rate = f64::from(tasks) * 1e9 / outcome.app_elapsed_ns as f64;
    Ok((rate, cpu))
}

/// µs of CPU that this process has used, in steps of a hundredth of a second.
fn cpu_us() -> Result<f64, Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, numbers) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    // User and system time are the 14th and 15th of all fields, the name is the second.
    let ticks = numbers.split_whitespace().skip(11).take(2);
    let sum = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(sum as f64 * 10_000.0)
}

/// The run as the program would put it together.
fn plan(
    sandbox: &Sandbox,
    bundle: &Bundle,
    tasks: u32,
    log: &Arc<RunLog>,
    start: Instant,
) -> Result<Plan, Error> {
    let load = |index| sandbox.load(bundle, index, Interrupt::Epoch);
    let context = Arc::new(RunContext {
        start,
        store: SegmentStore::new(StoreOptions::default())?,
        sink: Plan::sink(log),
        grants: Vec::new(),
        environment: Vec::new(),
        inline_max_bytes: 64 << 10,
        map_min_bytes: 1_000_000,
        verify_payloads: false,
        data: None,
        programs: None,
    });
    let components = (0..bundle.manifest().components.len()).map(load);
    let runtime = Arc::new(TaskRuntime::new(
        components.collect::<Result<Vec<_>, _>>()?,
        bundle.manifest(),
        Arc::clone(&context),
        InstancePolicy::Fresh,
    )?);
    let factory = sandboxed(runtime);
    let executor = ThreadPool::new("thread-pool", THREADS, "here".into(), 8 << 30, factory);
    let config = serde_json::json!({
        "structure": "bag", "task_count": tasks, "bag_max_running": 1000,
    });
    Ok(Plan {
        driver: load(0)?,
        routes: TaskRoutes::of(bundle),
        executor: Arc::new(executor),
        context,
        log: Arc::clone(log),
        settings: Settings::default(),
        limits: Limits::default(),
        config: config.to_string(),
        seed: 1,
        kernels: Kernels::Host,
        faults: None,
        history: None,
        results: None,
        watchdog: None,
        memo: None,
    })
}

/// Brings a log to the disk once a second, until dropped.
struct Syncing {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Syncing {
    fn start(log: LogSync) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let second = Duration::from_secs(1);
            while stopped.recv_timeout(second) == Err(mpsc::RecvTimeoutError::Timeout)
                && log.sync().is_ok()
            {}
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
