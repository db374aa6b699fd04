//! The thread that sends spans.

use super::{Collector, messages::ExportTraceServiceResponse};
use crate::{LOGGER, LiveError, spawn};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use taps_engine::chain;
use taps_records::{Level, Logger};
use tokio::sync::{
    mpsc::{Receiver, Sender, channel, error::TrySendError},
    watch,
};

/// Most batches that wait to be sent: some 10 MB.
const QUEUE: usize = 64;

/// How long a collector may take to be reached, and to answer.
const CONNECT_TIME: Duration = Duration::from_secs(3);
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How often a batch is sent at most, and the pause after the first time; it doubles.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans that the collector took.
    pub exported: u64,
    /// Spans that did not reach it, or that it refused.
    pub dropped: u64,
}

/// Spans that are sent together.
pub(super) struct Batch {
    pub(super) spans: u64,
    /// The request, as it is sent.
    pub(super) body: Bytes,
}

/// Sends batches, in order; drops what it cannot send, and counts it.
pub(crate) struct Exporter {
    queue: Sender<Batch>,
    counts: Arc<Counts>,
    stop: watch::Sender<Option<Instant>>,
    thread: thread::JoinHandle<()>,
    made: u64,
    shown: String,
    logger: Arc<Logger>,
}

#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    /// Why spans were dropped, first.
    trouble: Mutex<Option<String>>,
}

impl Exporter {
    pub(crate) fn start(collector: Collector, logger: Arc<Logger>) -> Result<Self, LiveError> {
        // Fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(ANSWER_TIME)
            // Headers may be secret, and are for nobody else.
            .redirect(Policy::none())
            .user_agent(concat!("taps-wasm/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(LiveError::Client)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LiveError::Thread)?;
        let (queue, batches) = channel(QUEUE);
        let (stop, stopped) = watch::channel(None);
        let counts = Arc::new(Counts::default());
        let shown = collector.shown();
        let sending = Sending {
            client,
            collector,
            counts: Arc::clone(&counts),
            is_down: AtomicBool::new(false),
            logger: Arc::clone(&logger),
        };
        let thread = spawn("live-exporter", move || {
            runtime.block_on(send_all(batches, &sending, stopped));
            // A name that is still looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            queue,
            counts,
            stop,
            thread,
            made: 0,
            shown,
            logger,
        })
    }

    /// Sends a batch in its turn. One that there is no room for is dropped, or waits for room until that time.
    pub(super) fn push(&mut self, mut batch: Batch, until: Option<Instant>) {
        let spans = batch.spans;
        self.made += spans;
        loop {
            match self.queue.try_send(batch) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) if until.is_some_and(|end| Instant::now() < end) => {
                    batch = back;
                    thread::sleep(Duration::from_millis(5));
                }
                Err(_) => {
                    self.counts
                        .drop_spans(spans, || "spans came faster than it took them".to_owned());
                    return;
                }
            }
        }
    }

    /// What became of spans so far.
    pub(super) fn counts(&self) -> SpanCounts {
        SpanCounts {
            exported: self.counts.exported.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }

    /// Sends what is left until that time, and says what became of all.
    pub(super) fn end(self, until: Instant) -> SpanCounts {
        let Self {
            queue,
            counts,
            stop,
            thread,
            made,
            shown,
            logger,
        } = self;
        drop(queue);
        let _ = stop.send(Some(until));
        // It cannot panic; what it has not sent is dropped.
        let _ = thread.join();
        let exported = counts.exported.load(Ordering::Relaxed);
        let dropped = made.saturating_sub(exported);
        if dropped > 0 {
            let trouble = counts.trouble.lock().take();
            let reason = trouble.unwrap_or_else(|| "it took too long".to_owned());
            let text = format_args!(
                "{dropped} of {made} spans did not reach the collector at {shown}: {reason}"
            );
            logger.log(Level::WARNING, LOGGER, text);
        }
        SpanCounts { exported, dropped }
    }
}

impl Counts {
    fn drop_spans(&self, spans: u64, reason: impl FnOnce() -> String) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
        self.trouble.lock().get_or_insert_with(reason);
    }
}

async fn send_all(
    mut batches: Receiver<Batch>,
    sending: &Sending,
    mut stopped: watch::Receiver<Option<Instant>>,
) {
    let work = async {
        while let Some(batch) = batches.recv().await {
            sending.send(batch).await;
        }
    };
    let late = async {
        let until = match stopped.wait_for(Option::is_some).await {
            Ok(until) => *until,
            Err(_) => None,
        };
        tokio::time::sleep_until(until.unwrap_or_else(Instant::now).into()).await;
    };
    tokio::select! {
        () = work => {}
        () = late => {}
    }
}

struct Sending {
    client: Client,
    collector: Collector,
    counts: Arc<Counts>,
    /// The last batch was given up: the next one is tried once.
    is_down: AtomicBool,
    logger: Arc<Logger>,
}

/// Why a batch was not taken.
struct Refused {
    reason: String,
    may_pass: bool,
    pause: Option<Duration>,
}

impl Sending {
    async fn send(&self, batch: Batch) {
        let mut pause = FIRST_PAUSE;
        let mut tries = if self.is_down.load(Ordering::Relaxed) {
            1
        } else {
            TRIES
        };
        loop {
            tries -= 1;
            match self.post(batch.body.clone()).await {
                Ok(answer) => {
                    self.is_down.store(false, Ordering::Relaxed);
                    return self.taken(batch.spans, answer);
                }
                Err(refused) if refused.may_pass && tries > 0 => {
                    let asked = refused.pause.unwrap_or(pause);
                    tokio::time::sleep(asked.min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
                Err(refused) => return self.give_up(batch.spans, refused),
            }
        }
    }

    fn taken(&self, spans: u64, answer: ExportTraceServiceResponse) {
        let partial = answer.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans)
            .unwrap_or(0)
            .min(spans);
        let counts = &self.counts;
        counts
            .exported
            .fetch_add(spans - rejected, Ordering::Relaxed);
        if rejected > 0 {
            let said: String = partial.error_message.chars().take(500).collect();
            counts.drop_spans(rejected, || format!("it rejected some: {said}"));
        }
    }

    fn give_up(&self, spans: u64, refused: Refused) {
        self.is_down.store(refused.may_pass, Ordering::Relaxed);
        let is_first = self.counts.trouble.lock().is_none();
        if is_first {
            let (at, reason) = (self.collector.shown(), &refused.reason);
            let text = format_args!("spans do not reach the collector at {at}: {reason}");
            self.logger.log(Level::WARNING, LOGGER, text);
        }
        self.counts.drop_spans(spans, || refused.reason);
    }

    async fn post(&self, body: Bytes) -> Result<ExportTraceServiceResponse, Refused> {
        let request = self
            .client
            .post(self.collector.url.clone())
            .headers(self.collector.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let failed = |error: reqwest::Error| Refused {
            reason: chain(&error.without_url()),
            may_pass: true,
            pause: None,
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(refused(&answer));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES {
                break;
            }
        }
        // It took the spans, whatever it says besides.
        Ok(ExportTraceServiceResponse::decode(&bytes[..]).unwrap_or_default())
    }
}

fn refused(answer: &Response) -> Refused {
    let status = answer.status();
    let seconds = answer.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|text| text.to_str().ok()?.parse().ok());
    Refused {
        reason: format!("it answered {status}"),
        // Those that OTLP names.
        may_pass: matches!(status.as_u16(), 429 | 502..=504),
        pause: seconds.map(Duration::from_secs),
    }
}
