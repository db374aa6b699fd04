//! From the coordinator's first message to a sandbox that can run attempts.

use super::{
    control,
    gate::Gate,
    outgoing::{Outgoing, voice},
};
use crate::{channel::Inbox, message::Setup};
use std::{
    borrow::Cow,
    error::Error,
    fs::File,
    io::Read as _,
    sync::Arc,
    time::{Duration, Instant},
};
use taps_bundle::{Bundle, Manifest, Source};
use taps_payload::{
    FileStore, SegmentStore, SharedAccount, SharedWords, StoreOptions, tmpfs::HugeTmpfs,
};
use taps_programs::Programs;
use taps_sandbox::{AotCache, Killer, PoolSize, RunContext, Sandbox, TaskRuntime, TaskWorker};
use taps_transform::{DataPlane, Ownership};

/// A worker that is ready to serve.
pub(super) struct Prepared {
    pub(super) gate: Arc<Gate>,
    pub(super) control: control::Options,
    pub(super) store: SegmentStore,
    pub(super) runner: TaskWorker,
    pub(super) sandbox: Sandbox,
}

impl Prepared {
    pub(super) fn new(
        setup: Setup,
        inbox: &mut Inbox,
        outgoing: &Arc<Outgoing>,
        killer: Killer,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let control = inbox.descriptor()?;
        let words = SharedWords::open(inbox.descriptor()?, setup.slots)?;
        let account = SharedAccount::open(inbox.descriptor()?, setup.slots)?;
        let manifest: Manifest = serde_json::from_str(&setup.manifest)?;
        let mut components = Vec::with_capacity(manifest.components.len());
        for file in inbox.descriptors(manifest.components.len())? {
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes)?;
            components.push(Cow::Owned(bytes));
        }
        let tmpfs = if setup.store.tmpfs {
            Some(inbox.descriptor()?)
        } else {
            None
        };
        let programs = match setup.programs {
            None => None,
            Some((settings, files)) => {
                let files = FileStore::join(files, &setup.store.id_space.to_string());
                Some(Programs::new(settings, inbox.descriptor()?, files))
            }
        };
        let store = SegmentStore::new(StoreOptions {
            kind: setup.store.kind,
            huge_pages: setup.store.huge_pages,
            // To try it once more could hold up a worker that takes the place of one that was lost.
            huge_pages_work: Some(setup.store.huge_pages_work),
            recycle_bytes: setup.store.recycle_bytes,
            slab_max_bytes: setup.store.slab_max_bytes,
            id_space: setup.store.id_space,
            account: account.slot(setup.slot),
            spill_dir: setup.store.spill_directory,
            tmpfs: tmpfs.map(HugeTmpfs::from_fd),
            ..StoreOptions::default()
        })?;
        let bundle = Bundle::from_parts(manifest, components, Source::Embedded)?;
        let cache = setup
            .cache_directory
            .and_then(|directory| AotCache::open(&directory).ok());
        let pool = PoolSize {
            workers: 1,
            per_worker: 2,
        };
        let sandbox = Sandbox::new(pool, cache)?.sized_for(bundle.manifest());
        let loaded = sandbox.load_all(&bundle, setup.interrupt)?;
        let start = began(setup.start_ns);
        let data = setup
            .data
            .map(|config| DataPlane::open(config, store.clone(), Ownership::Worker))
            .transpose()?;
        if let Some(plane) = data
            .as_ref()
            .filter(|plane| plane.config().transformer.metrics)
        {
            plane.record_to(Arc::new(voice(outgoing)), start);
        }
        let context = Arc::new(RunContext {
            start,
            store: store.clone(),
            sink: Box::new(voice(outgoing)),
            grants: setup.grants,
            environment: setup.environment,
            inline_max_bytes: setup.inline_max_bytes,
            map_min_bytes: setup.map_min_bytes,
            verify_payloads: setup.verify_payloads,
            data,
            programs,
        });
        let mut runtime = TaskRuntime::new(
            loaded,
            bundle.manifest(),
            Arc::clone(&context),
            setup.policy,
        )?
        .with_killer(killer);
        for note in setup.notes {
            runtime = runtime.with_note(note);
        }
        Ok(Self {
            gate: Arc::new(Gate::new(words, setup.slot)),
            control: control::Options {
                socket: control,
                interrupt: setup.interrupt,
                worker: setup.worker.worker,
                context,
            },
            store,
            runner: Arc::new(runtime).worker(setup.worker.worker),
            sandbox,
        })
    }
}

/// The time on this process's clock when the run began; the clock is the same in all processes.
fn began(start_ns: u64) -> Instant {
    let (now, monotonic_ns) = crate::moment();
    let passed = monotonic_ns.saturating_sub(start_ns);
    now.checked_sub(Duration::from_nanos(passed)).unwrap_or(now)
}
