//! What `taps-wasm bundle new` writes: the beginning of an app, with the sources of the guest SDK, so that it
//! builds wherever there is Rust. Nothing of the machine that built this crate is in it.
//!
//! This crate makes names and contents; it writes no file.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::{fmt::Write, io};

/// Where the SDK is in an app's directory.
pub const VENDOR: &str = "vendor/taps";
/// The file by which a directory below [`VENDOR`] is known to be the SDK.
pub const MARK: &str = "README.md";

const TOOLCHAIN: &str = "\
[toolchain]
channel = \"1.95.0\"
targets = [\"wasm32-wasip2\"]
";

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sdk.json.gz"));

/// A file to write: its path, with slashes, from the directory of the app or of the SDK; and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path.
    pub path: String,
    /// Text.
    pub text: String,
}

/// Why an app cannot have a name.
#[derive(Debug, thiserror::Error)]
#[error("app name `{name}`: {reason}; expected kebab case, for example `word-count`")]
pub struct NameError {
    name: String,
    reason: &'static str,
}

/// Checks the name of an app: kebab case, and nothing that Cargo refuses as the name of a package.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let refuse = |reason| {
        let name = name.to_owned();
        Err(NameError { name, reason })
    };
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return refuse("it does not begin with a small letter");
    }
    if !name.chars().all(kebab) || name.ends_with('-') || name.contains("--") {
        return refuse("it has other characters than small letters, digits and single dashes");
    }
    if name.len() > 64 {
        return refuse("it is longer than 64 characters");
    }
    let taken = [
        "taps",
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "serde-json",
    ];
    if taken.contains(&name) || name.starts_with("taps-") {
        return refuse("it belongs to Rust or to the SDK");
    }
    // Names of crates are words of the language, too, once dashes are underscores.
    if KEYWORDS.contains(&name) {
        return refuse("it is a keyword of Rust");
    }
    Ok(())
}

const KEYWORDS: [&str; 40] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "pub", "ref", "return", "self",
    "static", "struct", "super", "trait", "true", "try",
];

/// The files of a new app, without the SDK's.
pub fn app(name: &str) -> io::Result<Vec<File>> {
    let filled = |text: &str| text.replace("{{name}}", name);
    let file = |path: &str, text: String| File {
        path: path.to_owned(),
        text,
    };
    Ok(vec![
        file("Cargo.toml", filled(include_str!("../app/Cargo.toml.in"))),
        file("Cargo.lock", lock(name)?),
        file("src/lib.rs", include_str!("../app/src/lib.rs").to_owned()),
        file("bundle.toml", include_str!("../app/bundle.toml").to_owned()),
        file("README.md", filled(include_str!("../app/README.md.in"))),
        file("rust-toolchain.toml", TOOLCHAIN.to_owned()),
        file(".gitignore", include_str!("../app/gitignore").to_owned()),
    ])
}

