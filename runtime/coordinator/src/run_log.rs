//! The event log of a run, shared by all who have something to say.

use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
}

impl RunLog {
    /// Events go to the log; what guests say also goes to the logger.
    pub fn new(log: EventLog, logger: Arc<Logger>, start: Instant) -> Self {
        Self {
            log: Mutex::new(Some(log)),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            logger,
            start,
        }
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
