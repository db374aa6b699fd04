//! The general fields: the one table from which flags, validation, `config.toml` and help come.

mod faults;
mod live;
mod programs;

use serde_json::{Value, json};
use std::sync::LazyLock;
use taps_schema::{ConfigField, FieldKind};

/// A section of the configuration that does not depend on the app or a plugin.
#[derive(Clone, Debug)]
pub struct Section {
    /// Dotted name, as in TOML.
    pub name: &'static str,
    /// Heading in help.
    pub title: &'static str,
    /// Fields, in the order in which they are shown and written.
    pub fields: Vec<GeneralField>,
}

/// One general field.
#[derive(Clone, Debug)]
pub struct GeneralField {
    /// Name, type, default and help.
    pub field: ConfigField,
    /// Checks beyond the type.
    pub rule: Rule,
    /// Short flag besides the dotted one, without its dashes.
    pub alias: Option<&'static str>,
    /// What the flag means without a value: only a number or `none` after it is taken for one.
    pub bare: Option<&'static str>,
}

/// Checks of a value beyond its type, and the form in which it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing more.
    None,
    /// A size: kept as text with a unit.
    Size,
    /// A number from 0 to 255, or one of the names of [`LogLevel`](crate::LogLevel).
    LogLevel,
    /// A file name without directories that the run directory does not use otherwise.
    FileName,
    /// A pattern as [`DirFormat`](crate::DirFormat) reads it.
    DirFormat,
    /// A table of text.
    TextTable,
    /// Names, on the command line separated by commas.
    Names,
    /// A share from 0 to 1.
    Rate,
    /// A table of outcomes that may be tried again, each with how often.
    RetriesFor,
    /// Where an OpenTelemetry collector is: an address of HTTP, or `env`.
    Collector,
}

/// Flags of `run` that are no part of the configuration, with their help.
pub const FIRST_LEVEL_FLAGS: [(&str, &str); 9] = [
    (
        "-c, --config FILE…",
        "TOML files, read in order; a later one wins over an earlier one, a flag over all. An argument \
         that ends in `.toml` is one, too.",
    ),
    (
        "--allow",
        "Let a bundle from elsewhere do what it asks for; remembered for its digest.",
    ),
    (
        "--locked",
        "Run only what is built in, signed by a known key, or was allowed before; ask and fetch nothing.",
    ),
    (
        "--key FILE",
        "A public key whose signature makes a bundle known, besides those in the user's directory of keys.",
    ),
    (
        "--dry-run",
        "Check the configuration, print it as TOML, and run nothing.",
    ),
    ("--json", "Print one JSON object on stdout at the end."),
    (
        "-q, --quiet",
        "No progress and no summary; errors are still shown.",
    ),
    ("--no-progress", "No progress bar, even on a terminal."),
    (
        "-h, --help",
        "Help; with an app or an executor named, also their fields.",
    ),
];

/// The general sections, in the order in which they are shown and written.
pub fn general_sections() -> &'static [Section] {
    &SECTIONS
}

static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| {
    vec![
        engine(),
        payload(),
        programs::section(),
        faults::section(),
        logging(),
        live::section(),
        run(),
    ]
});

fn field(name: &str, kind: FieldKind, default: Value, help: &str) -> GeneralField {
    let optional = default.is_null();
    GeneralField {
        field: ConfigField {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            default: (!optional).then_some(default),
            optional,
        },
        rule: Rule::None,
        alias: None,
        bare: None,
    }
}

impl GeneralField {
    fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    fn alias(self, alias: &'static str) -> Self {
        Self {
            alias: Some(alias),
            ..self
        }
    }

    /// A field whose flag may stand without a value, and then means this one.
    fn bare(self, value: &'static str) -> Self {
        Self {
            bare: Some(value),
            ..self
        }
    }

    /// A field with a default that `none` may null.
    fn nullable(mut self) -> Self {
        self.field.optional = true;
        self
    }
}

fn integer(min: i64, max: i64) -> FieldKind {
    FieldKind::Integer {
        min: Some(min),
        max: Some(max),
    }
}

