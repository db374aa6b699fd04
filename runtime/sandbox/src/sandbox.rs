//! The engines of a process, and components ready to be instantiated in them.

use crate::control::{CancelToken, Control};
use crate::{
    AotCache, Interrupt, PoolSize, Profile, RunContext, State,
    error::SandboxError,
    host, profile,
    state::Role,
    ticker::{Found, Ticker, Turns},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use taps_bundle::{Bundle, Digest, Manifest, MemoryProfile, PoolNeeds, check_component_header};
use taps_schema::{AppDescription, Nans, WIT_VERSION};
use wasmtime::{
    Engine, Store, UpdateDeadline,
    component::{Component, ComponentExportIndex, InstancePre, types::ComponentItem},
};

/// Limits while a component describes itself.
const DESCRIBE_MEMORY_BYTES: u64 = 256 << 20;
const DESCRIBE_TIME: Duration = Duration::from_secs(10);

/// Most futures and payloads that a guest can hold at once.
const MAX_HANDLES: usize = 16 << 20;

/// The sandboxes of a process: engines by profile, made when first needed, and their clock.
pub struct Sandbox {
    pool: PoolSize,
    cache: Option<AotCache>,
    needs: PoolNeeds,
    engines: Mutex<HashMap<(Profile, bool), Engine>>,
    ticker: Ticker,
    watcher: Option<Box<dyn CompileWatcher>>,
}

/// Told of each component that is compiled, because no cache has it: that can take seconds.
pub trait CompileWatcher: Send + Sync {
    /// It begins; the size of the component is in bytes.
    fn begins(&self, name: &str, bytes: usize);
    /// It ended, one way or another.
    fn ends(&self);
}

/// A component, compiled and linked for a profile.
#[derive(Clone)]
pub struct LoadedComponent {
    name: String,
    component: Component,
    profile: Profile,
    /// Where its sandboxes tell of ticks.
    found: Arc<Found>,
    tasks: OnceLock<Linked>,
}

/// A component linked for one kind of use, with the export that is called.
#[derive(Clone)]
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<State>,
    pub(crate) export: ComponentExportIndex,
}

impl Sandbox {
    /// Sandboxes for this many workers. Compiled components are kept in the cache, if there is one.
    pub fn new(pool: PoolSize, cache: Option<AotCache>) -> std::io::Result<Self> {
        Ok(Self {
            pool,
            cache,
            needs: profile::ANY_NEEDS,
            engines: Mutex::default(),
            ticker: Ticker::start()?,
            watcher: None,
        })
    }

    /// The same for the components of a manifest and no others: the pool holds what they need. Before the first
    /// is loaded.
    #[must_use]
    pub fn sized_for(mut self, manifest: &Manifest) -> Self {
        self.needs = profile::needs_of(manifest);
        let mut routed: Vec<u32> = manifest
            .routes
            .iter()
            .map(|route| route.component)
            .collect();
        routed.sort_unstable();
        routed.dedup();
        // One that runs, and one of each component that waits for its next task.
        let waiting = u32::try_from(routed.len()).unwrap_or(u32::MAX);
        self.pool.per_worker = self.pool.per_worker.max(waiting.saturating_add(1).min(16));
        self
    }

