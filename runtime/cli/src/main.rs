//! The command line: what the user types, what the user sees, and the exit code. Everything
//! else is done by the crates below.

mod apps;
mod arguments;
mod bench;
mod commands;
mod data_sets;
mod download;
mod execute;
mod exit;
mod internal;
mod new_file;
mod progress;
mod render;
mod resume;
mod run;
mod summary;

use arguments::{Arguments, Command};
use clap::Parser;
use exit::{ExitCode, Failure};
use std::ffi::OsString;

fn main() -> std::process::ExitCode {
    raise_descriptor_limit();
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == internal::NAME) {
        return internal::serve(&args[2..]).into();
    }
    // The flags of `run` depend on the app, so clap never sees them; it only documents them.
    let code = if args.get(1).is_some_and(|first| first == "run") {
        run::command(&args[2..])
    } else {
        match Arguments::try_parse_from(&args) {
            Ok(arguments) => render::outcome(dispatch(arguments.command)),
            Err(error) => render::clap_error(&error),
        }
    };
    code.into()
}

/// Each large payload holds a descriptor while it lives, and the usual soft limit of 1024 is there
/// for programs that use `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the payload store says when descriptors run out.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run { args } => Ok(run::command(&args)),
        Command::List { what, json } => commands::list(what, json),
        Command::Describe { app, json } => commands::describe(&app, json),
        Command::Env { json } => commands::env(json),
        Command::Doctor { json, python } => commands::doctor(json, python.as_deref()),
        Command::Data { what } => data_sets::command(what),
        Command::Bundle { what } => commands::bundle::command(what),
        Command::Bench { what } => bench::command(&what),
        Command::Resume {
            run,
            json,
            quiet,
            no_progress,
            allow,
            locked,
            key,
        } => {
            let switches = taps_config::Switches {
                json,
                quiet,
                no_progress,
                allow,
                locked,
                ..Default::default()
            };
            Ok(resume::command(&run, switches, key))
        }
        Command::Records { run } => commands::records(&run),
        Command::Explain { run, task, json } => commands::explain(&run, task.as_deref(), json),
        Command::Report { run, output, json } => commands::report(&run, output.as_deref(), json),
        Command::Export(arguments) => commands::export(&arguments),
        Command::Compare {
            runs,
            by,
            output,
            format,
        } => commands::compare(&runs, &by, output.as_deref(), format),
        Command::Worker => commands::worker(),
        Command::Exec { input, output } => commands::exec(&input, &output),
        Command::TaskvineLibrary {
            name,
            in_pipe_fd,
            out_pipe_fd,
            task_id,
            library_cores: _,
            function_slots,
            worker_pid,
        } => commands::taskvine_library(&taps_external::LibraryArguments {
            name,
            in_pipe: in_pipe_fd,
            out_pipe: out_pipe_fd,
            task_id,
            function_slots,
            worker_pid,
        }),
        Command::Completions { shell } => commands::completions(shell),
        Command::Man => commands::man(),
    }
}
