//! The transformer of a run: opened before anything is written, closed whatever happens.

use crate::exit::{ExitCode, Failure};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Instant,
};
use taps_bundle::Bundle;
use taps_config::Resolved;
use taps_payload::SegmentStore;
use taps_records::{Level, Logger};
use taps_transform::{
    ConfigProblem, DataPlane, FilterConfig, OpenError, OperationSink, Ownership, PlaneConfig,
    RunKey, StatsFiles, TransformerConfig, TypeNames,
};

/// Checks what the configuration says of filter and transformer; none without a transformer.
pub(crate) fn check(
    resolved: &Resolved,
) -> Result<Option<(FilterConfig, TransformerConfig)>, Failure> {
    let wrong = |section: &str, problem: &ConfigProblem| {
        let place = resolved.place_of(&format!("engine.{section}.{}", problem.field));
        Failure::new(ExitCode::Usage, format!("{place}: {problem}"))
    };
    let filter = match &resolved.filter {
        Some(name) => FilterConfig::from_fields(name, &resolved.filter_config)
            .map_err(|problem| wrong("filter", &problem))?,
        None => FilterConfig::All,
    };
    let Some(name) = &resolved.transformer else {
        return Ok(None);
    };
    let transformer = TransformerConfig::from_fields(name, &resolved.transformer_config)
        .map_err(|problem| wrong("transformer", &problem))?;
    Ok(Some((filter, transformer)))
}

/// The field by which the user named the store, where there is more than one way.
fn named_by(resolved: &Resolved, field: String) -> String {
    let is_set = |name: &str| {
        let value = resolved.transformer_config.get(name);
        value.is_some_and(|value| !value.is_null())
    };
    match ["connector", "host"].into_iter().find(|name| is_set(name)) {
        Some(other) if !is_set(&field) => other.to_owned(),
        _ => field,
    }
}

/// The data plane of a run, if it has one.
#[derive(Default)]
pub(super) struct Data {
    plane: Option<Arc<DataPlane>>,
    stats: OnceLock<Arc<StatsFiles>>,
}

impl Data {
    /// Opens the store and tries it out; nothing is written to a run directory yet.
    /// Without a transformer large payloads go to files in `shared`, if that is given.
    pub(super) fn open(
        resolved: &Resolved,
        bundle: &Bundle,
        shared: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let inline_max_bytes = resolved.general.engine.payload.inline_max_bytes;
        let chosen = match (check(resolved)?, shared) {
            (Some(chosen), _) => chosen,
            (None, Some(directory)) => (
                FilterConfig::larger_than(inline_max_bytes),
                TransformerConfig::files_in(directory),
            ),
            (None, None) => return Ok(Self::default()),
        };
        let (filter, transformer) = chosen;
        let run = RunKey::random().map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        let config = PlaneConfig {
            filter,
            transformer,
            run,
            types: TypeNames::of(bundle.app()),
            inline_max_bytes,
        };
        let plane = DataPlane::open(config, None, Ownership::Run).map_err(|error| {
            let field = match &error {
                OpenError::Config(problem) => problem.field.clone(),
                OpenError::Probe { field, .. } => (*field).to_owned(),
                OpenError::Runtime(_) => return Failure::new(ExitCode::Runtime, error),
            };
            let field = named_by(resolved, field);
            let place = resolved.place_of(&format!("engine.transformer.{field}"));
            Failure::new(ExitCode::Usage, format!("{place}: {error}"))
        })?;
        Ok(Self {
            plane: Some(plane),
            stats: OnceLock::new(),
        })
    }

    /// Fetched payloads go there.
    pub(super) fn place_in(&self, store: &SegmentStore) {
        if let Some(plane) = &self.plane {
            plane.place_in(store.clone());
        }
    }

    /// For the sandboxes.
    pub(super) fn plane(&self) -> Option<Arc<DataPlane>> {
        self.plane.clone()
    }

    /// Records operations in the run directory, where the configuration asks for it.
    pub(super) fn record_in(&self, directory: &Path, start: Instant) -> Result<(), Failure> {
        let Some(plane) = self
            .plane
            .as_ref()
            .filter(|plane| plane.config().transformer.metrics)
        else {
            return Ok(());
        };
        let stats = StatsFiles::create(directory)
            .map_err(|error| Failure::new(ExitCode::Records, error))?;
        let stats = self.stats.get_or_init(|| Arc::new(stats));
        plane.record_to(Arc::clone(stats) as Arc<dyn OperationSink>, start);
        Ok(())
    }

    /// Removes what the run stored, and ends its metrics.
    pub(super) fn close(&self, logger: &Logger) -> Result<(), Failure> {
        if let Some(plane) = &self.plane
            && let Err(error) = plane.close()
        {
            let message = format_args!("what the run stored could not all be removed: {error}");
            logger.log(Level::WARNING, "run", message);
        }
        match self.stats.get() {
            Some(stats) => stats
                .finish()
                .map_err(|error| Failure::new(ExitCode::Records, error)),
            None => Ok(()),
        }
    }
}

impl Drop for Data {
    /// A run that could not start, or panicked, leaves nothing either.
    fn drop(&mut self) {
        if let Some(plane) = &self.plane {
            // Nobody is left to be told.
            let _ = plane.close();
        }
    }
}
