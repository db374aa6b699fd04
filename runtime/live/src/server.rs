//! What answers browsers and Prometheus: reads only, on loopback, to who knows the secret.

use crate::{
    LiveError,
    follow::{Shown, Want},
    secret::{Nonce, Secret},
    spawn,
    watchers::Watchers,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Most connections at a time, to each port.
const CONNECTIONS: usize = 32;

/// Longest head of a request, in bytes. Nothing else of a request is read.
const HEAD_BYTES: usize = 16 << 10;

/// How long a request may take to come.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a connection may last; a browser then makes another.
const CONNECTION_TIME: Duration = Duration::from_mins(2);

/// How long an answer may take to go when nothing else is to come.
const LAST_TIME: Duration = Duration::from_secs(1);

/// How long a page waits for a newer model before it is told that there is none.
const MODEL_TIME: Duration = Duration::from_secs(20);

/// How Prometheus calls what it reads.
const NUMBERS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// What all connections know.
pub(crate) struct Site {
    shown: watch::Receiver<Shown>,
    wants: mpsc::Sender<Want>,
    pub(crate) watchers: Watchers,
}

impl Site {
    pub(crate) fn new(shown: watch::Receiver<Shown>, wants: mpsc::Sender<Want>) -> Self {
        Self {
            shown,
            wants,
            watchers: Watchers::default(),
        }
    }
}

/// What is served at a port.
enum Port {
    /// The page, and the secret in its address.
    Dashboard(Secret),
    /// The numbers.
    Metrics,
}

/// The thread that answers.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(
        dashboard: Option<(TcpListener, Secret)>,
        metrics: Option<TcpListener>,
        site: Arc<Site>,
    ) -> Result<Self, LiveError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LiveError::Thread)?;
        let (stop, stopped) = watch::channel(false);
        let dashboard = dashboard.map(|(listener, secret)| (listener, Port::Dashboard(secret)));
        let ports: Vec<_> = dashboard
            .into_iter()
            .chain(metrics.map(|listener| (listener, Port::Metrics)))
            .collect();
        let thread = spawn("live-server", move || {
            runtime.block_on(serve(ports, site, stopped));
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it, when answers that are on their way have gone, or have had their time.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(true);
        // It cannot panic; and nobody needs it any more if it did.
        let _ = self.thread.join();
    }
}

async fn serve(
    ports: Vec<(TcpListener, Port)>,
    site: Arc<Site>,
    mut stopped: watch::Receiver<bool>,
) {
    let connections: Vec<_> = ports
        .iter()
        .map(|_| Arc::new(Semaphore::new(CONNECTIONS)))
        .collect();
    for ((listener, port), places) in ports.into_iter().zip(&connections) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
            continue;
        };
        let (site, places) = (Arc::clone(&site), Arc::clone(places));
        tokio::spawn(accept(
            listener,
            Arc::new(port),
            site,
            places,
            stopped.clone(),
        ));
    }
    told(&mut stopped).await;
    let all_gone = async {
        for places in &connections {
            let _ = places.acquire_many(CONNECTIONS as u32).await;
        }
    };
    let _ = timeout(2 * LAST_TIME, all_gone).await;
}

/// Until it is said that all ends, or whoever could say so is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: tokio::net::TcpListener,
    port: Arc<Port>,
    site: Arc<Site>,
    places: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
) {
    let mut stop = stopped.clone();
    loop {
        // Those beyond wait in the queue of the kernel, which is bounded, too.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (port, site) = (Arc::clone(&port), Arc::clone(&site));
                    tokio::spawn(connection(stream, port, site, place, stopped.clone()));
                }
                // Descriptors may have run out for a moment.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            () = told(&mut stop) => return,
        }
    }
}

