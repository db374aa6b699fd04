//! Starting the bridge: its files, its guard, and what it says first.

use super::{BridgeOptions, ExternalEngine, guard::GuardArguments};
use crate::{
    frame::{self, Frame},
    message::{FromBridge, PROTOCOL, Settings, ToBridge},
};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

/// A file of the Python project.
macro_rules! source {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../python/", $name)))
    };
}

/// The bridge's own program: what goes below `bridge/` in the scratch directory.
const SOURCES: &[(&str, &str)] = &[
    source!("main.py"),
    // Not the user's package: the bridge needs none of it.
    ("taps_wasm/__init__.py", ""),
    source!("taps_wasm/_children.py"),
    source!("taps_wasm/_frames.py"),
    source!("taps_wasm/_memory.py"),
    source!("taps_wasm/_program.py"),
    source!("taps_wasm/_worker.py"),
    source!("taps_wasm/_bridge/__init__.py"),
    source!("taps_wasm/_bridge/base.py"),
    source!("taps_wasm/_bridge/call.py"),
    source!("taps_wasm/_bridge/dask.py"),
    source!("taps_wasm/_bridge/demands.py"),
    source!("taps_wasm/_bridge/execute.py"),
    source!("taps_wasm/_bridge/globus_compute.py"),
    source!("taps_wasm/_bridge/hq_server.py"),
    source!("taps_wasm/_bridge/hyperqueue.py"),
    source!("taps_wasm/_bridge/packages.py"),
    source!("taps_wasm/_bridge/parsl.py"),
    source!("taps_wasm/_bridge/ray.py"),
    source!("taps_wasm/_bridge/taskvine.py"),
    source!("taps_wasm/_bridge/threads.py"),
];

/// What travels with each submission and finds, or starts, the worker.
const SHIM: &str = include_str!("../../../python/taps_wasm/_worker.py");

/// Longest path of temporary files that leaves Ray room: a socket's has 107 bytes, of which Ray takes 75, its directory
/// 4 and the run's 12.
const RAY_PATH_BYTES: usize = 16;

/// How much of the end of its log is told of a bridge that died.
const LOG_TOLD_BYTES: u64 = 2_000;

/// A bridge whose engine takes attempts.
pub(super) struct Started {
    pub(super) reader: BufReader<UnixStream>,
    pub(super) writer: UnixStream,
    pub(super) guard: Guarded,
    pub(super) version: String,
    pub(super) python: String,
    pub(super) workers: u32,
    pub(super) notes: Vec<String>,
}

/// The guard of a bridge. Dropped, it ends the bridge and all below.
pub(super) struct Guarded {
    child: Child,
    /// Closed, it tells the guard that the run is gone.
    lifeline: Option<OwnedFd>,
    log: PathBuf,
}

impl Guarded {
    /// Waits until everything has ended by itself; false when it takes too long.
    pub(super) fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }

    /// The last words of the bridge, as far as they are lines.
    pub(super) fn last_words(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TOLD_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_default()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.child.wait();
    }
}

/// A directory for the files of one run, which nobody else can enter; the guard removes it. Ray makes sockets below,
/// whose paths must be short: where that of temporary files is long, its directory is in `/tmp`.
pub(super) fn scratch(engine: ExternalEngine) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("taps-");
    let usual = std::env::temp_dir();
    if engine == ExternalEngine::Ray && usual.as_os_str().len() > RAY_PATH_BYTES {
        // Where there is none, Ray says what it thinks of the other.
        if let Ok(made) = builder.tempdir_in("/tmp") {
            return Ok(made.keep());
        }
    }
    Ok(builder.tempdir_in(usual)?.keep())
}

fn write_sources(scratch: &Path) -> io::Result<()> {
    for directory in ["bridge/taps_wasm/_bridge", "tmp"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(scratch.join(directory))?;
    }
    for (name, text) in SOURCES {
        fs::write(scratch.join("bridge").join(name), text)?;
    }
    Ok(())
}

