//! A comparison as text and as CSV.

use super::{Comparison, Estimate, Group};
use std::fmt::Write as _;

/// What the table for people shows: a heading, the number, and the factor to its unit.
const COLUMNS: [(&str, &str, f64); 9] = [
    ("makespan s", "makespan_s", 1.0),
    ("× slots s", "makespan_times_slots_s", 1.0),
    ("tasks/s", "tasks_per_s", 1.0),
    ("per slot", "tasks_per_s_per_slot", 1.0),
    ("compute %", "compute_share", 100.0),
    ("prepare %", "prepare_share", 100.0),
    ("store %", "store_share", 100.0),
    ("idle %", "idle_share", 100.0),
    ("queue ms/task", "queue_per_task_s", 1e3),
];

/// Tables for people: groups with the intervals of their means, then the runs.
pub(super) fn text(comparison: &Comparison) -> String {
    let mut rows = vec![heading()];
    rows.extend(comparison.groups.iter().map(row));
    let mut text = aligned(&rows);
    text.push_str("\nEach number is the mean over repeats, ± half of its 95 % confidence interval (Student's t).\n\n");
    if let Some(phases) = phases(comparison) {
        text.push_str(&phases);
        text.push('\n');
    }
    let mut rows = vec![
        ["run", "group", "state", "makespan s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for run in &comparison.runs {
        let makespan = run
            .numbers
            .get("makespan_s")
            .map_or("–".to_owned(), |value| digits(*value));
        let state = if run.counts {
            run.state.to_owned()
        } else {
            format!("{} (not counted)", run.state)
        };
        rows.push(vec![
            run.path.clone(),
            (run.group + 1).to_string(),
            state,
            makespan,
        ]);
    }
    text.push_str(&aligned(&rows));
    text
}

/// How long the phases of the drivers were, where there is more than one.
fn phases(comparison: &Comparison) -> Option<String> {
    let numbers = comparison
        .groups
        .iter()
        .flat_map(|group| group.numbers.keys());
    let mut names: Vec<&String> = numbers.filter(|name| name.starts_with("phase.")).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < 2 {
        return None;
    }
    let title = |name: &&String| format!("{} s", &name["phase.".len()..name.len() - "_s".len()]);
    let mut rows = vec![vec![String::new(), "phases".to_owned()]];
    rows[0].extend(names.iter().map(title));
    for group in &comparison.groups {
        let cell = |name: &&String| {
            let estimate = group.numbers.get(*name);
            estimate.map_or("–".to_owned(), |estimate| shown(estimate, 1.0))
        };
        let mut row = vec![group.number.to_string(), group.label.clone()];
        row.extend(names.iter().map(cell));
        rows.push(row);
    }
    Some(aligned(&rows))
}

fn heading() -> Vec<String> {
    let fixed = ["", "configuration", "slots", "runs"].map(str::to_owned);
    fixed
        .into_iter()
        .chain(COLUMNS.iter().map(|(title, _, _)| (*title).to_owned()))
        .collect()
}

fn row(group: &Group) -> Vec<String> {
    let mut cells = vec![
        group.number.to_string(),
        group.label.clone(),
        group.slots.to_string(),
        group.runs.len().to_string(),
    ];
    for (_, name, factor) in COLUMNS {
        cells.push(
            group
                .numbers
                .get(name)
                .map_or("–".to_owned(), |estimate| shown(estimate, factor)),
        );
    }
    cells
}

/// A mean times a factor, with half of its interval where there is one.
pub fn shown(estimate: &Estimate, factor: f64) -> String {
    let mean = digits(estimate.mean * factor);
    match estimate.half_width {
        Some(half_width) => format!("{mean} ± {}", digits(half_width * factor)),
        None => mean,
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.decimals$}")
}

/// Columns of equal width; numbers to the right, texts to the left.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A line for each group and number.
pub(super) fn csv(comparison: &Comparison) -> String {
    let mut text =
        "group,configuration,app,executor,slots,number,repeats,mean,half_width_95,least,most\n"
            .to_owned();
    for group in &comparison.groups {
        let head = [&group.label, &group.app, &group.executor].map(|text| quoted(text));
        let [label, app, executor] = head;
        for (name, estimate) in &group.numbers {
            let half_width = estimate
                .half_width
                .map_or(String::new(), |value| value.to_string());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{},{label},{app},{executor},{},{name},{},{},{half_width},{},{}",
                group.number,
                group.slots,
                estimate.repeats,
                estimate.mean,
                estimate.least,
                estimate.most
            );
        }
    }
    text
}

/// A text as a field of CSV.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
