//! A log read while it is written.

use super::{
    TasksSummary,
    record::{Record, Records},
    state::State,
};
use crate::{LogError, LogEvent, LogReader, Reading};
use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

/// Reads the log of a run that goes on, from its beginning, as far as it is each time.
///
/// The writer knows nothing of it: events are read from the page cache, where they are when they have happened.
/// Memory is bounded by the tasks open at one time and by 8 bytes for each submission, by which those are found
/// again whose tasks run again.
#[derive(Debug)]
pub struct Follower {
    log: PathBuf,
    reader: LogReader<BufReader<File>>,
    state: State,
    /// Where in the log each task was submitted, by its number.
    submissions: Vec<u64>,
}

impl Follower {
    /// Opens a log that is there.
    pub fn open(log: &Path) -> Result<Self, LogError> {
        Ok(Self {
            log: log.to_owned(),
            reader: LogReader::follow(log)?,
            state: State::default(),
            submissions: Vec::new(),
        })
    }

    /// Reads what has come since, and at most so many events. Gives how many there were: fewer when the end was
    /// reached.
    pub fn read(&mut self, most: u64, reading: &mut impl Reading) -> Result<u64, LogError> {
        let mut read = 0;
        self.reader.look_again()?;
        while read < most {
            let offset = self.reader.offset();
            let Some(event) = self.reader.next_event()? else {
                break;
            };
            read += 1;
            if let LogEvent::Submitted { task, .. } = &event
                && task.0 == self.submissions.len() as u64
            {
                self.submissions.push(offset);
            }
            if let LogEvent::AttemptStarted { id, .. } = &event
                && self.state.needs_submission_of(&event)
                && let Some(&offset) = self.submissions.get(id.task.0 as usize)
                && let Some(submission) = self.event_at(offset)?
            {
                self.state.remember(submission);
            }
            reading.event(&event);
            self.state.apply(event, &mut Records(reading));
        }
        Ok(read)
    }

    /// The event whose frame begins there.
    fn event_at(&self, offset: u64) -> Result<Option<LogEvent>, LogError> {
        let mut reader = LogReader::open(&self.log)?;
        reader.go_to(offset)?;
        reader.next_event()
    }

    /// Bytes of the log that were read, in whole events.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// Whether the log told of the end of the run.
    pub fn run_finished(&self) -> bool {
        self.state.run_finished
    }

    /// Tasks of which an attempt is out, and those that wait for one.
    pub fn out_and_waiting(&self) -> (u64, u64) {
        self.state.out_and_waiting()
    }

    /// Tells of each task that is open now, in order of submission.
    pub fn each_open(&self, reading: &mut impl Reading) {
        self.state.each_open(&mut |line| reading.open(Record(line)));
    }

    /// Gives what is left when the log has ended: tasks whose attempt was out and never reported.
    pub fn finish(&mut self, reading: &mut impl Reading) -> TasksSummary {
        let (unfinished, before) = (self.state.unfinished(), self.state.tasks);
        let state = &mut self.state;
        state.finish(&mut Records(reading));
        TasksSummary {
            lines: state.lines,
            tasks: state.tasks,
            unfinished: unfinished - (state.tasks - before),
            unmatched: state.unmatched,
            run_finished: state.run_finished,
            truncated_at: self.reader.truncated_at(),
        }
    }
}
