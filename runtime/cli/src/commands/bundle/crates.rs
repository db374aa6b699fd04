//! Builds a crate as components, with cargo.

use crate::exit::{ExitCode, Failure};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use taps_guest_build::{PROFILE, Part, TARGET, flags, instruct, keep, select};

/// The guest SDK, whose crates can be built without their driver.
const SDK: &str = "taps";

/// What a crate was built as.
pub(super) struct Built {
    /// The whole.
    pub(super) whole: PathBuf,
    /// Its tasks alone.
    pub(super) tasks: Option<PathBuf>,
}

/// What cargo says of a workspace.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    source: Option<String>,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Builds the crate in `directory`; without its driver, too, if it is an app of the SDK and `tasks` allows it.
pub(super) fn build(directory: &Path, tasks: bool, offline: bool) -> Result<Built, Failure> {
    let metadata = metadata(directory, offline)?;
    let manifest = directory.join("Cargo.toml");
    let manifest = fs::canonicalize(&manifest).unwrap_or(manifest);
    let found = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest);
    let Some(package) = found else {
        let error = format!("{}: it has no `[package]`", manifest.display());
        return Err(Failure::new(ExitCode::Usage, error).hint("name the directory of one package"));
    };
    let library = package
        .targets
        .iter()
        .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
    let Some(library) = library else {
        let error = format!(
            "{}: `lib.crate-type` lacks `cdylib`; expected `[\"cdylib\", \"rlib\"]`",
            manifest.display()
        );
        return Err(Failure::new(ExitCode::Usage, error));
    };
    let is_app = package
        .dependencies
        .iter()
        .any(|dependency| dependency.name == SDK && dependency.kind.is_none());
    let file = format!("{}.wasm", library.name);
    let run = |part| {
        let target = metadata.target_directory.join("bundle");
        let built = cargo(directory, &metadata, package, part, offline)?.join(&file);
        keep(&built, &target, part).map_err(|error| {
            let error = format!("copy {}: {error}", built.display());
            Failure::new(ExitCode::Records, error)
        })
    };
    Ok(Built {
        whole: run(Part::App)?,
        tasks: if tasks && is_app {
            Some(run(Part::Tasks)?)
        } else {
            None
        },
    })
}

fn metadata(directory: &Path, offline: bool) -> Result<Metadata, Failure> {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "metadata",
            "--format-version=1",
            "--filter-platform",
            TARGET,
        ])
        .current_dir(directory)
        .stdin(Stdio::null());
    if offline {
        cargo.arg("--offline");
    }
    let output = cargo.output().map_err(|error| absent(&error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let error = format!(
            "cargo cannot read {}:\n{}",
            directory.display(),
            said.trim_end()
        );
        return Err(Failure::new(ExitCode::Usage, error));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let error = format!(
            "cargo describes {} in another way than known: {error}",
            directory.display()
        );
        Failure::new(ExitCode::Runtime, error)
    })
}

fn absent(error: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Usage, format!("run cargo: {error}"))
        .hint("install Rust from https://rustup.rs; components that are there need none")
}

/// Has cargo build one part; gives the directory of what came out. Both parts are built in one directory, where they
/// share what is built for this machine: macros, and what they need.
fn cargo(
    directory: &Path,
    metadata: &Metadata,
    package: &Package,
    part: Part,
    offline: bool,
) -> Result<PathBuf, Failure> {
    let target = metadata.target_directory.join("bundle");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(directory);
    instruct(&mut cargo, &target, &flags(&hidden(metadata, package)));
    let has_sdk = metadata
        .packages
        .iter()
        .any(|package| package.name == SDK && metadata.workspace_members.contains(&package.id));
    select(&mut cargo, part, has_sdk);
    cargo
        .args(["--package", &package.name])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if offline {
        cargo.arg("--offline");
    }
    for setting in profile(&metadata.workspace_root)? {
        cargo.args(["--config", setting]);
    }
    let status = cargo.status().map_err(|error| absent(&error))?;
    if !status.success() {
        let error = format!("cargo could not build {} for {TARGET}", package.name);
        return Err(Failure::new(ExitCode::Bundle, error).hint(format!(
            "cargo said why above; if the target is missing: rustup target add {TARGET}; if `{SDK}` lacks the feature \
             `tasks-alone`: taps-wasm bundle new --update-sdk {}",
            directory.display()
        )));
    }
    Ok(target.join(TARGET).join(PROFILE))
}

/// Folders of which no component may tell, and the names that stand for them.
fn hidden(metadata: &Metadata, package: &Package) -> Vec<(PathBuf, String)> {
    let root = &metadata.workspace_root;
    let mut folders = vec![(root.clone(), package.name.clone())];
    for other in &metadata.packages {
        let folder = other.manifest_path.parent().unwrap_or(root);
        if other.source.is_none() && !folder.starts_with(root) {
            folders.push((folder.to_owned(), other.name.clone()));
        }
    }
    folders.push((metadata.target_directory.clone(), "target".to_owned()));
    folders
}

/// The profile of guests, where a workspace does not say what it is.
fn profile(root: &Path) -> Result<&'static [&'static str], Failure> {
    let path = root.join("Cargo.toml");
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(ExitCode::Usage, format!("{}: {error}", path.display()))
    };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
    let manifest: toml::Table = text.parse().map_err(|error| unreadable(&error))?;
    let own = manifest
        .get("profile")
        .and_then(|profiles| profiles.get(PROFILE));
    Ok(match own {
        Some(_) => &[],
        None => &[
            "profile.guest.inherits=\"release\"",
            "profile.guest.lto=\"fat\"",
            "profile.guest.codegen-units=1",
            "profile.guest.opt-level=3",
            "profile.guest.debug=false",
            "profile.guest.strip=true",
            "profile.guest.panic=\"abort\"",
        ],
    })
}