    /// The same, telling somebody what is compiled.
    #[must_use]
    pub fn watched_by(mut self, watcher: impl CompileWatcher + 'static) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    /// Compiles and links a component of a bundle.
    pub fn load(
        &self,
        bundle: &Bundle,
        index: usize,
        interrupt: Interrupt,
    ) -> Result<LoadedComponent, SandboxError> {
        let entry = bundle.manifest().components.get(index);
        let (Some(entry), Some(wasm)) = (entry, bundle.component(index)) else {
            return Err(SandboxError::NoComponent {
                app: bundle.app().name.clone(),
                index,
            });
        };
        let code = (interrupt, bundle.app().nans);
        self.compile(&entry.file, wasm, entry.digest, entry.memory, code)
    }

    /// Compiles and links all components of a bundle, for workers that are interrupted so. A component without
    /// tasks serves as the driver only, which is always interrupted by epochs.
    pub fn load_all(
        &self,
        bundle: &Bundle,
        interrupt: Interrupt,
    ) -> Result<Vec<LoadedComponent>, SandboxError> {
        let manifest = bundle.manifest();
        let has_tasks = |index| {
            let mut routes = manifest.routes.iter();
            routes.any(|route| route.component as usize == index)
        };
        (0..manifest.components.len())
            .map(|index| {
                let interrupt = if has_tasks(index) {
                    interrupt
                } else {
                    Interrupt::Epoch
                };
                self.load(bundle, index, interrupt)
            })
            .collect()
    }

    fn compile(
        &self,
        name: &str,
        wasm: &[u8],
        digest: Digest,
        memory: MemoryProfile,
        (interrupt, nans): (Interrupt, Nans),
    ) -> Result<LoadedComponent, SandboxError> {
        let failed = |source| SandboxError::Compile {
            name: name.to_owned(),
            source,
        };
        let memory = match memory {
            // The imports decide, and reading them needs no compiled code of the right profile.
            MemoryProfile::Auto if imports_windows(wasm) && !has_large_data(wasm) => {
                MemoryProfile::Windows
            }
            MemoryProfile::Auto => MemoryProfile::Copy,
            chosen => chosen,
        };
        let profile = Profile {
            memory,
            interrupt,
            nans,
        };
        let compiled = |profile, pooled| {
            let engine = self.engine(profile, pooled)?;
            self.compiled(&engine, profile, name, digest, wasm)
        };
        let (profile, component) = match compiled(profile, true) {
            Ok(component) => (profile, component),
            // It may only be too large for the pool: on demand it can have any size, without windows.
            Err(refused) => {
                let on_demand = Profile {
                    memory: MemoryProfile::Copy,
                    ..profile
                };
                match compiled(on_demand, false) {
                    Ok(component) => (on_demand, component),
                    Err(_) => return Err(failed(refused)),
                }
            }
        };
        check_versions(name, &component)?;
        Ok(LoadedComponent {
            name: name.to_owned(),
            component,
            profile,
            found: Arc::clone(self.ticker.found()),
            tasks: OnceLock::new(),
        })
    }

    fn compiled(
        &self,
        engine: &Engine,
        profile: Profile,
        name: &str,
        digest: Digest,
        wasm: &[u8],
    ) -> wasmtime::Result<Component> {
        let compiling = || {
            if let Some(watcher) = &self.watcher {
                watcher.begins(name, wasm.len());
            }
        };
        let component = if let Some(cache) = &self.cache {
            cache.load(engine, profile, digest, wasm, compiling)
        } else {
            compiling();
            Component::new(engine, wasm)
        };
        if let Some(watcher) = &self.watcher {
            watcher.ends();
        }
        component
    }

    fn engine(&self, profile: Profile, pooled: bool) -> wasmtime::Result<Engine> {
        let mut engines = self.engines.lock();
        if let Some(engine) = engines.get(&(profile, pooled)) {
            return Ok(engine.clone());
        }
        let engine = profile::engine(profile, self.pool, self.needs, pooled)?;
        self.ticker.add(&engine);
        engines.insert((profile, pooled), engine.clone());
        Ok(engine)
    }

    /// Asks a bare component what it is. Runs it once, without grants, under strict limits.
    pub fn describe(&self, name: &str, wasm: &[u8]) -> Result<AppDescription, SandboxError> {
        check_component_header(name, wasm)?;
        let loaded = self.compile(
            name,
            wasm,
            Digest::of(wasm),
            MemoryProfile::Auto,
            (Interrupt::Epoch, Nans::Canonical),
        )?;
        let linked = loaded.link_tasks_for("description", "describe")?;
        let run = Arc::new(RunContext::for_description()?);
        let control = Control::new(CancelToken::new(), Some(Instant::now() + DESCRIBE_TIME));
        let failed = |source| SandboxError::Describe {
            name: name.to_owned(),
            source,
        };
        let state = State::new(&run, Role::Describe, control, DESCRIBE_MEMORY_BYTES, 0, &[])
            .map_err(failed)?;
        let mut store = loaded.new_store(state, None);
        let text = linked
            .pre
            .instantiate(&mut store)
            .and_then(|instance| {
                let describe =
                    instance.get_typed_func::<(), (String,)>(&mut store, linked.export)?;
                describe.call(&mut store, ())
            })
            .map_err(failed)?
            .0;
        serde_json::from_str(&text).map_err(|source| SandboxError::BadDescription {
            name: name.to_owned(),
            source,
        })
    }
}

impl LoadedComponent {
    /// Name of the component's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile that it was compiled for.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.component.engine()
    }

