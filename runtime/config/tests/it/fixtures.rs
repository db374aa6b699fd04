//! Apps and shorthands for the tests.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use taps_config::{ConfigErrors, Resolved, Schema, resolve};
use taps_schema::{AppDescription, ConfigField, FieldKind, Nans, TaskDescription};

pub(crate) fn field(name: &str, kind: FieldKind, help: &str) -> ConfigField {
    ConfigField {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        default: None,
        optional: false,
    }
}

fn with_default(field: ConfigField, default: Value) -> ConfigField {
    ConfigField {
        default: Some(default),
        ..field
    }
}

fn optional(field: ConfigField) -> ConfigField {
    ConfigField {
        optional: true,
        ..field
    }
}

fn words(values: &[&str]) -> FieldKind {
    FieldKind::Enum {
        values: values.iter().map(|&value| value.to_owned()).collect(),
    }
}

fn integer(min: i64) -> FieldKind {
    FieldKind::Integer {
        min: Some(min),
        max: None,
    }
}

fn app(name: &str, summary: &str, config: Vec<ConfigField>) -> AppDescription {
    AppDescription {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        wit_version: "0.1.0".to_owned(),
        summary: summary.to_owned(),
        driver: true,
        config,
        tasks: Vec::new(),
        programs: Vec::new(),
        nans: Nans::Canonical,
    }
}

fn cholesky() -> AppDescription {
    let config = vec![
        field("matrix_size", integer(1), "Side of the square matrix."),
        field(
            "block_size",
            integer(1),
            "Side of a tile; must divide `matrix_size`.",
        ),
        with_default(
            field(
                "compat_dag",
                FieldKind::Bool,
                "Run TaPS's graph, numerically meaningless.",
            ),
            json!(false),
        ),
    ];
    let tasks = ["gemm", "potrf", "syrk", "trsm"].map(|name| TaskDescription {
        name: name.to_owned(),
        help: String::new(),
        parameters: Vec::new(),
        outputs: Vec::new(),
        pure: true,
        grants: Vec::new(),
        programs: Vec::new(),
    });
    AppDescription {
        tasks: tasks.into(),
        programs: Vec::new(),
        ..app(
            "cholesky",
            "Tiled Cholesky factorisation of a random symmetric positive definite matrix.",
            config,
        )
    }
}

fn mapreduce() -> AppDescription {
    let config = vec![
        optional(field(
            "data_dir",
            FieldKind::InputDir,
            "Directory of text files to count.",
        )),
        with_default(
            optional(field(
                "map_tasks",
                integer(1),
                "Largest number of map tasks; `none` means one per file.",
            )),
            json!(32),
        ),
        with_default(
            field("generate", FieldKind::Bool, "Make random files instead."),
            json!(false),
        ),
        with_default(
            field("generated_files", integer(1), "Number of files to make."),
            json!(10),
        ),
        with_default(
            field("generated_words", integer(1), "Words in each."),
            json!(10_000),
        ),
    ];
    app(
        "mapreduce",
        "Word count of a directory of text files.",
        config,
    )
}

fn synthetic() -> AppDescription {
    let structures = words(&["bag", "diamond", "reduce", "sequential"]);
    let seconds = FieldKind::Float {
        min: Some(0.0),
        max: None,
    };
    let config = vec![
        field("structure", structures, "Shape of the graph."),
        field("task_count", integer(1), "Number of tasks."),
        with_default(
            field(
                "task_data_bytes",
                integer(0),
                "Bytes in and out of each task.",
            ),
            json!(0),
        ),
        with_default(
            field("task_sleep", seconds, "Least seconds per task."),
            json!(0.0),
        ),
        optional(field(
            "bag_max_running",
            integer(1),
            "Tasks outstanding at a time; required for `bag`.",
        )),
    ];
    app("synthetic", "Graphs of tasks that do nothing.", config)
}

/// An app with a field of every kind.
fn kinds() -> AppDescription {
    let list = |item| FieldKind::List {
        item: Box::new(item),
    };
    let config = vec![
        optional(field("flag", FieldKind::Bool, "")),
        optional(field(
            "count",
            FieldKind::Integer {
                min: Some(-5),
                max: Some(5),
            },
            "",
        )),
        optional(field(
            "rate",
            FieldKind::Float {
                min: Some(0.0),
                max: Some(1.0),
            },
            "",
        )),
        optional(field("text", FieldKind::String, "")),
        optional(field(
            "word",
            words(&["zero-division", "worker-killed"]),
            "",
        )),
        optional(field("numbers", list(integer(0)), "")),
        optional(field("texts", list(FieldKind::String), "")),
        with_default(optional(field("config", FieldKind::Table, "")), json!({})),
        optional(field("file", FieldKind::InputFile, "")),
        optional(field("files", list(FieldKind::InputFile), "")),
        optional(field("dir", FieldKind::InputDir, "")),
        optional(field("out", FieldKind::OutputDir, "")),
    ];
    app("kinds", "One field of every kind.", config)
}

pub(crate) fn schema() -> Schema {
    Schema::new(vec![cholesky(), mapreduce(), synthetic(), kinds()])
}

pub(crate) fn args(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

pub(crate) fn run_in(dir: &Path, line: &[&str]) -> Result<Resolved, ConfigErrors> {
    resolve(&args(line), &schema(), dir)
}

/// Resolves a command line that needs no files.
pub(crate) fn run(line: &[&str]) -> Result<Resolved, ConfigErrors> {
    run_in(Path::new("/"), line)
}

/// Resolves `kinds` with more flags and gives one of its fields.
pub(crate) fn kind_value(field: &str, flags: &[&str]) -> Value {
    let line = [&["kinds"], flags].concat();
    run(&line).unwrap().app_config[field].clone()
}
