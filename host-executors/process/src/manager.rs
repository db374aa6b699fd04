//! A manager: stands for a node of the pool. It has a single thread, starts the node's worker processes and says how they end;
//! when it dies, they die.

use crate::{
    channel::{Inbox, Patience, Received, send_now},
    child::{self, Child, Role},
    error::{ProcessError, unless_alone},
    message::{FromManager, Incarnation, ToManager},
};
use std::process::Stdio;

/// Runs a manager; returns when the coordinator closes the channel. What is left of the node is the
/// launcher's to end.
pub fn serve_manager(parent: u32) -> Result<(), ProcessError> {
    unless_alone(serve(parent))
}

fn serve(parent: u32) -> Result<(), ProcessError> {
    let channel = child::begin(parent)?;
    let mut inbox = Inbox::default();
    let mut workers: Vec<(Incarnation, Child)> = Vec::new();
    loop {
        let (heard, ended) = child::watch(&channel, workers.iter().map(|(_, child)| child))?;
        for position in ended.into_iter().rev() {
            let (worker, child) = workers.remove(position);
            let ended = child.wait();
            let message = FromManager::Ended { worker, ended };
            send_now(&channel, &message, Vec::new())?;
        }
        if !heard {
            continue;
        }
        if inbox.receive(&channel, Patience::Look)? == Received::Closed {
            return Ok(());
        }
        while let Some(message) = inbox.next()? {
            match message {
                ToManager::StartWorker(worker) => {
                    let end = inbox.descriptor()?;
                    match Child::start(Role::Worker, end, Stdio::inherit()) {
                        Ok(child) => workers.push((worker, child)),
                        Err(error) => {
                            let reason = error.to_string();
                            let message = FromManager::Failed { worker, reason };
                            send_now(&channel, &message, Vec::new())?;
                        }
                    }
                }
                ToManager::KillWorker(worker) => {
                    for (_, child) in workers.iter().filter(|(found, _)| *found == worker) {
                        child.kill();
                    }
                }
            }
        }
    }
}
