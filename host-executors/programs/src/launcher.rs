//! The launcher: a process of one thread that starts programs, confined, and sees to their end.

use crate::{
    Confinement, LauncherError,
    confine::Confiner,
    message::{CALL_DESCRIPTORS, Ended, REPLY_BYTES, Reply, Request, hear, pair},
    system::{Waited, Whom, crash, spawn_confined, wait},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, Shutdown, recvmsg},
    process::{Pid, PidfdFlags, Signal},
};
use std::{
    fs::File,
    io::{self, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// How long a launcher may take to end when nobody needs it any more.
const LEAVE: Duration = Duration::from_secs(10);

/// The launcher, as seen by the process that started it. Dropping it ends it, and with it all programs
/// that still run.
#[derive(Debug)]
pub struct Launcher {
    service: OwnedFd,
    child: Child,
    confinement: Confinement,
}

impl Launcher {
    /// Starts the launcher: `command` is to become a process that calls [`serve_launcher`].
    pub fn start(mut command: Command) -> Result<Self, LauncherError> {
        let (service, end) = pair().map_err(LauncherError::system("make a socket"))?;
        // A group of its own: Ctrl-C is for the coordinator.
        let child = command
            .stdin(Stdio::from(end))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(LauncherError::system("start it"))?;
        // Its end is in this process no longer.
        drop(command);
        let mut launcher = Self {
            service,
            child,
            confinement: Confinement::default(),
        };
        // Its first and only word on this socket.
        let heard = hear(&launcher.service);
        launcher.confinement = heard.map_err(LauncherError::system("hear from it"))?;
        Ok(launcher)
    }

    /// How far programs are confined here.
    pub fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// The socket to it.
    pub fn service(&self) -> BorrowedFd<'_> {
        self.service.as_fd()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // Whoever else has the socket: nobody calls any more.
        let _ = rustix::net::shutdown(self.service(), Shutdown::Both);
        let pid = Pid::from_child(&self.child);
        let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|pidfd| {
            let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
            let patience = Timespec::try_from(LEAVE).unwrap_or_default();
            matches!(poll(&mut watched, Some(&patience)), Ok(1..))
        });
        if !ended {
            // Its programs end with it.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A program that runs.
struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    call: OwnedFd,
    /// The holder of the call does not want it any more.
    killed: bool,
}

/// Runs the launcher, whose socket is standard input; returns when nobody holds the other end and
/// every program is dead.
pub fn serve_launcher() -> Result<(), LauncherError> {
    let service = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|_| LauncherError::NoChannel)?;
    rustix::net::sockopt::socket_type(&service).map_err(|_| LauncherError::NoChannel)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(LauncherError::system("become the reaper of programs"))?;
    let confiner = Confiner::new().map_err(LauncherError::system("prepare to confine programs"))?;
    let confiner = Arc::new(confiner);
    say(service.as_fd(), &confiner.confinement());
    let mut running = Vec::new();
    let served = serve(&service, &confiner, &mut running);
    for program in &running {
        program.kill();
    }
    for program in &running {
        program.bury();
    }
    served
}

fn serve(
    service: &OwnedFd,
    confiner: &Arc<Confiner>,
    running: &mut Vec<Running>,
) -> Result<(), LauncherError> {
    loop {
        let (called, news) = look(service, running)?;
        // From the back, so that the positions hold.
        for (position, ended) in news.into_iter().rev() {
            if ended {
                let program = running.swap_remove(position);
                let ended = program.bury();
                say(program.call.as_fd(), &Reply::Ended(ended));
            } else {
                running[position].killed = true;
                running[position].kill();
            }
        }
        if !called {
            continue;
        }
        match take_call(service)? {
            None => return Ok(()),
            Some(descriptors) => running.extend(start(descriptors, confiner)),
        }
    }
}

/// Waits for a call, for the end of a program or of the wish for it. Says whether there is a call, and
/// of which programs there is news: whether they have ended, or shall.
fn look(
    service: &OwnedFd,
    running: &[Running],
) -> Result<(bool, Vec<(usize, bool)>), LauncherError> {
    let mut watched = vec![PollFd::new(service, PollFlags::IN)];
    for program in running {
        // A call given up stays readable: it is not looked at again.
        let call = if program.killed {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        watched.push(PollFd::new(&program.pidfd, PollFlags::IN));
        watched.push(PollFd::new(
            if program.killed {
                &program.pidfd
            } else {
                &program.call
            },
            call,
        ));
    }
    rustix::io::retry_on_intr(|| poll(&mut watched, None))
        .map_err(LauncherError::system("wait for calls"))?;
    let ready = |index: usize| !watched[index].revents().is_empty();
    let news = (0..running.len()).filter_map(|position| {
        let ended = ready(1 + 2 * position);
        let unwanted = !running[position].killed && ready(2 + 2 * position);
        (ended || unwanted).then_some((position, ended))
    });
    Ok((ready(0), news.collect()))
}

type Descriptors = [OwnedFd; CALL_DESCRIPTORS];

/// The next call; none when nobody can call any more.
fn take_call(service: &OwnedFd) -> Result<Option<Descriptors>, LauncherError> {
    loop {
        let mut byte = [0; 16];
        let mut pieces = [IoSliceMut::new(&mut byte)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CALL_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                service,
                &mut pieces,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(LauncherError::system("receive a call"))?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        // What is no call is dropped, and with it the hope of whoever sent it.
        if let Ok(descriptors) = descriptors.try_into() {
            return Ok(Some(descriptors));
        }
    }
}

/// Starts a program; none when it could not be, which its caller is told.
fn start(descriptors: Descriptors, confiner: &Arc<Confiner>) -> Option<Running> {
    let [call, body, stdin, stdout, stderr] = descriptors;
    match try_start(body, [stdin, stdout, stderr], confiner) {
        Ok((pid, pidfd)) => Some(Running {
            pid,
            pidfd,
            call,
            killed: false,
        }),
        Err(reason) => {
            say(call.as_fd(), &Reply::Failed(reason));
            None
        }
    }
}

fn try_start(
    body: OwnedFd,
    streams: [OwnedFd; 3],
    confiner: &Arc<Confiner>,
) -> Result<(Pid, OwnedFd), String> {
    let mut bytes = Vec::new();
    File::from(body)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("failed to read the request: {error}"))?;
    let request: Request = postcard::from_bytes(&bytes)
        .map_err(|error| format!("failed to read the request: {error}"))?;
    if request.require_sandbox && !confiner.confinement().is_full() {
        return Err(format!(
            "programs.require_sandbox = true, and this kernel offers: {}",
            confiner.confinement()
        ));
    }
    let mut prepared = confiner.prepare(&request.directory, &request.reads, request.limits)?;
    let [stdin, stdout, stderr] = streams;
    let mut command = Command::new(&request.path);
    command
        .arg0(&request.name)
        .args(&request.arguments)
        .env_clear()
        .envs(request.environment)
        .current_dir(&request.directory)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    let confiner = Arc::clone(confiner);
    let confine = move || {
        confiner.apply(&mut prepared)?;
        // A signal sent to it once it runs may find a handler, and Rust's lets the program go on.
        if request.crash { Err(crash()) } else { Ok(()) }
    };
    let child = spawn_confined(&mut command, confine)
        .map_err(|error| format!("failed to start {}: {error}", request.path.display()))?;
    let pid = Pid::from_child(&child);
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok((pid, pidfd)),
        Err(error) => {
            // Nobody could watch it.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            wait(Whom::Process(pid));
            Err(format!("failed to watch it: {error}"))
        }
    }
}

impl Running {
    /// Ends it and all of its group. The number of the group stays its own until it was waited for.
    fn kill(&self) {
        // There may be nobody left but the program itself, as what it leaves to be waited for.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
    }

    /// Ends what it left behind, and tells how it ended.
    fn bury(&self) -> Ended {
        self.kill();
        let Waited {
            exit,
            signal,
            mut cpu_user_ns,
            mut cpu_system_ns,
            mut peak_memory_bytes,
        } = wait(Whom::Process(self.pid)).unwrap_or_default();
        let mut left_behind = 0;
        // Children of this process since their parents are gone: it is their reaper.
        while let Some(left) = wait(Whom::Group(self.pid)) {
            let was_running = left.signal == Some(Signal::KILL.as_raw());
            left_behind += u32::from(was_running && !self.killed);
            cpu_user_ns += left.cpu_user_ns;
            cpu_system_ns += left.cpu_system_ns;
            peak_memory_bytes = peak_memory_bytes.max(left.peak_memory_bytes);
        }
        Ended {
            exit,
            signal,
            cpu_user_ns,
            cpu_system_ns,
            peak_memory_bytes,
            left_behind,
        }
    }
}

/// Says something to whoever listens; who is gone does not.
fn say(to: BorrowedFd<'_>, message: &impl serde::Serialize) {
    if let Ok(bytes) = postcard::to_stdvec(message) {
        debug_assert!(bytes.len() <= REPLY_BYTES, "as much as is heard");
        let _ = rustix::net::send(to, &bytes, SendFlags::NOSIGNAL);
    }
}
