//! A test app whose tasks fail in every way that a guest can.

mod driving;

use taps::{Array, Engine, Report, Status};

/// What the tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Action {
    /// Give a number.
    Ok,
    /// Return an error.
    Error,
    /// Panic.
    Panic,
    /// Take memory until none is left.
    Memory,
    /// Call itself for ever.
    Recurse,
    /// Compute for ever.
    Spin,
    /// Sleep for an hour, by the host's function.
    Sleep,
    /// Sleep for an hour, by the standard library.
    StdSleep,
    /// Multiply large matrices for a long time.
    Kernel,
    /// Exit the process.
    Exit,
    /// Fail at the first attempt, succeed at the second.
    Flaky,
    /// Write far more to the standard streams than is kept.
    Chatter,
    /// Say what the sandbox shows: environment, clock, files.
    Look,
    /// Panic in every fourth task, and say in the others how many ran in the same sandbox.
    Mixed,
    /// Overwrite an input and return it: later readers must not see that.
    Scribble,
    /// Fail as the parent of the task that gives the result.
    Upstream,
    /// Die in the driver.
    DriverPanic,
    /// Compute for ever in the driver.
    DriverSpin,
    /// Fail a check.
    BadCheck,
    /// Ask for more cores than there are.
    Greedy,
    /// Cancel tasks that sleep.
    Cancel,
    /// Keep `bytes` tasks outstanding, through a completion queue.
    Churn,
    /// Wait for a sleeping task with a time limit, then cancel it.
    Waits,
    /// Sleep in the driver, by the host's function and by the standard library.
    Naps,
    /// Drop the futures of tasks that fail.
    Drops,
    /// Submit short tasks after one that lasts `bytes` milliseconds, or for ever.
    Behind,
    /// Compute for a second or so in the driver, while a task waits to be heard.
    Ponder,
    /// Sleep for an hour in the first `bytes` attempts of a task.
    Stuck,
    /// Fail in several ways, recover, and submit equal tasks, all in one run.
    Ways,
    /// Ask for a resource that no worker has.
    Special,
    /// Hold `count` things of the host in the driver at a time.
    Hoard,
}

/// Tasks that fail in every way that a guest can.
#[derive(Debug, taps::Config)]
struct Probe {
    /// What the tasks do.
    action: Action,
    /// Number of tasks.
    #[taps(default = 1, min = 1)]
    count: u32,
    /// Bytes that some actions use.
    #[taps(default = 0)]
    bytes: u64,
}

/// Gives its argument.
#[taps::task]
fn ok(value: u32) -> u32 {
    value
}

/// Returns an error.
#[taps::task]
fn error(value: u32) -> taps::Result<u32> {
    Err(taps::Error::app(
        "ProbeError",
        format!("task {value} was told to fail"),
    ))
}

/// Panics.
#[taps::task]
fn panic(value: u32) -> u32 {
    panic!("task {value} was told to panic")
}

/// Takes memory until none is left.
#[taps::task]
fn memory(value: u32) -> u32 {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![1; 1 << 20]);
        if taken.len() > 1 << 20 {
            return value;
        }
    }
}

/// Calls itself for ever.
#[taps::task]
fn recurse(value: u32) -> u64 {
    deeper(u64::from(value))
}

fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([depth; 64]);
    deeper(frame[7] + 1) + frame[3]
}

/// Computes for ever.
#[taps::task]
fn spin(value: u32) -> u32 {
    let mut state = value;
    loop {
        state = std::hint::black_box(state.wrapping_mul(1_664_525).wrapping_add(1));
        if std::hint::black_box(false) {
            return state;
        }
    }
}

/// Sleeps for an hour, by the host's function.
#[taps::task]
fn sleep(value: u32) -> u32 {
    taps::sleep(std::time::Duration::from_hours(1));
    value
}

/// Sleeps for some milliseconds.
#[taps::task]
fn nap(milliseconds: u64) -> u64 {
    taps::sleep(std::time::Duration::from_millis(milliseconds));
    milliseconds
}

/// Sleeps for an hour in as many attempts, then says which attempt it is.
#[taps::task]
fn stuck(attempts: u64) -> u32 {
    let attempt = taps::attempt();
    if u64::from(attempt) < attempts {
        taps::sleep(std::time::Duration::from_hours(1));
    }
    attempt
}

/// Sleeps for an hour, by the standard library.
#[taps::task]
fn std_sleep(value: u32) -> u32 {
    std::thread::sleep(std::time::Duration::from_hours(1));
    value
}

