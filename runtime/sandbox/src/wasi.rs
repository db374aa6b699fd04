//! What a std guest finds behind its WASI imports: a named, deterministic baseline.
//!
//! No environment but what the run sets, no arguments, no network, standard input closed, output captured up to a bound,
//! a wall clock that stands at 1970, a monotonic clock that counts from the start of the run, and
//! random numbers from the seed of the task. Directories appear only where granted.

use crate::RunContext;
use parking_lot::Mutex;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// A path of the host that a guest may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Field of the configuration that named it.
    pub field: String,
    /// What may be done with it.
    pub kind: GrantKind,
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path as a guest sees it.
    pub guest_path: String,
}

/// What a guest may do with a granted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantKind {
    /// Make a payload of this one file; it does not appear in the guest's file system.
    File,
    /// Read a directory tree.
    Directory,
    /// Read and write a directory tree.
    WritableDirectory,
}

/// Bytes of output kept per stream of a task; the rest is counted.
pub const OUTPUT_LIMIT_BYTES: usize = 64 << 10;

/// Captured output of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Mutex<Captured>>);

#[derive(Debug, Default)]
struct Captured {
    kept: Vec<u8>,
    dropped: u64,
}

impl Capture {
    /// Takes what was written: the text kept, and how many bytes were not.
    pub(crate) fn take(&self) -> Option<(String, u64)> {
        let captured = std::mem::take(&mut *self.0.lock());
        (!captured.kept.is_empty()).then(|| {
            (
                String::from_utf8_lossy(&captured.kept).into_owned(),
                captured.dropped,
            )
        })
    }

    fn push(&self, bytes: &[u8]) {
        let mut captured = self.0.lock();
        let room = OUTPUT_LIMIT_BYTES - captured.kept.len();
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        captured.kept.extend_from_slice(kept);
        captured.dropped += dropped.len() as u64;
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl tokio::io::AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(OUTPUT_LIMIT_BYTES)
    }
}

/// Always 1970: a guest has no wall clock.
struct NoWallClock;

impl HostWallClock for NoWallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// Counts from the start of the run.
struct RunClock(Instant);

impl HostMonotonicClock for RunClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Random numbers of a task.
fn random(builder: &mut WasiCtxBuilder, seed: u64) -> &mut WasiCtxBuilder {
    builder
        .secure_random(ChaCha8Rng::seed_from_u64(seed))
        .insecure_random(ChaCha8Rng::seed_from_u64(!seed))
        .insecure_random_seed(u128::from(seed))
}

/// Starts the random numbers of a sandbox anew, for its next task.
pub(crate) fn reseed(wasi: &mut WasiCtx, seed: u64) {
    let mut fresh = random(&mut WasiCtxBuilder::new(), seed).build();
    std::mem::swap(wasi.random(), fresh.random());
}

/// Builds the baseline for one sandbox.
pub(crate) fn context(
    seed: u64,
    run: &RunContext,
    grants: &[Grant],
    stdout: &Capture,
    stderr: &Capture,
) -> wasmtime::Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    random(&mut builder, seed)
        .allow_blocking_current_thread(true)
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .wall_clock(NoWallClock)
        .monotonic_clock(RunClock(run.start))
        .allow_tcp(false)
        .allow_udp(false)
        .envs(&run.environment);
    for grant in grants {
        let permissions = match grant.kind {
            GrantKind::File => continue,
            GrantKind::Directory => FsPerms::ReadOnly,
            GrantKind::WritableDirectory => FsPerms::ReadWrite,
        };
        builder.preopened_dir(&grant.host_path, &grant.guest_path, permissions)?;
    }
    Ok(builder.build())
}
