//! The roles that the program has in processes that it starts itself. No command of users.

use crate::exit::ExitCode;
use std::ffi::OsString;
use taps_process_pool::{Role, serve_launcher, serve_manager, serve_worker};

/// First argument of such a process.
pub(crate) const NAME: &str = "internal";

/// Serves in the role that the arguments name: the role, and the parent's process number.
pub(crate) fn serve(args: &[OsString]) -> ExitCode {
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    let role = args.next().unwrap_or_default();
    let parent = args.next().and_then(|number| number.parse().ok());
    let roles = [Role::Launcher, Role::Manager, Role::Worker];
    let found = roles.into_iter().find(|known| known.name() == role);
    let served = match (found, parent) {
        (Some(Role::Launcher), Some(parent)) => serve_launcher(parent),
        (Some(Role::Manager), Some(parent)) => serve_manager(parent),
        (Some(Role::Worker), Some(parent)) => serve_worker(parent),
        _ => {
            eprintln!("taps-wasm: `{NAME}` is for processes that the program starts itself");
            return ExitCode::Usage;
        }
    };
    match served {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            crate::render::outcome(Err(crate::exit::Failure::new(ExitCode::Runtime, error)))
        }
    }
}