    /// A store under limits, whose guest is interrupted as its control says; a driver, of whose turns are told here,
    /// gives its thread back at each tick. Set before instantiation: a start function runs guest code.
    pub(crate) fn new_store(&self, mut state: State, driver: Option<Arc<Turns>>) -> Store<State> {
        state.maps = self.profile.memory == MemoryProfile::Windows;
        let most = state.memory.most();
        let mut store = Store::new(self.engine(), state);
        store.limiter(|state| &mut state.memory);
        // wasmtime's own limit for one call, 128 MiB, is too low for windows: they are passed as lists, though
        // nothing is copied.
        store.set_hostcall_fuel(most);
        store.set_max_component_handles(MAX_HANDLES);
        if self.profile.interrupt == Interrupt::Epoch {
            let found = Arc::clone(&self.found);
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(move |mut store| {
                let go_on = match &driver {
                    None => {
                        found.task();
                        UpdateDeadline::Continue(1)
                    }
                    Some(turns) => {
                        found.driver(turns.tick());
                        UpdateDeadline::Yield(1)
                    }
                };
                match store.data().control.check() {
                    Ok(()) => Ok(go_on),
                    Err(why) => Err(host::interrupt(&mut store, why)),
                }
            });
        }
        store
    }

    /// Linked for running tasks; done once.
    pub(crate) fn tasks(&self) -> Result<&Linked, SandboxError> {
        if let Some(linked) = self.tasks.get() {
            return Ok(linked);
        }
        let linked = self.link_tasks_for("tasks", "run")?;
        Ok(self.tasks.get_or_init(|| linked))
    }

    /// Linked for running the driver.
    pub(crate) fn driver(&self) -> Result<Linked, SandboxError> {
        let linker =
            host::driver_linker(self.engine()).map_err(|source| self.link_error(source))?;
        let pre = linker
            .instantiate_pre(&self.component)
            .map_err(|source| self.link_error(source))?;
        self.export(pre, "driver", "run")
    }

    fn link_tasks_for(&self, interface: &str, function: &str) -> Result<Linked, SandboxError> {
        let linker = host::task_linker(self.engine()).map_err(|source| self.link_error(source))?;
        let pre = linker
            .instantiate_pre(&self.component)
            .map_err(|source| self.link_error(source))?;
        self.export(pre, interface, function)
    }

    fn export(
        &self,
        pre: InstancePre<State>,
        interface: &str,
        function: &str,
    ) -> Result<Linked, SandboxError> {
        let interface = format!("taps:core/{interface}@{WIT_VERSION}");
        let found = self
            .component
            .get_export_index(None, &interface)
            .and_then(|parent| self.component.get_export_index(Some(&parent), function));
        match found {
            Some(export) => Ok(Linked { pre, export }),
            None => Err(SandboxError::MissingExport {
                name: self.name.clone(),
                export: format!("{interface}#{function}"),
            }),
        }
    }

    fn link_error(&self, source: wasmtime::Error) -> SandboxError {
        SandboxError::Link {
            name: self.name.clone(),
            source,
        }
    }
}

/// Bytes of data segments from which on it costs less to share them copy-on-write than to copy them into
/// every sandbox, even though payloads are then copied.
const LARGE_DATA_BYTES: u64 = 4 << 20;

/// Whether the data segments of a component are large. What cannot be read has none: it is refused when compiled.
fn has_large_data(wasm: &[u8]) -> bool {
    let scan = taps_bundle::scan("component", wasm);
    scan.is_ok_and(|scan| scan.data_bytes >= LARGE_DATA_BYTES)
}

/// Whether the component can attach windows. The name of the import stands in its binary as it is.
fn imports_windows(wasm: &[u8]) -> bool {
    let contains = |name: &[u8]| wasm.windows(name.len()).any(|window| window == name);
    contains(b"[method]payload.attach") || contains(b"[static]output-buffer.create")
}

/// Refuses a component built against another version of the interface, naming both.
fn check_versions(name: &str, component: &Component) -> Result<(), SandboxError> {
    let ty = component.component_type();
    let engine = component.engine();
    let imports = ty
        .imports(engine)
        .map(|(name, item)| (name.to_owned(), item.ty));
    let exports = ty
        .exports(engine)
        .map(|(name, item)| (name.to_owned(), item.ty));
    let mut ours = false;
    for (item, kind) in imports.chain(exports) {
        let Some((_, version)) = item
            .strip_prefix("taps:core/")
            .and_then(|interface| interface.split_once('@'))
        else {
            continue;
        };
        if !matches!(kind, ComponentItem::ComponentInstance(_)) {
            continue;
        }
        ours = true;
        if series(version) != series(WIT_VERSION) {
            return Err(SandboxError::WitVersion {
                name: name.to_owned(),
                found: version.to_owned(),
                expected: WIT_VERSION,
            });
        }
    }
    if ours {
        Ok(())
    } else {
        Err(SandboxError::NotAnApp {
            name: name.to_owned(),
        })
    }
}

/// Major and minor of a version: what must agree while the major is 0.
fn series(version: &str) -> Option<&str> {
    version.rsplit_once('.').map(|(series, _)| series)
}
