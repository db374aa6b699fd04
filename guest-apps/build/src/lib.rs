//! Builds guest crates of this workspace as components, from the build script of a crate that
//! embeds them: a nested cargo, in a target directory of its own beside the host's. `bundle build` of
//! the program builds other crates with the same flags.

#![expect(
    clippy::print_stdout,
    reason = "cargo reads a build script's standard output"
)]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of all guests.
pub const TARGET: &str = "wasm32-wasip2";

/// The profile of all guests.
pub const PROFILE: &str = "guest";

/// Folders, from the root of the workspace, on which guests depend besides their own.
const SHARED: [&str; 8] = [
    "Cargo.toml",
    "wit",
    "runtime/schema/src",
    "runtime/kernels/src",
    "guest-apps/sdk/src",
    "guest-apps/macros/src",
    "guest-apps/molecules/src",
    "guest-apps/plot/src",
];

/// The guest SDK, and its feature that leaves a driver out: it is still there, and nobody calls it.
const SDK: &str = "taps";
const TASKS_ALONE: &str = "taps/tasks-alone";

/// What of an app goes into a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Driver and tasks.
    App,
    /// The tasks alone: a smaller component, whose sandboxes cost less.
    Tasks,
}

/// Builds guests: pairs of a crate's folder, from the root of the workspace, and its package. Gives the
/// paths of the components, in the same order. For build scripts only.
///
/// # Panics
/// When a guest does not build; cargo shows the reason as that of the calling build script.
pub fn components(guests: &[(&str, &str)], part: Part) -> Vec<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = here
        .ancestors()
        .find(|folder| folder.join("wit").is_dir())
        .expect("below the root of the workspace");
    let folders = guests
        .iter()
        .flat_map(|(folder, _)| ["src", "Cargo.toml"].map(|name| format!("{folder}/{name}")));
    for source in SHARED.map(str::to_owned).into_iter().chain(folders) {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    // <target>/<profile>/build/<package>/out; guests have a profile of their own, which those of the host share.
    let host = out.ancestors().nth(4).expect("cargo's layout");
    let target = host.join("guest-apps");
    fs::create_dir_all(&target).expect("make a directory for guests");
    // Both parts of a guest come out in one place: nobody else may build until they were taken from there.
    let lock = fs::File::create(target.join("lock")).expect("a file to lock");
    lock.lock().expect("lock the directory of guests");
    build(workspace, &target, guests, part);
    let built = target.join(TARGET).join(PROFILE);
    let component = |package: &str| {
        let path = built.join(format!("{}.wasm", package.replace('-', "_")));
        keep(&path, &target, part)
            .unwrap_or_else(|error| panic!("copy {}: {error}", path.display()))
    };
    guests
        .iter()
        .map(|(_, package)| component(package))
        .collect()
}

/// Copies a component from where the other part of its guest replaces it to a folder of its part, below `target`.
///
/// # Errors
/// Where it is not there, or cannot be written.
pub fn keep(built: &Path, target: &Path, part: Part) -> io::Result<PathBuf> {
    let folder = target.join(match part {
        Part::App => "apps",
        Part::Tasks => "tasks",
    });
    fs::create_dir_all(&folder)?;
    let kept = folder.join(built.file_name().unwrap_or_default());
    fs::copy(built, &kept)?;
    Ok(kept)
}

/// Flags of rustc for guests: 128-bit SIMD, and no path of this machine in what is shipped, so that a
/// component has the same digest wherever it is built. `folders` are paths, each with the name that
/// stands for it; the last that fits a file counts.
pub fn flags(folders: &[(PathBuf, String)]) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let mut flags = vec!["-Ctarget-feature=+simd128".to_owned()];
    let mut hide = |path: &Path, name: &str| {
        flags.push(format!("--remap-path-prefix={}={name}", path.display()));
    };
    for (folder, name) in folders {
        hide(folder, name);
    }
    if let Some(home) = cargo_home {
        hide(&home, "cargo");
        // Below it, the registry's folder has a name of its own on each machine.
        let registries = fs::read_dir(home.join("registry/src"));
        for registry in registries.into_iter().flatten().flatten() {
            hide(&registry.path(), "crates");
        }
    }
    flags
}

/// Tells cargo to build libraries for [`TARGET`] with these flags into a directory, and nothing else:
/// settings of the host's build must not leak into guests, neither flags nor wrappers such as clippy's.
pub fn instruct(cargo: &mut Command, target: &Path, flags: &[String]) {
    cargo
        .args(["build", "--lib", "--profile", PROFILE, "--target", TARGET])
        .arg("--target-dir")
        .arg(target)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET");
}

/// Tells cargo to build this part of apps. What both parts depend on is built once, but for the SDK, which `in_workspace`
/// says to be of the workspace of the app.
pub fn select(cargo: &mut Command, part: Part, in_workspace: bool) {
    if part == Part::Tasks {
        cargo.args(["--features", TASKS_ALONE]);
        if in_workspace {
            // Only of packages that are built can features be chosen there.
            cargo.args(["--package", SDK]);
        }
    }
}

fn build(workspace: &Path, target: &Path, guests: &[(&str, &str)], part: Part) {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.current_dir(workspace);
    let folders = [(workspace.to_owned(), "taps-wasm".to_owned())];
    instruct(&mut cargo, target, &flags(&folders));
    select(&mut cargo, part, true);
    for (_, package) in guests {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().expect("run cargo for the guests");
    assert!(
        status.success(),
        "building the guests failed; if the target is missing: rustup target add {TARGET}"
    );
}
