//! `bundle new`: a crate to begin with.

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::{
    fs,
    path::{Path, PathBuf},
};
use taps_template::{File, MARK, VENDOR};

/// Flags of `bundle new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the app, in kebab case; also the directory that is made, unless DIR says otherwise.
    #[arg(required_unless_present = "update_sdk")]
    name: Option<String>,
    /// Directory to make.
    directory: Option<PathBuf>,
    /// Write the SDK of this program into an app that an earlier version began.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "directory"])]
    update_sdk: Option<PathBuf>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(directory) = &arguments.update_sdk {
        return update(directory);
    }
    let name = arguments.name.as_deref().unwrap_or_default();
    taps_template::check_name(name).map_err(|error| Failure::new(ExitCode::Usage, error))?;
    let directory = match &arguments.directory {
        Some(directory) => directory.clone(),
        None => PathBuf::from(name),
    };
    if fs::symlink_metadata(&directory).is_ok() {
        let error = format!("{} is there already", directory.display());
        return Err(Failure::new(ExitCode::Usage, error).hint(
            "name another directory; `bundle new --update-sdk DIR` renews the SDK of an app",
        ));
    }
    let app = taps_template::app(name).map_err(broken)?;
    let sdk = taps_template::sdk().map_err(broken)?;
    write(&directory, &app)
        .and_then(|()| write(&directory.join(VENDOR), &sdk))
        .inspect_err(|_| {
            // It was not there before.
            let _ = fs::remove_dir_all(&directory);
        })?;
    render::data(&format!(
        "{name} is in {0}. Next:\n  cd {0}\n  cargo test\n  taps-wasm bundle build\n  taps-wasm run ./{name}-0.1.0.taps\n",
        directory.display()
    ))?;
    Ok(ExitCode::Ok)
}

/// Replaces the SDK of an app, by one rename.
fn update(directory: &Path) -> Result<ExitCode, Failure> {
    let vendor = directory.join(VENDOR);
    if !vendor.join(MARK).is_file() {
        let error = format!(
            "{} has no {VENDOR}/{MARK}: no app that `bundle new` began",
            directory.display()
        );
        return Err(Failure::new(ExitCode::Usage, error));
    }
    let sdk = taps_template::sdk().map_err(broken)?;
    let above = vendor.parent().unwrap_or(directory);
    let failed = |error: std::io::Error| {
        let error = format!("replace {}: {error}", vendor.display());
        Failure::new(ExitCode::Records, error)
    };
    // The new one is complete before the old one goes, which is gone only when the new one is in its place.
    let fresh = tempfile::tempdir_in(above).map_err(failed)?;
    let (new, old) = (fresh.path().join("new"), fresh.path().join("old"));
    write(&new, &sdk)?;
    fs::rename(&vendor, &old).map_err(failed)?;
    if let Err(error) = fs::rename(&new, &vendor) {
        let _ = fs::rename(&old, &vendor);
        return Err(failed(error));
    }
    render::data(&format!(
        "{} is the SDK of taps-wasm {}\n",
        vendor.display(),
        env!("CARGO_PKG_VERSION")
    ))?;
    Ok(ExitCode::Ok)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` wants"
)]
fn broken(error: std::io::Error) -> Failure {
    Failure::new(ExitCode::Runtime, format!("unpack the guest SDK: {error}"))
}

fn write(directory: &Path, files: &[File]) -> Result<(), Failure> {
    for file in files {
        let path = directory.join(&file.path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, &file.text))
            .map_err(|error| {
                let error = format!("write {}: {error}", path.display());
                Failure::new(ExitCode::Records, error)
            })?;
    }
    Ok(())
}
