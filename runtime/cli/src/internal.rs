//! The roles that the program has in processes that it starts itself. No command of users.

use crate::exit::{ExitCode, Failure};
use std::{ffi::OsString, process::Command};
use taps_process_pool::{Role, serve_launcher, serve_manager, serve_worker};

/// First argument of such a process.
pub(crate) const NAME: &str = "internal";

/// The roles besides those of a process pool.
const HUGE_TMPFS: &str = "huge-tmpfs";
const PROGRAMS: &str = "programs";
const GUARD: &str = "guard";

/// Serves in the role that the arguments name: the role, and the parent's process number.
pub(crate) fn serve(args: &[OsString]) -> ExitCode {
    if let Some((role, rest)) = args.split_first()
        && role == GUARD
    {
        return exit_code(taps_external::serve_guard(rest));
    }
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    let role = args.next().unwrap_or_default();
    let parent = args.next().and_then(|number| number.parse().ok());
    if role == HUGE_TMPFS {
        return exit_code(taps_payload::tmpfs::serve_child());
    }
    if role == PROGRAMS {
        return exit_code(taps_programs::serve_launcher());
    }
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
    exit_code(served)
}

fn exit_code<E: std::error::Error + Send + Sync + 'static>(served: Result<(), E>) -> ExitCode {
    let served = served.map(|()| ExitCode::Ok);
    crate::render::outcome(served.map_err(|error| Failure::new(ExitCode::Runtime, error)))
}

/// Arguments with which this program guards the bridge to an engine.
pub(crate) fn guard_role() -> [&'static str; 2] {
    [NAME, GUARD]
}

/// Starts this program as the launcher of programs.
pub(crate) fn program_launcher() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([NAME, PROGRAMS]);
    command
}

/// Starts this program as the child that makes a tmpfs with huge pages.
pub(crate) fn huge_tmpfs() -> Command {
    // The file that runs now, even if another has taken its place meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.args([NAME, HUGE_TMPFS]);
    command
}
