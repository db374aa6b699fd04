//! The end of processes of this node, as a fault wants it: of this worker, of its manager, or of both with
//! all that the manager started. Nothing outside of the node is ever signalled.

use crate::error::ProcessError;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};
use taps_engine::FaultAction;
use taps_sandbox::Killer;

/// How long a worker waits for its end, which comes by the signal for the death of its parent or with its
/// group.
const DEATH: Duration = Duration::from_secs(10);

/// The manager of this worker's node.
struct Manager {
    pid: Pid,
    /// Stands for this process alone, also when its number serves another.
    pidfd: OwnedFd,
}

/// What ends processes for faults. `manager` is the number that this worker was told at its start.
pub(super) fn killer(manager: u32) -> Result<Killer, ProcessError> {
    let manager = Manager::find(manager)
        .map_err(std::io::Error::from)
        .map_err(ProcessError::system("watch the manager"))?;
    let Some(manager) = manager else {
        // It died since this process looked for it: so will this one.
        return Err(ProcessError::Alone);
    };
    Ok(Arc::new(move |action| {
        let killed = match action {
            FaultAction::WorkerKilled => {
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)
                    .map_err(|error| error.to_string())
            }
            FaultAction::ManagerKilled => manager.kill(),
            FaultAction::NodeKilled => manager.kill_node(),
            other => Err(format!("`{other}` ends no process")),
        };
        if let Err(why) = killed {
            return why;
        }
        std::thread::sleep(DEATH);
        "the signal was sent, and this process lives on".to_owned()
    }))
}

impl Manager {
    /// Finds the parent of this process, if it is the manager still.
    fn find(told: u32) -> Result<Option<Self>, Errno> {
        let told = i32::try_from(told).ok().and_then(Pid::from_raw);
        let Some(pid) = told.filter(|pid| !pid.is_init() && is_parent(*pid)) else {
            return Ok(None);
        };
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // It was alive before and is now: what was opened between is no other process.
        Ok(is_parent(pid).then_some(Self { pid, pidfd }))
    }

    fn kill(&self) -> Result<(), String> {
        self.is_ours()?;
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL)
            .map_err(|error| format!("kill the manager: {error}"))
    }

    /// Ends every process of the node at once: the manager leads the group of its workers.
    fn kill_node(&self) -> Result<(), String> {
        self.is_ours()?;
        let group = rustix::process::getpgrp();
        if group != self.pid {
            return Err(format!(
                "this worker is in the process group {group}, which is not that of its manager {}",
                self.pid
            ));
        }
        // The group of this process, whatever its number serves.
        rustix::process::kill_current_process_group(Signal::KILL)
            .map_err(|error| format!("kill the node: {error}"))
    }

    fn is_ours(&self) -> Result<(), String> {
        if is_parent(self.pid) {
            Ok(())
        } else {
            Err("this worker has lost its manager".to_owned())
        }
    }
}

fn is_parent(pid: Pid) -> bool {
    rustix::process::getppid() == Some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_parent_that_was_told_is_a_manager() {
        let parent = rustix::process::getppid().expect("a test has a parent");
        let number = parent.as_raw_nonzero().get().cast_unsigned();
        // Where the tests run below process 1, it must be refused, too.
        let expected = !parent.is_init();
        assert_eq!(Manager::find(number).expect("allowed").is_some(), expected);
        for stranger in [0, 1, std::process::id(), u32::MAX] {
            assert!(Manager::find(stranger).expect("not asked").is_none());
        }
    }

    #[test]
    fn a_group_that_the_manager_does_not_lead_is_spared() {
        let parent = rustix::process::getppid().expect("a test has a parent");
        let number = parent.as_raw_nonzero().get().cast_unsigned();
        if let Some(manager) = Manager::find(number).expect("allowed")
            && rustix::process::getpgrp() != parent
        {
            let refused = manager.kill_node().expect_err("not its manager's");
            assert!(refused.contains("process group"), "{refused}");
        }
    }
}
