//! Builds the built-in apps as components, so that `cargo build` alone yields the program with its
//! apps inside.

use sha2::{Digest, Sha256};
use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};
use taps_guest_build::{Part, components};

/// The built-in apps: folder and package.
const APPS: &[(&str, &str)] = &[
    ("guest-apps/cholesky", "taps-cholesky"),
    ("guest-apps/docking", "taps-docking"),
    ("guest-apps/fedlearn", "taps-fedlearn"),
    ("guest-apps/mapreduce", "taps-mapreduce"),
    ("guest-apps/moldesign", "taps-moldesign"),
    ("guest-apps/montage", "taps-montage"),
    ("guest-apps/physics", "taps-physics"),
    ("guest-apps/synthetic", "taps-synthetic"),
];

/// The tasks that go wrong on purpose: folder and package.
const FAULTS: (&str, &str) = ("guest-apps/faults", "taps-faults");

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let whole = components(APPS, Part::App);
    let mut with_faults = APPS.to_vec();
    with_faults.push(FAULTS);
    let tasks = components(&with_faults, Part::Tasks);
    let mut table = format!("const EMBEDDED: [Embedded; {}] = [\n", APPS.len());
    for ((_, package), (whole, tasks)) in APPS.iter().zip(whole.iter().zip(&tasks)) {
        let app = embed(whole, &out.join(format!("{package}.wasm")));
        let tasks = embed(tasks, &out.join(format!("{package}-tasks.wasm")));
        writeln!(
            table,
            "Embedded {{ package: {package:?}, app: {app}, tasks: {tasks} }},"
        )
        .expect("a string takes text");
    }
    table += "];\n";
    let faults = embed(&tasks[APPS.len()], &out.join("taps-faults.wasm"));
    writeln!(table, "const FAULTS: Part = {faults};").expect("a string takes text");
    fs::write(out.join("embedded.rs"), table).expect("write the table of apps");
}

/// Copies a component and gives the expression that embeds it.
fn embed(built: &Path, copy: &Path) -> String {
    let bytes = fs::read(built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    fs::write(copy, &bytes).expect("copy a component");
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    format!(
        "Part {{ digest: {digest:?}, component: include_bytes!(\"{}\") }}",
        copy.display()
    )
}
