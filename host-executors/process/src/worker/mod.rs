//! A worker process: runs attempts one after the other, each in a sandbox.
//!
//! ```text
//!   task thread      data channel ─► queue ─► sandbox ─► outgoing ─► data channel
//!   control thread   control channel ─► gate: cancel, recall; signs of life; what the task thread cannot do
//!                                               while a guest runs
//! ```

mod control;
mod gate;
mod killer;
mod outgoing;
mod setup;

use crate::{
    channel::{Inbox, Patience, Received},
    child,
    error::{ProcessError, unless_alone},
    lending::{Borrower, Wake},
    message::{FromWorker, Loans, ToWorker},
};
pub(crate) use control::STOPPED_A_GUEST;
use gate::Gate;
use outgoing::Outgoing;
use std::{collections::VecDeque, os::fd::OwnedFd, sync::Arc, time::Instant};
use taps_engine::{Attempt, REPORT_HOLD, report_hold};
use taps_payload::SegmentStore;
use taps_sandbox::TaskWorker;

/// How often a worker looks for its next attempt before it sleeps: some ten microseconds.
const LOOKS: u32 = 8;

/// Runs a worker; returns when the coordinator closes the channel.
pub fn serve_worker(parent: u32) -> Result<(), ProcessError> {
    unless_alone(serve(parent))
}

fn serve(parent: u32) -> Result<(), ProcessError> {
    let socket = child::begin(parent)?;
    let killer = killer::killer(parent)?;
    let mut inbox = Inbox::default();
    let first = loop {
        if let Some(message) = inbox.next()? {
            break message;
        }
        if inbox.receive(&socket, Patience::Wait)? == Received::Closed {
            return Ok(());
        }
    };
    let ToWorker::Setup(setup) = first else {
        return Err(ProcessError::Protocol(
            "it did not begin with a set-up".to_owned(),
        ));
    };
    let sending = socket
        .try_clone()
        .map_err(ProcessError::system("share the channel"))?;
    let outgoing = Arc::new(Outgoing::new(sending));
    let mut worker = match setup::Prepared::new(*setup, &mut inbox, &outgoing, killer) {
        Ok(prepared) => Worker::new(prepared, socket, inbox, outgoing)?,
        Err(error) => {
            outgoing.send(&FromWorker::Failed(taps_engine::chain(error.as_ref())))?;
            return Ok(());
        }
    };
    worker.outgoing.send(&FromWorker::Ready)?;
    worker.serve()
}

/// The task thread's part.
struct Worker {
    socket: OwnedFd,
    inbox: Inbox,
    queue: VecDeque<(u64, Attempt)>,
    gate: Arc<Gate>,
    outgoing: Arc<Outgoing>,
    store: SegmentStore,
    borrower: Borrower,
    runner: TaskWorker,
    /// Keeps the clock that interrupts guests.
    _sandbox: taps_sandbox::Sandbox,
}

impl Worker {
    fn new(
        prepared: setup::Prepared,
        socket: OwnedFd,
        inbox: Inbox,
        outgoing: Arc<Outgoing>,
    ) -> Result<Self, ProcessError> {
        let setup::Prepared {
            gate,
            store,
            runner,
            sandbox,
            control,
        } = prepared;
        // What is dropped between two attempts goes with the next report, or with the control thread's next look.
        let borrower = Borrower::new(store.clone(), Wake(Box::new(|| {})));
        outgoing.give_back_from(Arc::clone(borrower.returns()));
        control::start(control, Arc::clone(&gate), Arc::clone(&outgoing))
            .map_err(ProcessError::system("start the control thread"))?;
        Ok(Self {
            socket,
            inbox,
            queue: VecDeque::new(),
            gate,
            outgoing,
            store,
            borrower,
            runner,
            _sandbox: sandbox,
        })
    }

    fn serve(&mut self) -> Result<(), ProcessError> {
        self.runner.prewarm();
        while self.fill()? {
            while let Some((number, attempt)) = self.queue.pop_front() {
                self.run(number, &attempt)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, number: u64, attempt: &Attempt) -> Result<(), ProcessError> {
        let Some(token) = self.gate.begin(number, attempt) else {
            return Ok(());
        };
        let began = Instant::now();
        let report = self.runner.run_caught(attempt, &token);
        if !self.gate.end() {
            // The control thread has reported it, and is ending the process.
            loop {
                std::thread::park();
            }
        }
        let hold = if self.queue.is_empty() {
            // `fill` sends it, unless more is there.
            REPORT_HOLD
        } else {
            report_hold(began.elapsed(), self.gate.has_idle_workers())
        };
        self.outgoing.report(report, &self.store, hold)?;
        Ok(())
    }

    /// Fills the queue; false when the channel is closed.
    fn fill(&mut self) -> Result<bool, ProcessError> {
        let mut looks = 0;
        loop {
            while let Some(message) = self.inbox.next()? {
                self.take(message)?;
            }
            if !self.queue.is_empty() {
                return Ok(true);
            }
            let patience = if looks < LOOKS {
                Patience::Look
            } else {
                Patience::Wait
            };
            match self.inbox.receive(&self.socket, patience)? {
                Received::Bytes => {}
                Received::Closed => return Ok(false),
                Received::Nothing => {
                    if looks == 0 {
                        self.outgoing.flush()?;
                        self.runner.prewarm();
                    } else {
                        std::thread::yield_now();
                    }
                    looks += 1;
                }
            }
        }
    }

    fn take(&mut self, message: ToWorker) -> Result<(), ProcessError> {
        let ToWorker::Batch {
            loans,
            first,
            attempts,
        } = message
        else {
            return Err(ProcessError::Protocol("it sent a second set-up".to_owned()));
        };
        self.take_loans(&loans)?;
        self.queue.extend((first..).zip(attempts));
        Ok(())
    }

    fn take_loans(&mut self, loans: &Loans) -> Result<(), ProcessError> {
        if loans.is_empty() {
            return Ok(());
        }
        let descriptors = self.inbox.descriptors(loans.memories.len())?;
        self.outgoing.taken_back(&loans.given_back, &self.store);
        self.borrower.borrow(loans, descriptors);
        Ok(())
    }
}
