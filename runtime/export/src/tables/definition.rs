//! The tables of a run: defined once, written as Parquet and into SQLite.

use std::fmt::Write as _;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number: `INT64`, `INTEGER`.
    Integer,
    /// Text: `BYTE_ARRAY (STRING)`, `TEXT`.
    Text,
    /// Yes or no: `BOOLEAN`, and 1 or 0 as `INTEGER`.
    Boolean,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name; the unit is its end.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it says.
    pub meaning: &'static str,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name, also that of its file.
    pub name: &'static str,
    /// What a row is.
    pub meaning: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// Columns that tell rows apart.
    pub key: &'static [&'static str],
    /// Columns that name rows of other tables, by their key.
    pub references: &'static [(&'static str, &'static str)],
    /// Columns, or lists of them, that are searched by.
    pub indexes: &'static [&'static [&'static str]],
}

const fn integer(name: &'static str, meaning: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Integer,
        nullable: false,
        meaning,
    }
}

const fn text(name: &'static str, meaning: &'static str) -> Column {
    Column {
        kind: Kind::Text,
        ..integer(name, meaning)
    }
}

const fn boolean(name: &'static str, meaning: &'static str) -> Column {
    Column {
        kind: Kind::Boolean,
        ..integer(name, meaning)
    }
}

impl Column {
    const fn or_null(self) -> Self {
        Self {
            nullable: true,
            ..self
        }
    }
}

/// Which table; also its position in [`tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Run,
    Tasks,
    Attempts,
    Dependencies,
    Transfers,
    Programs,
    Failures,
    Workers,
    Events,
}

const RUN: &[Column] = &[
    integer("format", "version of these tables: 1"),
    text("program_version", "version of the program that exported"),
    text("app", "name of the app"),
    text("app_version", "version of the app"),
    text("executor", "name of the executor"),
    integer("slots", "worker slots asked for"),
    text(
        "seed",
        "seed of the run, in decimal: it may be larger than an integer",
    ),
    text("host", "host of the coordinator"),
    integer(
        "start_unix_ns",
        "wall clock when the run began, nanoseconds since 1970",
    ),
    text(
        "state",
        "`finished`, `failed`, `interrupted`, `killed`, `going-on`; `unknown` without a log",
    ),
    integer("exit_code", "exit code, when it ended").or_null(),
    text("error", "why it failed").or_null(),
    text("report", "what the driver reported, as JSON").or_null(),
    integer("elapsed_ns", "from the beginning to the latest event"),
    integer(
        "makespan_ns",
        "from the first submission to the end of the last task; null without a task",
    )
    .or_null(),
    integer("damaged_at", "byte from which on the log is damaged").or_null(),
    text("config", "the resolved configuration, TOML").or_null(),
    text("environment", "what the run ran on, JSON").or_null(),
    text(
        "notes",
        "what could not be read, one per line; empty when all could",
    ),
];

const TASKS: &[Column] = &[
    integer("task_id", "sequence number of the submission, from 0"),
    text("name", "name of the task"),
    text("label", "label that the driver gave").or_null(),
    text("phase", "phase of the driver in which it was submitted").or_null(),
    text(
        "outcome",
        "`ok`, `task-error`, `trap`, `out-of-memory`, `timeout`, `program-error`, `worker-lost`, `upstream-failed`, `cancelled`, `payload-error`, `engine-error`; `open` when the records do not tell its end",
    ),
    integer("attempt_id", "its last attempt; null when it never ran").or_null(),
    integer("tries", "attempts that were made, up to the last"),
    boolean(
        "memoized",
        "whether the outputs are those of an earlier run",
    ),
    integer("priority", "as submitted"),
    integer("cores", "cores that it occupies"),
    integer(
        "parents",
        "arguments that are outputs of other tasks: its rows in `dependencies`",
    ),
    integer("submitted_ns", "when it was submitted"),
    integer(
        "submitted_unix_ns",
        "the same on the wall clock, nanoseconds since 1970",
    ),
    integer("ended_ns", "when its end was known; null when open").or_null(),
    integer(
        "run_ns",
        "how long the task function ran in the last attempt; null where unknown",
    )
    .or_null(),
    integer("input_bytes", "arguments of the last attempt"),
    integer("output_bytes", "results of the last attempt"),
];

