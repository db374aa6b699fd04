//! The first life of a run, or one after it was killed.

use super::{Failure, prepare, records};
use crate::exit::ExitCode;
use parking_lot::Mutex;
use std::{
    fs,
    time::{Duration, Instant},
};
use taps_config::{Resolved, RunSignal};
use taps_coordinator::{History, RunLog};
use taps_records::{EventLog, Level, Logger, RunDir};

/// Which life of a run it is.
pub(crate) enum Life {
    /// Nothing was before.
    First,
    /// It goes on after it was killed or interrupted.
    Resumed(Box<Earlier>),
}

/// What an earlier life left.
pub(crate) struct Earlier {
    /// Where.
    pub(crate) dir: RunDir,
    /// What happened.
    pub(crate) history: Mutex<Option<History>>,
    /// Where more is written, once.
    pub(crate) log: Mutex<Option<EventLog>>,
}

impl Life {
    /// Zero of the run's clock.
    pub(super) fn start(&self) -> Instant {
        let now = Instant::now();
        let Self::Resumed(earlier) = self else {
            return now;
        };
        let history = earlier.history.lock();
        let lived = history.as_ref().map_or(0, |history| history.last_ns);
        now.checked_sub(Duration::from_nanos(lived)).unwrap_or(now)
    }

    /// The run directory: a new one, or that of the earlier life.
    pub(super) fn directory(&self, resolved: &Resolved) -> Result<RunDir, Failure> {
        match self {
            Self::First => prepare::run_directory(resolved),
            Self::Resumed(earlier) => Ok(earlier.dir.clone()),
        }
    }

    /// What the earlier life was, once.
    pub(super) fn history(&self) -> Option<History> {
        match self {
            Self::First => None,
            Self::Resumed(earlier) => earlier.history.lock().take(),
        }
    }

    /// Removes what was made for a run that could not begin.
    pub(super) fn undo(&self, dir: &RunDir) -> std::io::Result<()> {
        match self {
            Self::First => fs::remove_dir_all(dir.path()),
            Self::Resumed(_) => Ok(()),
        }
    }

    /// Whether it is the first.
    pub(super) fn is_first(&self) -> bool {
        matches!(self, Self::First)
    }

    /// Lets lines go to the run's log file, too.
    pub(super) fn attach(
        &self,
        logger: &Logger,
        dir: &RunDir,
        level: Level,
    ) -> Result<(), Failure> {
        let Some(path) = dir.log_path() else {
            return Ok(());
        };
        let attached = match self {
            Self::First => logger.attach_file(path, level),
            Self::Resumed(_) => logger.append_to_file(path, level),
        };
        attached.map_err(|error| records(format!("write {}: {error}", path.display())))
    }

    /// The event log: a new one, or, once, that of the earlier life.
    pub(super) fn event_log(&self, dir: &RunDir) -> Result<EventLog, Failure> {
        match self {
            Self::First => dir.create_event_log().map_err(records),
            Self::Resumed(earlier) => {
                let log = earlier.log.lock().take();
                log.ok_or_else(|| records("the log is open already"))
            }
        }
    }

    /// A run that is to be struck is struck in its first life.
    pub(super) fn striking(&self, resolved: &Resolved, log: RunLog) -> RunLog {
        let faults = &resolved.general.faults;
        match faults.signal_at_event {
            Some(event) if self.is_first() => log.striking_at(
                event,
                match faults.signal {
                    RunSignal::Kill => rustix::process::Signal::KILL,
                    RunSignal::Stop => rustix::process::Signal::STOP,
                },
            ),
            _ => log,
        }
    }
}

/// The app is not the one that the run began with.
pub(crate) fn other_app(resolved: &Resolved) -> Failure {
    let error = format!("the app {} has changed since the run began", resolved.app);
    Failure::new(ExitCode::Bundle, error)
        .hint("a run is resumed with the components that it began with; start a new one")
}
