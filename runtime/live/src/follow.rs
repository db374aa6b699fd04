//! The thread that reads the log, and hands on what it reads.

use crate::{
    CATCH_UP, LOGGER, LiveError,
    metrics::Metrics,
    traces::{Exporter, SpanCounts, Spans},
    watchers::Watchers,
};
use bytes::Bytes;
use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use taps_records::{EVENTS_FILE, Follower, Level, LogEvent, Logger, Reading, Record};
use taps_report::{Model, Ongoing};
use tokio::sync::{oneshot, watch};

/// How often the log is looked at when nobody asks.
const PERIOD: Duration = Duration::from_millis(500);

/// Least time from one model to the next.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// A model takes at most one part in so many of the time of a core.
const MODEL_SHARE: u32 = 25;

/// How long numbers that are asked for wait at most until the log is read up to its end.
const FRESH: Duration = Duration::from_secs(1);

/// Events that are read at a time.
const BATCH: u64 = 4_096;

/// What others want of the thread.
#[derive(Debug)]
pub(crate) enum Want {
    /// A newer model, when it is time for one.
    Model,
    /// The numbers of now, as Prometheus reads them.
    Numbers(oneshot::Sender<String>),
    /// The run has ended.
    End,
}

/// The latest model, as the page reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// Which one it is; 0 before the first.
    pub(crate) version: u64,
    /// JSON.
    pub(crate) body: Bytes,
    /// Whether there will be no other.
    pub(crate) is_last: bool,
    /// When it was made.
    made: Option<Instant>,
}

impl Shown {
    /// The version up to which it is old news to somebody who has none: its own, unless it is of now.
    pub(crate) fn stale(&self) -> u64 {
        let is_new = self.made.is_some_and(|made| made.elapsed() < LEAST_PAUSE);
        if is_new || self.is_last {
            0
        } else {
            self.version
        }
    }
}

/// Who takes what is read.
struct Views {
    model: Option<Ongoing>,
    metrics: Metrics,
    spans: Option<Spans>,
}

impl Reading for Views {
    fn event(&mut self, event: &LogEvent) {
        if let Some(model) = &mut self.model {
            model.event(event);
        }
        if let Some(spans) = &mut self.spans {
            spans.event(event);
        }
        self.metrics.event(event);
    }

    fn record(&mut self, record: Record<'_>) {
        if let Some(model) = &mut self.model {
            model.record(record);
        }
        if let Some(spans) = &mut self.spans {
            spans.record(record);
        }
        self.metrics.record(record);
    }

    fn open(&mut self, _: Record<'_>) {}
}

/// The thread's own.
pub(crate) struct Following {
    follower: Follower,
    views: Views,
    shown: watch::Sender<Shown>,
    start: Instant,
    logger: Arc<Logger>,
    /// When the next model may be made.
    due: Instant,
    is_wanted: bool,
    /// Whether the log cannot be read any more.
    is_broken: bool,
}

impl Following {
    pub(crate) fn new(
        run_dir: &Path,
        start: Instant,
        with_model: bool,
        exporter: Option<Exporter>,
        logger: Arc<Logger>,
    ) -> Result<(Self, watch::Receiver<Shown>), LiveError> {
        let (shown, receiver) = watch::channel(Shown::default());
        let model = with_model.then(|| Ongoing::new(run_dir)).transpose()?;
        let begun_ns = start.elapsed().as_nanos() as u64;
        let following = Self {
            follower: Follower::open(&run_dir.join(EVENTS_FILE))?,
            views: Views {
                model,
                metrics: Metrics::default(),
                spans: exporter
                    .map(|exporter| Spans::new(exporter, run_dir, begun_ns))
                    .transpose()
                    .map_err(LiveError::Random)?,
            },
            shown,
            start,
            logger,
            due: Instant::now(),
            is_wanted: false,
            is_broken: false,
        };
        Ok((following, receiver))
    }

    /// Until the run ends. Gives what became of spans.
    pub(crate) fn run(mut self, wants: &Receiver<Want>, watchers: &Watchers) -> Option<SpanCounts> {
        loop {
            let is_at_end = self.read() < BATCH;
            if let Some(spans) = &mut self.views.spans {
                spans.tick();
            }
            if self.is_wanted && Instant::now() >= self.due {
                self.show(is_at_end);
            }
            let pause = match (is_at_end, self.is_wanted) {
                (false, _) => Duration::ZERO,
                (true, true) => self.due.saturating_duration_since(Instant::now()),
                (true, false) => PERIOD,
            };
            match wants.recv_timeout(pause.min(PERIOD)) {
                Ok(Want::Model) => self.is_wanted = true,
                Ok(Want::Numbers(reply)) => self.numbers(reply),
                Ok(Want::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.end(watchers)
    }

    /// Reads on, and says how many events there were.
    fn read(&mut self) -> u64 {
        if self.is_broken {
            return 0;
        }
        match self.follower.read(BATCH, &mut self.views) {
            Ok(read) => read,
            Err(error) => {
                let text = format_args!("what goes on is shown no further: {error}");
                self.logger.log(Level::WARNING, LOGGER, text);
                self.is_broken = true;
                0
            }
        }
    }

    /// Reads until the end of the log, or until some time.
    fn catch_up(&mut self, until: Instant) {
        while self.read() == BATCH && Instant::now() < until {}
    }

    fn numbers(&mut self, reply: oneshot::Sender<String>) {
        self.catch_up(Instant::now() + FRESH);
        let spans = self.views.spans.as_ref().map(Spans::counts);
        let (out, waiting) = self.follower.out_and_waiting();
        // Who asked may be gone.
        let _ = reply.send(self.views.metrics.text(out, waiting, spans));
    }

    fn show(&mut self, is_at_end: bool) {
        let Some(ongoing) = &self.views.model else {
            return;
        };
        let begun = Instant::now();
        let now_ns = is_at_end.then(|| self.start.elapsed().as_nanos() as u64);
        let model = ongoing.model(&self.follower, now_ns);
        self.publish(&model, false);
        self.is_wanted = false;
        self.due = begun + LEAST_PAUSE.max(begun.elapsed() * MODEL_SHARE);
    }

    fn publish(&self, model: &Model, is_last: bool) {
        let Ok(json) = serde_json::to_vec(model) else {
            return;
        };
        self.shown.send_modify(|shown| {
            shown.version += 1;
            shown.body = json.into();
            shown.is_last = is_last;
            shown.made = Some(Instant::now());
        });
    }

    /// The log is closed: what is left of it, for who wants it.
    fn end(mut self, watchers: &Watchers) -> Option<SpanCounts> {
        let until = Instant::now() + CATCH_UP;
        let is_watched = self.views.model.is_some() && watchers.any();
        if is_watched || self.views.spans.is_some() {
            if let Some(spans) = &mut self.views.spans {
                spans.wait_until(until);
            }
            self.catch_up(until);
        }
        let summary = self.follower.finish(&mut self.views);
        if let Some(model) = self.views.model.take().filter(|_| is_watched) {
            let model = model.last(&self.follower, &summary);
            self.publish(&model, true);
        }
        self.views.spans.map(|spans| spans.end(until))
    }
}
