//! What the machine's Python has for engines of others.

use super::{Finding, State};
use std::{path::Path, time::Duration};
use taps_external::{EnginePackage, Interpreter, SurveyError, survey};

/// How long the interpreter may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Which interpreter runs choose when nothing is said.
const USUAL: &str = "python3";

/// Asks the interpreter.
pub(super) fn look(python: Option<&Path>) -> Result<Interpreter, SurveyError> {
    survey(python.unwrap_or(Path::new(USUAL)), LIMIT)
}

/// One line for the interpreter, and one for each package. Without engines everything else works.
pub(super) fn findings(
    python: Option<&Path>,
    answer: &Result<Interpreter, SurveyError>,
) -> Vec<Finding> {
    let interpreter = match answer {
        Ok(interpreter) => interpreter,
        Err(error) => {
            let asked = python.unwrap_or(Path::new(USUAL)).display();
            let found = format!("{asked}: {}", crate::exit::causes(error).join(": "));
            // Who names one expects it to be there.
            let state = python.map_or(State::Note, |_| State::Warn);
            let advice = "executors that are engines of others (dask, ray, parsl, …) need Python 3.9 or later: \
                          install it, or name one with --python";
            return vec![Finding::new("python", found).or(false, state, advice)];
        }
    };
    let found = format!("{} ({})", interpreter.version, interpreter.executable);
    let advice = format!(
        "engines need Python {} or later: name another with --python",
        interpreter.minimum
    );
    let python = Finding::new("python", found).or(interpreter.supported, State::Warn, advice);
    let packages = interpreter.packages.iter().map(package);
    std::iter::once(python).chain(packages).collect()
}

fn package(package: &EnginePackage) -> Finding {
    let executors = package.executors.join(", ");
    let name = format!("package {}", package.name);
    let Some(version) = &package.version else {
        let also = match package.name.as_str() {
            "hyperqueue" => "; the program `hq` serves as well",
            _ => "",
        };
        let advice = format!("for --executor {executors}: {}{also}", package.install);
        return Finding::new(name, "not installed").or(false, State::Note, advice);
    };
    let found = match &package.tested {
        Some(tested) if tested == version => format!("{version}, for {executors}"),
        Some(tested) => format!("{version}, for {executors}; the tests run with {tested}"),
        None => format!("{version}, for {executors}"),
    };
    let least = package.minimum.as_deref().unwrap_or("any");
    let advice = format!("{least} or later is supported: {}", package.install);
    Finding::new(name, found).or(package.supported, State::Warn, advice)
}