/// Multiplies large matrices: a call of the host takes a second or so.
#[taps::task]
fn kernel(value: u32) -> taps::Result<f64> {
    let side = 2000;
    let a = Array::<f64>::from_fn(&[side, side], |index| index as f64 + f64::from(value));
    let mut c = Array::<f64>::zeros(&[side, side]);
    for _ in 0..1000 {
        taps::kernels::gemm(1.0, a.view(), a.view(), 0.5, c.view_mut())?;
    }
    Ok(c.as_slice()[0])
}

/// Exits the process.
#[taps::task]
fn exit(value: u32) -> u32 {
    std::process::exit(value.cast_signed() + 1)
}

/// Fails at the first attempt.
#[taps::task]
fn flaky(value: u32) -> taps::Result<u32> {
    if taps::attempt() == 0 {
        return Err(taps::Error::app("FlakyError", "the first attempt fails"));
    }
    Ok(value)
}

/// Writes far more to the standard streams than is kept.
#[taps::task]
#[expect(clippy::print_stdout, reason = "what the host does with it is tested")]
fn chatter(value: u32) -> u32 {
    for line in 0..100_000 {
        println!("line {line} of task {value}");
    }
    eprintln!("and one for standard error");
    value
}

/// Says what the sandbox shows.
#[taps::task]
fn look(_value: u32) -> String {
    let environment = std::env::vars().collect::<Vec<_>>();
    let arguments = std::env::args().count();
    let files = std::fs::read_dir("/").map_or(0, Iterator::count);
    let host_file = std::fs::read("/etc/passwd").is_ok();
    let year = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / (365 * 86_400));
    let network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1);
    format!(
        "env={environment:?} args={arguments} files={files} passwd={host_file} years={year} network={network} random={random}"
    )
}

