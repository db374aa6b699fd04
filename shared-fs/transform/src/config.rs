//! The serialisable description of a data plane, and how it is read from a configuration.

use crate::{ConfigProblem, FilterConfig, proxystore};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, fs::File, io, io::Read as _, path::PathBuf, time::Duration};
use taps_schema::AppDescription;

/// Everything that a process needs to open the data plane of a run. Serialisable: worker processes get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaneConfig {
    /// Which payloads are taken.
    pub filter: FilterConfig,
    /// Where they go, and how they come back.
    pub transformer: TransformerConfig,
    /// Sets the payloads of this run apart from those of all others.
    pub run: RunKey,
    /// Declared types of the app's tasks, for the filter.
    pub types: TypeNames,
    /// Payloads up to this size are resolved to plain bytes, larger ones to a segment.
    pub inline_max_bytes: u64,
}

/// Random name of a run, part of the name of everything that it stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunKey(String);

impl RunKey {
    /// A new one.
    pub fn random() -> io::Result<Self> {
        Ok(Self(random_hex::<10>()?))
    }

    /// Whether a text has the form of one.
    pub(crate) fn is_one(text: &str) -> bool {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == 20 && text.bytes().all(hex)
    }

    /// As text: lower-case hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `BYTES` random bytes as text.
pub(crate) fn random_hex<const BYTES: usize>() -> io::Result<String> {
    use fmt::Write as _;
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Declared types of parameters and outputs, by name of the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeNames(BTreeMap<String, (Vec<String>, Vec<String>)>);

impl TypeNames {
    /// The types that an app declares.
    pub fn of(app: &AppDescription) -> Self {
        let tasks = app.tasks.iter().map(|task| {
            let parameters = task.parameters.iter().map(|(_, kind)| kind.clone());
            (
                task.name.clone(),
                (parameters.collect(), task.outputs.clone()),
            )
        });
        Self(tasks.collect())
    }

    /// Declared type of a parameter; empty where unknown.
    pub fn parameter(&self, task: &str, index: usize) -> &str {
        let types = self.0.get(task).and_then(|(types, _)| types.get(index));
        types.map_or("", String::as_str)
    }

    /// Declared type of an output; empty where unknown.
    pub fn output(&self, task: &str, index: usize) -> &str {
        let types = self.0.get(task).and_then(|(_, types)| types.get(index));
        types.map_or("", String::as_str)
    }
}

/// A transformer and how payloads come back from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// The store.
    pub backend: BackendConfig,
    /// When payloads are fetched.
    pub resolution: Resolution,
    /// Most resolved payloads kept by a process after their use.
    pub cache_entries: usize,
    /// Most bytes of them.
    pub cache_bytes: u64,
    /// Whether what a process puts is kept as if it had fetched it.
    pub populate: bool,
    /// Longest time of any one operation.
    pub timeout: Duration,
    /// Whether every operation is recorded.
    pub metrics: bool,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendConfig {
    /// One file for each payload.
    File {
        /// Absolute path of the directory.
        directory: PathBuf,
    },
    /// The run's own segments, also for small payloads.
    SharedMemory,
    /// A Redis server.
    Redis(RedisConfig),
    /// An object store.
    ObjectStore {
        /// Its address and the prefix of all names.
        url: String,
        /// Options of the store, by name.
        options: BTreeMap<String, String>,
    },
}

/// Where a Redis server is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisConfig {
    /// Address, possibly with user and password.
    pub url: String,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// When keys vanish after a run that could not remove them; renewed while the run lasts.
    pub ttl: Option<Duration>,
}

impl fmt::Debug for RedisConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &without_secrets(&self.url))
            .field("prefix", &self.prefix)
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// An address as it may be shown.
pub(crate) fn without_secrets(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut url) => {
            if url.password().is_some() {
                // It has one, so it can have another.
                let _ = url.set_password(Some("***"));
            }
            let secret = |(key, _): &(_, _)| AsRef::<str>::as_ref(key).contains("pass");
            if url.query_pairs().any(|pair| secret(&pair)) {
                url.set_query(Some("***"));
            }
            url.to_string()
        }
        Err(_) => "not an address".to_owned(),
    }
}

/// When a task's arguments are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// When the guest first reads them.
    #[default]
    Lazy,
    /// Before the task starts.
    Eager,
    /// From the moment when the worker takes the task, in the background.
    Async,
}

/// TaPS's default of ProxyStore's cache, for every transformer.
pub(crate) const CACHE_ENTRIES: usize = 16;
/// Enough for a few large payloads, small beside the machine's memory.
pub(crate) const CACHE_BYTES: u64 = 256 << 20;
/// Seconds.
pub(crate) const TIMEOUT_S: f64 = 30.0;
/// Seconds.
pub(crate) const TTL_S: u64 = 3600;
/// Keys in Redis begin with it.
pub(crate) const REDIS_PREFIX: &str = "taps";

impl FilterConfig {
    /// Takes what is larger than so many bytes.
    pub fn larger_than(bytes: u64) -> Self {
        Self::Size {
            min_bytes: bytes.saturating_add(1),
            max_bytes: u64::MAX,
        }
    }

