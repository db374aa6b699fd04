//! The payload store that a configuration asks for.

use crate::{
    exit::{ExitCode, Failure},
    internal,
};
use std::path::{Path, PathBuf};
use taps_config::Resolved;
use taps_payload::{
    AccountSlot, StoreKind, StoreOptions, default_limit_bytes,
    tmpfs::{self, HugeTmpfs},
};

/// How the store of this process is made.
pub(super) fn options(
    resolved: &Resolved,
    run_dir: &Path,
    account: Option<AccountSlot>,
) -> Result<StoreOptions, Failure> {
    let payload = &resolved.general.engine.payload;
    let limit = payload.limit_bytes.unwrap_or_else(default_limit_bytes);
    let kind = match payload.store.as_str() {
        "huge-tmpfs" => StoreKind::HugeTmpfs,
        "recycled-memfd" => StoreKind::RecycledMemfd,
        "sealed-memfd" => StoreKind::SealedMemfd,
        _ => StoreKind::Auto,
    };
    let tmpfs = match kind {
        StoreKind::RecycledMemfd | StoreKind::SealedMemfd => {
            Err("another store was asked for".to_owned())
        }
        _ if payload.huge_pages => make_tmpfs(limit),
        _ => Err("huge pages are switched off".to_owned()),
    };
    let defaults = StoreOptions::default();
    Ok(StoreOptions {
        kind,
        huge_pages: payload.huge_pages,
        slab_max_bytes: defaults
            .slab_max_bytes
            .min(payload.map_min_bytes.saturating_sub(1)),
        no_tmpfs: tmpfs.as_ref().err().cloned(),
        tmpfs: tmpfs.ok(),
        spill_dir: spill_dir(resolved, run_dir)?,
        limit_bytes: Some(limit),
        account,
        ..defaults
    })
}

/// What the best store of this machine needs, or why there is none.
pub(crate) fn make_tmpfs(limit: u64) -> Result<HugeTmpfs, String> {
    tmpfs::make(&mut internal::huge_tmpfs(), limit)
        .map_err(|error| Failure::new(ExitCode::Runtime, error).message())
}

/// Where payloads go beyond the limit. A directory that was named is tried out.
fn spill_dir(resolved: &Resolved, run_dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let payload = &resolved.general.engine.payload;
    if !payload.spill {
        return Ok(None);
    }
    let Some(named) = &payload.spill_dir else {
        return Ok(Some(run_dir.to_owned()));
    };
    match tempfile::tempfile_in(named) {
        Ok(_) => Ok(Some(named.clone())),
        Err(error) => {
            let place = resolved.place_of("engine.payload.spill_dir");
            let named = named.display();
            let error = format!(
                "{place}: expected a directory that can be written, got `{named}` ({error})"
            );
            Err(Failure::new(ExitCode::Usage, error))
        }
    }
}