const ATTEMPTS: &[Column] = &[
    integer(
        "attempt_id",
        "number of the row, from 1, in the order in which attempts ended",
    ),
    integer("task_id", "the task"),
    integer(
        "attempt",
        "number of the attempt of its task, from 0; null where unknown",
    )
    .or_null(),
    integer(
        "try",
        "which try of the task it was, from 1; attempts that came back before they had begun are none",
    ),
    integer(
        "generation",
        "which production of the outputs: above 0 when they were made again",
    ),
    boolean("is_last", "whether it decided the task"),
    integer("worker_id", "the worker; null when none had it").or_null(),
    text("host", "host of the worker").or_null(),
    text("outcome", "as of a task; `open` when its end is not known"),
    text("injected", "fault that was acted out").or_null(),
    text(
        "instance",
        "the sandbox: `fresh`, `prewarmed`, `reused`, `none`; null without a report",
    )
    .or_null(),
    integer(
        "executions",
        "how often it was run, as far as is known; null without a report",
    )
    .or_null(),
    integer("dispatched_ns", "when it was handed over").or_null(),
    integer("received_ns", "when the worker took it").or_null(),
    integer(
        "resolve_start_ns",
        "when a transformer began to resolve arguments; null without one",
    )
    .or_null(),
    integer("resolve_end_ns", "when it was done").or_null(),
    integer("task_start_ns", "when the task function began").or_null(),
    integer("task_end_ns", "when it returned").or_null(),
    integer(
        "put_start_ns",
        "when a transformer began to store results; null without one",
    )
    .or_null(),
    integer("put_end_ns", "when it was done").or_null(),
    integer("finished_ns", "when the worker had published the results").or_null(),
    integer(
        "ended_ns",
        "when the coordinator knew of its end; null when open",
    )
    .or_null(),
    integer(
        "cpu_ns",
        "CPU time of the worker's thread; null without a report",
    )
    .or_null(),
    integer(
        "peak_memory_bytes",
        "largest size of the sandbox; null without a report",
    )
    .or_null(),
    integer("input_bytes", "arguments that arrived"),
    integer("output_bytes", "results that were given"),
    integer("copies", "whole copies of payloads that were made"),
    text("notes", "how it ran, one per line").or_null(),
];

const DEPENDENCIES: &[Column] = &[
    integer("task_id", "the task that waits"),
    integer(
        "position",
        "which of its arguments from other tasks, from 0",
    ),
    integer("parent_id", "the task whose output that is"),
];

const TRANSFERS: &[Column] = &[
    integer("attempt_id", "the attempt"),
    text("direction", "`input`: an argument; `output`: a result"),
    integer("position", "which, from 0"),
    integer("bytes", "its size"),
    integer(
        "moved_bytes",
        "what the guest asked for, where it reads in pieces",
    ),
    text(
        "way",
        "`inline`, `read`, `mapped`, `copied`, `reference`, `linked`, `untouched`, `stored`",
    ),
    integer("copies", "whole copies of the moved bytes"),
];

const PROGRAMS: &[Column] = &[
    integer("attempt_id", "the attempt"),
    integer("position", "which of its calls, from 0"),
    text("program", "name of the program"),
    integer("exit_code", "exit code, when it exited").or_null(),
    integer("signal", "signal, when one ended it").or_null(),
    text("killed", "why the runtime killed it, if it did").or_null(),
    integer("wall_ns", "from the call to its end"),
    integer("cpu_user_ns", "CPU time in user mode, of all its processes"),
    integer("cpu_system_ns", "CPU time in the kernel"),
    integer(
        "peak_memory_bytes",
        "largest resident size of one of its processes",
    ),
    integer("input_bytes", "its input files"),
    integer("output_bytes", "its output files"),
];

const FAILURES: &[Column] = &[
    integer("failure_id", "number of the row, from 1, in order"),
    integer("task_id", "the task"),
    integer(
        "attempt_id",
        "the attempt; null when the task failed without one",
    )
    .or_null(),
    text("outcome", "as of a task"),
    text("type", "type of the error within the outcome"),
    text("message", "what was said"),
    text("detail", "backtrace of the guest, when there is one").or_null(),
    integer("exit_code", "exit code of a program that failed").or_null(),
    integer("signal", "signal that ended a program").or_null(),
    text("injected", "fault that was acted out").or_null(),
    boolean("retried", "whether another attempt followed"),
    integer("time_ns", "when it was known"),
];

