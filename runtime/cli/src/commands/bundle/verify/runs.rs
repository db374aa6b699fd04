//! Whether runs give what the bundle says. Each is a run of this program as the user would start it, in a
//! directory that is gone afterwards.

use super::{Arguments, Check, Outcome};
use crate::{
    commands::bundle::inspect,
    exit::{ExitCode, Failure},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};
use taps_bundle::{Bundle, Expected};

/// What is read of the summary of a run.
#[derive(Deserialize)]
struct Summary {
    error: Option<String>,
    #[serde(default)]
    checks: Vec<SummaryCheck>,
}

#[derive(Deserialize)]
struct SummaryCheck {
    name: String,
    passed: bool,
    value: Value,
}

/// Runs the app as each entry says.
pub(super) fn check(arguments: &Arguments, bundle: &Bundle) -> Result<Vec<Check>, Failure> {
    let expected = &bundle.own_manifest().expected;
    let mut checks = Vec::new();
    for (index, expected) in expected.iter().enumerate() {
        let (outcome, detail) = one(arguments, bundle, expected)?;
        checks.push(Check::new(format!("run {}", index + 1), outcome, detail));
    }
    Ok(checks)
}

fn one(
    arguments: &Arguments,
    bundle: &Bundle,
    expected: &Expected,
) -> Result<(Outcome, String), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitCode::Runtime, format!("run what is expected: {error}"))
    };
    let place = tempfile::tempdir().map_err(failed)?;
    let config = place.path().join("expected.toml");
    fs::write(&config, toml(bundle, &expected.config)).map_err(failed)?;
    let output = command(arguments, place.path(), &config)
        .map_err(failed)?
        .output()
        .map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let summary: Summary = serde_json::from_slice(&output.stdout).map_err(|error| {
        let error = format!(
            "the run ended with {} and no summary: {error}\n{said}",
            output.status
        );
        Failure::new(ExitCode::Runtime, error)
    })?;
    if output.status.code() == Some(ExitCode::Bundle.number().into()) {
        let error = summary.error.unwrap_or_else(|| said.to_owned());
        return Err(Failure::new(ExitCode::Bundle, error)
            .hint("`--allow` runs it, and remembers that for this digest"));
    }
    let what = inspect::expected_text(expected);
    if let Some(error) = summary.error {
        return Ok((Outcome::Failed, format!("{what}\n{error}")));
    }
    Ok(compared(&what, &summary.checks, expected))
}

/// What the run says of the values that the bundle expects.
fn compared(what: &str, checks: &[SummaryCheck], expected: &Expected) -> (Outcome, String) {
    let mut wrong = Vec::new();
    for (name, value) in &expected.values {
        let name = format!("expected {name}");
        match checks.iter().find(|check| check.name == name) {
            Some(check) if check.passed => {}
            Some(check) => wrong.push(format!("{name} = {value}, got {}", check.value)),
            None => wrong.push(format!("{name} = {value}, and nothing compared it")),
        }
    }
    if wrong.is_empty() {
        (Outcome::Passed, what.to_owned())
    } else {
        (Outcome::Failed, format!("{what}\n{}", wrong.join("\n")))
    }
}

/// The configuration of a run, with the values of the app's fields.
fn toml(bundle: &Bundle, config: &Map<String, Value>) -> String {
    let mut app = toml::Table::new();
    for (name, value) in config {
        // What may be absent is written so.
        let value = match value {
            Value::Null => toml::Value::String("none".to_owned()),
            value => toml::Value::try_from(value)
                .unwrap_or_else(|_| toml::Value::String(value.to_string())),
        };
        app.insert(name.clone(), value);
    }
    let comment = format!("# What {} expects.\n", bundle.digest());
    let table = toml::Table::from_iter([("app".to_owned(), toml::Value::Table(app))]);
    format!("{comment}{table}")
}

fn command(arguments: &Arguments, place: &Path, config: &Path) -> std::io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("run")
        .arg(&arguments.app)
        .arg("--config")
        .arg(config)
        .arg("--run-dir")
        .arg(place.join("run"))
        .args(["--json", "--quiet"])
        .stdin(Stdio::null());
    if arguments.allow {
        command.arg("--allow");
    }
    for key in &arguments.key {
        command.arg("--key").arg(key);
    }
    Ok(command)
}
