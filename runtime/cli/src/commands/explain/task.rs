//! The story of a task in plain words. Writing to a `String` cannot fail.

use super::{count, line, plain, wall};
use std::fmt::Write as _;
use taps_records::{GuestLevel, Moment, RunState, Stream, TaskExplanation, Travelled, What, Why};

/// How many lines are shown of what a guest wrote.
const LINES_SHOWN: usize = 20;

pub(super) fn write(text: &mut String, told: &TaskExplanation) {
    let mut name = format!("{} {}[{}]", told.task_id, told.name, told.index);
    if let Some(label) = &told.label {
        let _ = write!(name, ", labelled {label}");
    }
    if let Some(phase) = &told.phase {
        let _ = write!(name, ", of phase {phase}");
    }
    line(text, "Task", &name);
    let attempts = count(told.attempts, "attempt", "attempts");
    let open = matches!(told.state, "running" | "retrying" | "waiting");
    let when = match told.run {
        RunState::Killed if open => " when the run was killed",
        _ => "",
    };
    line(text, "State", &format!("{}{when}, {attempts}", told.state));
    for (position, parent) in told.parents.iter().enumerate() {
        let heading = if position == 0 { "Parents" } else { "" };
        let what = format!(
            "{} {}[{}], {}",
            parent.task_id, parent.name, parent.index, parent.state
        );
        line(text, heading, &what);
    }
    let options = options(told);
    if !options.is_empty() {
        line(text, "Asked for", &options.join(", "));
    }
    if let Some(first) = told.story.first() {
        line(text, "Story", &format!("from {} on", wall(first.unix_s)));
    }
    for moment in &told.story {
        write_moment(text, moment);
    }
}

/// What was asked for beyond the defaults.
fn options(told: &TaskExplanation) -> Vec<String> {
    let options = &told.options;
    let mut parts = Vec::new();
    if let Some(retries) = options.retries {
        parts.push(count(retries.into(), "retry", "retries"));
    }
    if let Some(limit) = options.timeout_ms {
        parts.push(format!("at most {limit} ms"));
    }
    if options.priority != 0 {
        parts.push(format!("priority {}", options.priority));
    }
    if options.cores > 1 {
        parts.push(format!("{} cores", options.cores));
    }
    if options.memory_bytes > 0 {
        parts.push(format!("{} bytes of memory", options.memory_bytes));
    }
    if options.pure {
        parts.push("pure".to_owned());
    }
    parts
}

fn write_moment(text: &mut String, moment: &Moment) {
    let mut lines = said(&moment.what);
    lines.extend(details(&moment.what));
    let mut stamp = format!("{:>13.6} s  ", moment.time_s);
    for part in lines
        .iter()
        .flat_map(|part| plain(part).lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let _ = writeln!(text, "{stamp}{part}");
        stamp = " ".repeat(stamp.len());
    }
}

/// The first line of a moment, or the lines of a guest.
fn said(what: &What) -> Vec<String> {
    let line = match what {
        What::Submitted => "submitted by the driver".to_owned(),
        What::ParentEnded {
            task_id,
            name,
            outcome,
        } => format!("its parent {task_id} ({name}) ended: {outcome}"),
        What::Sent {
            attempt,
            worker,
            why,
            fault,
        } => sent(*attempt, *worker, *why, *fault),
        What::CameBack { attempt } => format!("attempt {attempt} came back before it had started"),
        What::Ended {
            attempt,
            worker,
            outcome,
            failure,
            retried,
            ..
        } => ended(*attempt, *worker, outcome, failure.as_ref(), *retried),
        What::ReportedAgain { attempt } => {
            format!("attempt {attempt} was reported again; ignored")
        }
        What::WorkerLost { worker, reason } => format!("worker {worker} is gone: {reason}"),
        What::OutputsLost { outputs } => {
            let outputs: Vec<String> = outputs.iter().map(u32::to_string).collect();
            format!("lost: output {}", outputs.join(", "))
        }
        What::Memoized { bytes } => {
            format!("given the outputs of an earlier run, {bytes} bytes; it did not run")
        }
        What::Finished { outcome, failure } => match failure {
            Some((_, message)) => format!("ended: {outcome}: {message}"),
            None => format!("ended: {outcome}"),
        },
        What::Delivered { what, told } => format!("the driver saw a {what}: {told}"),
        What::Output {
            attempt,
            stream,
            text,
            truncated_bytes,
        } => return written(*attempt, *stream, text, *truncated_bytes),
        What::Logged {
            attempt,
            level,
            message,
        } => format!(
            "attempt {attempt} logged ({}): {message}",
            level_name(*level)
        ),
        What::RunResumed { lost_attempt } => match lost_attempt {
            Some(number) => {
                format!("the run had been killed, and went on; attempt {number} is lost")
            }
            None => "the run had been killed, and went on".to_owned(),
        },
        What::RunEnding => "the run was told to end".to_owned(),
        other => format!("{other:?}"),
    };
    vec![line]
}