const WORKERS: &[Column] = &[
    integer("worker_id", "its number"),
    text("host", "its host; null when it never joined").or_null(),
    integer("cores", "cores that it brings").or_null(),
    integer("memory_bytes", "memory that it brings; 0 when unlimited").or_null(),
    integer(
        "joined_ns",
        "latest event before it joined; null when it never did",
    )
    .or_null(),
    integer("losses", "how often it was lost"),
    integer("attempts", "attempts that ended on it"),
    integer("busy_ns", "sum of the times of those"),
];

const EVENTS: &[Column] = &[
    integer("event_id", "number of the row, from 1, in order"),
    integer("time_ns", "when"),
    integer(
        "unix_ns",
        "the same on the wall clock, nanoseconds since 1970",
    ),
    text(
        "kind",
        "`run-started`, `phase`, `worker-joined`, `worker-lost`, `outputs-lost`, `ending`, `resumed`, `run-finished`",
    ),
    integer("worker_id", "the worker that joined or was lost").or_null(),
    text(
        "text",
        "name of the phase; why the worker was lost; how many outputs",
    )
    .or_null(),
];

const TABLES: [Table; 9] = [
    Table {
        name: "run",
        meaning: "The run: one row.",
        columns: RUN,
        key: &[],
        references: &[],
        indexes: &[],
    },
    Table {
        name: "tasks",
        meaning: "A task that was submitted.",
        columns: TASKS,
        key: &["task_id"],
        references: &[("attempt_id", "attempts")],
        indexes: &[&["name"], &["outcome"]],
    },
    Table {
        name: "attempts",
        meaning: "An attempt of a task that was handed over.",
        columns: ATTEMPTS,
        key: &["attempt_id"],
        references: &[("task_id", "tasks"), ("worker_id", "workers")],
        indexes: &[&["task_id", "attempt"], &["worker_id", "received_ns"]],
    },
    Table {
        name: "dependencies",
        meaning: "An argument that is an output of another task.",
        columns: DEPENDENCIES,
        key: &["task_id", "position"],
        references: &[("task_id", "tasks"), ("parent_id", "tasks")],
        indexes: &[&["parent_id"]],
    },
    Table {
        name: "transfers",
        meaning: "A payload that an attempt was given or gave.",
        columns: TRANSFERS,
        key: &["attempt_id", "direction", "position"],
        references: &[("attempt_id", "attempts")],
        indexes: &[],
    },
    Table {
        name: "programs",
        meaning: "A native program that an attempt ran.",
        columns: PROGRAMS,
        key: &["attempt_id", "position"],
        references: &[("attempt_id", "attempts")],
        indexes: &[],
    },
    Table {
        name: "failures",
        meaning: "An attempt, or a task without one, that gave no outputs.",
        columns: FAILURES,
        key: &["failure_id"],
        references: &[("task_id", "tasks"), ("attempt_id", "attempts")],
        indexes: &[&["task_id"], &["outcome"]],
    },
    Table {
        name: "workers",
        meaning: "A worker that joined or was named.",
        columns: WORKERS,
        key: &["worker_id"],
        references: &[],
        indexes: &[],
    },
    Table {
        name: "events",
        meaning: "What happened to the run rather than to a task.",
        columns: EVENTS,
        key: &["event_id"],
        references: &[("worker_id", "workers")],
        indexes: &[],
    },
];

/// The tables of a run.
pub fn tables() -> &'static [Table] {
    &TABLES
}

/// The tables as the documentation has them: a heading and a Markdown table for each.
pub fn tables_as_markdown() -> String {
    let mut text = String::new();
    for table in tables() {
        // Writing to a String cannot fail.
        let _ = write!(text, "### `{}`\n\n{}", table.name, table.meaning);
        if !table.key.is_empty() {
            let _ = write!(text, " Key: `{}`.", table.key.join("`, `"));
        }
        let _ = write!(text, "\n\n| column | type | meaning |\n|---|---|---|\n");
        for column in table.columns {
            let kind = match column.kind {
                Kind::Integer => "integer",
                Kind::Text => "text",
                Kind::Boolean => "boolean",
            };
            let null = if column.nullable { ", or null" } else { "" };
            let (name, meaning) = (column.name, column.meaning);
            let _ = writeln!(text, "| `{name}` | {kind}{null} | {meaning} |");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
