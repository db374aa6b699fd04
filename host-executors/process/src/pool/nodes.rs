//! The launcher and the managers, as the coordinator sees them.

use crate::{
    channel::{self, Inbox, Outbox, Patience, Received, send_now},
    child::{Child, Lifeline, Role},
    error::ChannelError,
    message::{Ended, FromLauncher, FromManager, Incarnation, ToLauncher, ToManager},
};
use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};
use taps_engine::FaultAction;

/// How long everything may take to end when the pool shuts down.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Pause before a process is started again that did not live long; doubles up to the second.
const BACK_OFF: Duration = Duration::from_millis(100);
const MOST_BACK_OFF: Duration = Duration::from_secs(10);

/// The launcher, and the nodes below it.
pub(super) struct Nodes {
    launcher: Child,
    lifeline: Lifeline,
    pub(super) channel: OwnedFd,
    inbox: Inbox,
    pub(super) all: Vec<Node>,
}

/// One node.
pub(super) struct Node {
    /// Managers started so far.
    pub(super) started: u32,
    pub(super) failures: u32,
    /// A fault was to end its manager, which is no failure.
    pub(super) doomed: bool,
    pub(super) since: Instant,
    pub(super) start_at: Option<Instant>,
    pub(super) manager: Option<Manager>,
}

/// The channel to a manager.
pub(super) struct Manager {
    pub(super) channel: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
}

/// What the processes above the workers say.
pub(super) enum News {
    /// A manager ended, and its node with it.
    NodeLost { node: u32, reason: String },
    /// A worker process ended.
    WorkerEnded {
        worker: Incarnation,
        /// How, where it is known.
        ended: Option<Ended>,
        reason: String,
    },
    /// The launcher is gone.
    LauncherLost,
}

impl Nodes {
    /// Starts the launcher. To be called on the main thread: the launcher dies with the thread that started it.
    pub(super) fn new(count: u32) -> io::Result<Self> {
        let (near, far) = channel::pair()?;
        let (lifeline, output) = Lifeline::new()?;
        let launcher = Child::start(Role::Launcher, far, output)?;
        let now = Instant::now();
        let node = |_| Node {
            started: 0,
            failures: 0,
            doomed: false,
            since: now,
            start_at: Some(now),
            manager: None,
        };
        Ok(Self {
            launcher,
            lifeline,
            channel: near,
            inbox: Inbox::default(),
            all: (0..count).map(node).collect(),
        })
    }

    /// Starts the manager of a node.
    pub(super) fn start(&mut self, node: u32) -> Result<(), ChannelError> {
        let (near, far) = channel::pair().map_err(ChannelError::Closed)?;
        rustix::io::ioctl_fionbio(&near, true).map_err(ChannelError::Closed)?;
        let found = &mut self.all[node as usize];
        let number = found.started;
        send_now(
            &self.channel,
            &ToLauncher::StartManager { node, number },
            vec![far],
        )?;
        found.started += 1;
        found.since = Instant::now();
        found.start_at = None;
        found.manager = Some(Manager {
            channel: near,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
        });
        Ok(())
    }

    /// Reads what the launcher has said.
    pub(super) fn hear_launcher(&mut self, news: &mut Vec<News>) {
        loop {
            match self.inbox.receive(&self.channel, Patience::Look) {
                Ok(Received::Bytes) => {}
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    news.push(News::LauncherLost);
                    return;
                }
            }
            while let Ok(Some(message)) = self.inbox.next() {
                let (node, number, reason) = match message {
                    FromLauncher::ManagerFailed {
                        node,
                        number,
                        reason,
                    } => (node, number, format!("it could not be started: {reason}")),
                    FromLauncher::ManagerEnded {
                        node,
                        number,
                        ended,
                    } => (node, number, ended.to_string()),
                };
                let current = self.all[node as usize].started == number + 1;
                if current {
                    let reason = format!("the manager of node {node} is gone: {reason}");
                    news.push(News::NodeLost { node, reason });
                }
            }
        }
    }

    /// Reads what the manager of a node has said; false when it will not say more.
    pub(super) fn hear_manager(&mut self, node: u32, news: &mut Vec<News>) -> bool {
        let Some(manager) = &mut self.all[node as usize].manager else {
            return false;
        };
        loop {
            match manager.inbox.receive(&manager.channel, Patience::Look) {
                Ok(Received::Bytes) => {}
                Ok(Received::Nothing) => return true,
                // How it ended is told by the launcher.
                Ok(Received::Closed) | Err(_) => return false,
            }
            while let Ok(Some(message)) = manager.inbox.next() {
                match message {
                    FromManager::Failed { worker, reason } => {
                        let reason = format!("its process could not be started: {reason}");
                        news.push(News::WorkerEnded {
                            worker,
                            ended: None,
                            reason,
                        });
                    }
                    FromManager::Ended { worker, ended } => {
                        news.push(News::WorkerEnded {
                            worker,
                            ended: Some(ended),
                            reason: ended.to_string(),
                        });
                    }
                }
            }
        }
    }

    /// Closes all channels and waits until every process of the pool is dead.
    pub(super) fn end(self) {
        let Self {
            launcher,
            lifeline,
            channel,
            all,
            ..
        } = self;
        drop(all);
        drop(channel);
        let deadline = Instant::now() + SHUTDOWN;
        if !launcher.ends_before(deadline) {
            // Managers and workers die with it.
            launcher.kill();
        }
        launcher.wait();
        lifeline.wait_until(Instant::now() + SHUTDOWN);
    }
}

impl Node {
    /// Tells the manager something.
    pub(super) fn tell(
        &mut self,
        message: &ToManager,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let Some(manager) = &mut self.manager else {
            return Err(ChannelError::Closed(rustix::io::Errno::NOTCONN));
        };
        manager.outbox.push(message, descriptors)?;
        manager.outbox.flush(&manager.channel).map(drop)
    }
}

/// Whether a fault ends the manager of its worker, too.
pub(super) fn ends_node(action: FaultAction) -> bool {
    matches!(action, FaultAction::ManagerKilled | FaultAction::NodeKilled)
}

/// Pause after so many failures in a row.
pub(super) fn back_off(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACK_OFF
            .saturating_mul(1 << (more - 2).min(10))
            .min(MOST_BACK_OFF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<_> = (0..=6)
            .map(|failures| back_off(failures).as_millis())
            .collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600]);
        assert!((0..100).map(back_off).is_sorted());
        assert_eq!(back_off(u32::MAX), MOST_BACK_OFF);
    }
}
