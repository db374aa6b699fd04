//! Running a program for a task.

use crate::{
    ProgramError, ProgramSettings,
    message::{CALL_DESCRIPTORS, Reply, Request, pair},
    scratch::{Placed, Scratch, in_memory},
    streams::{Ending, Stream, watch},
};
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};
use taps_engine::ProgramUse;
use taps_payload::{FileRef, FileStore, Isolation, Segment};

/// Bytes for a program.
#[derive(Debug)]
pub enum Content<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A file payload; linked where that is safe, else copied.
    File(&'a FileRef),
    /// A segment.
    Segment(Arc<Segment>),
}

impl Content<'_> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.fingerprint.len,
            Self::Segment(segment) => segment.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One call of a program.
#[derive(Debug)]
pub struct Call<'a> {
    /// Name of the program.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Files for it: relative path and content.
    pub inputs: Vec<(&'a str, Content<'a>)>,
    /// Relative paths of the files that become payloads.
    pub outputs: &'a [String],
    /// Environment variables besides the few that every program gets.
    pub environment: &'a [(String, String)],
    /// Standard input.
    pub stdin: Option<Content<'a>>,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// Whether it crashes before its first instruction: the fault `program-crash`.
    pub crash: bool,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Exit code; none when a signal ended it.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Output files that exist, in the order asked; the caller owns them.
    pub outputs: Vec<Option<FileRef>>,
}

/// Runs programs for the tasks of one process.
#[derive(Debug)]
pub struct Programs {
    settings: ProgramSettings,
    /// To the launcher; shared by all threads and processes of the run.
    service: OwnedFd,
    files: FileStore,
}

impl Programs {
    /// Programs of a run, started by the launcher behind `service`, whose outputs go to `files`.
    pub fn new(settings: ProgramSettings, service: OwnedFd, files: FileStore) -> Self {
        Self {
            settings,
            service,
            files,
        }
    }

    /// What the run allows.
    pub fn settings(&self) -> &ProgramSettings {
        &self.settings
    }

