//! Where spans go.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// Where OpenTelemetry's own settings say that the collector is: of traces, else of all signals.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// What goes along with each request.
const HEADERS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

/// Where traces go below the address of a collector.
const TRACES: &str = "v1/traces";

/// A collector of OpenTelemetry that is spoken to by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// Why it is not known where spans go.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CollectorError {
    /// The setting says that the environment says it.
    #[error(
        "expected one of OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT to be set"
    )]
    NotSet,
    /// It is no address.
    #[error("{name}: expected an address of HTTP such as `http://127.0.0.1:4318`, got `{given}`")]
    Address {
        /// Who says it.
        name: &'static str,
        /// What.
        given: String,
    },
    /// What should be headers is something else. Their content may be secret.
    #[error("{name}: expected headers as `name=value`, separated by commas")]
    Headers {
        /// Who says it.
        name: &'static str,
    },
}

impl Collector {
    /// The collector at an address, below which are its paths; `env` for what the environment says, which
    /// `variable` gives.
    pub fn new(
        setting: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CollectorError> {
        if setting != "env" {
            return Ok(Self {
                url: base("otlp_endpoint", setting)?,
                headers: HeaderMap::new(),
            });
        }
        let set =
            |name: &&'static str| Some((*name, variable(name).filter(|text| !text.is_empty())?));
        let (name, address) = ENDPOINTS
            .iter()
            .find_map(set)
            .ok_or(CollectorError::NotSet)?;
        let url = if name == ENDPOINTS[0] {
            // That of traces is taken as it is.
            address_of(name, &address)?
        } else {
            base(name, &address)?
        };
        let headers = match HEADERS.iter().find_map(set) {
            Some((name, text)) => headers(&text).ok_or(CollectorError::Headers { name })?,
            None => HeaderMap::new(),
        };
        Ok(Self { url, headers })
    }

    /// Where it is, for people: without what may be secret.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        // An address of HTTP has room for both.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.to_string()
    }
}

/// The address of traces below that of all.
fn base(name: &'static str, text: &str) -> Result<Url, CollectorError> {
    let mut url = address_of(name, text)?;
    let path = url.path().trim_end_matches('/');
    if !path.ends_with(TRACES) {
        let path = format!("{path}/{TRACES}");
        url.set_path(&path);
    }
    Ok(url)
}

fn address_of(name: &'static str, text: &str) -> Result<Url, CollectorError> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| CollectorError::Address {
            name,
            given: text.to_owned(),
        })
}

/// Headers as OpenTelemetry writes them: values are percent-encoded.
fn headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(headers)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            bytes.extend(hex::decode(rest.get(..2)?).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(setting: &str) -> String {
        let found = Collector::new(setting, |_| None).expect("an address");
        found.url.to_string()
    }

    #[test]
    fn traces_have_their_path_below_the_address() {
        let at_root = "http://127.0.0.1:4318/v1/traces";
        assert_eq!(at("http://127.0.0.1:4318"), at_root);
        assert_eq!(at("http://127.0.0.1:4318/"), at_root);
        assert_eq!(at(at_root), at_root);
        assert_eq!(at("https://x.org/otlp/"), "https://x.org/otlp/v1/traces");
        for bad in ["", "127.0.0.1:4318", "ftp://x", "http://", "grpc://x:1"] {
            assert!(Collector::new(bad, |_| None).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_counts_when_it_is_asked_for() {
        let all = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://u:p@a:1".to_owned()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some("Authorization=Bearer%20x, b=c".to_owned()),
            _ => None,
        };
        let found = Collector::new("env", all).expect("an address");
        assert_eq!(found.shown(), "http://a:1/v1/traces");
        assert_eq!(found.headers["authorization"], "Bearer x");
        assert_eq!(found.headers["b"], "c");
        let given = Collector::new("http://b:2", all).expect("an address");
        assert!(given.headers.is_empty());
        let traces = |name: &str| {
            (name == ENDPOINTS[0])
                .then(|| "http://t:1/x".to_owned())
                .or_else(|| all(name))
        };
        let found = Collector::new("env", traces).expect("an address");
        assert_eq!(found.url.as_str(), "http://t:1/x");
        assert_eq!(Collector::new("env", |_| None), Err(CollectorError::NotSet));
        for bad in ["x", "a=%zz", "a=%4", "a b=c"] {
            let broken = |name: &str| {
                if name.ends_with("HEADERS") {
                    Some(bad.to_owned())
                } else {
                    all(name)
                }
            };
            let error = Collector::new("env", broken).expect_err(bad);
            assert!(!error.to_string().contains("zz"), "{error}");
        }
    }
}
