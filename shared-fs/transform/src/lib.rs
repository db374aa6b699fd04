//! Filters and transformers: payloads that travel through a store outside of the run.
//!
//! A *transformer* puts the bytes of a payload into a store and lets an identifier, a
//! [`taps_payload::StoredRef`], travel in their place; whoever reads the payload resolves it. A *filter*
//! says which payloads it takes. The names, and what they mean, are those of TaPS.
//!
//! | module | holds |
//! |---|---|
//! | `filter` | which payloads are taken |
//! | `config` | the serialisable description of a data plane, and how it is read from a configuration |
//! | `proxystore` | TaPS's configuration of the ProxyStore transformer, mapped to ours |
//! | `plugins` | names, summaries and fields, for help and validation |
//! | `backend` | the stores: files, Redis, object stores |
//! | `plane` | putting, resolving, removing: what a process of a run uses |
//! | `cache` | resolved payloads, each fetched once |
//! | `metrics` | what every operation cost |
//!
//! A [`DataPlane`] has one small asynchronous runtime of its own, so that every operation ends by its
//! time limit, whatever the store does, and so that removing never makes anybody wait. Nothing here is
//! made unless a transformer is chosen. This crate never schedules, never decides what a failure means,
//! and never looks into a payload.

mod backend;
mod cache;
mod config;
mod error;
mod filter;
mod metrics;
mod plane;
mod plugins;
mod proxystore;

pub use config::{
    BackendConfig, PlaneConfig, RedisConfig, Resolution, RunKey, TransformerConfig, TypeNames,
};
pub use error::{ConfigProblem, OpenError, TransformError};
pub use filter::{Filter, FilterConfig};
pub use metrics::{
    Aggregate, NoOperations, Operation, OperationKind, OperationSink, Side, StatsError, StatsFiles,
};
pub use plane::{Caller, DataPlane, Ownership, Resolved, Ticket, digest};
pub use plugins::{Plugin, filter_plugins, transformer_plugins};
