//! The pages of the reference, made from the program and from the documentation of its types. `scripts/docs` writes them
//! anew; a test fails when they are not what the program says.

use super::{
    root,
    rust_source::{self, Item},
};
use crate::harness::Place;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write,
    fs,
};

/// Where the pages are.
const FOLDER: &str = "docs/reference";

/// Set by `scripts/docs`: the pages are written instead of compared.
const UPDATE: &str = "TAPS_UPDATE_REFERENCE";

/// The tables of `tasks.jsonl` and `failures.json`: beside the code that writes these files, which is no type.
const RECORDS: &str = "runtime/records/README.md";

#[test]
fn the_reference_is_what_the_program_says() {
    let pages = [
        ("command-line", command_line()),
        ("options", options()),
        ("apps", apps()),
        ("records", records()),
        ("manifest", manifest()),
    ];
    let folder = root().join(FOLDER);
    let update = env::var_os(UPDATE).is_some();
    for (name, text) in &pages {
        let path = folder.join(format!("{name}.md"));
        if update {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, text).expect("written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        let differs = found.lines().zip(text.lines()).position(|(a, b)| a != b);
        assert!(
            &found == text,
            "{FOLDER}/{name}.md is not what the program says, from line {} on: run `scripts/docs reference`",
            differs.map_or(found.lines().count(), |line| line) + 1
        );
    }
}

/// Every key that a run writes to `tasks.jsonl` and to `failures.json` has a row.
#[test]
fn the_reference_has_every_field_of_records() {
    let place = Place::new();
    let args = "synthetic --app.structure=bag --app.task-count=20 --app.bag-max-running=5 --app.task-data-bytes=9 \
                --faults=failure --faults.rate=0.5 --retries=9 --quiet";
    place.run(&args.split(' ').collect::<Vec<_>>()).expect(0);
    let run = place.only_run();
    let text = records();
    let mut keys = BTreeSet::new();
    for line in crate::harness::tasks(&run) {
        keys_of(&line, &mut keys);
    }
    let failures = fs::read_to_string(run.join("failures.json")).expect("a report");
    keys_of(&serde_json::from_str(&failures).expect("JSON"), &mut keys);
    // Numbers of faults by what they are called.
    let named: BTreeSet<&str> = ["failure", "recovered"].into();
    let missing: Vec<&String> = keys
        .iter()
        .filter(|key| !named.contains(key.as_str()) && !is_described(key, &text))
        .collect();
    assert!(missing.is_empty(), "fields without a row: {missing:?}");
    assert!(keys.len() > 40, "{keys:?}");
}

fn keys_of(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                keys.insert(key.clone());
                keys_of(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys_of(value, keys)),
        _ => {}
    }
}

/// Whether a key is named, as it is or by its group: `input_transform_*`, and `monotonic_…_ns`.
fn is_described(key: &str, text: &str) -> bool {
    let group = key
        .strip_prefix("monotonic_")
        .and_then(|key| key.strip_suffix("_ns"));
    let transform = key
        .split_once("_transform_")
        .map(|(side, _)| format!("{side}_transform_*"));
    [
        format!("`{key}`"),
        format!(".{key}`"),
        format!("\"{key}\""),
        format!("`{}`", group.unwrap_or(key)),
        transform.unwrap_or_else(|| format!("`{key}`")),
    ]
    .iter()
    .any(|form| text.contains(form))
}

/// What a page begins with.
fn page(title: &str, about: &str) -> String {
    format!(
        "# {title}\n\n<!-- Made by `scripts/docs reference` from the program. Changes here are lost. -->\n\n{about}\n"
    )
}

/// What the program prints on stdout, asked from a place where nobody has put an app or a bundle.
fn printed(args: &[&str]) -> String {
    let place = Place::new();
    let mut command = place.command(args);
    command
        .env("HOME", place.path())
        .env("XDG_CACHE_HOME", place.path().join("cache"));
    let output = command.output().expect("started");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A table cell.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for (index, part) in text.trim().split('`').enumerate() {
        if index > 0 {
            cell.push('`');
        }
        // Between backticks `<` is as it is.
        let part = match index % 2 {
            0 => part.replace('<', "&lt;"),
            _ => part.to_owned(),
        };
        cell.push_str(&part.replace('|', "\\|"));
    }
    cell
}

// The command line.

fn command_line() -> String {
    let about = "What `taps-wasm COMMAND --help` prints, for every command. The options of `run` have \
                 [a page of their own](options.md). `taps-wasm man` prints a manual page, and `taps-wasm completions SHELL` \
                 what a shell needs to complete all of it.";
    let mut text = page("Command line", about);
    let top = printed(&["--help"]);
    let codes = top.split_once("Exit codes:\n").expect("exit codes").1;
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for line in codes.lines() {
        let (code, meaning) = line.trim().split_once("  ").expect("a code");
        let _ = writeln!(text, "| {code} | {} |", cell(meaning));
    }
    for command in commands(&[]) {
        if command == ["run"] {
            text.push_str("\n## `taps-wasm run`\n\nSee [options](options.md).\n");
            continue;
        }
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = printed(&[&words[..], &["--help"]].concat());
        let level = "#".repeat(words.len() + 1);
        let _ = write!(text, "\n{level} `taps-wasm {}`\n", words.join(" "));
        let _ = write!(text, "\n```text\n{}\n```\n", trimmed(&help));
    }
    text
}

