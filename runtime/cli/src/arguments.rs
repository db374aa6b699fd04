//! The commands and their flags.

use crate::exit::ExitCode;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use taps_config::{Schema, Section, general_sections};
use taps_schema::FieldKind;

const EXAMPLES: &str = "\
Examples:
  taps-wasm run cholesky --app.matrix-size 2000 --app.block-size 250
        Factorise a matrix in tiles, each task in its own sandbox, and check the result.
  taps-wasm run mapreduce --app.data-dir books/ --executor.max-threads 4
        Count the words of a directory. Naming it is what lets the app read it.
  taps-wasm run -c runs/…/config.toml
        Repeat a run exactly.
  taps-wasm run ./my-app.wasm --help
        The fields of an app that somebody sent.
  taps-wasm run ./my-app.taps --allow
        Run a bundle, after a look at what it asks for without --allow.
  taps-wasm list apps
        What there is to run.

Exit codes:
";

/// Run task-based applications as WebAssembly components, every task in its own sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "taps-wasm",
    version,
    after_help = after_help(),
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an app, and check its result.
    ///
    /// The flags depend on the app: `taps-wasm run APP --help` shows them.
    #[command(disable_help_flag = true)]
    Run {
        /// The app and its flags.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "APP AND FLAGS"
        )]
        args: Vec<OsString>,
    },
    /// List apps, executors, filters and transformers.
    List {
        /// Just these.
        #[arg(value_enum)]
        what: Option<Listed>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Describe an app: its fields, its tasks, and what each may reach.
    Describe {
        /// An app by its name, or the path of a bundle or a component, or a place in a registry.
        app: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Describe this machine, as `environment.json` of a run does.
    Env {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check that this machine can run apps well, and say what to do where it cannot.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Interpreter whose packages of engines are looked at; `python3` if nothing is said.
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
    /// Input data of the apps: what is known, fetched from where it is published, checked.
    Data {
        /// What to do.
        #[command(subcommand)]
        what: crate::data_sets::Command,
    },
    /// Bundles: apps in one file, to make, inspect, sign, send and keep.
    Bundle {
        /// What to do.
        #[command(subcommand)]
        what: crate::commands::bundle::Command,
    },
    /// Measure this machine.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        what: Bench,
    },
    /// Go on with a run that was killed or interrupted, to the result that it would have had.
    ///
    /// The app's driver is run again and shown what it saw before; tasks that had ended are not run
    /// again, unless their results are needed and were not kept (`run --durable all` keeps all).
    Resume {
        /// Run directory.
        run: PathBuf,
        /// Print one JSON object on stdout at the end.
        #[arg(long)]
        json: bool,
        /// No progress and no summary; errors are still shown.
        #[arg(long, short)]
        quiet: bool,
        /// No progress bar, even on a terminal.
        #[arg(long)]
        no_progress: bool,
        /// Let a bundle from elsewhere do what it asks for; remembered for its digest.
        #[arg(long)]
        allow: bool,
        /// Go on only with what is built in, signed by a known key, or was allowed before.
        #[arg(long)]
        locked: bool,
        /// A public key whose signature makes a bundle known; may be given several times.
        #[arg(long, value_name = "FILE")]
        key: Vec<String>,
    },
    /// Rebuild the task records of a run from its event log, for example after a kill.
    Records {
        /// Run directory.
        run: PathBuf,
    },
    /// Tell what became of a run or of one of its tasks: also of one that was killed, or goes on.
    ///
    /// All is told from the event log. Without TASK: how the run ended, what failed first and what failed because
    /// of it, injected faults and what became of them, and what was never finished.
    Explain {
        /// Run directory, or its events.log.
        run: PathBuf,
        /// Number of a task, or `NAME[n]` for the n-th submission of a name, from 0.
        task: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a run as one HTML file that opens offline: charts, tables, failures, configuration.
    ///
    /// Also of a run that was killed, damaged or goes on: what can be read is shown, and the rest named.
    Report {
        /// Run directory, or its events.log.
        run: PathBuf,
        /// Where the page goes, `-` for stdout. Otherwise it is `report.html` in the run directory.
        #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
        output: Option<PathBuf>,
        /// Print what the page would show as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a run for other tools: WfFormat, a Perfetto trace, Parquet files, an SQLite database.
    ///
    /// The output appears when it is whole. Also of a run that was killed, damaged or goes on: what can be read is
    /// exported, and the rest named. docs/export.md says what is in each format, column by column.
    Export(crate::commands::ExportArguments),
    /// Set runs side by side: makespans, rates, phases, with intervals over repeats.
    ///
    /// Runs of equal configuration are repeats of each other, whatever their seed. Prints a table, and warns where
    /// configurations or machines differ in more than what is compared.
    Compare {
        /// Run directories, or their events.log.
        #[arg(required = true, num_args = 1.., value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// What is meant to differ: a setting such as `engine.executor.max_threads`, `app` or `executor`. May be
        /// repeated. Without it, whatever alone differs.
        #[arg(long, value_name = "SETTING")]
        by: Vec<String>,
        /// Also write one HTML file with tables and figures there, which opens offline; `-` for stdout.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Run tasks on a node of an engine. Started by the run's own shim there, or by the Python package.
    Worker,
    /// Run one batch of tasks from a file to a file. Started by engines whose tasks are programs.
    Exec {
        /// The batch.
        input: PathBuf,
        /// Where the answer goes: whole, or not at all.
        output: PathBuf,
    },
    /// Serve as a library of functions on a worker of TaskVine, which starts it.
    TaskvineLibrary {
        /// Name of the library.
        name: String,
        /// Descriptor that calls come from.
        #[arg(long)]
        in_pipe_fd: u32,
        /// Descriptor that answers go to.
        #[arg(long)]
        out_pipe_fd: u32,
        /// Number of the library as a task.
        #[arg(long)]
        task_id: u64,
        /// Cores of the library.
        #[arg(long)]
        library_cores: Option<u32>,
        /// Calls that run at a time.
        #[arg(long, default_value_t = 1)]
        function_slots: u32,
        /// Process of the worker, which gets SIGCHLD when there is an answer.
        #[arg(long)]
        worker_pid: u32,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Format {
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV: a line for each configuration and number.
    #[arg(long)]
    pub(crate) csv: bool,
}

/// What `bench` measures.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How long each app takes on each executor, with small inputs that it makes itself.
    ///
    /// With 2 workers unless --workers says otherwise.
    Apps(crate::bench::AppsArgs),
    /// What it costs to pass payloads from task to task: size against way and executor.
    ///
    /// Tasks take a payload and give one of the same size; every byte is read and written, contents are
    /// not checked. The round trip is the time from one result to the next in a chain of tasks; the
    /// throughput is that of independent tasks, in bytes taken and given per second. With 2 workers unless
    /// --workers says otherwise.
    Data(crate::bench::DataArgs),
    /// How long a task that does nothing takes, there and back, when it is alone.
    ///
    /// One task at a time: the next is submitted when the driver knows the end of the last. With 1 worker unless
    /// --workers says otherwise. The plot is the distribution.
    Latency(crate::bench::LatencyArgs),
    /// How small tasks may be before an executor spends more time on running them than on their work.
    ///
    /// The minimum effective task granularity of Task Bench, for its dependence patterns: tasks get smaller until
    /// their work is done at half of the rate of large tasks that depend on nothing, on the same slots, in the same
    /// round. The granularity is the wall time of the run times the slots, over the number of tasks. With 2 workers
    /// unless --workers says otherwise. Rows without iterations have the result; the plot has the rest.
    Metg(crate::bench::MetgArgs),
    /// What it costs that tasks run in sandboxes, by app: made for each task, and used again, over plain functions.
    ///
    /// With 1 worker unless --workers says otherwise, as tasks that run beside each other slow each other down. Each
    /// ratio is to the run with the executor `native` in the same round.
    Sandbox(crate::bench::SandboxArgs),
    /// How long a process takes that runs one task, from exec to exit, and where its time goes.
    ///
    /// Compiled code is kept in a directory of the bench's own: empty for cold starts, with the app in it for warm
    /// ones. With 2 workers unless --workers says otherwise.
    Startup(crate::bench::StartupArgs),
    /// How many tasks that do nothing an executor runs in a second, by workers.
    ///
    /// With 1, 2, 4, … workers up to the number of CPUs unless --workers says otherwise. CPU time is that of this
    /// process and of all below it; the efficiency is the rate over that of one worker, times the workers.
    Throughput(crate::bench::ThroughputArgs),
}

/// What `list` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    /// Apps: built in, in the directories of apps, in the cache of bundles.
    Apps,
    /// What runs tasks.
    Executors,
    /// Which payloads a transformer takes.
    Filters,
    /// How payloads travel.
    Transformers,
}

fn after_help() -> String {
    let mut text = EXAMPLES.to_owned();
    // Writing to a String cannot fail.
    for code in ExitCode::ALL {
        let _ = writeln!(text, "  {:>3}  {}", code.number(), code.meaning());
    }
    text
}

/// The whole command line for completions and the manual page: as clap sees it, with the apps
/// and the general flags of `run` added.
pub(crate) fn documented(schema: &Schema) -> clap::Command {
    Arguments::command().mut_subcommand("run", |run| {
        let apps: Vec<String> = schema.apps.iter().map(|app| app.name.clone()).collect();
        let names = |names: Vec<String>| PossibleValuesParser::new(names);
        let executors = schema
            .executors
            .iter()
            .map(|executor| executor.name.clone());
        // Not `run` itself: its catch-all argument is only there for clap to let pass.
        let run = clap::Command::new("run")
            .about(run.get_about().cloned().unwrap_or_default())
            .long_about(run.get_long_about().cloned().unwrap_or_default())
            .disable_help_flag(true)
            .arg(Arg::new("app").value_name("APP").value_parser(names(apps)))
            .arg(
                Arg::new("config")
                    .short('c')
                    .long("config")
                    .value_name("FILE")
                    .num_args(1..)
                    .action(ArgAction::Append)
                    .value_hint(clap::ValueHint::FilePath)
                    .help("TOML files, read in order; a later one wins"),
            )
            .arg(
                Arg::new("engine.executor")
                    .long("executor")
                    .visible_alias("engine.executor")
                    .value_parser(names(executors.collect()))
                    .help("What runs the tasks"),
            );
        let run = [
            (
                "dry-run",
                "Check and print the configuration, and run nothing",
            ),
            ("json", "Print one JSON object on stdout at the end"),
            ("quiet", "No progress and no summary"),
            ("no-progress", "No progress bar, even on a terminal"),
            (
                "allow",
                "Let a bundle from elsewhere do what it asks for, and remember it",
            ),
            (
                "locked",
                "Run only what is built in, signed by a known key, or was allowed before",
            ),
            ("help", "Help, with the fields of the named app"),
        ]
        .into_iter()
        .fold(run, |run, (name, help)| {
            run.arg(
                Arg::new(name)
                    .long(name)
                    .action(ArgAction::SetTrue)
                    .help(help),
            )
        });
        general_sections().iter().fold(run, with_section)
    })
}

fn with_section(run: clap::Command, section: &Section) -> clap::Command {
    section.fields.iter().fold(run, |run, general| {
        let field = &general.field;
        let dotted = format!("{}.{}", section.name, field.name.replace('_', "-"));
        let mut arg = Arg::new(dotted.clone())
            .help(field.help.clone())
            .help_heading(section.title);
        arg = match general.alias {
            Some(alias) => arg.long(alias).visible_alias(dotted),
            None => arg.long(dotted),
        };
        if let Some(bare) = general.bare {
            arg = arg.num_args(0..=1).default_missing_value(bare);
        }
        if let FieldKind::Enum { values } = &field.kind {
            arg = arg.value_parser(PossibleValuesParser::new(values));
        }
        run.arg(arg)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_command_line_is_sound() {
        documented(&Schema::new(Vec::new())).debug_assert();
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Arguments::command().render_help().to_string();
        for code in ExitCode::ALL {
            assert!(help.contains(code.meaning()), "{code:?}");
        }
    }
}