async fn connection(
    stream: TcpStream,
    port: Arc<Port>,
    site: Arc<Site>,
    _place: OwnedSemaphorePermit,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let (port, site) = (Arc::clone(&port), Arc::clone(&site));
        async move { Ok::<_, Infallible>(answer(&request, &port, &site).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let end = Instant::now() + CONNECTION_TIME;
    tokio::select! {
        _ = serving.as_mut() => return,
        () = sleep_until(end) => {}
        () = told(&mut stopped) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(LAST_TIME, serving).await;
}

/// What is said to a request.
async fn answer(request: &Request<Incoming>, port: &Port, site: &Arc<Site>) -> Answer {
    if !is_local(request) {
        return nothing(StatusCode::FORBIDDEN);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return nothing(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri().path();
    match port {
        Port::Metrics if path == "/metrics" => numbers(site).await,
        Port::Dashboard(secret) => match secret.after(path) {
            Some("/") => page(),
            Some("/model.json") => model(request, site).await,
            _ => nothing(StatusCode::NOT_FOUND),
        },
        Port::Metrics => nothing(StatusCode::NOT_FOUND),
    }
}

/// Whether the request names this machine as its host. A page from elsewhere whose name was made to mean 127.0.0.1
/// names itself. Any port will do: there may be a tunnel between.
fn is_local(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let of_uri = request.uri().host();
    port.bytes().all(|digit| digit.is_ascii_digit())
        && (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
        && of_uri.is_none_or(|of_uri| of_uri == name)
}

fn page() -> Answer {
    let Some(nonce) = Nonce::new() else {
        return nothing(StatusCode::SERVICE_UNAVAILABLE);
    };
    let (page, policy) = taps_report::live_page(nonce.text());
    let mut answer = with_type("text/html; charset=utf-8", page.into());
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// The latest model, once it is another than the one that the page has.
async fn model(request: &Request<Incoming>, site: &Arc<Site>) -> Answer {
    let known = request.headers().get(header::IF_NONE_MATCH);
    let known = known.and_then(|known| known.to_str().ok()?.trim_matches('"').parse().ok());
    let asking = Asking::new(request, site);
    let mut shown = site.shown.clone();
    let known: u64 = known.unwrap_or_else(|| shown.borrow().stale());
    if !shown.borrow().is_last {
        // A follower that is gone will never show more.
        let _ = site.wants.send(Want::Model);
    }
    let newer = shown.wait_for(|shown| shown.version > known);
    let found = match timeout(MODEL_TIME, newer).await {
        Ok(Ok(newer)) => Some(newer.clone()),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(found) = found else {
        asking.answered(false);
        return nothing(StatusCode::NOT_MODIFIED);
    };
    asking.answered(found.is_last);
    let mut answer = with_type("application/json", found.body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", found.version)) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// A page that waits for an answer; it is gone when it does not wait for it.
struct Asking {
    page: Option<u64>,
    site: Arc<Site>,
}

impl Asking {
    fn new(request: &Request<Incoming>, site: &Arc<Site>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let page = query.split('&').find_map(|pair| {
            let number = pair.strip_prefix("client=")?;
            number.parse().ok()
        });
        if let Some(page) = page {
            site.watchers.asks(page);
        }
        Self {
            page,
            site: Arc::clone(site),
        }
    }

    fn answered(mut self, is_last: bool) {
        if let Some(page) = self.page.take() {
            self.site.watchers.got(page, is_last);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            self.site.watchers.went(page);
        }
    }
}

async fn numbers(site: &Site) -> Answer {
    let (reply, text) = oneshot::channel();
    let sent = site.wants.send(Want::Numbers(reply));
    match (sent, text.await) {
        (Ok(()), Ok(text)) => with_type(NUMBERS, text.into()),
        // The run is just ending.
        _ => nothing(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn with_type(kind: &'static str, body: Bytes) -> Answer {
    let mut answer = nothing(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    *answer.body_mut() = Full::new(body);
    answer
}

/// An answer that says nothing but its status.
fn nothing(status: StatusCode) -> Answer {
    const FIXED: [(HeaderName, &str); 7] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    for (name, value) in FIXED {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
