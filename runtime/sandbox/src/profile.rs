//! The engine configurations that components are compiled for.

use serde::{Deserialize, Serialize};
use taps_bundle::{ComponentEntry, Manifest, MemoryProfile, PoolNeeds};
use taps_schema::Nans;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

/// How running guest code is interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interrupt {
    /// Checks in the code, at loop heads and calls: tight SIMD loops run 2 to 4 times slower.
    #[default]
    Epoch,
    /// No checks; a time limit is enforced by killing the worker.
    Free,
}

/// One engine configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Memory of sandboxes; never [`MemoryProfile::Auto`] once resolved.
    pub memory: MemoryProfile,
    /// How guest code is interrupted.
    pub interrupt: Interrupt,
    /// Which bits NaNs have.
    pub nans: Nans,
}

impl Profile {
    /// Name in cache keys and records, for example `windows-epoch`.
    pub fn name(self) -> &'static str {
        match (self.memory, self.interrupt, self.nans) {
            (MemoryProfile::Copy, Interrupt::Epoch, Nans::Canonical) => "copy-epoch",
            (MemoryProfile::Copy, Interrupt::Epoch, Nans::Host) => "copy-epoch-host-nans",
            (MemoryProfile::Copy, Interrupt::Free, Nans::Canonical) => "copy-free",
            (MemoryProfile::Copy, Interrupt::Free, Nans::Host) => "copy-free-host-nans",
            (_, Interrupt::Epoch, Nans::Canonical) => "windows-epoch",
            (_, Interrupt::Epoch, Nans::Host) => "windows-epoch-host-nans",
            (_, Interrupt::Free, Nans::Canonical) => "windows-free",
            (_, Interrupt::Free, Nans::Host) => "windows-free-host-nans",
        }
    }
}

/// How many sandboxes an engine's pool must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Worker threads that run sandboxes.
    pub workers: u32,
    /// Live sandboxes per worker.
    pub per_worker: u32,
}

impl PoolSize {
    /// Sandboxes in all; two more for drivers and for describing a component.
    fn sandboxes(self) -> u32 {
        self.workers * self.per_worker.max(1) + 2
    }
}

/// For components of which nothing is known: enough for one from a language with a large runtime;
/// Python guests have 14 core instances.
pub(crate) const ANY_NEEDS: PoolNeeds = PoolNeeds {
    core_instances: 20,
    memories: 4,
    tables: 20,
};

/// Most of each that a pool gives one sandbox; a component that needs more runs on demand.
const MOST_NEEDS: PoolNeeds = PoolNeeds {
    core_instances: 64,
    memories: 16,
    tables: 64,
};

/// What the greediest component of a manifest takes up in a pool.
pub(crate) fn needs_of(manifest: &Manifest) -> PoolNeeds {
    let most = |need: fn(&ComponentEntry) -> u32, any: u32, most: u32| {
        let needs = manifest.components.iter().map(need);
        // Zero means that nobody counted.
        let needs = needs.map(|need| if need == 0 { any } else { need });
        needs.max().unwrap_or(any).min(most)
    };
    let (any, limit) = (ANY_NEEDS, MOST_NEEDS);
    PoolNeeds {
        core_instances: most(
            |entry| entry.core_instances,
            any.core_instances,
            limit.core_instances,
        ),
        memories: most(|entry| entry.memories, any.memories, limit.memories),
        tables: most(|entry| entry.tables, any.tables, limit.tables),
    }
}

/// Stays resident per slot; scanned, not blindly cleared, so small tasks do not pay for it.
const KEEP_RESIDENT_SCAN: usize = 16 << 20;
/// Without PAGEMAP_SCAN this much is cleared for every task.
const KEEP_RESIDENT_CLEAR: usize = 64 << 10;

/// Whether the kernel has `PAGEMAP_SCAN` (Linux 6.7 or later), which makes recycling a sandbox
/// two to five times cheaper.
pub fn pagemap_scan_available() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

fn pooling(size: PoolSize, needs: PoolNeeds) -> PoolingAllocationConfig {
    let sandboxes = size.sandboxes();
    let keep = if pagemap_scan_available() {
        KEEP_RESIDENT_SCAN
    } else {
        KEEP_RESIDENT_CLEAR
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes * needs.core_instances)
        .total_memories(sandboxes * needs.memories)
        .total_tables(sandboxes * needs.tables)
        .total_stacks(4)
        .max_component_instance_size(1 << 22)
        .max_core_instance_size(1 << 22)
        .max_core_instances_per_component(needs.core_instances)
        .max_memories_per_component(needs.memories)
        .max_tables_per_component(needs.tables)
        .table_elements(1 << 16)
        .max_memory_size(1 << 32)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(1 << 16)
        .max_unused_warm_slots(2 * size.workers)
        .pagemap_scan(Enabled::Auto);
    // Protection keys stay out of the build (a feature of wasmtime): mmap resets a key to 0, so they
    // and windows exclude each other.
    pool
}

fn base_config(profile: Profile) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .concurrency_support(false)
        .epoch_interruption(profile.interrupt == Interrupt::Epoch)
        // With copy-on-write images, a window over a data segment would show the next tenant
        // zeros instead of its data (attack test `window_over_data_segment`).
        .memory_init_cow(profile.memory == MemoryProfile::Copy)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .cranelift_nan_canonicalization(profile.nans == Nans::Canonical);
    config
}

/// Makes the engine of a profile. `pooled` off gives the on-demand allocator, for components
/// that do not fit the pool's limits; windows are not allowed there.
pub(crate) fn engine(
    profile: Profile,
    size: PoolSize,
    needs: PoolNeeds,
    pooled: bool,
) -> wasmtime::Result<Engine> {
    let mut config = base_config(profile);
    if pooled {
        let pool = pooling(size, needs);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config)
}
