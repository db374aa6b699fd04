//! Bounds for the benchmarks: `bare` is a plain wasmtime loop over the component that `worker` runs
//! through this crate, `mapped BYTES` the same with a task that attaches a payload and does not touch it; `tokio`
//! is a closed loop of tasks with a wake-up each, `pipes` one of messages to two other processes and back. Prints
//! one number.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figure")]

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use taps_bundle::Bundle;
use taps_engine::{Argument, Attempt, AttemptId, Limits, TaskId, WorkerId};
use taps_payload::{Location, SegmentStore, StoreOptions};
use taps_sandbox::{
    CancelToken, GuestSink, InstancePolicy, Interrupt, LogLevel, PoolSize, RunContext, Sandbox,
    Speaker, Stream, TaskRuntime, thread_cpu_ns,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

type Error = Box<dyn std::error::Error>;

const TASKS: u32 = 100_000;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let figure = match args.next().as_deref() {
        Some("bare") => bare()?,
        Some("worker") => worker("warmup", |_| Ok(Vec::new()))?,
        Some("mapped") => mapped(args.next().ok_or("how many bytes?")?.parse()?)?,
        Some("tokio") => tokio_rate()?,
        Some("pipes") => pipe_rate()?,
        Some("echo") => return echo(),
        _ => return Err("usage: bounds bare|worker|mapped BYTES|tokio|pipes".into()),
    };
    println!("{figure}");
    Ok(())
}

/// The built-in app `synthetic`, whose task `warmup` does nothing. Its tasks are its second component.
fn guest() -> Result<Bundle, Error> {
    let bundles = taps_apps::bundles()?;
    bundles
        .into_iter()
        .find(|bundle| bundle.app().name == "synthetic")
        .ok_or("no synthetic".into())
}

/// µs of CPU per life of a sandbox: store with WASI, instantiate, drop. Without a call: a lower bound.
fn bare() -> Result<f64, Error> {
    struct Data {
        wasi: WasiCtx,
        table: ResourceTable,
    }
    impl WasiView for Data {
        fn ctx(&mut self) -> WasiCtxView<'_> {
            WasiCtxView {
                ctx: &mut self.wasi,
                table: &mut self.table,
            }
        }
    }
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(16 << 20)
        .table_keep_resident(1 << 16)
        .total_component_instances(10)
        .total_core_instances(100)
        .total_memories(20)
        .total_tables(100)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .memory_init_cow(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let bundle = guest()?;
    let component = Component::new(&engine, bundle.component(1).ok_or("no component")?)?;
    let mut linker = Linker::<Data>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    linker.define_unknown_imports_as_traps(&component)?;
    let pre = linker.instantiate_pre(&component)?;
    let life = || -> Result<(), Error> {
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&engine, data);
        pre.instantiate(&mut store)?;
        Ok(())
    };
    measured(life)
}

/// What a task of `synthetic` does besides taking and giving data.
#[taps::value]
#[derive(Default)]
struct Load {
    least_ns: u64,
    busy: bool,
    iterations: u64,
    passes: u64,
    buffer_bytes: u32,
}

/// The first argument of the task `noop`, as `synthetic` has it.
#[taps::value]
struct Work {
    load: Load,
    output_bytes: u32,
    verify: bool,
    plain: bool,
    read: bool,
}

/// µs of CPU per attempt at a task that takes a payload from shared memory, and leaves it alone.
fn mapped(bytes: u64) -> Result<f64, Error> {
    worker("noop", |store| {
        let work = Work {
            load: Load::default(),
            output_bytes: 0,
            verify: false,
            plain: false,
            read: false,
        };
        let taps::Argument::Inline(work) = taps::Argument::value(work)? else {
            return Err("a value is inline".into());
        };
        let segment = store.publish(store.create_mappable(bytes)?)?;
        let locations = [
            Location::Inline(work.into()),
            Location::Segment(segment.reference()),
        ];
        Ok(locations
            .map(|location| Argument {
                location,
                media_type: "application/octet-stream".into(),
            })
            .into())
    })
}