/// Help without blanks at the ends of lines.
fn trimmed(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A command, its commands behind it.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let words: Vec<&str> = above.iter().map(String::as_str).collect();
    let help = printed(&[&words[..], &["--help"]].concat());
    let mut found = Vec::new();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        // Deeper lines go on with what was said.
        let Some(name) = line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
        else {
            continue;
        };
        let name = name.split(' ').next().expect("a name");
        let command = [above, &[name.to_owned()]].concat();
        found.push(command.clone());
        if name != "run" {
            found.extend(commands(&command));
        }
    }
    found
}

// Options of a run.

/// A part of the help of `run`.
struct Group {
    title: String,
    about: String,
    entries: Vec<Entry>,
}

struct Entry {
    flags: String,
    help: String,
    /// What it takes, and what it is otherwise; empty for a switch.
    kind: String,
    default: String,
}

/// The help of `run`, taken apart: headings at the margin, flags behind two blanks, what is said of them behind ten.
fn run_help(args: &[&str]) -> Vec<Group> {
    let help = printed(&[&["run"], args, &["--help"]].concat());
    let mut groups: Vec<Group> = Vec::new();
    for line in help.lines() {
        if let Some(said) = line.strip_prefix("          ") {
            let entry = groups.last_mut().and_then(|group| group.entries.last_mut());
            if let Some(entry) = entry {
                entry.say(said);
            }
        } else if let Some(flags) = line.strip_prefix("  ") {
            let group = groups.last_mut().expect("a heading");
            if flags.starts_with('-') {
                group.entries.push(Entry::new(flags));
            } else {
                let gap = if group.about.is_empty() { "" } else { " " };
                let _ = write!(group.about, "{gap}{flags}");
            }
        } else if let Some(title) = line.strip_suffix(':') {
            groups.push(Group {
                title: title.to_owned(),
                about: String::new(),
                entries: Vec::new(),
            });
        }
    }
    groups
}

impl Entry {
    fn new(flags: &str) -> Self {
        Self {
            flags: flags.to_owned(),
            help: String::new(),
            kind: String::new(),
            default: String::new(),
        }
    }

    fn say(&mut self, said: &str) {
        if self.kind.is_empty() && !said.starts_with('[') {
            let gap = if self.help.is_empty() { "" } else { " " };
            let _ = write!(self.help, "{gap}{said}");
            return;
        }
        let gap = if self.kind.is_empty() { "" } else { " " };
        let _ = write!(self.kind, "{gap}{said}");
        self.default = match self.kind.split_once(" [default: ") {
            Some((_, default)) => format!("`{}`", default.trim_end_matches(']')),
            None if self.kind.ends_with("[required]") => "required".to_owned(),
            None => String::new(),
        };
    }

    fn row(&self) -> String {
        let flags = self
            .flags
            .split(", ")
            .map(|flag| format!("`{flag}`"))
            .collect::<Vec<_>>();
        let kind = self.kind.split(" [").next().unwrap_or_default();
        let kind = kind.trim_start_matches('[').trim_end_matches(']');
        format!(
            "| {} | {} | {} | {} |\n",
            cell(&flags.join(", ")),
            cell(kind),
            cell(&self.default),
            cell(&self.help)
        )
    }
}

fn table(entries: &[Entry]) -> String {
    let mut text = "| flag | takes | default | meaning |\n|---|---|---|---|\n".to_owned();
    for entry in entries {
        text.push_str(&entry.row());
    }
    text
}

/// Names that `list` has of a kind.
fn listed(kind: &str) -> Vec<String> {
    let list: Vec<BTreeMap<String, Value>> =
        serde_json::from_str(&printed(&["list", kind, "--json"])).expect("JSON");
    let names = list
        .iter()
        .map(|one| one["name"].as_str().expect("a name").to_owned());
    names.filter(|name| name != "none").collect()
}

fn options() -> String {
    let about = "All options of `taps-wasm run` but those of the apps, which [have their own page](apps.md). \
                 Every dotted flag is a key of a configuration file: `--engine.retries 3` is `retries = 3` below `[engine]`. \
                 How flags, files and defaults go together is in [configuration](../configuration.md). An engine's \
                 `scheduler` is `--executor.scheduler` or `--engine.executor.scheduler` on the command line and `scheduler` \
                 below `[engine.executor]` in a file; filters and transformers likewise.";
    let mut text = page("Options of a run", about);
    for group in run_help(&[]) {
        if group.title.ends_with("options") || group.title == "Options" {
            let _ = write!(text, "\n## {}\n\n{}", group.title, table(&group.entries));
        }
    }
    for (kind, title) in [
        ("executor", "Executors"),
        ("filter", "Filters"),
        ("transformer", "Transformers"),
    ] {
        let _ = write!(text, "\n## {title}\n");
        for name in listed(&format!("{kind}s")) {
            let flag = format!("--{kind}");
            let groups = run_help(&[&flag, &name]);
            let heading = format!("{}{} {name}", kind[..1].to_uppercase(), &kind[1..]);
            let group = groups
                .iter()
                .find(|group| group.title == heading)
                .unwrap_or_else(|| panic!("no help of {heading}"));
            let _ = write!(text, "\n### `{name}`\n\n{}\n", group.about);
            if group.entries.is_empty() {
                text.push_str("\nNo options.\n");
            } else {
                let _ = write!(text, "\n{}", table(&group.entries));
            }
        }
    }
    text
}