/// The files of the SDK, by their paths below [`VENDOR`].
pub fn sdk() -> io::Result<Vec<File>> {
    let packed = unpacked()?;
    let files = packed["files"].as_object().into_iter().flatten();
    let mut files: Vec<File> = files
        .map(|(path, text)| File {
            path: path.clone(),
            text: text.as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    let about = include_str!("../app/vendor.md");
    files.push(File {
        path: MARK.to_owned(),
        text: about.replace("{{version}}", env!("CARGO_PKG_VERSION")),
    });
    Ok(files)
}

fn unpacked() -> io::Result<Value> {
    Ok(serde_json::from_reader(io::BufReader::new(
        GzDecoder::new(PACKED),
    ))?)
}

/// The versions with which the SDK was tested, and the app itself. Cargo writes its own form at the first build.
fn lock(name: &str) -> io::Result<String> {
    let packed = unpacked()?;
    let mut text = "version = 4\n".to_owned();
    let own = serde_json::json!({
        "name": name,
        "version": "0.1.0",
        "dependencies": ["serde_json", "taps"],
    });
    let mut packages: Vec<&Value> = packed["lock"].as_array().into_iter().flatten().collect();
    packages.push(&own);
    packages.sort_by_key(|package| (package["name"].as_str(), package["version"].as_str()));
    for package in packages {
        text.push_str("\n[[package]]\n");
        for key in ["name", "version", "source", "checksum"] {
            if let Some(value) = package[key].as_str() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{key} = \"{value}\"");
            }
        }
        let dependencies = package["dependencies"].as_array();
        if let Some(dependencies) = dependencies.filter(|listed| !listed.is_empty()) {
            text.push_str("dependencies = [\n");
            for named in dependencies.iter().filter_map(Value::as_str) {
                let _ = writeln!(text, " \"{named}\",");
            }
            text.push_str("]\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
#[path = "../app/src/lib.rs"]
mod primes;

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(files: &'a [File], path: &str) -> &'a str {
        let file = files.iter().find(|file| file.path == path);
        &file.unwrap_or_else(|| panic!("no {path}")).text
    }

    #[test]
    fn manifests_take_nothing_from_a_workspace() {
        let files = sdk().expect("unpacks");
        for folder in [
            "guest-apps/sdk",
            "guest-apps/macros",
            "runtime/schema",
            "runtime/kernels",
        ] {
            let manifest: toml::Table = text(&files, &format!("{folder}/Cargo.toml"))
                .parse()
                .expect("TOML");
            let written = toml::to_string(&manifest).expect("TOML");
            assert!(!written.contains("workspace"), "{folder}: {written}");
            assert!(!manifest.contains_key("dev-dependencies"), "{folder}");
            for (name, dependency) in manifest["dependencies"].as_table().expect("a table") {
                let path = dependency.get("path").and_then(toml::Value::as_str);
                assert!(
                    path.is_some() || dependency.get("version").is_some(),
                    "{folder}: {name}"
                );
                if let Some(path) = path {
                    let below = path.strip_prefix("../../").expect("two folders up");
                    assert!(
                        files
                            .iter()
                            .any(|file| file.path == format!("{below}/Cargo.toml")),
                        "{path}"
                    );
                }
            }
        }
        assert!(text(&files, "wit/taps.wit").contains("package taps:core@"));
    }

    #[test]
    fn nothing_of_this_machine_is_packed() {
        let root = env!("CARGO_MANIFEST_DIR")
            .strip_suffix("/guest-apps/template")
            .expect("our place");
        let all = [sdk().expect("unpacks"), app("word-count").expect("unpacks")].concat();
        for file in &all {
            assert!(!file.text.contains(root), "{}", file.path);
            assert!(
                !file.path.starts_with('/') && !file.path.contains(".."),
                "{}",
                file.path
            );
        }
    }

    #[test]
    fn the_lock_file_is_closed() {
        let files = app("word-count").expect("unpacks");
        let lock: toml::Table = text(&files, "Cargo.lock").parse().expect("TOML");
        let packages = lock["package"].as_array().expect("a list");
        let named = |name: &str| {
            packages
                .iter()
                .any(|package| package["name"].as_str() == Some(name))
        };
        assert!(named("word-count") && named("taps") && named("wit-bindgen"));
        for package in packages {
            let needed = package.get("dependencies").and_then(toml::Value::as_array);
            for dependency in needed.into_iter().flatten().filter_map(toml::Value::as_str) {
                let name = dependency.split(' ').next().expect("a word");
                assert!(named(name), "{package}: {name}");
            }
        }
        assert!(
            !named("trybuild") && !named("wasmtime"),
            "what the SDK's own tests or the host need"
        );
        assert!(
            PACKED.len() < 150_000,
            "{} bytes in every program",
            PACKED.len()
        );
    }

    #[test]
    fn the_template_is_filled() {
        let files = app("word-count").expect("unpacks");
        assert!(files.iter().all(|file| !file.text.contains("{{")));
        let manifest: toml::Table = text(&files, "Cargo.toml").parse().expect("TOML");
        assert_eq!(manifest["package"]["name"].as_str(), Some("word-count"));
        let ours: toml::Table = include_str!("../../../rust-toolchain.toml")
            .parse()
            .expect("TOML");
        let theirs: toml::Table = text(&files, "rust-toolchain.toml").parse().expect("TOML");
        assert_eq!(ours["toolchain"]["channel"], theirs["toolchain"]["channel"]);
    }

    #[test]
    fn names_are_those_of_apps_and_packages() {
        for good in ["word-count", "a", "fit2"] {
            check_name(good).expect("a good name");
        }
        for bad in [
            "", "Word", "2fit", "a_b", "a--b", "a-", "../a", "taps-x", "taps", "loop", "ü",
        ] {
            let message = check_name(bad).expect_err(bad).to_string();
            assert!(message.contains(&format!("`{bad}`")), "{message}");
        }
    }
}
