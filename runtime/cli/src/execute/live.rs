//! What watches a run while it goes on.

use crate::{
    exit::{ExitCode, Failure},
    progress::Progress,
    render,
    summary::SpanSummary,
};
use std::{path::Path, sync::Arc, time::Instant};
use taps_config::Resolved;
use taps_live::{Collector, Live, LiveError, Prepared, Settings};
use taps_records::Logger;

/// Takes the ports that are asked for, before any work.
pub(super) fn prepare(resolved: &Resolved) -> Result<Prepared, Failure> {
    let live = &resolved.general.live;
    let collector = live.otlp_endpoint.as_deref().map(|setting| {
        Collector::new(setting, |name| std::env::var(name).ok()).map_err(|error| {
            let place = resolved.place_of("live.otlp_endpoint");
            Failure::new(ExitCode::Usage, format!("{place}: {error}"))
        })
    });
    let settings = Settings {
        dashboard: live.dashboard,
        metrics_port: live.metrics_port,
        collector: collector.transpose()?,
    };
    Prepared::new(settings).map_err(|error| match &error {
        LiveError::Port {
            setting,
            port,
            source,
        } => {
            let place = resolved.place_of(setting);
            let text = format!("{place}: port {port} of 127.0.0.1 cannot be had: {source}");
            Failure::new(ExitCode::Usage, text).hint("0 takes any port that is free")
        }
        _ => failed(error),
    })
}

/// Follows the run, and says where it can be watched: even a quiet run, of which nobody would know otherwise.
pub(super) fn begin(
    prepared: Prepared,
    run_dir: &Path,
    start: Instant,
    logger: &Arc<Logger>,
    progress: &Progress,
) -> Result<Option<Live>, Failure> {
    let addresses = prepared.addresses();
    let live = prepared
        .follow(run_dir, start, Arc::clone(logger))
        .map_err(failed)?;
    for (name, address) in addresses {
        // Not a line of the log: the address has a secret.
        let line = format!("{name}: {address}");
        if progress.is_shown() {
            progress.above(&line);
        } else {
            render::note(&line);
        }
    }
    Ok(live)
}

/// Lets those who watch see the end, and says what became of spans.
pub(super) fn end(live: Live) -> Option<SpanSummary> {
    let spans = live.end()?;
    Some(SpanSummary {
        exported: spans.exported,
        dropped: spans.dropped,
    })
}

fn failed(error: LiveError) -> Failure {
    Failure::new(ExitCode::Runtime, error)
}
