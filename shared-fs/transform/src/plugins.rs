//! Names, summaries and fields of filters and transformers, for help and validation.

use crate::config::{CACHE_BYTES, CACHE_ENTRIES, REDIS_PREFIX, TIMEOUT_S, TTL_S};
use serde_json::{Value, json};
use taps_schema::{ConfigField, FieldKind};

/// A filter or a transformer, as shown to people.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Name on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Fields, in the order in which they are shown and written.
    pub fields: Vec<ConfigField>,
}

fn field(name: &str, kind: FieldKind, default: Value, help: &str) -> ConfigField {
    let optional = default.is_null();
    ConfigField {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        default: (!optional).then_some(default),
        optional,
    }
}

fn required(name: &str, kind: FieldKind, help: &str) -> ConfigField {
    ConfigField {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        default: None,
        optional: false,
    }
}

fn integer(min: i64, max: i64) -> FieldKind {
    FieldKind::Integer {
        min: Some(min),
        max: Some(max),
    }
}

fn size_fields() -> Vec<ConfigField> {
    vec![
        field(
            "min_size",
            integer(0, i64::MAX),
            json!(0),
            "Least size in bytes of a payload that is taken.",
        ),
        field(
            "max_size",
            integer(0, i64::MAX),
            Value::Null,
            "Largest size in bytes of a payload that is taken; `none` means no limit.",
        ),
    ]
}

/// The filters, without `none`.
pub fn filter_plugins() -> Vec<Plugin> {
    let patterns = field(
        "patterns",
        FieldKind::List {
            item: Box::new(FieldKind::String),
        },
        json!([]),
        "Regular expressions, searched in the declared type of an argument or a result. One match is \
         enough; without patterns no payload is taken.",
    );
    vec![
        Plugin {
            name: "all",
            summary: "Every payload, as without a filter.",
            fields: Vec::new(),
        },
        Plugin {
            name: "never",
            summary: "No payload.",
            fields: Vec::new(),
        },
        Plugin {
            name: "object-size",
            summary: "Payloads by their serialised size, everything inside counted.",
            fields: size_fields(),
        },
        Plugin {
            name: "object-type",
            summary: "Payloads by their declared type.",
            fields: vec![patterns],
        },
        Plugin {
            name: "payload-size",
            summary: "Payloads by their serialised size; another name for object-size.",
            fields: size_fields(),
        },
        Plugin {
            name: "pickle-size",
            summary: "Payloads by their serialised size (nothing is pickled); TaPS's name for payload-size.",
            fields: size_fields(),
        },
    ]
}

fn metrics() -> ConfigField {
    field(
        "metrics",
        FieldKind::Bool,
        json!(false),
        "Write stats.jsonl, a line for each operation, and aggregated.json into the run directory.",
    )
}

fn cache_size() -> ConfigField {
    field(
        "cache_size",
        integer(0, 1_000_000),
        json!(CACHE_ENTRIES),
        "Most resolved payloads that a process keeps after their use.",
    )
}

/// What comes after the fields of a store.
fn resolution_fields() -> Vec<ConfigField> {
    vec![
        field(
            "resolution",
            FieldKind::Enum {
                values: ["lazy", "eager", "async"].map(str::to_owned).into(),
            },
            json!("lazy"),
            "When an argument is fetched: when the task first reads it, before the task starts, or in the \
             background from the moment when the worker takes the task.",
        ),
        cache_size(),
        field(
            "cache_bytes",
            integer(0, i64::MAX),
            json!(CACHE_BYTES),
            "Most bytes of the payloads kept so.",
        ),
        field(
            "timeout_s",
            FieldKind::Float {
                min: Some(0.01),
                max: Some(86_400.0),
            },
            json!(TIMEOUT_S),
            "Longest time of any one operation, in seconds; a task waiting longer ends with payload-error.",
        ),
        metrics(),
    ]
}

fn with_resolution(mut fields: Vec<ConfigField>) -> Vec<ConfigField> {
    fields.extend(resolution_fields());
    fields
}

/// The transformers, without `none`.
pub fn transformer_plugins() -> Vec<Plugin> {
    vec![
        Plugin {
            name: "file",
            summary: "Payloads in files of a directory that all workers see.",
            fields: with_resolution(vec![required(
                "file_dir",
                FieldKind::OutputDir,
                "Directory for the files, made when missing. The run removes what it wrote, and the directory \
                 if it made it.",
            )]),
        },
        Plugin {
            name: "object-store",
            summary: "Payloads in an object store: a local directory, S3, Google Cloud Storage, or Azure.",
            fields: with_resolution(vec![
                required(
                    "url",
                    FieldKind::String,
                    "Address and prefix: file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or \
                     az://CONTAINER/PREFIX.",
                ),
                field(
                    "options",
                    FieldKind::Table,
                    json!({}),
                    "Options of the store, such as `aws_endpoint`, `aws_region` or `allow_http`. Credentials \
                     are better given in the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`): this table is \
                     written to config.toml.",
                ),
            ]),
        },
        proxystore(),
        Plugin {
            name: "redis",
            summary: "Payloads in a Redis server.",
            fields: with_resolution(redis_fields()),
        },
        Plugin {
            name: "shared-memory",
            summary: "Payloads in shared memory of this machine, small ones too; nothing is copied out.",
            fields: vec![metrics()],
        },
    ]
}

fn redis_fields() -> Vec<ConfigField> {
    vec![
        field(
            "url",
            FieldKind::String,
            Value::Null,
            "Address, such as redis://USER:PASSWORD@HOST:6379/0, rediss://… for TLS, or \
             redis+unix:///PATH. Either this or `host`.",
        ),
        field(
            "host",
            FieldKind::String,
            Value::Null,
            "Name or address of the server's machine.",
        ),
        field(
            "port",
            integer(1, 65_535),
            json!(6379),
            "Port of the server, with `host`.",
        ),
        field(
            "prefix",
            FieldKind::String,
            json!(REDIS_PREFIX),
            "What the names of all keys begin with.",
        ),
        field(
            "ttl_s",
            integer(10, 315_360_000),
            json!(TTL_S),
            "When the keys of a run that was killed vanish, in seconds; renewed while the run lasts. `none` \
             means never.",
        ),
    ]
    .into_iter()
    .map(|mut field| {
        field.optional |= field.name == "ttl_s";
        field
    })
    .collect()
}

fn proxystore() -> Plugin {
    let flag =
        |name: &str, default: bool, help: &str| field(name, FieldKind::Bool, json!(default), help);
    Plugin {
        name: "proxystore",
        summary: "TaPS's configuration of ProxyStore, served by the transformers of this program.",
        fields: vec![
            required(
                "connector",
                FieldKind::Table,
                "`kind` and `options` of the connector: `file` (`store_dir`), `local`, or `redis` (`hostname`, \
                 `port`).",
            ),
            flag(
                "async_resolve",
                false,
                "Fetch arguments in the background from the moment when the worker takes the task.",
            ),
            cache_size(),
            flag(
                "extract_target",
                false,
                "Fetch arguments before the task starts; excludes `async_resolve`.",
            ),
            metrics(),
            flag(
                "populate_target",
                true,
                "Keep what a process puts as if it had fetched it.",
            ),
            flag("register", true, "Accepted, and without meaning here."),
        ],
    }
}
