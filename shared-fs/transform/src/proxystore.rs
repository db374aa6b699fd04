//! TaPS's configuration of the ProxyStore transformer, mapped to our stores.

use crate::{
    BackendConfig, ConfigProblem, RedisConfig, Resolution, TransformerConfig,
    config::{Fields, REDIS_PREFIX, TTL_S, absolute, check_redis_url, redis_url},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// ProxyStore's other connectors.
const WITHOUT_EQUIVALENT: [&str; 8] = [
    "daos", "endpoint", "globus", "margo", "multi", "ucx", "zmq", "custom",
];

pub(crate) fn read(fields: &Fields<'_>) -> Result<TransformerConfig, ConfigProblem> {
    let resolution = match (fields.flag("async_resolve"), fields.flag("extract_target")) {
        (true, true) => {
            return Err(ConfigProblem::new(
                "async_resolve",
                "true, with `extract_target` true",
                "at most one of the two",
            ));
        }
        (true, false) => Resolution::Async,
        (false, true) => Resolution::Eager,
        (false, false) => Resolution::Lazy,
    };
    let backend = connector(fields)?;
    Ok(TransformerConfig {
        resolution,
        populate: fields.flag("populate_target"),
        ..TransformerConfig::common(backend, fields)
    })
}

fn connector(fields: &Fields<'_>) -> Result<BackendConfig, ConfigProblem> {
    let empty = Map::new();
    let connector = match fields.0.get("connector") {
        Some(Value::Object(connector)) => connector,
        _ => &empty,
    };
    let options = match connector.get("options") {
        Some(Value::Object(options)) => options,
        None => &empty,
        Some(other) => {
            let given = other.to_string();
            return Err(ConfigProblem::new("connector.options", given, "a table"));
        }
    };
    if let Some(key) = connector
        .keys()
        .find(|key| !["kind", "options"].contains(&key.as_str()))
    {
        let given = format!("the key `{key}`");
        return Err(ConfigProblem::new(
            "connector",
            given,
            "`kind` and `options`",
        ));
    }
    let options_of = Fields(options);
    let kind = Fields(connector).text("kind").unwrap_or_default();
    match kind {
        "file" => {
            allow(options, &["store_dir", "clear"])?;
            Ok(BackendConfig::File {
                directory: absolute("connector.options.store_dir", options_of.text("store_dir"))?,
            })
        }
        "local" => {
            allow(options, &["store_dict", "include_self", "clear"])?;
            Ok(BackendConfig::SharedMemory)
        }
        "redis" => {
            allow(options, &["hostname", "port", "clear"])?;
            let field = "connector.options.hostname";
            let host = options_of.text("hostname").ok_or_else(|| {
                ConfigProblem::new(field, "nothing", "the name of the server's machine")
            })?;
            let url = redis_url(host, options_of.number("port").unwrap_or(6379));
            check_redis_url(field, &url)?;
            Ok(BackendConfig::Redis(RedisConfig {
                url,
                prefix: REDIS_PREFIX.to_owned(),
                ttl: Some(Duration::from_secs(TTL_S)),
            }))
        }
        other => {
            let given = match other {
                "" => "nothing".to_owned(),
                known if WITHOUT_EQUIVALENT.contains(&known) => {
                    format!(
                        "`{known}`, which has no equivalent here (nor have {})",
                        others(known)
                    )
                }
                unknown => format!("`{unknown}`"),
            };
            Err(ConfigProblem::new(
                "connector.kind",
                given,
                "one of file, local, redis",
            ))
        }
    }
}

fn others(kind: &str) -> String {
    let others = WITHOUT_EQUIVALENT.iter().filter(|other| **other != kind);
    others.copied().collect::<Vec<_>>().join(", ")
}

fn allow(options: &Map<String, Value>, known: &[&str]) -> Result<(), ConfigProblem> {
    match options.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(ConfigProblem::new(
            "connector.options",
            format!("the key `{key}`"),
            format!("keys {}", known.join(", ")),
        )),
        None => Ok(()),
    }
}