fn words(values: &[&str]) -> FieldKind {
    FieldKind::Enum {
        values: values.iter().map(|&value| value.to_owned()).collect(),
    }
}

/// Most retries of a task.
pub(crate) const MOST_RETRIES: i64 = 1_000_000;

/// Most workers that a task can be allowed to lose: the engine counts them in 16 bits, and one more is too many.
const MOST_CRASHES: i64 = 65_534;

/// Outcomes that a retry may mend: all but success, a parent's failure and a wish to stop.
pub(crate) const RETRIED: [&str; 8] = [
    "task-error",
    "trap",
    "out-of-memory",
    "timeout",
    "program-error",
    "worker-lost",
    "payload-error",
    "engine-error",
];

fn engine() -> Section {
    let retry_on = FieldKind::List {
        item: Box::new(words(&RETRIED)),
    };
    let mut fields = vec![
        field(
            "task_record_file_name",
            FieldKind::String,
            json!("tasks.jsonl"),
            "File in the run directory for one JSON line per task; `none` writes none.",
        )
        .rule(Rule::FileName)
        .nullable(),
        field(
            "retries",
            integer(0, MOST_RETRIES),
            json!(0),
            "How often a failed task is tried again.",
        )
        .alias("retries"),
        field(
            "retry_on",
            retry_on,
            json!(RETRIED),
            "Outcomes that are tried again.",
        )
        .alias("retry-on"),
        field(
            "retries_for",
            FieldKind::Table,
            json!({}),
            "How often after an outcome, instead of `retries`: `{\"worker-lost\": 5}`.",
        )
        .rule(Rule::RetriesFor)
        .alias("retries-for"),
        field(
            "retry_backoff_ms",
            integer(0, 86_400_000),
            json!(0),
            "Pause in milliseconds before the first retry; it doubles with each one after.",
        )
        .alias("retry-backoff-ms"),
        field(
            "crash_limit",
            integer(0, MOST_CRASHES),
            json!(3),
            "Most workers that one task may lose; with one more it is given up, whatever retries it has left.",
        )
        .alias("crash-limit"),
    ];
    fields.extend(sandbox());
    fields.extend(recovery());
    Section {
        name: "engine",
        title: "Engine",
        fields,
    }
}

/// The fields of `[engine]` on how tasks run.
fn sandbox() -> Vec<GeneralField> {
    let timeout = FieldKind::Float {
        min: Some(0.001),
        max: Some(31_536_000.0),
    };
    vec![
        field(
            "task_timeout",
            timeout,
            Value::Null,
            "Wall-clock limit of an attempt, in seconds.",
        )
        .alias("task-timeout"),
        field(
            "task_memory",
            FieldKind::String,
            Value::Null,
            "Memory limit of a task's sandbox.",
        )
        .rule(Rule::Size)
        .alias("task-memory"),
        field(
            "kernels",
            words(&["host", "guest"]),
            json!("host"),
            "Who computes dense linear algebra: the host at native speed, or the guest with the \
             same bits on every machine.",
        )
        .alias("kernels"),
        field(
            "instances",
            words(&["auto", "fresh", "prewarmed", "reuse"]),
            json!("auto"),
            "Sandbox of a task: made for it, made ahead of time, or used again until one traps. `auto` \
             is what the bundle says suits each component, else made for it.",
        )
        .alias("instances"),
        field(
            "max_outstanding",
            integer(1, 100_000_000),
            json!(100_000),
            "Submitted and unfinished tasks at which `submit` blocks.",
        )
        .alias("max-outstanding"),
        field(
            "interrupt",
            words(&["epoch", "free"]),
            json!("epoch"),
            "How a running guest is interrupted: by checks in its code, or, where the executor \
             can, by killing its worker (faster tight loops).",
        )
        .alias("interrupt"),
    ]
}

