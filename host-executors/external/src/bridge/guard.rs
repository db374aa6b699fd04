//! The guard: the one process between a run and its bridge. It has a single thread, is the reaper of everything
//! below it, and leaves nothing behind, whoever dies first: engines start processes that outlive their client.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions},
};
use std::{
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a bridge that lost its run may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How long a tracker of Python's multiprocessing may take.
const TRACKERS_GRACE: Duration = Duration::from_millis(500);

/// How long the guard goes on killing what is below it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the guard is told on its command line, after its role.
#[derive(Debug)]
pub(super) struct GuardArguments {
    /// Interpreter of the bridge.
    pub(super) python: PathBuf,
    /// Directory of the run's own files, removed in the end. `bridge/main.py` is the bridge.
    pub(super) scratch: PathBuf,
    /// A directory to remove when the run cannot.
    pub(super) also: Option<PathBuf>,
}

impl GuardArguments {
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let mut args = vec![self.python.clone().into(), self.scratch.clone().into()];
        args.extend(self.also.clone().map(OsString::from));
        args
    }

    fn parse(args: &[OsString]) -> io::Result<Self> {
        let mut args = args.iter().map(PathBuf::from);
        match (args.next(), args.next(), args.next()) {
            (Some(python), Some(scratch), also) => Ok(Self {
                python,
                scratch,
                also,
            }),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the guard of a bridge takes an interpreter and a directory",
            )),
        }
    }
}

/// Runs the guard. Its standard input is a socket that closes with the run; its standard output is the bridge's
/// channel, which it passes on. Returns when everything below it has ended.
pub fn serve_guard(args: &[OsString]) -> io::Result<()> {
    let arguments = GuardArguments::parse(args)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
    let orphaned = watch(&arguments, &lifeline);
    kill_descendants();
    remove(&arguments.scratch);
    // A run that lives removes itself what is in there.
    if let (Ok(true), Some(directory)) = (&orphaned, &arguments.also) {
        remove(directory);
    }
    orphaned.map(drop)
}

/// Starts the bridge, and waits until it has ended; ends it when the run is gone, and says so.
fn watch(arguments: &GuardArguments, lifeline: &OwnedFd) -> io::Result<bool> {
    let channel = io::stdout().as_fd().try_clone_to_owned()?;
    let child = Command::new(&arguments.python)
        .arg(arguments.scratch.join("bridge").join("main.py"))
        .stdin(Stdio::from(channel))
        // What it prints is for the log.
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .process_group(0)
        .spawn()
        .map_err(|error| {
            let python = arguments.python.display();
            io::Error::new(error.kind(), format!("cannot start {python}: {error}"))
        })?;
    // This process has that end of the channel, too: the run sees it close when both have ended.
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut watched = [
        PollFd::new(&pidfd, PollFlags::IN),
        PollFd::new(lifeline, PollFlags::IN),
    ];
    wait(&mut watched, None)?;
    let orphaned = watched[0].revents().is_empty();
    if orphaned {
        // The bridge has seen it, too. What it does not end in time is killed.
        let _ = rustix::process::kill_process_group(pid, Signal::TERM);
        wait(&mut watched[..1], Some(GRACE))?;
    }
    Ok(orphaned)
}

fn wait(watched: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match rustix::io::retry_on_intr(|| poll(watched, limit.as_ref())) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Kills all processes below this one: what loses its parent becomes a child of this one, and is seen the next time.
/// Trackers of Python's multiprocessing get a moment to remove what the others shared.
fn kill_descendants() {
    let start = Instant::now();
    let deadline = start + PATIENCE;
    loop {
        for child in children() {
            if start.elapsed() > TRACKERS_GRACE || !is_tracker(child) {
                let _ = rustix::process::kill_process(child, Signal::KILL);
            }
        }
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // Some are about to die.
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            // None is left, or one that cannot die now.
            Ok(None) | Err(_) => return,
        }
    }
}

/// Whether it is the process that removes named semaphores and memory when their users have ended, and ends then.
fn is_tracker(process: Pid) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("multiprocessing.resource_tracker")
}

fn children() -> Vec<Pid> {
    let list = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let numbers = list.split_whitespace().filter_map(|word| word.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// Removes a directory of the run; processes that were just killed may still have written there.
fn remove(directory: &Path) {
    for _ in 0..5 {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
}