    /// Reads a filter of that name from the fields of its section. Names are those of
    /// [`filter_plugins`](crate::filter_plugins).
    pub fn from_fields(name: &str, fields: &Map<String, Value>) -> Result<Self, ConfigProblem> {
        let fields = Fields(fields);
        let config = match name {
            "never" => Self::Never,
            "all" => Self::All,
            "object-size" | "pickle-size" | "payload-size" => {
                let min_bytes = fields.number("min_size").unwrap_or(0);
                let max_bytes = fields.number("max_size").unwrap_or(u64::MAX);
                if min_bytes > max_bytes {
                    return Err(ConfigProblem::new(
                        "max_size",
                        max_bytes.to_string(),
                        format!("none, or at least `min_size` ({min_bytes})"),
                    ));
                }
                Self::Size {
                    min_bytes,
                    max_bytes,
                }
            }
            "object-type" => Self::Type {
                patterns: fields.texts("patterns"),
            },
            other => return Err(unknown("filter", other)),
        };
        // A pattern that is none is a mistake of the configuration, not of a task.
        crate::Filter::new(&config)?;
        Ok(config)
    }
}

impl TransformerConfig {
    /// Reads a transformer of that name from the fields of its section. Names are those of
    /// [`transformer_plugins`](crate::transformer_plugins).
    pub fn from_fields(name: &str, fields: &Map<String, Value>) -> Result<Self, ConfigProblem> {
        let fields = Fields(fields);
        let backend = match name {
            "file" => BackendConfig::File {
                directory: absolute("file_dir", fields.text("file_dir"))?,
            },
            "shared-memory" => BackendConfig::SharedMemory,
            "redis" => BackendConfig::Redis(redis(&fields)?),
            "object-store" => object_store(&fields)?,
            "proxystore" => return proxystore::read(&fields),
            other => return Err(unknown("transformer", other)),
        };
        Ok(Self {
            resolution: match fields.text("resolution") {
                Some("eager") => Resolution::Eager,
                Some("async") => Resolution::Async,
                _ => Resolution::Lazy,
            },
            cache_bytes: fields.number("cache_bytes").unwrap_or(CACHE_BYTES),
            timeout: fields.seconds("timeout_s"),
            ..Self::common(backend, &fields)
        })
    }

    /// Files in a directory, which is made when it is not there.
    pub fn files_in(directory: PathBuf) -> Self {
        let backend = BackendConfig::File { directory };
        Self::common(backend, &Fields(&Map::new()))
    }

    /// What all transformers have.
    pub(crate) fn common(backend: BackendConfig, fields: &Fields<'_>) -> Self {
        Self {
            backend,
            resolution: Resolution::Lazy,
            cache_entries: fields
                .number("cache_size")
                .and_then(|entries| usize::try_from(entries).ok())
                .unwrap_or(CACHE_ENTRIES),
            cache_bytes: CACHE_BYTES,
            populate: false,
            timeout: Duration::from_secs_f64(TIMEOUT_S),
            metrics: fields.flag("metrics"),
        }
    }
}

fn unknown(what: &str, name: &str) -> ConfigProblem {
    ConfigProblem::new("name", format!("`{name}`"), format!("the name of a {what}"))
}

pub(crate) fn absolute(field: &str, path: Option<&str>) -> Result<PathBuf, ConfigProblem> {
    let wrong = |given: String| ConfigProblem::new(field, given, "the path of a directory");
    let path = path
        .filter(|path| !path.is_empty())
        .ok_or_else(|| wrong("nothing".to_owned()))?;
    std::path::absolute(path).map_err(|error| wrong(format!("`{path}` ({error})")))
}

fn redis(fields: &Fields<'_>) -> Result<RedisConfig, ConfigProblem> {
    let url = match (fields.text("url"), fields.text("host")) {
        (Some(url), None) => url.to_owned(),
        (None, Some(host)) => redis_url(host, fields.number("port").unwrap_or(6379)),
        (given, _) => {
            let given = if given.is_some() { "both" } else { "neither" };
            return Err(ConfigProblem::new("url", given, "either `url` or `host`"));
        }
    };
    check_redis_url("url", &url)?;
    Ok(RedisConfig {
        url,
        prefix: fields.text("prefix").unwrap_or(REDIS_PREFIX).to_owned(),
        ttl: fields.number("ttl_s").map(Duration::from_secs),
    })
}

pub(crate) fn redis_url(host: &str, port: u64) -> String {
    // An IPv6 address has colons of its own.
    if host.contains(':') && !host.starts_with('[') {
        format!("redis://[{host}]:{port}/")
    } else {
        format!("redis://{host}:{port}/")
    }
}

pub(crate) fn check_redis_url(field: &str, url: &str) -> Result<(), ConfigProblem> {
    redis::Client::open(url).map(drop).map_err(|error| {
        ConfigProblem::new(
            field,
            format!("`{}` ({error})", without_secrets(url)),
            "an address such as `redis://HOST:6379/0`, `rediss://…` or `redis+unix:///PATH`",
        )
    })
}

fn object_store(fields: &Fields<'_>) -> Result<BackendConfig, ConfigProblem> {
    let url = fields.text("url").unwrap_or_default().to_owned();
    let mut options = BTreeMap::new();
    if let Some(Value::Object(table)) = fields.0.get("options") {
        for (key, value) in table {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                other => {
                    let field = format!("options.{key}");
                    return Err(ConfigProblem::new(&field, other.to_string(), "text"));
                }
            };
            options.insert(key.clone(), text);
        }
    }
    crate::backend::check_object_store(&url, &options)?;
    Ok(BackendConfig::ObjectStore { url, options })
}

/// Fields of a section, valid as far as their types go.
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let items = self.0.get(key).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    fn seconds(&self, key: &str) -> Duration {
        let seconds = self.0.get(key).and_then(Value::as_f64);
        let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.unwrap_or_else(|| Duration::from_secs_f64(TIMEOUT_S))
    }
}
