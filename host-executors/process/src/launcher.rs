//! The launcher: the one process below the coordinator. It has a single thread and no state of the run, starts the managers
//! of nodes, and sees to it that nothing survives: neither a node its manager, nor anything the coordinator.

use crate::{
    channel::{Inbox, Patience, Received, send_now},
    child::{self, Child, Role},
    error::{ProcessError, unless_alone},
    message::{FromLauncher, ToLauncher},
};
use std::process::Stdio;

struct Node {
    number: u32,
    index: u32,
    manager: Child,
}

/// Runs the launcher; returns when the coordinator is gone and everything below is dead.
pub fn serve_launcher(parent: u32) -> Result<(), ProcessError> {
    let mut nodes = Vec::new();
    let served = serve(parent, &mut nodes);
    for node in &nodes {
        node.bury();
    }
    unless_alone(served)
}

fn serve(parent: u32, nodes: &mut Vec<Node>) -> Result<(), ProcessError> {
    let channel = &child::begin(parent)?;
    child::become_reaper()?;
    let mut inbox = Inbox::default();
    loop {
        let (heard, ended) = child::watch(channel, nodes.iter().map(|node| &node.manager))?;
        // From the back, so that the positions hold.
        for position in ended.into_iter().rev() {
            let node = nodes.remove(position);
            let ended = node.bury();
            let (node, number) = (node.index, node.number);
            let message = FromLauncher::ManagerEnded {
                node,
                number,
                ended,
            };
            send_now(channel, &message, Vec::new())?;
        }
        if !heard {
            continue;
        }
        if inbox.receive(channel, Patience::Look)? == Received::Closed {
            return Ok(());
        }
        while let Some(message) = inbox.next()? {
            match message {
                ToLauncher::StartManager { node, number } => {
                    let end = inbox.descriptor()?;
                    match Child::start(Role::Manager, end, Stdio::inherit()) {
                        Ok(manager) => nodes.push(Node {
                            number,
                            index: node,
                            manager,
                        }),
                        Err(error) => {
                            let message = FromLauncher::ManagerFailed {
                                node,
                                number,
                                reason: error.to_string(),
                            };
                            send_now(channel, &message, Vec::new())?;
                        }
                    }
                }
            }
        }
    }
}

impl Node {
    /// Ends what is left of a node, and says how its manager ended.
    fn bury(&self) -> crate::message::Ended {
        self.manager.kill_group();
        let ended = self.manager.wait();
        self.manager.wait_group();
        ended
    }
}
