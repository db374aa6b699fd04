//! Payloads in a Redis server.

use super::{Answer, Backend, Refusal};
use crate::{ConfigProblem, RedisConfig, RunKey, config};
use bytes::Bytes;
use redis::{
    Client, Cmd, Pipeline,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::time::Duration;
use tokio::sync::OnceCell;

/// One key for each payload, through one connection that comes back by itself.
pub(crate) struct Redis {
    client: Client,
    settings: ConnectionManagerConfig,
    /// Made by the first operation: it needs the runtime that the operation runs on.
    connection: OnceCell<ConnectionManager>,
    prefix: String,
    ttl: Option<Duration>,
}

/// A connection is made within this, or the operation fails: retrying is the task's business.
const CONNECT: Duration = Duration::from_secs(5);

impl Redis {
    pub(crate) fn open(config: &RedisConfig, timeout: Duration) -> Result<Self, ConfigProblem> {
        config::check_redis_url("url", &config.url)?;
        crate::plane::provide_crypto();
        let client = Client::open(config.url.as_str()).map_err(|error| {
            ConfigProblem::new("url", error.to_string(), "the address of a Redis server")
        })?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT.min(timeout)))
            // The data plane limits every operation.
            .set_response_timeout(None)
            .set_number_of_retries(1);
        Ok(Self {
            client,
            settings,
            connection: OnceCell::new(),
            prefix: config.prefix.clone(),
            ttl: config.ttl,
        })
    }

    fn name(&self, key: &str) -> String {
        format!("{}:{key}", self.prefix)
    }

    async fn connect(&self) -> Result<ConnectionManager, Refusal> {
        let make =
            || ConnectionManager::new_with_config(self.client.clone(), self.settings.clone());
        let connection = self.connection.get_or_try_init(make).await;
        Ok(connection
            .map_err(|error| refusal("connect", &error))?
            .clone())
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, Refusal> {
        let mut connection = self.connect().await?;
        command
            .query_async(&mut connection)
            .await
            .map_err(|error| refusal("ask", &error))
    }

    /// Does something to all keys of the run, some at a time.
    async fn each(
        &self,
        run: &RunKey,
        commands: impl Fn(Vec<Vec<u8>>) -> Pipeline + Send,
    ) -> Result<(), Refusal> {
        let pattern = format!("{}:{run}-*", glob_escaped(&self.prefix));
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1000);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan).await?;
            if !keys.is_empty() {
                let mut connection = self.connect().await?;
                commands(keys)
                    .query_async::<redis::Value>(&mut connection)
                    .await
                    .map_err(|error| refusal("ask", &error))?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

fn refusal(what: &str, error: &redis::RedisError) -> Refusal {
    Refusal(format!("{what}: {}", crate::error::chain(error)))
}

/// A prefix with nothing in it that a pattern of Redis would take for more than itself.
fn glob_escaped(prefix: &str) -> String {
    let special = |character| matches!(character, '*' | '?' | '[' | ']' | '\\' | '^');
    prefix.chars().fold(String::new(), |mut text, character| {
        if special(character) {
            text.push('\\');
        }
        text.push(character);
        text
    })
}

impl Backend for Redis {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut set = redis::cmd("SET");
            set.arg(self.name(key)).arg(&bytes[..]);
            if let Some(ttl) = self.ttl {
                set.arg("EX").arg(ttl.as_secs().max(1));
            }
            self.ask(&set).await
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let mut get = redis::cmd("GET");
            get.arg(self.name(key));
            let bytes: Option<Vec<u8>> = self.ask(&get).await?;
            Ok(bytes.map(Bytes::from))
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(self.name(key));
            self.ask::<u64>(&unlink).await.map(drop)
        })
    }

    fn remove_run<'a>(&'a self, run: &'a RunKey) -> Answer<'a, ()> {
        Box::pin(self.each(run, |keys| {
            let mut commands = redis::pipe();
            commands.cmd("UNLINK").arg(keys);
            commands
        }))
    }

    fn renew<'a>(&'a self, run: &'a RunKey) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(ttl) = self.ttl else { return Ok(()) };
            self.each(run, |keys| {
                let mut commands = redis::pipe();
                for key in keys {
                    commands.cmd("EXPIRE").arg(key).arg(ttl.as_secs().max(1));
                }
                commands
            })
            .await
        })
    }

    fn renew_every(&self) -> Option<Duration> {
        self.ttl.map(|ttl| ttl / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_only_itself() {
        assert_eq!(glob_escaped("a*b?[c]\\^:d-"), "a\\*b\\?\\[c\\]\\\\\\^:d-");
    }
}
