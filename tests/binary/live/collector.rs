//! Collectors of OpenTelemetry, well and ill.

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    trace::v1::Span,
};
use prost::Message as _;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How a collector behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It takes all.
    Well,
    /// It says so often that it has no time, and then takes all.
    Busy(u32),
    /// It wants nothing of this.
    Refuses,
    /// It rejects one span of each request.
    Picks,
    /// It never answers.
    Hangs,
    /// It sends elsewhere.
    Sends,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    pub(super) requests: Vec<ExportTraceServiceRequest>,
    /// Requests, those that were not taken included.
    pub(super) tries: u32,
    /// What the last request was: method and path, type, and the header `x-key`.
    pub(super) head: [String; 3],
}

impl Came {
    pub(super) fn spans(&self) -> Vec<Span> {
        let resources = self
            .requests
            .iter()
            .flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// A collector in a thread of its own, as long as the test.
pub(super) struct Collector {
    pub(super) address: String,
    came: Arc<Mutex<Came>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    pub(super) fn start(mood: Mood) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("not blocking");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let came = Arc::new(Mutex::new(Came::default()));
        let known = Arc::clone(&came);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let known = Arc::clone(&known);
                let service = service_fn(move |request| answer(request, Arc::clone(&known), mood));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Self {
            address,
            came,
            _runtime: runtime,
        }
    }

    pub(super) fn came(&self) -> Came {
        self.came.lock().expect("no panic").clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    came: Arc<Mutex<Came>>,
    mood: Mood,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or_else(String::new, |value| {
            value.to_str().expect("text").to_owned()
        })
    };
    let head = [
        format!("{} {}", request.method(), request.uri().path()),
        header("content-type"),
        header("x-key"),
    ];
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let tries = {
        let mut came = came.lock().expect("no panic");
        came.tries += 1;
        came.head = head;
        came.tries
    };
    let plain = |status: StatusCode| {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = status;
        response
    };
    match mood {
        Mood::Busy(times) if tries <= times => return Ok(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Mood::Refuses => return Ok(plain(StatusCode::BAD_REQUEST)),
        Mood::Hangs => tokio::time::sleep(Duration::from_hours(1)).await,
        Mood::Sends => {
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT);
            let elsewhere = "http://127.0.0.1:9/v1/traces".parse().expect("a header");
            response.headers_mut().insert("location", elsewhere);
            return Ok(response);
        }
        _ => {}
    }
    let request = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
    came.lock().expect("no panic").requests.push(request);
    let rejected = (mood == Mood::Picks).then(|| ExportTracePartialSuccess {
        rejected_spans: 1,
        error_message: "one too many".to_owned(),
    });
    let response = ExportTraceServiceResponse {
        partial_success: rejected,
    };
    Ok(Response::new(Full::new(response.encode_to_vec().into())))
}