/// Panics in every fourth task, and says in the others how many ran in the same sandbox before.
#[taps::task]
fn mixed(value: u32) -> u32 {
    static BEFORE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    assert!(value % 4 != 3, "task {value} was told to panic");
    BEFORE.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Reads a file, a directory or a link, or says why it cannot.
#[taps::task]
fn read_path(path: &[u8]) -> String {
    let path = &*String::from_utf8_lossy(path);
    let listed = || {
        let mut names: Vec<_> = std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort_unstable();
        Ok::<_, std::io::Error>(format!("holds: {}", names.join(" ")))
    };
    let read = std::fs::read_to_string(path).map(|text| format!("reads: {text}"));
    match read.or_else(|_| listed()) {
        Ok(text) => text,
        Err(error) => format!("refused: {error}"),
    }
}

/// Writes, renames, links and removes below a directory; says what was possible.
#[taps::task]
fn write_path(path: &[u8]) -> String {
    let path = &*String::from_utf8_lossy(path);
    let file = format!("{path}/made-by-the-guest");
    let moved = format!("{path}/moved-by-the-guest");
    let folder = format!("{path}/folder-of-the-guest");
    let tries = [
        ("write", std::fs::write(&file, "written").is_ok()),
        ("rename", std::fs::rename(&file, &moved).is_ok()),
        ("folder", std::fs::create_dir(&folder).is_ok()),
        (
            "remove",
            std::fs::remove_file(format!("{path}/victim")).is_ok(),
        ),
        (
            "truncate",
            std::fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(format!("{path}/kept"))
                .is_ok(),
        ),
    ];
    let done: Vec<_> = tries
        .iter()
        .filter_map(|(name, done)| done.then_some(*name))
        .collect();
    format!("possible: {}.", done.join(" "))
}

/// Makes a payload of that many bytes.
#[taps::task]
fn produce(bytes: u64) -> Array<u8> {
    Array::from_fn(&[bytes as usize], |index| index as u8)
}

/// Adds up a payload.
#[taps::task]
fn add_up(data: &Array<u8>) -> u64 {
    data.as_slice().iter().map(|byte| u64::from(*byte)).sum()
}

/// Overwrites its input where it lies, as far as the sandbox allows, and adds it up.
#[taps::task]
fn scribble(data: &Array<u8>) -> u64 {
    let sum = data.as_slice().iter().map(|byte| u64::from(*byte)).sum();
    overwrite(data.as_slice());
    sum
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a hostile guest writes where it should not")]
fn overwrite(data: &[u8]) {
    let start = data.as_ptr().cast_mut();
    for index in 0..data.len() {
        // SAFETY: not sound in Rust, and that is the point: the window is the guest's own copy-on-write
        // memory, and the host must not care what the guest does to it.
        unsafe { start.add(index).write_volatile(0xff) };
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn overwrite(_: &[u8]) {}

#[taps::app(name = "probe")]
fn run(config: Probe, engine: &Engine) -> taps::Result<Report> {
    match config.action {
        Action::DriverPanic => panic!("the driver was told to panic"),
        Action::DriverSpin => {
            let _ = spin(0);
        }
        Action::BadCheck => {
            return Ok(Report::new().check("two", 2, taps::Bound::AtMost(1.0)));
        }
        Action::Scribble => return scribbles(&config, engine),
        Action::Upstream => return upstream(engine),
        Action::Greedy => {
            let options = taps::TaskOptions::new().cores(100_000);
            engine.submit_with(ok::call(1), &options)?;
        }
        Action::Cancel => return cancels(&config, engine),
        Action::Churn => return driving::churn(&config, engine),
        Action::Waits => return driving::waits(engine),
        Action::Naps => return Ok(driving::naps()),
        Action::Drops => return driving::drops(&config, engine),
        Action::Behind => return driving::behind(&config, engine),
        Action::Ponder => return driving::ponder(&config, engine),
        Action::Ways => return driving::ways(&config, engine),
        Action::Special => return driving::special(engine),
        Action::Hoard => return Ok(driving::hoard(&config)),
        Action::Stuck => {
            let result = engine.submit(stuck::call(config.bytes))?.result();
            return Ok(Report::new().value("task 0", said(result)));
        }
        _ => {}
    }
    let mut outcomes = Vec::new();
    for value in 0..config.count {
        outcomes.push(outcome(engine, config.action, value)?);
    }
    let mut report = Report::new();
    for (value, result) in outcomes.into_iter().enumerate() {
        report = report.value(&format!("task {value}"), result.wait());
    }
    Ok(report)
}

/// A submitted task of any result type.
enum Submitted {
    Number(taps::Future<u32>),
    Large(taps::Future<u64>),
    Real(taps::Future<f64>),
    Text(taps::Future<String>),
}

impl Submitted {
    fn wait(self) -> String {
        match self {
            Self::Number(future) => said(future.result()),
            Self::Large(future) => said(future.result()),
            Self::Real(future) => said(future.result()),
            Self::Text(future) => said(future.result()),
        }
    }
}

fn said<T: std::fmt::Display>(result: taps::Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

fn outcome(engine: &Engine, action: Action, value: u32) -> taps::Result<Submitted> {
    Ok(match action {
        Action::Error => Submitted::Number(engine.submit(error::call(value))?),
        Action::Panic => Submitted::Number(engine.submit(panic::call(value))?),
        Action::Memory => Submitted::Number(engine.submit(memory::call(value))?),
        Action::Recurse => Submitted::Large(engine.submit(recurse::call(value))?),
        Action::Spin => Submitted::Number(engine.submit(spin::call(value))?),
        Action::Sleep => Submitted::Number(engine.submit(sleep::call(value))?),
        Action::StdSleep => Submitted::Number(engine.submit(std_sleep::call(value))?),
        Action::Kernel => Submitted::Real(engine.submit(kernel::call(value))?),
        Action::Exit => Submitted::Number(engine.submit(exit::call(value))?),
        Action::Flaky => Submitted::Number(engine.submit(flaky::call(value))?),
        Action::Chatter => Submitted::Number(engine.submit(chatter::call(value))?),
        Action::Look => Submitted::Text(engine.submit(look::call(value))?),
        Action::Mixed => Submitted::Number(engine.submit(mixed::call(value))?),
        _ => Submitted::Number(engine.submit(ok::call(value))?),
    })
}

/// One payload, overwritten by some readers, must look the same to all.
fn scribbles(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    let data = engine.submit(produce::call(config.bytes))?;
    let expected = engine.submit(add_up::call(&data))?.result()?;
    let mut report = Report::new();
    for round in 0..config.count {
        let scribbled = engine.submit(scribble::call(&data))?.result()?;
        let after = engine.submit(add_up::call(&data))?.result()?;
        report = report
            .check(
                &format!("scribbled {round}"),
                scribbled,
                taps::Bound::Equals(expected.into()),
            )
            .check(
                &format!("after {round}"),
                after,
                taps::Bound::Equals(expected.into()),
            );
    }
    Ok(report)
}

fn upstream(engine: &Engine) -> taps::Result<Report> {
    let parent = engine.submit(error::call(7))?;
    let child = engine.submit(ok::call(&parent))?;
    let grandchild = engine.submit(ok::call(&child))?;
    Ok(Report::new().value("grandchild", said(grandchild.result())))
}

fn cancels(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    let mut cancelled = 0;
    let futures = (0..config.count)
        .map(|value| engine.submit(sleep::call(value)))
        .collect::<taps::Result<Vec<_>>>()?;
    for future in &futures {
        future.cancel();
    }
    for future in &futures {
        let _ = future.result();
        cancelled += u64::from(future.status() == Status::Failed);
    }
    Ok(Report::new().check(
        "cancelled",
        cancelled,
        taps::Bound::Equals(config.count.into()),
    ))
}