fn apps() -> String {
    let about = "The apps that are built in: their options, and the tasks that faults, explanations and records name. \
                 `taps-wasm describe APP` says the same of an app that somebody sent.";
    let mut text = page("Built-in apps", about);
    for name in listed("apps") {
        let groups = run_help(&[&name]);
        let group = groups
            .iter()
            .find(|group| group.title == format!("App {name}"))
            .unwrap_or_else(|| panic!("no help of {name}"));
        let _ = write!(text, "\n## `{name}`\n\n{}\n\n", cell(&group.about));
        text.push_str(&table(&group.entries));
        let described: Value =
            serde_json::from_str(&printed(&["describe", &name, "--json"])).expect("JSON");
        let tasks = described["app"]["tasks"].as_array().expect("tasks");
        if tasks.is_empty() {
            continue;
        }
        text.push_str("\n| task | gives | pure | meaning |\n|---|---|---|---|\n");
        for task in tasks {
            let said = |key: &str| task[key].as_str().unwrap_or_default().to_owned();
            let parameters: Vec<String> = pairs(&task["parameters"]);
            let outputs: Vec<&str> = task["outputs"]
                .as_array()
                .expect("outputs")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let pure = if task["pure"] == true { "yes" } else { "" };
            let _ = writeln!(
                text,
                "| `{}({})` | {} | {pure} | {} |",
                said("name"),
                parameters.join(", "),
                code(&outputs.join(", ")),
                cell(&said("help").replace('\n', " "))
            );
        }
    }
    text
}

fn pairs(value: &Value) -> Vec<String> {
    let pairs = value.as_array().expect("parameters").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pairs
        .map(|pair| format!("{}: {}", text(&pair[0]), text(&pair[1])))
        .collect()
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{text}`"),
    }
}

// Records and manifests.

/// A part of a page of the sources, from its heading to the next of the same level.
fn section(path: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(path)).expect("a page");
    let from = text.find(&format!("\n{heading}\n")).expect("a heading") + 1;
    let rest = &text[from + heading.len()..];
    let end = rest.find("\n## ").map_or(rest.len(), |end| end + 1);
    format!("{heading}{}", &rest[..end])
}

fn records() -> String {
    let about = "What the files of a run directory hold. `events.log` is the truth, in a binary format that `taps-wasm` \
                 reads; the others are made from it, and `taps-wasm records RUN` makes them again. Readers in other \
                 languages take `tasks.jsonl`.";
    let mut text = page("Records", about);
    text.push('\n');
    text.push_str(&section(RECORDS, "## tasks.jsonl"));
    text.push_str(&section(RECORDS, "## failures.json"));
    text.push_str(
        "## events.log\n\nThe events, in the order in which they happened. All times are nanoseconds since the run \
         began, on the monotonic clock. How they are encoded is in `runtime/records/README.md`.\n",
    );
    for item in rust_source::items("runtime/records/src/event.rs") {
        text.push_str(&type_table(&item));
    }
    text
}

fn manifest() -> String {
    let about = "The fields of `manifest.json` in a [bundle](../bundles/README.md), and of what `taps-wasm describe APP \
                 --json` prints. The rest of the format is in [the format of bundles](../bundles/format.md). Names of \
                 variants are written in kebab case.";
    let mut text = page("Manifest", about);
    let skip = ["Kernels"];
    for path in [
        "runtime/bundle/src/manifest.rs",
        "runtime/schema/src/app.rs",
    ] {
        for item in rust_source::items(path) {
            if !skip.contains(&item.name.as_str()) {
                text.push_str(&type_table(&item));
            }
        }
    }
    text
}

fn type_table(item: &Item) -> String {
    let mut text = format!(
        "\n### `{}`\n\n{}\n\n| | type | meaning |\n|---|---|---|\n",
        item.name,
        cell(&plain(&item.doc))
    );
    for member in &item.members {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            member.name,
            cell(&code(&member.kind)),
            cell(&plain(&member.doc))
        );
    }
    text
}

/// Documentation without links to other types: ``[`A`](crate::A)`` and ``[`A`]`` are `A`.
fn plain(doc: &str) -> String {
    let mut text = String::new();
    let mut rest = doc;
    while let Some(start) = rest.find("[`") {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.find("`]").expect("the end of a link") + 1;
        text.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if rest.starts_with('(') {
            rest = &rest[rest.find(')').expect("the end of a target") + 1..];
        }
    }
    text.push_str(rest);
    text
}
