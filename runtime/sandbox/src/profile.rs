//! The engine configurations that components are compiled for.

use serde::{Deserialize, Serialize};
use taps_bundle::MemoryProfile;
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

/// Core instances, memories and tables that a component from a language with a large runtime
/// brings; Python guests have 14 core instances.
const CORE_INSTANCES: u32 = 20;
const MEMORIES: u32 = 4;
const TABLES: u32 = 20;

/// Stays resident per slot; scanned, not blindly cleared, so small tasks do not pay for it.
const KEEP_RESIDENT_SCAN: usize = 16 << 20;
/// Without PAGEMAP_SCAN this much is cleared for every task.
const KEEP_RESIDENT_CLEAR: usize = 64 << 10;

/// Whether the kernel has `PAGEMAP_SCAN` (Linux 6.7 or later), which makes recycling a sandbox
/// two to five times cheaper.
pub fn pagemap_scan_available() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

fn pooling(size: PoolSize) -> PoolingAllocationConfig {
    let sandboxes = size.sandboxes();
    let keep = if pagemap_scan_available() {
        KEEP_RESIDENT_SCAN
    } else {
        KEEP_RESIDENT_CLEAR
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes * CORE_INSTANCES)
        .total_memories(sandboxes * MEMORIES)
        .total_tables(sandboxes * TABLES)
        .total_stacks(4)
        .max_component_instance_size(1 << 22)
        .max_core_instance_size(1 << 22)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
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
pub(crate) fn engine(profile: Profile, size: PoolSize, pooled: bool) -> wasmtime::Result<Engine> {
    let mut config = base_config(profile);
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(size)));
    }
    Engine::new(&config)
}