/// Starts the bridge, and waits until its engine takes attempts. On failure: why, and what to do about it.
pub(super) fn start(
    options: &BridgeOptions,
    settings: &Settings,
    scratch: &Path,
) -> Result<Started, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    write_sources(scratch).map_err(failed("write the bridge's files"))?;
    let (channel, far_end) = UnixStream::pair().map_err(failed("make a channel"))?;
    let (lifeline, guard_end) = UnixStream::pair().map_err(failed("make a channel"))?;
    let log = File::create(&options.log).map_err(failed("make the bridge's log"))?;
    let arguments = GuardArguments {
        python: options.python.clone(),
        scratch: scratch.to_owned(),
        also: options.shared_scratch.clone(),
    };
    let child = Command::new("/proc/self/exe")
        .arg0("taps-wasm-guard")
        .args(&options.guard_role)
        .args(arguments.to_args())
        .stdin(Stdio::from(OwnedFd::from(guard_end)))
        .stdout(Stdio::from(OwnedFd::from(far_end)))
        .stderr(log)
        .env("TMPDIR", scratch.join("tmp"))
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .process_group(0)
        .spawn()
        .map_err(failed("start the guard of the bridge"))?;
    let guard = Guarded {
        child,
        lifeline: Some(lifeline.into()),
        log: options.log.clone(),
    };
    let mut writer = channel.try_clone().map_err(failed("share the channel"))?;
    let hello = ToBridge::Hello {
        protocol: PROTOCOL,
        version: settings.version,
        engine: options.engine.name(),
        config: &options.config,
        scratch: scratch.to_owned(),
        keep: settings.keep,
        settings: settings.clone(),
    };
    // One that cannot even read it says why in its log.
    let _ = frame::write(&mut writer, &hello, &[SHIM.as_bytes()]);
    await_ready(options, channel, writer, guard)
}

/// Waits for the first words of the bridge.
fn await_ready(
    options: &BridgeOptions,
    channel: UnixStream,
    writer: UnixStream,
    guard: Guarded,
) -> Result<Started, String> {
    let limit = options.start_timeout;
    let (sender, first) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(1 << 16, channel);
        loop {
            let message = match Frame::read(&mut reader) {
                Ok(Some(frame)) => frame
                    .message::<FromBridge>()
                    .map_err(|error| taps_engine::chain(&error)),
                Ok(None) => Err(String::new()),
                Err(error) => Err(taps_engine::chain(&error)),
            };
            // It may say things before it is ready; they are in its log, too.
            if !matches!(
                message,
                Ok(FromBridge::Log { .. } | FromBridge::Workers { .. })
            ) {
                // Nobody waits any more.
                let _ = sender.send((message, reader));
                return;
            }
        }
    });
    let python = options.python.display();
    match first.recv_timeout(limit) {
        Ok((
            Ok(FromBridge::Ready {
                version,
                python,
                workers,
                notes,
            }),
            reader,
        )) => Ok(Started {
            reader,
            writer,
            guard,
            version,
            python,
            workers,
            notes,
        }),
        Ok((Ok(FromBridge::Fatal { kind, message, fix }), _)) => {
            // Who reads this is told the engine's name already.
            let named = format!("{}: ", options.engine.name());
            let message = message.strip_prefix(&named).unwrap_or(&message);
            Err(with_fix(format!("{kind}: {message}"), fix))
        }
        Ok((Ok(other), _)) => Err(format!("the bridge began with {other:?}")),
        Ok((Err(error), _)) => {
            drop(writer);
            let mut guard = guard;
            guard.ends_within(Duration::from_secs(1));
            let words = guard.last_words();
            // What it said itself tells more than how its channel ended.
            let why = if words.is_empty() { error } else { words };
            Err(format!(
                "the bridge ended before it was ready ({python}; `executor.python` names another interpreter): {why}"
            ))
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(format!(
            "the engine was not ready within {:.0} s (`executor.start_timeout`); the bridge's log says: {}",
            limit.as_secs_f64(),
            guard.last_words()
        )),
    }
}

/// What is wrong, and what to do about it.
pub(super) fn with_fix(message: String, fix: Option<String>) -> String {
    match fix.filter(|fix| !fix.is_empty()) {
        Some(fix) => format!("{message}; {fix}"),
        None => message,
    }
}
