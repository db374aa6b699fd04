//! Payloads in an object store, by its address.

use super::{Answer, Backend, Refusal, file::MadeDirectories};
use crate::{ConfigProblem, Ownership, RunKey, config::without_secrets};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutMode, PutOptions,
    RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    local::LocalFileSystem,
    path::Path,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use url::Url;

/// One object for each payload, below a prefix of the run.
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Whether the server knows "only if there is no such object"; assumed until it says no.
    creates: AtomicBool,
    /// Directories made, where the store is a local directory, and the directory.
    local: Option<(PathBuf, MadeDirectories)>,
}

const EXPECTED: &str = "an address of scheme file://, s3://, gs:// or az://";

/// Most retries of one request; what is left of the time limit may end them earlier.
const RETRIES: usize = 3;

fn parse(url: &str) -> Result<(Url, ObjectStoreScheme, Path), ConfigProblem> {
    let wrong = |reason: &str| {
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(" ({reason})")
        };
        ConfigProblem::new(
            "url",
            format!("`{}`{reason}", without_secrets(url)),
            EXPECTED,
        )
    };
    let parsed = Url::parse(url)
        .map_err(|error| ConfigProblem::new("url", format!("`{url}` ({error})"), EXPECTED))?;
    let (scheme, path) =
        ObjectStoreScheme::parse(&parsed).map_err(|error| wrong(&error.to_string()))?;
    match scheme {
        ObjectStoreScheme::Local if parsed.to_file_path().is_err() => {
            Err(wrong("a local directory is file:///DIRECTORY"))
        }
        ObjectStoreScheme::Local
        | ObjectStoreScheme::AmazonS3
        | ObjectStoreScheme::GoogleCloudStorage
        | ObjectStoreScheme::MicrosoftAzure => Ok((parsed, scheme, path)),
        _ => Err(wrong("")),
    }
}

/// Checks what can be checked without asking anybody.
pub(crate) fn check(url: &str, options: &BTreeMap<String, String>) -> Result<(), ConfigProblem> {
    let (_, scheme, _) = parse(url)?;
    for key in options.keys() {
        let name = key.to_ascii_lowercase();
        let known = match scheme {
            ObjectStoreScheme::AmazonS3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
            ObjectStoreScheme::GoogleCloudStorage => name.parse::<GoogleConfigKey>().is_ok(),
            ObjectStoreScheme::MicrosoftAzure => name.parse::<AzureConfigKey>().is_ok(),
            _ => false,
        };
        if !known {
            return Err(ConfigProblem::new(
                "options",
                format!("the key `{key}`"),
                format!("options that {scheme:?} has"),
            ));
        }
    }
    Ok(())
}

impl Objects {
    pub(crate) fn open(
        url: &str,
        options: &BTreeMap<String, String>,
        timeout: Duration,
        ownership: Ownership,
    ) -> Result<Self, ConfigProblem> {
        check(url, options)?;
        let (parsed, scheme, prefix) = parse(url)?;
        crate::plane::provide_crypto();
        if scheme == ObjectStoreScheme::Local {
            return Self::local(url, &parsed, ownership);
        }
        let store = build(&scheme, url, options, retries(timeout)).map_err(|error| {
            ConfigProblem::new(
                "url",
                format!(
                    "`{}` ({})",
                    without_secrets(url),
                    crate::error::chain(&error)
                ),
                "an object store that the options and the environment describe",
            )
        })?;
        Ok(Self {
            store,
            prefix,
            creates: AtomicBool::new(true),
            local: None,
        })
    }

    fn local(url: &str, parsed: &Url, ownership: Ownership) -> Result<Self, ConfigProblem> {
        let wrong = |error: &dyn std::fmt::Display| {
            let given = format!("`{url}` ({error})");
            ConfigProblem::new("url", given, "a directory that can be made or written")
        };
        let directory = parsed
            .to_file_path()
            .map_err(|()| wrong(&"no local path"))?;
        let made = match ownership {
            Ownership::Run => MadeDirectories::make(&directory).map_err(|error| wrong(&error))?,
            Ownership::Worker => MadeDirectories::none(),
        };
        let store = LocalFileSystem::new_with_prefix(&directory).map_err(|error| wrong(&error))?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::default(),
            creates: AtomicBool::new(true),
            local: Some((directory, made)),
        })
    }

    /// Objects of a run lie together: its name is the first part of theirs.
    fn path(&self, key: &str) -> Path {
        let run = key.split('-').next().unwrap_or(key);
        self.prefix.clone().join(run).join(key)
    }

    async fn put_new(&self, path: &Path, bytes: Bytes) -> Result<(), Refusal> {
        let options = |mode| PutOptions {
            mode,
            ..PutOptions::default()
        };
        if self.creates.load(Ordering::Relaxed) {
            let put = self
                .store
                .put_opts(path, bytes.clone().into(), options(PutMode::Create));
            match put.await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {
                    return self.ours(path, &bytes).await;
                }
                Err(
                    object_store::Error::NotImplemented { .. }
                    | object_store::Error::NotSupported { .. },
                ) => self.creates.store(false, Ordering::Relaxed),
                Err(error) => return Err(Refusal::of(&error)),
            }
        }
        // Names are never used twice, so nothing is overwritten where all keep to that.
        let put = self
            .store
            .put_opts(path, bytes.into(), options(PutMode::Overwrite));
        put.await.map(drop).map_err(|error| Refusal::of(&error))
    }

    /// An object of that name is there: from an answer that was lost and a request that was repeated,
    /// or from somebody else.
    async fn ours(&self, path: &Path, bytes: &Bytes) -> Result<(), Refusal> {
        let there = async { self.store.get(path).await?.bytes().await };
        match there.await {
            Ok(there) if there == *bytes => Ok(()),
            Ok(_) => Err(Refusal(format!("there is another object at {path}"))),
            Err(error) => Err(Refusal::of(&error)),
        }
    }
}