/// The fields of `[engine]` on what a run does when something breaks, or has been done before.
fn recovery() -> Vec<GeneralField> {
    let seconds = FieldKind::Float {
        min: Some(0.001),
        max: Some(31_536_000.0),
    };
    vec![
        field(
            "lineage",
            FieldKind::Bool,
            json!(false),
            "Whether finished tasks are run again when a result of theirs that is needed is lost; \
             otherwise the tasks that need it fail.",
        )
        .alias("lineage"),
        field(
            "watchdog",
            seconds,
            json!(60.0),
            "Report the outstanding tasks when none has ended for so many seconds; `none` never does.",
        )
        .nullable()
        .alias("watchdog"),
        field(
            "durable",
            words(&["none", "spill", "all"]),
            json!("none"),
            "Results that also go to files, so that `resume` needs not compute them again: none, those \
             that are spilled, or all.",
        )
        .alias("durable"),
        field(
            "memoize",
            FieldKind::OutputDir,
            Value::Null,
            "Directory that keeps the results of pure tasks from run to run: a task with the same \
             component, arguments and seed is not computed again.",
        )
        .alias("memoize"),
    ]
}

fn payload() -> Section {
    let fields = vec![
        field(
            "inline_max_bytes",
            integer(0, 1 << 24),
            json!(65_536),
            "Largest payload that travels with the call instead of through a segment.",
        ),
        field(
            "map_min_bytes",
            integer(0, i64::MAX),
            json!(1_000_000),
            "Smallest payload that is mapped into the guest instead of read.",
        ),
        field(
            "limit",
            FieldKind::String,
            Value::Null,
            "Limit of all payloads held in memory at a time; half of the machine's memory unless set.",
        )
        .rule(Rule::Size)
        .alias("payload-limit"),
        field(
            "spill",
            FieldKind::Bool,
            json!(true),
            "Whether payloads beyond the limit go to files in `spill_dir`; otherwise their tasks fail.",
        ),
        field(
            "spill_dir",
            FieldKind::String,
            Value::Null,
            "Directory of those files, which have no names there; the run directory unless set.",
        ),
        field(
            "store",
            words(&["auto", "huge-tmpfs", "recycled-memfd", "sealed-memfd"]),
            json!("auto"),
            "Memory of payloads: the best that this machine has, or one of the kinds.",
        )
        .alias("payload-store"),
        field(
            "verify",
            FieldKind::Bool,
            json!(false),
            "Whether each argument is compared with the digest of the result that it is, so that no damage \
             goes unnoticed: a pass over all bytes, twice.",
        )
        .alias("verify-payloads"),
        field(
            "huge_pages",
            FieldKind::Bool,
            json!(true),
            "Whether large payloads get pages of 2 MiB where the kernel has them.",
        ),
    ];
    Section {
        name: "engine.payload",
        title: "Payload",
        fields,
    }
}

fn logging() -> Section {
    let fields = vec![
        field(
            "level",
            FieldKind::String,
            json!("INFO"),
            "Least weight of a line on the terminal.",
        )
        .rule(Rule::LogLevel)
        .alias("log-level"),
        field(
            "file_level",
            FieldKind::String,
            Value::Null,
            "Least weight of a line in the log file; `none` means the same as `level`.",
        )
        .rule(Rule::LogLevel),
        field(
            "file_name",
            FieldKind::String,
            json!("log.txt"),
            "Log file in the run directory; `none` writes none.",
        )
        .rule(Rule::FileName)
        .nullable(),
    ];
    Section {
        name: "logging",
        title: "Logging",
        fields,
    }
}

fn run() -> Section {
    let fields = vec![
        field(
            "dir_format",
            FieldKind::String,
            json!("runs/{name}_{executor}_{timestamp}"),
            "Run directory, with the placeholders {name}, {executor} and {timestamp}.",
        )
        .rule(Rule::DirFormat)
        .alias("run-dir"),
        field(
            "env_vars",
            FieldKind::Table,
            json!({}),
            "Environment variables that tasks see; they see no others.",
        )
        .rule(Rule::TextTable)
        .nullable(),
        field(
            "seed",
            integer(0, i64::MAX),
            json!(0),
            "Seed of everything random in the run: equal seeds, equal runs.",
        )
        .alias("seed"),
        field(
            "repeat",
            integer(1, 1_000_000),
            json!(1),
            "How often to run, each time in a run directory of its own.",
        )
        .alias("repeat"),
    ];
    Section {
        name: "run",
        title: "Run",
        fields,
    }
}
