//! The stores.

mod file;
mod lease;
mod object_store;
mod redis;

pub(crate) use self::object_store::check as check_object_store;

use crate::{BackendConfig, ConfigProblem, Ownership, RunKey, TransformerConfig};
use bytes::Bytes;
use std::{future::Future, pin::Pin, sync::Arc};

/// What a store says when it refuses: one line, without secrets.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl Refusal {
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(crate::error::chain(error))
    }
}

/// An answer to come.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A store of payloads by name. Every call may last for ever: the data plane limits it.
pub(crate) trait Backend: Send + Sync {
    /// Stores bytes under a name that was never used. Nobody sees a part of them.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()>;

    /// The bytes of a name; none when there are none.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>>;

    /// Removes a name; one that is not there is no error.
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;

    /// Removes everything whose name begins with the run's, and whatever was made to hold it.
    fn remove_run<'a>(&'a self, run: &'a RunKey) -> Answer<'a, ()>;

    /// Keeps what the run stored from vanishing by itself; how long that lasts.
    fn renew<'a>(&'a self, _run: &'a RunKey) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// How often to renew; never when none.
    fn renew_every(&self) -> Option<std::time::Duration> {
        None
    }
}

/// A store, and how to speak of it.
pub(crate) struct Opened {
    pub(crate) backend: Arc<dyn Backend>,
    /// Without secrets.
    pub(crate) name: Arc<str>,
    /// Field of the configuration that names it.
    pub(crate) field: &'static str,
}

/// Opens a store; none for shared memory, which needs none. Nothing is asked of a server yet.
pub(crate) fn open(
    config: &TransformerConfig,
    run: &RunKey,
    ownership: Ownership,
) -> Result<Option<Opened>, ConfigProblem> {
    Ok(match &config.backend {
        BackendConfig::SharedMemory => None,
        BackendConfig::File { directory } => Some(Opened {
            backend: Arc::new(file::Files::open(directory, run, ownership)?),
            name: directory.display().to_string().into(),
            field: "file_dir",
        }),
        BackendConfig::Redis(redis) => Some(Opened {
            backend: Arc::new(redis::Redis::open(redis, config.timeout)?),
            name: crate::config::without_secrets(&redis.url).into(),
            field: "url",
        }),
        BackendConfig::ObjectStore { url, options } => Some(Opened {
            backend: Arc::new(object_store::Objects::open(
                url,
                options,
                config.timeout,
                ownership,
            )?),
            name: crate::config::without_secrets(url).into(),
            field: "url",
        }),
    })
}