    /// The socket to the launcher, for another process of the run.
    pub fn service(&self) -> BorrowedFd<'_> {
        self.service.as_fd()
    }

    /// Where outputs are.
    pub fn files(&self) -> &FileStore {
        &self.files
    }

    /// Runs a program to its end. `given_up` is asked every few milliseconds; when it says so, the
    /// program is killed with all that it started. What was used is added to `uses`, also when the
    /// call fails.
    pub fn run(
        &self,
        call: &Call<'_>,
        given_up: &dyn Fn() -> bool,
        uses: &mut Vec<ProgramUse>,
    ) -> Result<Completion, ProgramError> {
        let begun = Instant::now();
        let (path, reads) = self.find(call.program)?;
        let scratch = Scratch::new(&self.settings.scratch)?;
        let placed = self.place(call, &scratch)?;
        let request = Request {
            path: path.to_owned(),
            name: call.program.to_owned(),
            arguments: call.arguments.to_vec(),
            environment: environment(call, &scratch),
            directory: scratch.path().to_owned(),
            reads: reads.to_vec(),
            limits: self.settings.limits,
            require_sandbox: self.settings.require_sandbox,
            crash: call.crash,
        };
        let stdin = OwnedFd::from(Scratch::stdin(call.stdin.as_ref())?);
        let (holder, mut streams) = self.start(&request, &stdin)?;
        let ending = Ending {
            given_up,
            limit: call
                .timeout
                .and_then(|limit| Some((limit, begun.checked_add(limit)?))),
            output_bytes: self.settings.limits.output_bytes,
        };
        let (reply, killed) = watch(&holder, &mut streams, &ending)?;
        let ended = match reply {
            Reply::Ended(ended) => ended,
            Reply::Failed(reason) => return Err(ProgramError::Failed(reason)),
        };
        let taken = match &killed {
            None => self.take(call, &scratch),
            Some(_) => Ok(Vec::new()),
        };
        let [stdout, stderr] = streams.map(|stream| stream.bytes);
        uses.push(ProgramUse {
            program: call.program.to_owned(),
            exit: ended.exit,
            signal: ended.signal,
            killed: killed.as_ref().map(ToString::to_string),
            wall_ns: begun.elapsed().as_nanos() as u64,
            cpu_user_ns: ended.cpu_user_ns,
            cpu_system_ns: ended.cpu_system_ns,
            peak_memory_bytes: ended.peak_memory_bytes,
            input_bytes: placed.bytes,
            inputs_linked: placed.linked,
            inputs_copied: placed.copied,
            output_bytes: taken
                .iter()
                .flatten()
                .flatten()
                .map(|file| file.fingerprint.len)
                .sum(),
            said_bytes: (stdout.len() + stderr.len()) as u64,
            left_behind: ended.left_behind,
            confinement: self.settings.confinement.to_string(),
        });
        match killed {
            Some(reason) => Err(reason),
            None => Ok(Completion {
                exit_code: ended.exit,
                signal: ended.signal,
                stdout,
                stderr,
                outputs: taken?,
            }),
        }
    }

    fn find(&self, name: &str) -> Result<(&std::path::Path, &[std::path::PathBuf]), ProgramError> {
        if let Some(found) = self.settings.found.iter().find(|found| found.name == name) {
            return Ok((&found.path, &found.reads));
        }
        let missing = self
            .settings
            .missing
            .iter()
            .find(|(missing, _)| missing == name);
        Err(match missing {
            Some((_, reason)) => ProgramError::NotFound(reason.clone()),
            None => ProgramError::NotAllowed(format!("the app does not list `{name}`")),
        })
    }

    fn place(&self, call: &Call<'_>, scratch: &Scratch) -> Result<Placed, ProgramError> {
        let isolation = if self.settings.confinement.protects_inputs() {
            Isolation::Confined
        } else {
            Isolation::Unconfined
        };
        let mut placed = Placed::default();
        for (path, content) in &call.inputs {
            scratch.put(path, content, &self.files, isolation, &mut placed)?;
        }
        for path in call.outputs {
            scratch.expect(path)?;
        }
        Ok(placed)
    }

    /// Takes the outputs that exist; all or none.
    fn take(
        &self,
        call: &Call<'_>,
        scratch: &Scratch,
    ) -> Result<Vec<Option<FileRef>>, ProgramError> {
        let mut taken = Vec::with_capacity(call.outputs.len());
        for path in call.outputs {
            match scratch.take(path, &self.files) {
                Ok(file) => taken.push(file),
                Err(error) => {
                    for file in taken.iter().flatten() {
                        // It goes with the store otherwise.
                        let _ = self.files.remove(file);
                    }
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    /// Hands a request to the launcher.
    fn start(
        &self,
        request: &Request,
        stdin: &OwnedFd,
    ) -> Result<(OwnedFd, [Stream; 2]), ProgramError> {
        let failed =
            |error: rustix::io::Errno| ProgramError::io("reach the launcher", &error.into());
        let (holder, call) = pair().map_err(failed)?;
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let body = postcard::to_stdvec(request).map_err(|error| {
            ProgramError::Failed(format!("failed to write the request: {error}"))
        })?;
        let body =
            in_memory(&body).map_err(|error| ProgramError::io("write the request", &error))?;
        let descriptors: [BorrowedFd<'_>; CALL_DESCRIPTORS] = [
            call.as_fd(),
            body.as_fd(),
            stdin.as_fd(),
            stdout_end.as_fd(),
            stderr_end.as_fd(),
        ];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CALL_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        debug_assert!(fits, "the space is for as many");
        rustix::io::retry_on_intr(|| {
            let pieces = [IoSlice::new(b"run")];
            sendmsg(&self.service, &pieces, &mut ancillary, SendFlags::NOSIGNAL)
        })
        .map_err(failed)?;
        let streams = [
            Stream::new("standard output", stdout)?,
            Stream::new("standard error", stderr)?,
        ];
        Ok((holder, streams))
    }
}

/// What every program gets, and what the call adds.
fn environment(call: &Call<'_>, scratch: &Scratch) -> Vec<(String, String)> {
    let here = scratch.path().to_string_lossy();
    let common = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", &here),
        ("TMPDIR", &here),
        ("LC_ALL", "C.UTF-8"),
    ];
    let mut environment: Vec<_> = common
        .into_iter()
        .filter(|(name, _)| call.environment.iter().all(|(set, _)| set != name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    environment.extend_from_slice(call.environment);
    environment
}
