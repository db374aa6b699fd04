//! A worker on an engine's node: `taps-wasm worker`, one for each task that the engine runs at a time.
//!
//! ```text
//!   engine's worker process (Python)                     this process
//!     shim ── frames over a socket pair ──► main thread: sandboxes
//!          ◄── reports, outputs ───────────
//! ```
//!
//! It serves one run, or one app whose tasks are called by name, and ends with the socket. What is to end early
//! is said in a message, or by a file with the attempt's name in a directory that it watches.

mod calls;
mod exec;
mod messages;
mod runner;
mod running;
mod sharing;
mod vine;

use crate::{
    frame::{self, FrameError},
    message::{FromWorker, HeldBuffer, LentBuffer, PROTOCOL, Ran, Reference, ToWorker},
    package::Package,
};
use bytes::Bytes;
pub use exec::{ExecError, exec};
use messages::{Message, Messages};
pub(crate) use runner::reference;
use runner::{Out, Runner, Values};
use running::Running;
use rustc_hash::FxHashMap;
use sharing::{Carrying, Sharing};
use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use taps_bundle::Bundle;
use taps_engine::Attempt;
pub use vine::{LibraryArguments, serve_library};

/// What a worker is told by the program that it is part of.
pub struct WorkerOptions {
    /// Version of this program.
    pub version: &'static str,
    /// Directory of the compiled-code cache.
    pub cache: Option<PathBuf>,
    /// Directory where packages are kept that a node cannot see otherwise.
    pub packages: Option<PathBuf>,
    /// The app of that name, or at that path; else why there is none.
    pub find_app: fn(&str) -> Result<Bundle, String>,
}

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was not started by a shim.
    #[error(
        "standard input is not a socket: `taps-wasm worker` is started by the shim on an engine's node, \
         or by the Python package"
    )]
    NoChannel(#[source] io::Error),
    /// The channel failed.
    #[error("the channel to the shim")]
    Channel(#[from] FrameError),
    /// A message came that makes no sense here.
    #[error("{0}")]
    Protocol(String),
}

/// Why a worker cannot serve: a word for programs, and a sentence for people.
pub(crate) struct Unfit {
    kind: &'static str,
    message: String,
}

impl Unfit {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Serves until the channel closes.
pub fn serve_worker(options: &WorkerOptions) -> Result<(), WorkerError> {
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(WorkerError::NoChannel)?;
    rustix::net::sockopt::socket_type(&stdin)
        .map_err(|error| WorkerError::NoChannel(error.into()))?;
    let mut socket = UnixStream::from(stdin);
    let running = Arc::<Running>::default();
    let reading = socket.try_clone().map_err(WorkerError::NoChannel)?;
    let messages = Arc::new(Messages::new(reading, Arc::clone(&running)));
    messages.watch().map_err(WorkerError::NoChannel)?;
    match (Worker {
        options,
        socket: &mut socket,
        messages: &messages,
        running,
        sharing: Sharing::default(),
    })
    .serve()
    {
        // The shim is gone, and nobody misses the answer.
        Err(WorkerError::Channel(FrameError::Io(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(())
        }
        served => served,
    }
}

/// The main thread's part.
struct Worker<'a> {
    options: &'a WorkerOptions,
    socket: &'a mut UnixStream,
    messages: &'a Messages,
    running: Arc<Running>,
    sharing: Sharing,
}

impl Worker<'_> {
    fn serve(&mut self) -> Result<(), WorkerError> {
        let Some((first, ..)) = self.next()? else {
            return Ok(());
        };
        let ToWorker::Setup {
            protocol,
            version,
            digest,
            path,
            keep,
            cancel_dir,
            app,
            shares,
        } = first
        else {
            return Err(WorkerError::Protocol(
                "it did not begin with a set-up".to_owned(),
            ));
        };
        self.sharing.gives = shares;
        if let Some(directory) = cancel_dir {
            self.running.wishes_in(directory);
        }
        let made = check_version(self.options.version, protocol, &version)
            .map_err(Ok)
            .and_then(|()| match (app, digest) {
                (Some(app), _) => calls::runner(&app, self.options).map_err(Ok),
                (None, Some(digest)) => self.runner_of(&digest, path.as_deref()),
                (None, None) => Err(Ok(Unfit::new(
                    "protocol",
                    "the set-up names neither an app nor a package",
                ))),
            });
        let mut runner = match made {
            Ok(runner) => runner,
            Err(Err(error)) => return Err(error),
            Err(Ok(Unfit { kind, message })) => {
                return Ok(self.send(&FromWorker::Failed { kind, message }, &[])?);
            }
        };
        let described = runner.bundle().app();
        let ready = FromWorker::Ready {
            name: runner.name(),
            version: self.options.version,
            app: Some(&described.name),
            tasks: Some(&described.tasks),
            shares: true,
        };
        frame::write(self.socket, &ready, &[])?;
        runner.prewarm();
        while let Some((message, buffers, files)) = self.next()? {
            match message {
                ToWorker::Run {
                    n,
                    refs,
                    lent,
                    held,
                    free,
                } => {
                    self.sharing.begin(&free);
                    let batch = Batch {
                        count: n,
                        refs,
                        buffers,
                        lent,
                        held,
                        files,
                        keep,
                    };
                    self.run(&mut runner, batch)?;
                }
                ToWorker::Call(call) => {
                    calls::call(&mut runner, &call, buffers, &self.running, self.socket)?;
                }
                other => {
                    return Err(WorkerError::Protocol(format!("{other:?} came too late")));
                }
            }
            runner.prewarm();
        }
        Ok(())
    }

    fn next(&self) -> Result<Option<Message>, WorkerError> {
        Ok(self.messages.next()?)
    }

    fn send(&mut self, message: &FromWorker<'_>, buffers: &[&[u8]]) -> Result<(), FrameError> {
        frame::write(self.socket, message, buffers)
    }

    /// What runs the attempts of the package with that digest: of the file, the cache, or sent over.
    fn runner_of(
        &mut self,
        digest: &str,
        path: Option<&Path>,
    ) -> Result<Runner, Result<Unfit, WorkerError>> {
        let (setup, bundle) = match find_package(digest, path, self.options) {
            Some(found) => found,
            None => self.ask_for(digest)?,
        };
        Runner::new(setup, bundle, self.options.cache.as_deref())
            .map_err(|error| Ok(Unfit::new("bundle", taps_engine::chain(error.as_ref()))))
    }

    fn ask_for(
        &mut self,
        digest: &str,
    ) -> Result<(taps_sandbox::RunSetup, Bundle), Result<Unfit, WorkerError>> {
        self.send(&FromWorker::NeedPackage { digest }, &[])
            .map_err(|error| Err(error.into()))?;
        let buffers = match self.next().map_err(Err)? {
            Some((ToWorker::Package, buffers, _)) => buffers,
            Some(_) => {
                let found = "something else came than the package".to_owned();
                return Err(Err(WorkerError::Protocol(found)));
            }
            // The run has ended meanwhile.
            None => {
                let gone = FrameError::Io(io::ErrorKind::BrokenPipe.into());
                return Err(Err(WorkerError::Channel(gone)));
            }
        };
        let bytes = buffers.into_iter().next().unwrap_or_default();
        let opened = Package::open(&bytes, digest)
            .map_err(|error| Ok(Unfit::new("bundle", taps_engine::chain(&error))))?;
        if let Some(directory) = &self.options.packages {
            // Without it the next worker of this node asks, too.
            let _ = keep_package(directory, digest, &bytes);
        }
        Ok(opened)
    }

    /// Runs attempts one after the other, and tells of all of them at once.
    fn run(&mut self, runner: &mut Runner, batch: Batch) -> Result<(), WorkerError> {
        let answer = run_frame(runner, batch, &mut self.sharing, &self.running)
            .map_err(WorkerError::Protocol)?;
        let (done, buffers, files) = answer.into_message();
        let slices: Vec<&[u8]> = buffers.iter().map(AsRef::as_ref).collect();
        let socket = &mut *self.socket;
        Ok(frame::write(
            &mut Carrying { socket, files },
            &done,
            &slices,
        )?)
    }
}

/// Both programs have to be of one version: what they say to each other is not fixed between two.
fn check_version(own: &str, protocol: u32, version: &str) -> Result<(), Unfit> {
    if protocol == PROTOCOL && version == own {
        return Ok(());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let message = format!(
        "{} is taps-wasm {own} (protocol {PROTOCOL}), and the run is of taps-wasm {version} (protocol {protocol}); \
         install that version on the node, and name it by `executor.worker_binary` or TAPS_WASM_BIN",
        program.display()
    );
    Err(Unfit::new("version", message))
}

/// The package, if this node can see it.
fn find_package(
    digest: &str,
    path: Option<&Path>,
    options: &WorkerOptions,
) -> Option<(taps_sandbox::RunSetup, Bundle)> {
    let kept = options
        .packages
        .as_ref()
        .map(|packages| packages.join(digest));
    let places = path.into_iter().map(Path::to_owned).chain(kept);
    let mut found = places.filter_map(|place| fs::read(place).ok());
    // A file that was changed is not the one.
    found.find_map(|bytes| Package::open(&bytes, digest).ok())
}

/// Keeps a package for other workers of this node: whole, or not at all.
fn keep_package(directory: &Path, digest: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(directory.join(digest))?;
    Ok(())
}

/// What a `run` asks for.
struct Batch {
    /// Attempts; they are the first buffers.
    count: usize,
    refs: Vec<Reference>,
    buffers: Vec<Vec<u8>>,
    lent: Vec<LentBuffer>,
    held: Vec<HeldBuffer>,
    /// One for each that is lent.
    files: Vec<OwnedFd>,
    /// Whether outputs go to the engine.
    keep: bool,
}

/// What came of a `run`.
struct Answer {
    results: Vec<Ran>,
    outs: Vec<Out>,
    /// Who reads what was lent.
    readers: Arc<AtomicUsize>,
}

impl Answer {
    /// The message, its buffers and its descriptors.
    fn into_message(self) -> (FromWorker<'static>, Vec<Bytes>, Vec<OwnedFd>) {
        let (mut given, mut files) = (Vec::new(), Vec::new());
        let mut buffers = Vec::with_capacity(self.outs.len());
        for out in self.outs {
            match out {
                Out::Bytes(bytes) => buffers.push(bytes),
                Out::Given(out) => {
                    given.push(out.describe(buffers.len()));
                    buffers.push(Bytes::new());
                    files.push(out.file);
                }
            }
        }
        let done = FromWorker::Done {
            results: self.results,
            given,
            holds: self.readers.load(Ordering::Relaxed) > 0,
        };
        (done, buffers, files)
    }
}

/// Runs the attempts of a `run`; gives what to answer.
fn run_frame(
    runner: &mut Runner,
    batch: Batch,
    sharing: &mut Sharing,
    running: &Running,
) -> Result<Answer, String> {
    let keep = batch.keep;
    let (attempts, values) = unpack(runner, batch, sharing)?;
    let readers = values.readers();
    let mut results = Vec::with_capacity(attempts.len());
    let mut outs = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        let attempt: Attempt =
            postcard::from_bytes(&attempt).map_err(|error| format!("an attempt: {error}"))?;
        let name = crate::message::AttemptName(attempt.id).to_string();
        let token = running.begin(&name);
        let done = runner.run(attempt, &values, keep.then_some(&mut *sharing), &token);
        running.end(&name);
        results.push(done.ran);
        outs.push(Out::Bytes(done.report.into()));
        outs.extend(done.outs);
    }
    Ok(Answer {
        results,
        outs,
        readers,
    })
}

/// The attempts of a batch, and what their references stand for.
fn unpack(
    runner: &Runner,
    batch: Batch,
    sharing: &Sharing,
) -> Result<(Vec<Vec<u8>>, Values), String> {
    let Batch {
        count,
        refs,
        buffers,
        lent,
        held,
        files,
        ..
    } = batch;
    if buffers.len() != count + refs.len() {
        let (buffers, refs) = (buffers.len(), refs.len());
        return Err(format!(
            "a run of {count} attempts with {refs} references came with {buffers} buffers"
        ));
    }
    if lent.len() != files.len() || lent.iter().any(|lent| lent.reference >= refs.len()) {
        let (lent, files) = (lent.len(), files.len());
        return Err(format!(
            "a run that lends {lent} buffers came with {files} descriptors"
        ));
    }
    let mut buffers = buffers.into_iter();
    let attempts: Vec<Vec<u8>> = buffers.by_ref().take(count).collect();
    let mut lent: FxHashMap<usize, _> = lent
        .into_iter()
        .zip(files)
        .map(|(lent, file)| (lent.reference, (lent, file)))
        .collect();
    let held: FxHashMap<usize, u64> = held
        .into_iter()
        .map(|held| (held.reference, held.segment))
        .collect();
    let mut values = Values::new(runner.context());
    for (position, (reference, bytes)) in refs.into_iter().zip(buffers).enumerate() {
        if let Some(segment) = held.get(&position) {
            let missing = || format!("segment {segment} is not held any more");
            values.hold(reference, sharing.find(*segment).ok_or_else(missing)?);
            continue;
        }
        let added = match lent.remove(&position) {
            Some((lent, file)) => values.lend(reference, lent, file),
            None => values.add(reference, bytes),
        };
        // What could not be placed is missing then, and its task says so.
        if let Err(failure) = added {
            eprintln!("taps-wasm worker: {failure}");
        }
    }
    Ok((attempts, values))
}