fn sent(
    attempt: u32,
    worker: Option<u32>,
    why: Why,
    fault: Option<(&'static str, &'static str)>,
) -> String {
    let mut text = format!("attempt {attempt} sent");
    if let Some(worker) = worker {
        let _ = write!(text, " to worker {worker}");
    }
    text.push_str(match why {
        Why::First => "",
        Why::Retry => ", as the one before failed",
        Why::CameBack => ", as the one before came back",
        Why::Resumed => ", as the one before was lost with the run",
        Why::OutputsLost => ", to make lost outputs again",
    });
    if let Some((action, point)) = fault {
        let _ = write!(text, "; it carries the fault {action} ({point})");
    }
    text
}

fn ended(
    attempt: u32,
    worker: Option<u32>,
    outcome: &str,
    failure: Option<&(String, String)>,
    retried: bool,
) -> String {
    let mut text = format!("attempt {attempt}");
    if let Some(worker) = worker {
        let _ = write!(text, " on worker {worker}");
    }
    let _ = write!(text, " ended: {outcome}");
    let Some((kind, message)) = failure else {
        return text;
    };
    if !outcome.contains(kind.as_str()) {
        let _ = write!(text, " ({kind})");
    }
    let _ = write!(text, ": {message}");
    text.push_str(if retried {
        "; another follows"
    } else {
        "; not tried again"
    });
    text
}

/// More on how an attempt ended.
fn details(what: &What) -> Vec<String> {
    let What::Ended {
        detail,
        injected,
        run_s,
        peak_memory_bytes,
        inputs,
        outputs,
        lost_inputs,
        notes,
        ..
    } = what
    else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some((action, point)) = injected {
        lines.push(format!("  injected: {action} ({point})"));
    }
    if let Some(run_s) = run_s {
        lines.push(format!(
            "  ran {run_s:.6} s, with {peak_memory_bytes} bytes of memory"
        ));
    }
    for (name, payloads) in [("in", inputs), ("out", outputs)] {
        if !payloads.is_empty() {
            let payloads: Vec<String> = payloads.iter().map(travelled).collect();
            lines.push(format!("  {name}: {}", payloads.join(", ")));
        }
    }
    if !lost_inputs.is_empty() {
        lines.push(format!("  gone or damaged: arguments {lost_inputs:?}"));
    }
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    if let Some(detail) = detail {
        lines.extend(detail.lines().map(|part| format!("  {part}")));
    }
    lines
}

fn travelled(payload: &Travelled) -> String {
    let Travelled { bytes, moved, way } = payload;
    format!("{bytes} bytes {way}, {moved} moved")
}

fn written(attempt: u32, stream: Stream, text: &str, truncated_bytes: u64) -> Vec<String> {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let mut lines = vec![format!("attempt {attempt} wrote to {stream}:")];
    let shown = text.lines().take(LINES_SHOWN);
    lines.extend(shown.map(|part| format!("  {part}")));
    let more = text.lines().count().saturating_sub(LINES_SHOWN);
    if more > 0 {
        let more = count(more as u64, "line", "lines");
        lines.push(format!("  and {more} more; --json has all that was kept"));
    }
    if truncated_bytes > 0 {
        lines.push(format!("  … {truncated_bytes} bytes more were not kept"));
    }
    lines
}

fn level_name(level: GuestLevel) -> &'static str {
    match level {
        GuestLevel::Trace => "trace",
        GuestLevel::Debug => "debug",
        GuestLevel::Info => "info",
        GuestLevel::Warn => "warning",
        GuestLevel::Error => "error",
    }
}