/// µs of CPU per attempt at a task of `synthetic` through this crate.
fn worker(
    name: &str,
    arguments: impl FnOnce(&SegmentStore) -> Result<Vec<Argument>, Error>,
) -> Result<f64, Error> {
    let bundle = guest()?;
    let sandbox = Sandbox::new(
        PoolSize {
            workers: 1,
            per_worker: 1,
        },
        None,
    )?;
    let components = (0..bundle.manifest().components.len())
        .map(|index| sandbox.load(&bundle, index, Interrupt::Epoch))
        .collect::<Result<Vec<_>, _>>()?;
    let store = SegmentStore::new(StoreOptions::default())?;
    let run = Arc::new(RunContext {
        start: Instant::now(),
        store: store.clone(),
        sink: Box::new(Deaf),
        grants: Vec::new(),
        environment: Vec::new(),
        inline_max_bytes: 65_536,
        map_min_bytes: 1_000_000,
        verify_payloads: false,
        data: None,
        programs: None,
    });
    let runtime = Arc::new(TaskRuntime::new(
        components,
        bundle.manifest(),
        run,
        InstancePolicy::Fresh,
    )?);
    let mut worker = runtime.worker(WorkerId(0));
    let task = bundle
        .app()
        .tasks
        .iter()
        .position(|task| task.name == name)
        .ok_or("no task")?;
    let attempt = Attempt {
        id: AttemptId {
            task: TaskId(0),
            number: 0,
        },
        generation: taps_engine::Generation::default(),
        component: 1,
        task: task as u32,
        name: name.into(),
        arguments: arguments(&store)?,
        limits: Limits::default(),
        seed: 1,
        kernels: taps_schema::Kernels::Host,
        digests: Vec::new(),
        fault: None,
        demands: None,
    };
    measured(|| {
        let report = worker.run(&attempt, &CancelToken::new());
        report
            .result
            .map(drop)
            .map_err(|failure| failure.to_string().into())
    })
}

fn measured(mut life: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    for _ in 0..1000 {
        life()?;
    }
    let begin = thread_cpu_ns();
    for _ in 0..TASKS {
        life()?;
    }
    Ok((thread_cpu_ns() - begin) as f64 / 1000.0 / f64::from(TASKS))
}

/// Tasks per second of two threads that each hand a task to a worker and wait for it: a wake-up of the
/// worker and one of the thread for each.
fn tokio_rate() -> Result<f64, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..TASKS / 2 {
                    // An empty task cannot panic; the result carries nothing.
                    let _ = runtime.block_on(runtime.spawn(async {}));
                }
            });
        }
    });
    Ok(f64::from(TASKS) / begin.elapsed().max(Duration::from_nanos(1)).as_secs_f64())
}

/// Messages per second of two threads that each send one to a process of their own and wait for the answer.
fn pipe_rate() -> Result<f64, Error> {
    let mut children = Vec::new();
    for _ in 0..2 {
        let child = Command::new(std::env::current_exe()?)
            .arg("echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        children.push(child);
    }
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for child in &mut children {
            scope.spawn(move || -> Option<()> {
                let (mut to, mut from) = (child.stdin.take()?, child.stdout.take()?);
                let mut message = [7; MESSAGE_BYTES];
                for _ in 0..TASKS / 2 {
                    to.write_all(&message).ok()?;
                    from.read_exact(&mut message).ok()?;
                }
                Some(())
            });
        }
    });
    let rate = f64::from(TASKS) / begin.elapsed().as_secs_f64();
    for mut child in children {
        child.wait()?;
    }
    Ok(rate)
}

/// About what a task without arguments needs.
const MESSAGE_BYTES: usize = 64;

/// The other side of `pipes`.
fn echo() -> Result<(), Error> {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut message = [0; MESSAGE_BYTES];
    while from.read_exact(&mut message).is_ok() {
        to.write_all(&message)?;
        to.flush()?;
    }
    Ok(())
}

struct Deaf;

impl GuestSink for Deaf {
    fn log(&self, _: Speaker, _: LogLevel, _: &str) {}

    fn output(&self, _: Speaker, _: Stream, _: &str, _: u64) {}
}
