//! Data planes over real stores.

mod files;
mod object_stores;
mod planes;
mod redis_servers;
#[path = "../support/servers.rs"]
mod servers;
mod support;
