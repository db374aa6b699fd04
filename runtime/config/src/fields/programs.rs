//! The section `[programs]`.

use super::{GeneralField, Rule, Section, field, integer};
use serde_json::{Value, json};
use taps_schema::FieldKind;

pub(super) fn section() -> Section {
    let mut fields = vec![
        field(
            "paths",
            FieldKind::Table,
            json!({}),
            "Where programs are that are not on the PATH: `{\"vina\": \"/opt/vina/bin/vina\"}`.",
        )
        .rule(Rule::TextTable),
        field(
            "read",
            FieldKind::List {
                item: Box::new(FieldKind::String),
            },
            json!([]),
            "Files and directories that programs may read besides those of the system, their own \
             installation and their inputs.",
        ),
        field(
            "allow",
            FieldKind::List {
                item: Box::new(FieldKind::String),
            },
            json!([]),
            "Programs that an app which is not built in may call; those of built-in apps are allowed.",
        )
        .rule(Rule::Names)
        .alias("allow-programs"),
        field(
            "directory",
            FieldKind::String,
            Value::Null,
            "Directory of their scratch directories and of the files that they pass on; the run \
             directory unless set.",
        ),
        field(
            "require_sandbox",
            FieldKind::Bool,
            json!(false),
            "Whether a program is refused where the kernel cannot confine it in every way.",
        )
        .alias("require-sandbox"),
    ];
    fields.extend(limits());
    Section {
        name: "programs",
        title: "Programs",
        fields,
    }
}

fn limits() -> [GeneralField; 5] {
    let size = |name, default, help| field(name, FieldKind::String, default, help).rule(Rule::Size);
    let seconds = FieldKind::Float {
        min: Some(1.0),
        max: Some(31_536_000.0),
    };
    [
        field(
            "cpu_limit",
            seconds,
            Value::Null,
            "CPU time of one process of a program, in seconds; whole ones are counted.",
        ),
        size(
            "memory_limit",
            json!("8 GiB"),
            "Address space of one process of a program; `none` for no limit.",
        )
        .nullable(),
        size(
            "file_limit",
            json!("8 GiB"),
            "Length of any file that a program writes.",
        ),
        field(
            "open_files",
            integer(16, 1 << 20),
            json!(1024),
            "Files that one process of a program may have open.",
        ),
        size(
            "output_limit",
            json!("16 MiB"),
            "Bytes of standard output, and of standard error, at which a program is killed.",
        ),
    ]
}
