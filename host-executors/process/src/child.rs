//! Processes of the pool: how they are started, watched and told to die with their parent.

use crate::{error::ProcessError, message::Ended};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::PipeFlags,
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus},
};
use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    time::Instant,
};

/// What a process of the pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts managers, and is the reaper of everything below it.
    Launcher,
    /// Stands for a node: starts workers, which die with it.
    Manager,
    /// Runs attempts.
    Worker,
}

impl Role {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Manager => "manager",
            Self::Worker => "worker",
        }
    }

    /// Launcher and managers lead process groups; a worker is in that of its manager, so that one signal reaches a
    /// whole node. None is in the group of the terminal: Ctrl-C is for the coordinator.
    fn leads_group(self) -> bool {
        self != Self::Worker
    }
}

/// A process that was started, and not waited for.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Starts this program again in another role, with a channel to it. Its standard output is for [`Lifeline`] alone:
    /// whoever starts others hands it on.
    pub(crate) fn start(role: Role, channel: OwnedFd, output: Stdio) -> io::Result<Self> {
        // The file that runs now, even if another has taken its place meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(format!("taps-wasm-{}", role.name()))
            .args(["internal", role.name()])
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(channel))
            .stdout(output);
        if role.leads_group() {
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(error) => {
                // Nobody could watch it.
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Ends the process at once.
    pub(crate) fn kill(&self) {
        // It may have ended already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends every process of its group at once. Its number stays its own until `wait`.
    pub(crate) fn kill_group(&self) {
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
    }

    /// Whether it ends before that time; waits no longer than it takes to know.
    pub(crate) fn ends_before(&self, deadline: Instant) -> bool {
        polled(&self.pidfd, PollFlags::IN, deadline)
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> Ended {
        let waited = rustix::io::retry_on_intr(|| {
            rustix::process::waitpid(Some(self.pid), WaitOptions::empty())
        });
        match waited {
            Ok(Some((_, status))) => ended(status),
            // Somebody else has waited for it; nobody does.
            _ => Ended::Exit(-1),
        }
    }

    /// Waits for the rest of its group, which are children of this process since their parent is
    /// gone: this process is their reaper.
    pub(crate) fn wait_group(&self) {
        while rustix::io::retry_on_intr(|| {
            rustix::process::waitpgid(self.pid, WaitOptions::empty())
        })
        .is_ok()
        {}
    }
}

/// Tells when every process of the pool is gone, even those whose number nobody was told: a manager whose launcher was
/// killed while it began. All of them hold the reading end of a pipe as their standard output, which cannot be written.
#[derive(Debug)]
pub(crate) struct Lifeline(OwnedFd);

impl Lifeline {
    /// With what the first process is given.
    pub(crate) fn new() -> io::Result<(Self, Stdio)> {
        let (reading, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self(writing), Stdio::from(reading)))
    }

    /// Waits until nobody holds the other end, or that time.
    pub(crate) fn wait_until(&self, deadline: Instant) {
        // Without readers a pipe is in error, which is reported unasked.
        polled(&self.0, PollFlags::empty(), deadline);
    }
}

/// Whether something is there before that time; waits no longer than it takes to know.
fn polled(descriptor: &OwnedFd, flags: PollFlags, deadline: Instant) -> bool {
    let mut watched = [PollFd::new(descriptor, flags)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut watched, Some(&timeout)) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}

/// Waits for a message or the end of a child; says whether there is one, and which have ended, by position.
pub(crate) fn watch<'a>(
    channel: &OwnedFd,
    children: impl Iterator<Item = &'a Child>,
) -> Result<(bool, Vec<usize>), ProcessError> {
    let mut watched = vec![PollFd::new(channel, PollFlags::IN)];
    watched.extend(children.map(|child| PollFd::new(&child.pidfd, PollFlags::IN)));
    rustix::io::retry_on_intr(|| poll(&mut watched, None))
        .map_err(io::Error::from)
        .map_err(ProcessError::system("wait for messages"))?;
    let mut ready = watched.iter().map(|watched| !watched.revents().is_empty());
    let heard = ready.next().unwrap_or(false);
    let ended = ready.enumerate().filter(|(_, ready)| *ready);
    Ok((heard, ended.map(|(position, _)| position).collect()))
}

fn ended(status: WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exit(code),
        (_, Some(signal)) => Ended::Signal(signal),
        _ => Ended::Exit(-1),
    }
}

/// The first steps of a process of the pool: to die with its parent, and to find the channel to it.
pub(crate) fn begin(parent: u32) -> Result<OwnedFd, ProcessError> {
    // Follows the thread that started this process: the launcher and managers have one only, and the coordinator
    // starts the launcher from its main thread.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io::Error::from)
        .map_err(ProcessError::system(
            "ask for a signal when the parent dies",
        ))?;
    let channel = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ProcessError::NoChannel)?;
    rustix::net::sockopt::socket_type(&channel)
        .map_err(io::Error::from)
        .map_err(ProcessError::NoChannel)?;
    let found = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if found != Some(parent) {
        // It died before it could take this process along.
        return Err(ProcessError::Alone);
    }
    Ok(channel)
}

/// Becomes the parent of what its descendants leave behind.
pub(crate) fn become_reaper() -> Result<(), ProcessError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)
        .map_err(ProcessError::system("become the reaper of the pool"))
}
