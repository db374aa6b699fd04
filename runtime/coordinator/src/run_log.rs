//! The event log of a run, shared by all who have something to say.

use parking_lot::Mutex;
use rustix::process::Signal;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};
use taps_records::{
    EventLog, GuestLevel, Level, LogError, LogEvent, LogSync, Logger, Source, Stream,
};
use taps_sandbox::{GuestSink, LogLevel, Speaker};

/// Appends events, and remembers the first failure: a run that cannot be recorded must end.
pub struct RunLog {
    log: Mutex<Option<EventLog>>,
    failed: AtomicBool,
    failure: Mutex<Option<LogError>>,
    logger: Arc<Logger>,
    start: Instant,
    /// Events still to come until the run strikes itself.
    strike: Option<(AtomicU64, Signal)>,
    /// Lines of the driver that the log has from the run's earlier life.
    known_lines: AtomicU64,
}

impl RunLog {
    /// Events go to the log; what guests say also goes to the logger.
    pub fn new(log: EventLog, logger: Arc<Logger>, start: Instant) -> Self {
        Self {
            log: Mutex::new(Some(log)),
            ..Self::discarding(logger, start)
        }
    }

    /// Keeps no event: to measure what the log costs. No run of the program is without one.
    pub fn discarding(logger: Arc<Logger>, start: Instant) -> Self {
        Self {
            log: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            logger,
            start,
            strike: None,
            known_lines: AtomicU64::new(0),
        }
    }

    /// Sends this process a signal right after the event of that number, from 1: to see what a run leaves
    /// that is killed at any moment.
    #[must_use]
    pub fn striking_at(mut self, event: u64, signal: Signal) -> Self {
        self.strike = Some((AtomicU64::new(event), signal));
        self
    }

    /// The driver's first lines, so many, are those that it said before the run was resumed.
    pub(crate) fn know_lines(&self, lines: u64) {
        self.known_lines.store(lines, Ordering::Relaxed);
    }

    /// Whether the driver said this before the run was resumed.
    fn is_known(&self, speaker: Speaker) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        speaker == Speaker::Driver
            && self
                .known_lines
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
    }

    /// A warning of the run itself, for people.
    pub(crate) fn warn(&self, logger: &str, message: &str) {
        self.say(Level::WARNING, logger, message);
    }

    /// A line of the run itself, or of what it uses, for people.
    pub fn say(&self, level: Level, logger: &str, message: &str) {
        self.logger.log(level, logger, message);
    }

    /// Appends an event. After a failure nothing more is appended.
    pub fn append(&self, event: &LogEvent) {
        let mut log = self.log.lock();
        let Some(open) = log.as_mut() else { return };
        if let Err(error) = open.append(event) {
            *log = None;
            *self.failure.lock() = Some(error);
            self.failed.store(true, Ordering::Release);
        }
        if let Some((left, signal)) = &self.strike
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            // Without effect only where the process may not signal itself.
            let _ = rustix::process::kill_process(rustix::process::getpid(), *signal);
        }
    }

    /// Whether an event could not be recorded.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Closes the log. Fails with the first failure of the run, if there was one.
    pub fn close(&self) -> Result<(), LogError> {
        if let Some(error) = self.failure.lock().take() {
            return Err(error);
        }
        match self.log.lock().take() {
            Some(log) => log.close(),
            None => Ok(()),
        }
    }

    /// Brings what was appended to the disk, from another thread.
    pub fn sync_handle(&self) -> Option<LogSync> {
        self.log.lock().as_ref().map(EventLog::sync_handle)
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// The sink of a run's sandboxes.
pub(crate) struct LogSink(pub(crate) Arc<RunLog>);

fn source(speaker: Speaker) -> Source {
    match speaker {
        Speaker::Driver => Source::Driver,
        Speaker::Attempt(id) => Source::Attempt(id),
    }
}

/// Name of the logger in `log.txt`.
fn logger_name(speaker: Speaker) -> String {
    match speaker {
        Speaker::Driver => "app".to_owned(),
        Speaker::Attempt(id) => format!("task {id}"),
    }
}

impl GuestSink for LogSink {
    fn log(&self, speaker: Speaker, level: LogLevel, message: &str) {
        if self.0.is_known(speaker) {
            return;
        }
        let (recorded, shown) = match level {
            LogLevel::Trace => (GuestLevel::Trace, Level::TRACE),
            LogLevel::Debug => (GuestLevel::Debug, Level::DEBUG),
            LogLevel::Info => (GuestLevel::Info, Level::APP),
            LogLevel::Warn => (GuestLevel::Warn, Level::WARNING),
            LogLevel::Error => (GuestLevel::Error, Level::ERROR),
        };
        self.0.append(&LogEvent::GuestLog {
            source: source(speaker),
            level: recorded,
            message: message.to_owned(),
            time_ns: self.0.now_ns(),
        });
        self.0.logger.log(shown, &logger_name(speaker), message);
    }

    fn output(
        &self,
        speaker: Speaker,
        stream: taps_sandbox::Stream,
        text: &str,
        dropped_bytes: u64,
    ) {
        if self.0.is_known(speaker) {
            return;
        }
        let stream = match stream {
            taps_sandbox::Stream::Stdout => Stream::Stdout,
            taps_sandbox::Stream::Stderr => Stream::Stderr,
        };
        self.0.append(&LogEvent::GuestOutput {
            source: source(speaker),
            stream,
            text: text.to_owned(),
            truncated_bytes: dropped_bytes,
            time_ns: self.0.now_ns(),
        });
        for line in text.lines() {
            self.0.logger.log(Level::INFO, &logger_name(speaker), line);
        }
        if dropped_bytes > 0 {
            let more = format_args!("… {dropped_bytes} bytes more were written and not kept");
            self.0
                .logger
                .log(Level::WARNING, &logger_name(speaker), more);
        }
    }
}
