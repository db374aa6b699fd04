//! What runs on the nodes of an engine: workers, single batches, TaskVine's library.

use crate::{
    apps,
    exit::{ExitCode, Failure},
};
use std::path::Path;
use taps_external::{LibraryArguments, WorkerOptions};
use taps_sandbox::AotCache;

fn options() -> WorkerOptions {
    let aot = AotCache::default_directory();
    WorkerOptions {
        version: env!("CARGO_PKG_VERSION"),
        packages: aot
            .as_deref()
            .and_then(Path::parent)
            .map(|cache| cache.join("packages")),
        cache: aot,
        find_app: |app| apps::find_allowed(app).map_err(|failure| failure.message()),
    }
}

fn done<E: std::error::Error + Send + Sync + 'static>(
    served: Result<(), E>,
) -> Result<ExitCode, Failure> {
    served
        .map(|()| ExitCode::Ok)
        .map_err(|error| Failure::new(ExitCode::Runtime, error))
}

pub(crate) fn worker() -> Result<ExitCode, Failure> {
    done(taps_external::serve_worker(&options()))
}

pub(crate) fn exec(input: &Path, output: &Path) -> Result<ExitCode, Failure> {
    done(taps_external::exec(input, output, &options()))
}

pub(crate) fn taskvine_library(arguments: &LibraryArguments) -> Result<ExitCode, Failure> {
    done(taps_external::serve_library(arguments, &options()))
}
