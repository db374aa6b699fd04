//! From the coordinator's first message to a sandbox that can run attempts.

use super::{
    control,
    gate::Gate,
    outgoing::{Outgoing, voice},
};
use crate::{channel::Inbox, message::Setup};
use std::{borrow::Cow, error::Error, fs::File, io::Read as _, sync::Arc};
use taps_bundle::{Bundle, Manifest, Source};
use taps_payload::{
    FileStore, SegmentStore, SharedAccount, SharedWords, StoreOptions, tmpfs::HugeTmpfs,
};
use taps_programs::Programs;
use taps_sandbox::{Killer, Sandbox, TaskWorker, WorkerParts, WorkerRun};

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
        let interrupt = setup.run.interrupt;
        let parts = WorkerParts {
            cache: setup.cache_directory.as_deref(),
            store: store.clone(),
            voice: || voice(outgoing),
            programs,
        };
        let WorkerRun {
            sandbox,
            context,
            runtime,
        } = setup.run.open(&bundle, parts)?;
        let runtime = runtime.with_killer(killer);
        Ok(Self {
            gate: Arc::new(Gate::new(words, setup.slot)),
            control: control::Options {
                socket: control,
                interrupt,
                worker: setup.worker.worker,
                context,
            },
            store,
            runner: Arc::new(runtime).worker(setup.worker.worker),
            sandbox,
        })
    }
}
