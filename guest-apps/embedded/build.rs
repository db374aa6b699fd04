//! Builds the built-in apps as components, so that `cargo build` alone yields the program with its
//! apps inside.

use sha2::{Digest, Sha256};
use std::{env, fmt::Write, fs, path::PathBuf};

/// The built-in apps: folder and package.
const APPS: [(&str, &str); 3] = [
    ("guest-apps/cholesky", "taps-cholesky"),
    ("guest-apps/mapreduce", "taps-mapreduce"),
    ("guest-apps/synthetic", "taps-synthetic"),
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut table = format!("const EMBEDDED: [Embedded; {}] = [\n", APPS.len());
    for ((_, package), built) in APPS.iter().zip(taps_guest_build::components(&APPS)) {
        let bytes = fs::read(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
        let component = out.join(format!("{package}.wasm"));
        fs::write(&component, &bytes).expect("copy a component");
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        writeln!(
            table,
            "    Embedded {{ package: {package:?}, digest: {digest:?}, component: include_bytes!(\"{}\") }},",
            component.display()
        )
        .expect("a string takes text");
    }
    fs::write(out.join("embedded.rs"), table + "];\n").expect("write the table of apps");
}
