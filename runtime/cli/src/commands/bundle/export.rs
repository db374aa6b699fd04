//! `bundle export`: a built-in app as a bundle.

use super::output;
use crate::apps;
use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A built-in app.
    app: String,
    /// The bundle; `NAME-VERSION.taps` in the present directory unless set.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(bundle) = apps::built_in_named(&arguments.app)? else {
        let bundles = apps::built_in()?.iter();
        let names: Vec<&str> = bundles.map(|bundle| bundle.app().name.as_str()).collect();
        let error = format!(
            "no built-in app `{}`; there are {}",
            arguments.app,
            names.join(", ")
        );
        return Err(Failure::new(ExitCode::Usage, error));
    };
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => output::place(bundle)?,
    };
    let size = output::bundle(bundle, &path)?;
    output::tell(bundle, &path, size, None, arguments.json)
}