fn retries(timeout: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: timeout,
    }
}

/// A client of a store elsewhere. The environment says what the options do not.
fn build(
    scheme: &ObjectStoreScheme,
    url: &str,
    options: &BTreeMap<String, String>,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    macro_rules! client {
        ($builder:ty) => {{
            let mut builder = <$builder>::from_env().with_url(url).with_retry(retry);
            for (key, value) in options {
                builder = builder.with_config(key.to_ascii_lowercase().parse()?, value);
            }
            Arc::new(builder.build()?)
        }};
    }
    Ok(match scheme {
        ObjectStoreScheme::GoogleCloudStorage => client!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => client!(MicrosoftAzureBuilder),
        _ => client!(AmazonS3Builder),
    })
}

impl Backend for Objects {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move { self.put_new(&self.path(key), bytes).await })
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let path = self.path(key);
            match async { self.store.get(&path).await?.bytes().await }.await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Refusal::of(&error)),
            }
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.store.delete(&self.path(key)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Refusal::of(&error)),
            }
        })
    }

    fn remove_run<'a>(&'a self, run: &'a RunKey) -> Answer<'a, ()> {
        Box::pin(async move {
            let below = self.prefix.clone().join(run.as_str());
            let listed = self.store.list(Some(&below));
            let names = listed.map_ok(|object| object.location).boxed();
            let removed = self.store.delete_stream(names);
            let removed: Result<Vec<Path>, _> = removed
                .filter(|result| {
                    let gone = matches!(result, Err(object_store::Error::NotFound { .. }));
                    std::future::ready(!gone)
                })
                .try_collect()
                .await;
            removed.map_err(|error| Refusal::of(&error))?;
            if let Some((directory, made)) = &self.local {
                // Empty now, or never made.
                let _ = std::fs::remove_dir(directory.join(run.as_str()));
                made.remove();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "../../tests/support/servers.rs"]
mod servers;

#[cfg(test)]
mod tests {
    use super::*;

    /// The second of two puts under one name fails unless it brings the same bytes; without conditions
    /// on the server's side it wins.
    async fn put_twice(objects: &Objects) -> [Result<(), String>; 3] {
        let put = |bytes: &'static [u8]| objects.put("run-process-1", Bytes::from_static(bytes));
        let first = put(b"ours").await.map_err(|refusal| refusal.0);
        let again = put(b"ours").await.map_err(|refusal| refusal.0);
        let other = put(b"another's").await.map_err(|refusal| refusal.0);
        [first, again, other]
    }

    fn open(url: &str, options: &[(&str, String)]) -> Objects {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        Objects::open(url, &options, Duration::from_secs(30), Ownership::Run).expect("a store")
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a thread").block_on(work)
    }

    #[test]
    fn nothing_of_others_is_overwritten_in_a_directory() {
        let place = tempfile::tempdir().expect("a directory");
        let objects = open(&format!("file://{}", place.path().display()), &[]);
        let [first, again, other] = run(put_twice(&objects));
        assert_eq!((first, again), (Ok(()), Ok(())));
        assert!(other.is_err_and(|reason| reason.contains("another object")));
    }

    #[test]
    fn nothing_of_others_is_overwritten_where_the_server_knows_conditions() {
        let Some(server) = servers::Moto::start() else {
            return;
        };
        let url = format!("s3://{}/prefix", servers::Moto::BUCKET);
        let objects = open(&url, &server.options());
        let [first, again, other] = run(put_twice(&objects));
        assert_eq!((first, again), (Ok(()), Ok(())));
        assert!(other.is_err_and(|reason| reason.contains("another object")));
        let kept = run(objects.get("run-process-1")).expect("there");
        assert_eq!(kept.as_deref(), Some(&b"ours"[..]));
    }

    #[test]
    fn a_server_without_conditions_serves_as_well() {
        let server = servers::S3::start();
        let url = format!("s3://{}/prefix", servers::S3::BUCKET);
        let objects = open(&url, &server.options(servers::S3::SECRET));
        let [_, _, other] = run(put_twice(&objects));
        assert!(other.is_err_and(|reason| reason.contains("another object")));
        // As after the answer "not implemented".
        objects.creates.store(false, Ordering::Relaxed);
        assert_eq!(run(put_twice(&objects)), [Ok(()), Ok(()), Ok(())]);
    }
}
