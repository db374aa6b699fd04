//! What a worker has to have before it can run the attempts of a run: its bundle, and how the run is set up.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use taps_bundle::{Bundle, Manifest, Source};
use taps_sandbox::{Grant, InstancePolicy, Interrupt, RunContext};
use taps_transform::PlaneConfig;

/// First bytes of a package, with the version of its format.
const MAGIC: &[u8; 8] = b"TAPSPKG1";

/// How the run is set up, for its workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSetup {
    /// When the run began.
    pub began: Moment,
    /// How guests are interrupted.
    pub interrupt: Interrupt,
    /// Where sandboxes come from.
    pub policy: InstancePolicy,
    /// Notes for every record.
    pub notes: Vec<String>,
    /// Paths that the run grants.
    pub grants: Vec<Grant>,
    /// Environment variables that guests see.
    pub environment: Vec<(String, String)>,
    /// Results up to this size travel inline.
    pub inline_max_bytes: u64,
    /// Payloads below this size are read into a window, and not mapped there.
    pub map_min_bytes: u64,
    /// Results get a digest, and arguments are compared with it.
    pub verify_payloads: bool,
    /// The transformer of the run, where there is one.
    pub data: Option<PlaneConfig>,
}

/// A moment that other machines can tell, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Of the machine that says so, since it was started; empty where it is not known.
    boot: String,
    /// On its monotonic clock, in nanoseconds.
    monotonic_ns: u64,
    /// Nanoseconds since 1970.
    unix_ns: u64,
}

impl Moment {
    /// Says it for others.
    pub fn of(moment: Instant) -> Self {
        let passed = moment.elapsed();
        let ago = |now: Duration| now.saturating_sub(passed).as_nanos() as u64;
        Self {
            boot: boot(),
            monotonic_ns: ago(monotonic()),
            unix_ns: ago(wall()),
        }
    }

    /// The moment on this machine's clock: exactly, where the machine is the same, else as well as both tell the
    /// time of day.
    pub fn here(&self) -> Instant {
        let passed = if !self.boot.is_empty() && self.boot == boot() {
            monotonic().saturating_sub(Duration::from_nanos(self.monotonic_ns))
        } else {
            wall().saturating_sub(Duration::from_nanos(self.unix_ns))
        };
        let now = Instant::now();
        now.checked_sub(passed).unwrap_or(now)
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl RunSetup {
    /// That of a run.
    pub fn of(
        run: &RunContext,
        interrupt: Interrupt,
        policy: InstancePolicy,
        notes: Vec<String>,
    ) -> Self {
        Self {
            began: Moment::of(run.start),
            interrupt,
            policy,
            notes,
            grants: run.grants.clone(),
            environment: run.environment.clone(),
            inline_max_bytes: run.inline_max_bytes,
            map_min_bytes: run.map_min_bytes,
            verify_payloads: run.verify_payloads,
            data: run.data.as_ref().map(|plane| plane.config().clone()),
        }
    }
}

/// Bytes that stand for a run's set-up and its bundle, known by their digest.
#[derive(Debug)]
pub struct Package {
    bytes: Vec<u8>,
    digest: String,
}

/// What comes before the bytes of the components.
#[derive(Serialize, Deserialize)]
struct Head {
    setup: RunSetup,
    /// JSON: the manifest's own form.
    manifest: String,
    /// Lengths of the components, whose bytes follow.
    lengths: Vec<u64>,
}

/// Why bytes are not a package for this worker.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// They were changed on their way.
    #[error("the package has digest {found}, not {expected}: it was changed on its way")]
    Digest {
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
    /// They are no package, or one of another version.
    #[error("the package is not one that this version reads: {0}")]
    Format(String),
    /// The bundle in it is not valid.
    #[error("the bundle in the package")]
    Bundle(#[from] taps_bundle::BundleError),
}

impl Package {
    /// Packs.
    pub fn new(setup: RunSetup, bundle: &Bundle) -> Result<Self, PackageError> {
        let format = |error: &dyn std::fmt::Display| PackageError::Format(error.to_string());
        let count = bundle.manifest().components.len();
        let components: Vec<&[u8]> = (0..count)
            .filter_map(|index| bundle.component(index))
            .collect();
        let head = Head {
            setup,
            manifest: serde_json::to_string(bundle.manifest()).map_err(|error| format(&error))?,
            lengths: components.iter().map(|bytes| bytes.len() as u64).collect(),
        };
        let mut bytes =
            postcard::to_extend(&head, MAGIC.to_vec()).map_err(|error| format(&error))?;
        for component in components {
            bytes.extend_from_slice(component);
        }
        let digest = digest(&bytes);
        Ok(Self { bytes, digest })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Unpacks what has that digest.
    pub fn open(bytes: &[u8], expected: &str) -> Result<(RunSetup, Bundle), PackageError> {
        let found = digest(bytes);
        if found != expected {
            return Err(PackageError::Digest {
                expected: expected.to_owned(),
                found,
            });
        }
        let content = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| PackageError::Format("it begins with other bytes".to_owned()))?;
        let format = |error: &dyn std::fmt::Display| PackageError::Format(error.to_string());
        let (head, mut rest): (Head, &[u8]) =
            postcard::take_from_bytes(content).map_err(|error| format(&error))?;
        let manifest: Manifest =
            serde_json::from_str(&head.manifest).map_err(|error| format(&error))?;
        let mut components = Vec::with_capacity(head.lengths.len());
        for length in head.lengths {
            let (component, after) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(|| PackageError::Format("it ends early".to_owned()))?;
            components.push(Cow::Owned(component.to_vec()));
            rest = after;
        }
        let bundle = Bundle::from_parts(manifest, components, Source::Embedded)?;
        Ok((head.setup, bundle))
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
