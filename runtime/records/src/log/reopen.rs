//! Going on with the log of a run that was killed.

use super::{EventLog, LogError, LogReader, lock};
use crate::LogEvent;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// A log that is written again.
#[derive(Debug)]
pub struct Reopened {
    /// The log, open for appending after its last whole event.
    pub log: EventLog,
    /// How many events it has.
    pub events: u64,
    /// What was cut off its end, when there was anything but the zeros of a killed writer.
    pub dropped: Option<Dropped>,
}

/// What was cut off a log because it is torn or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Where it began, in bytes from the start of the file.
    pub at: u64,
    /// How much it was, in bytes, without the zeros at its end.
    pub bytes: u64,
}

impl EventLog {
    /// Goes on with a log whose writer is gone: hands each of its events to `each`, in order, cuts what follows
    /// the last whole one, and is ready to append there.
    ///
    /// Fails with [`LogError::InUse`] while another process, or another value of this type, has the log open;
    /// and with [`LogError::NotALog`], [`LogError::Version`] or [`LogError::NoStart`] for a file that cannot
    /// be gone on with. That file is untouched.
    pub fn reopen(path: &Path, mut each: impl FnMut(LogEvent)) -> Result<Reopened, LogError> {
        let failed = |operation| {
            move |source| LogError::Io {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed("open"))?;
        lock::claim(&file, path)?;
        // Through a handle of its own: the lock belongs to `file`, and has no interest in who reads.
        let mut reader = LogReader::open(path)?;
        let mut events = 0;
        while let Some(event) = reader.next_event()? {
            if events == 0 && !matches!(event, LogEvent::RunStarted(_)) {
                break;
            }
            events += 1;
            each(event);
        }
        if events == 0 {
            return Err(LogError::NoStart {
                path: path.to_owned(),
            });
        }
        let end = reader.offset();
        let dropped = match reader.truncated_at() {
            Some(at) => Some(rest(&mut file, at).map_err(failed("read"))?),
            None => None,
        };
        Ok(Reopened {
            log: Self::resume(file, path, end)?,
            events,
            dropped,
        })
    }

    /// Whether a process has the log open for appending: whether its run goes on. Reading needs no leave,
    /// and a log can be read meanwhile.
    pub fn is_in_use(path: &Path) -> Result<bool, LogError> {
        lock::is_held(path)
    }
}

/// What is in the file from `at` on.
fn rest(file: &mut File, at: u64) -> io::Result<Dropped> {
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; 64 << 10];
    let (mut read, mut bytes) = (0, 0);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(Dropped { at, bytes }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if let Some(last) = buffer[..count].iter().rposition(|byte| *byte != 0) {
            bytes = read + last as u64 + 1;
        }
        read += count as u64;
    }
}
