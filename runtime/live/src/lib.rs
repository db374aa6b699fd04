//! Runs watched while they go on.
//!
//! ```text
//!  run ──► events.log (mapped) ──► follower, a thread ─┬─► model of the page ──► server, a thread ◄── browser
//!                                                      ├─► numbers ───────────►                  ◄── Prometheus
//!                                                      └─► spans ──► exporter, a thread ──► collector
//! ```
//!
//! Everything comes from the event log, which a thread reads behind the run's back: a run that is watched does
//! nothing that one which is not would not do. The threads have a low priority, so that on a machine that is busy
//! the view is late and not the run. [`Prepared`] takes what may fail before any work: ports and addresses;
//! [`Live`] is what goes on beside the run, and never fails it.
//!
//! This crate writes no file, changes no run, and answers nobody but on the loopback interface.

mod follow;
mod metrics;
mod secret;
mod server;
mod traces;
mod watchers;

pub use traces::{Collector, CollectorError, SpanCounts};

use follow::{Following, Want};
use secret::Secret;
use server::{Server, Site};
use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};
use taps_records::{Level, LogError, Logger};
use traces::Exporter;

/// Who speaks in log lines.
const LOGGER: &str = "live";

/// How much lower than that of the run the priority of the threads is, as `nice` counts: beside a busy thread one of
/// these gets a thirtieth of a core.
const NICE: i32 = 15;

/// How long the end of a run waits at most for pages to get its last state.
const LINGER: Duration = Duration::from_secs(4);

/// How long it waits at most until what is left of the log is read and sent.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Port of the page; 0 for any.
    pub dashboard: Option<u16>,
    /// Port of the numbers for Prometheus; 0 for any.
    pub metrics_port: Option<u16>,
    /// Where traces go.
    pub collector: Option<Collector>,
}

/// Why a run cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A port cannot be had.
    #[error("listen at 127.0.0.1:{port}")]
    Port {
        /// Dotted name of the setting.
        setting: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random bytes, of which secrets and the names of traces are made.
    #[error("get random bytes: {0}")]
    Random(getrandom::Error),
    /// The log cannot be followed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The run directory cannot be shown.
    #[error(transparent)]
    Run(#[from] taps_report::ReportError),
    /// A thread could not be started.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// Traces cannot be sent at all.
    #[error("send traces")]
    Client(#[source] reqwest::Error),
}

/// What is ready before a run begins: nobody is answered yet.
#[derive(Debug, Default)]
pub struct Prepared {
    dashboard: Option<(TcpListener, Secret)>,
    metrics: Option<TcpListener>,
    collector: Option<Collector>,
}

impl Prepared {
    /// Takes the ports that are asked for.
    pub fn new(settings: Settings) -> Result<Self, LiveError> {
        let dashboard = settings
            .dashboard
            .map(|port| Ok::<_, LiveError>((listen("live.dashboard", port)?, Secret::new()?)))
            .transpose()?;
        let metrics = settings
            .metrics_port
            .map(|port| listen("live.metrics_port", port))
            .transpose()?;
        Ok(Self {
            dashboard,
            metrics,
            collector: settings.collector,
        })
    }

    /// Where what is served will be: names for people, and addresses.
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        let port = |listener: &TcpListener| Some(listener.local_addr().ok()?.port());
        let dashboard = self.dashboard.as_ref().and_then(|(listener, secret)| {
            let port = port(listener)?;
            Some(("Dashboard", format!("http://127.0.0.1:{port}/{secret}/")))
        });
        let metrics = self.metrics.as_ref().and_then(|listener| {
            let port = port(listener)?;
            Some(("Metrics", format!("http://127.0.0.1:{port}/metrics")))
        });
        dashboard.into_iter().chain(metrics).collect()
    }

    /// Follows the run whose directory and log are there. `start` is the zero of its clock. `None` when nothing
    /// was asked for.
    pub fn follow(
        self,
        run_dir: &Path,
        start: Instant,
        logger: Arc<Logger>,
    ) -> Result<Option<Live>, LiveError> {
        if self.dashboard.is_none() && self.metrics.is_none() && self.collector.is_none() {
            return Ok(None);
        }
        let (wants, wanted) = mpsc::channel();
        let exporter = self
            .collector
            .map(|collector| Exporter::start(collector, Arc::clone(&logger)))
            .transpose()?;
        let (following, shown) = Following::new(
            run_dir,
            start,
            self.dashboard.is_some(),
            exporter,
            Arc::clone(&logger),
        )?;
        let site = Arc::new(Site::new(shown, wants.clone()));
        let server = (self.dashboard.is_some() || self.metrics.is_some())
            .then(|| Server::start(self.dashboard, self.metrics, Arc::clone(&site)))
            .transpose()?;
        let for_follower = Arc::clone(&site);
        let thread = spawn("live-follower", move || {
            following.run(&wanted, &for_follower.watchers)
        })?;
        Ok(Some(Live {
            wants,
            thread,
            server,
            site,
            logger,
        }))
    }
}

/// What goes on beside a run.
pub struct Live {
    wants: mpsc::Sender<Want>,
    thread: thread::JoinHandle<Option<SpanCounts>>,
    server: Option<Server>,
    site: Arc<Site>,
    logger: Arc<Logger>,
}

impl Live {
    /// The run has ended, and its log is closed: pages get its last state, spans that are left are sent, and nobody
    /// is answered any more. Takes a while only where somebody watches. Gives what became of spans.
    pub fn end(self) -> Option<SpanCounts> {
        // A thread that is gone has nothing more to say.
        let _ = self.wants.send(Want::End);
        let spans = self.thread.join().unwrap_or_else(|_| {
            let text = "the thread that followed the run is gone: this is a bug";
            self.logger.log(Level::WARNING, LOGGER, text);
            None
        });
        if let Some(server) = self.server {
            self.site.watchers.linger(LINGER);
            server.stop();
        }
        spans
    }
}

fn listen(setting: &'static str, port: u16) -> Result<TcpListener, LiveError> {
    let failed = |source| LiveError::Port {
        setting,
        port,
        source,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Starts a thread of low priority.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, LiveError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Of this thread only. Without it the run gets a little less.
            let _ = rustix::process::setpriority_process(None, NICE);
            work()
        })
        .map_err(LiveError::Thread)
}
