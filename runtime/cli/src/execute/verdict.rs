//! Whether a run went well, and the exit code when not.

use super::{DriverError, DriverErrorKind, Failure, Report, RunOutcome, Summary, expected};
use crate::exit::ExitCode;
use taps_bundle::Bundle;
use taps_config::Resolved;
use taps_engine::OutcomeKind;

/// Judges an outcome; puts checks and values of the report into the summary.
pub(super) fn of(
    resolved: &Resolved,
    bundle: &Bundle,
    outcome: &RunOutcome,
    summary: &mut Summary,
) -> Result<(), Failure> {
    if outcome.interrupted {
        return Err(
            Failure::new(ExitCode::Interrupted, "interrupted; tasks were cancelled")
                .hint("what finished before is in the run directory"),
        );
    }
    if let Some(diverged) = &outcome.diverged {
        let error = format!("resume-diverged: {diverged}");
        return Err(Failure::new(ExitCode::Diverged, error).hint(
            "the app, its input files or its directories are not what they were; start a new run",
        ));
    }
    if let Some(failure) = &outcome.executor_failure {
        return Err(Failure::new(ExitCode::Runtime, failure.to_string()));
    }
    match &outcome.driver {
        Some(Ok(Ok(report))) => judge(resolved, bundle, report, summary),
        Some(Ok(Err(error))) => Err(driver_error(resolved, &DriverError::parse(error), outcome)),
        Some(Err(failure)) => Err(Failure::new(
            ExitCode::AppFailed,
            format!("the driver ended with {failure}"),
        )),
        None => Err(Failure::new(
            ExitCode::Records,
            "the run could not be recorded",
        )),
    }
}

fn judge(
    resolved: &Resolved,
    bundle: &Bundle,
    report: &str,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut report: Report = serde_json::from_str(report).map_err(|error| {
        Failure::new(
            ExitCode::AppFailed,
            format!("the app's report cannot be read: {error}"),
        )
    })?;
    let expected = expected::checks(resolved, bundle, &report.values);
    report.checks.extend(expected);
    let failed: Vec<String> = report
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| {
            format!(
                "{} is {}, expected {}",
                check.name, check.value, check.bound
            )
        })
        .collect();
    summary.checks = report.checks;
    summary.values = report.values.into_iter().collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::CheckFailed,
        format!("check failed: {}", failed.join("; ")),
    ))
}

fn driver_error(resolved: &Resolved, error: &DriverError, outcome: &RunOutcome) -> Failure {
    match (error.kind, &error.field) {
        (DriverErrorKind::Config, Some(field)) => {
            let place = resolved.place_of(&format!("app.{field}"));
            let problem = problem(resolved, field, &error.message);
            Failure::new(ExitCode::Usage, format!("{place}: {problem}"))
        }
        (DriverErrorKind::Config, None) => Failure::new(ExitCode::Usage, error.message.clone()),
        (DriverErrorKind::App | DriverErrorKind::Task, _) => {
            let failure = Failure::new(ExitCode::AppFailed, error.message.clone());
            // Those cancelled because of the failure are not its cause.
            let mut causes = outcome.failures.iter();
            match causes.find(|(_, _, failure)| failure.outcome != OutcomeKind::Cancelled) {
                Some((name, number, first)) => failure.hint(format!(
                    "the first task that failed was {name} ({number}): {first}"
                )),
                None => failure,
            }
        }
    }
}

/// What an app says of a field, in the words of every other problem of a configuration: the place is
/// named by whoever shows it, and paths are those of the host.
fn problem(resolved: &Resolved, field: &str, message: &str) -> String {
    let said = message
        .strip_prefix(field)
        .and_then(|rest| rest.strip_prefix(" = ")?.split_once(": expected "));
    let Some((value, expected)) = said else {
        return message.to_owned();
    };
    let mut grants = resolved.grants.iter();
    let granted = grants.find(|grant| grant.field == field && value == format!("/{field}"));
    let value = granted.map_or_else(
        || value.to_owned(),
        |grant| grant.host_path.display().to_string(),
    );
    format!("expected {expected}, got `{value}`")
}
