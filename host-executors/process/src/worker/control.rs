//! The control thread of a worker: answers while the task thread runs a guest, and ends the process when nothing else
//! stops the guest.

use super::{
    gate::{Gate, Running},
    outgoing::Outgoing,
};
use crate::{
    channel::{Inbox, Patience, Received, send_now},
    error::ChannelError,
    message::{Control, ControlReply},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};
use taps_engine::{AttemptReport, Failure, OutcomeKind, Timeline, WorkerId};
use taps_sandbox::{Interrupt, RunContext};

/// How often the thread looks at what has no descriptor: time limits, reports held back.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// How long a guest that is interrupted by its own checks may take to notice; host calls notice between pieces of work.
const GRACE: Duration = Duration::from_secs(5);

/// How long a guest without checks may take: enough for a host call to notice.
const FREE_GRACE: Duration = Duration::from_millis(20);

/// Exit code of a worker that ended itself to stop a guest.
pub(crate) const STOPPED_A_GUEST: i32 = 75;

/// What the thread needs.
pub(super) struct Options {
    pub(super) socket: OwnedFd,
    pub(super) interrupt: Interrupt,
    pub(super) worker: WorkerId,
    pub(super) context: Arc<RunContext>,
}

struct Thread {
    options: Options,
    inbox: Inbox,
    gate: Arc<Gate>,
    outgoing: Arc<Outgoing>,
    grace: Duration,
}

/// Starts the thread; it lives as long as the process.
pub(super) fn start(
    options: Options,
    gate: Arc<Gate>,
    outgoing: Arc<Outgoing>,
) -> std::io::Result<()> {
    let grace = match options.interrupt {
        Interrupt::Epoch => GRACE,
        Interrupt::Free => FREE_GRACE,
    };
    let mut thread = Thread {
        options,
        inbox: Inbox::default(),
        gate,
        outgoing,
        grace,
    };
    let run = move || {
        // Without the coordinator there is nothing left to do.
        let code = match thread.serve() {
            Ok(code) => code,
            Err(ChannelError::Closed(_)) => 1,
            Err(error) => {
                eprintln!("taps-wasm worker: {}", taps_engine::chain(&error));
                1
            }
        };
        std::process::exit(code);
    };
    std::thread::Builder::new()
        .name("control".into())
        .spawn(run)
        .map(drop)
}

impl Thread {
    /// Serves the channel; gives the exit code of the process.
    fn serve(&mut self) -> Result<i32, ChannelError> {
        loop {
            let mut watched = [PollFd::new(&self.options.socket, PollFlags::IN)];
            match poll(&mut watched, Some(&LOOK_EVERY)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(ChannelError::Closed(error)),
            }
            if self.inbox.receive(&self.options.socket, Patience::Look)? == Received::Closed {
                return Ok(1);
            }
            while let Some(message) = self.inbox.next()? {
                if self.obey(message)? {
                    self.outgoing.flush()?;
                    return Ok(0);
                }
            }
            if let Some((running, why)) = self.gate.abandon(self.grace) {
                let report = self.stopped(&running, why);
                self.outgoing
                    .report(report, &self.options.context.store, Duration::ZERO)?;
                return Ok(STOPPED_A_GUEST);
            }
            self.outgoing.flush_late()?;
        }
    }

    /// Does as asked; true when the process shall end.
    fn obey(&self, message: Control) -> Result<bool, ChannelError> {
        match message {
            Control::Cancel(attempts) => {
                for (number, id) in attempts {
                    self.gate.cancel(number, id);
                }
            }
            Control::Recall(attempts) => {
                let returned: Vec<_> = attempts
                    .into_iter()
                    .filter(|(number, _)| self.gate.withdraw(*number))
                    .map(|(_, id)| id)
                    .collect();
                if !returned.is_empty() {
                    send_now(
                        &self.options.socket,
                        &ControlReply::Returned(returned),
                        Vec::new(),
                    )?;
                }
            }
            Control::Ping(number) => {
                send_now(
                    &self.options.socket,
                    &ControlReply::Pong(number),
                    Vec::new(),
                )?;
            }
            Control::Stop => return Ok(true),
        }
        Ok(false)
    }

    /// The report of an attempt whose guest only the end of the process can stop.
    fn stopped(&self, running: &Running, why: OutcomeKind) -> AttemptReport {
        let message = match why {
            OutcomeKind::Timeout => "the time limit was reached",
            _ => "the attempt was cancelled",
        };
        let now = self.options.context.now_ns();
        let began = now.saturating_sub(running.since.elapsed().as_nanos() as u64);
        let failure = Failure::new(why, message);
        AttemptReport {
            timeline: Timeline {
                received: began,
                task_start: began,
                task_end: now,
                finished: now,
                ..Timeline::default()
            },
            notes: vec!["the worker process was ended to stop the guest".to_owned()],
            ..AttemptReport::bare(running.id, self.options.worker, Err(failure))
        }
    }
}
