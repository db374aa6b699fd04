//! What the holder of a call does while the program runs: reads its output, and watches the clock.

use crate::{
    ProgramError,
    message::{Reply, hear},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::Shutdown,
};
use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// How often the holder looks whether the call is still wanted.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes read at a time.
const PIECE_BYTES: usize = 16 << 10;

/// A standard stream of a program, as it comes.
pub(crate) struct Stream {
    name: &'static str,
    /// None when it has ended.
    pipe: Option<OwnedFd>,
    pub(crate) bytes: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(name: &'static str, pipe: OwnedFd) -> Result<Self, ProgramError> {
        rustix::io::ioctl_fionbio(&pipe, true)
            .map_err(|error| ProgramError::io("prepare a pipe", &error.into()))?;
        Ok(Self {
            name,
            pipe: Some(pipe),
            bytes: Vec::new(),
        })
    }

    /// Reads what is there, up to the limit; false when there was more.
    fn read(&mut self, limit: u64) -> bool {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut piece = [0; PIECE_BYTES];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut piece) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = limit.saturating_sub(self.bytes.len()).min(count);
                    self.bytes.extend_from_slice(&piece[..room]);
                    if room < count {
                        return false;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Its bytes so far are what there is.
                Err(_) => self.pipe = None,
            }
        }
        true
    }
}

/// When a call is ended early.
pub(crate) struct Ending<'a> {
    pub(crate) given_up: &'a dyn Fn() -> bool,
    /// The call's own limit, and when it is reached.
    pub(crate) limit: Option<(Duration, Instant)>,
    pub(crate) output_bytes: u64,
}

/// What came of a call: the launcher's reply, and why the program was killed if it was.
pub(crate) type Watched = Result<(Reply, Option<ProgramError>), ProgramError>;

/// Follows a program until the launcher says that it and all that it started have ended.
pub(crate) fn watch(call: &OwnedFd, streams: &mut [Stream; 2], ending: &Ending<'_>) -> Watched {
    let mut killed = None;
    loop {
        let (replied, readable) = look(call, streams)?;
        for (stream, readable) in streams.iter_mut().zip(readable) {
            if readable && !stream.read(ending.output_bytes) && killed.is_none() {
                killed = Some(too_much(stream, ending.output_bytes));
                kill(call)?;
            }
        }
        if replied {
            let reply = hear(call).map_err(|_| launcher_is_gone())?;
            // All writers are dead: what is in the pipes is the rest.
            for stream in streams {
                if !stream.read(ending.output_bytes) && killed.is_none() {
                    killed = Some(too_much(stream, ending.output_bytes));
                }
            }
            return Ok((reply, killed));
        }
        if killed.is_none() {
            killed = ended_early(ending);
            if killed.is_some() {
                kill(call)?;
            }
        }
    }
}

fn too_much(stream: &Stream, limit: u64) -> ProgramError {
    ProgramError::Limit(format!(
        "it wrote more than programs.output_limit = {limit} bytes to its {}",
        stream.name
    ))
}

fn ended_early(ending: &Ending<'_>) -> Option<ProgramError> {
    if (ending.given_up)() {
        return Some(ProgramError::GivenUp);
    }
    let (limit, until) = ending.limit?;
    (Instant::now() >= until)
        .then(|| ProgramError::Limit(format!("it ran longer than its time limit of {limit:?}")))
}

/// Waits a little for news: whether the launcher replied, and which streams can be read.
fn look(call: &OwnedFd, streams: &[Stream; 2]) -> Result<(bool, [bool; 2]), ProgramError> {
    let mut watched = vec![PollFd::new(call, PollFlags::IN)];
    for stream in streams {
        watched.extend(
            stream
                .pipe
                .as_ref()
                .map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
    }
    let timeout = Timespec::try_from(LOOK).unwrap_or_default();
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(ProgramError::io("wait for a program", &error.into())),
    }
    let mut ready = watched.iter().map(|one| !one.revents().is_empty());
    let replied = ready.next().unwrap_or(false);
    let readable = [&streams[0], &streams[1]]
        .map(|stream| stream.pipe.is_some() && ready.next().unwrap_or(false));
    Ok((replied, readable))
}

/// Tells the launcher to kill the program and what it started.
fn kill(call: &OwnedFd) -> Result<(), ProgramError> {
    match rustix::net::shutdown(call, Shutdown::Write) {
        // It has replied meanwhile, or is gone: either shows with the next look.
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(ProgramError::io("end a program", &error.into())),
    }
}

fn launcher_is_gone() -> ProgramError {
    ProgramError::Failed("the launcher of programs has died".to_owned())
}
