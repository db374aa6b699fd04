//! `bundle.toml`: what goes into a bundle.

use crate::exit::{ExitCode, Failure};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};
use taps_bundle::{Digest, Instances, MemoryProfile};

/// Name of the file.
pub(super) const FILE: &str = "bundle.toml";

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Recipe {
    /// The file itself, for messages.
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// About the whole.
    #[serde(default)]
    pub(super) bundle: About,
    /// The components, that of the driver first; the crate beside the file unless set.
    #[serde(default)]
    pub(super) component: Vec<Component>,
    /// Blobs of data.
    #[serde(default)]
    pub(super) data: Vec<Data>,
    /// What the app may need at most.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Values of fields of the app that replace the component's own defaults.
    #[serde(default)]
    pub(super) defaults: Map<String, Value>,
    /// What runs give.
    #[serde(default)]
    pub(super) expected: Vec<Expected>,
}

/// About the whole.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct About {
    /// Replaces what the component says of itself.
    pub(super) description: Option<String>,
    /// SPDX expression.
    pub(super) licence: Option<String>,
    /// Where the source code is.
    pub(super) sources: Option<String>,
}

/// A component: one of `crate` and `file`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are the keys of the file"
)]
pub(super) struct Component {
    /// Directory of a crate.
    #[serde(rename = "crate")]
    pub(super) source: Option<PathBuf>,
    /// A component that is there.
    pub(super) file: Option<PathBuf>,
    /// Whether a crate is also built without its driver, for sandboxes of its tasks that cost less.
    pub(super) tasks_component: Option<bool>,
    /// Where its sandboxes should come from. Those of a large component, which carries an interpreter, are made
    /// ahead of time by default.
    pub(super) instances: Option<Instances>,
    /// How its memory is set up.
    pub(super) memory: Option<MemoryProfile>,
}

/// A blob of data: `file`; or `url`, with `sha256` and `size`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Data {
    /// Name by which `bundle:NAME` refers to it.
    pub(super) name: String,
    /// A file that is put into the bundle.
    pub(super) file: Option<PathBuf>,
    /// Where the bytes are, if not in the bundle.
    pub(super) url: Option<String>,
    /// Their digest in hexadecimal.
    pub(super) sha256: Option<String>,
    /// How many there are.
    pub(super) size: Option<u64>,
    /// Their type.
    pub(super) media_type: Option<String>,
}

/// What the app may need at most.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Limits {
    /// Memory of a sandbox: `512 MiB`.
    pub(super) memory: Option<String>,
    /// Seconds of a task.
    pub(super) wall_s: Option<u64>,
}

/// What a run gives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// Fields of the app's configuration.
    #[serde(default)]
    pub(super) config: Map<String, Value>,
    /// Values of the report.
    pub(super) values: BTreeMap<String, Value>,
}

impl Recipe {
    /// Reads the file of a directory; that of a plain crate if there is none.
    pub(super) fn read(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        let mut recipe = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str::<Self>(&text).map_err(|error| {
                let error = format!("{}: {}", path.display(), error.to_string().trim_end());
                Failure::new(ExitCode::Usage, error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let error = format!("{}: {error}", path.display());
                return Err(Failure::new(ExitCode::Usage, error));
            }
        };
        recipe.path = path;
        recipe.check()?;
        if recipe.component.is_empty() {
            if !directory.join("Cargo.toml").is_file() {
                let place = directory.display();
                let error =
                    format!("{place}: it has neither a Cargo.toml nor components in a {FILE}");
                return Err(Failure::new(ExitCode::Usage, error)
                    .hint("`taps-wasm bundle new NAME` begins an app"));
            }
            recipe.component.push(Component {
                source: Some(".".into()),
                ..Component::default()
            });
        }
        Ok(recipe)
    }

    /// The recipe of components that are named on the command line.
    pub(super) fn of_files(files: &[PathBuf]) -> Result<Self, Failure> {
        let component = |file: &PathBuf| Component {
            file: Some(file.clone()),
            ..Component::default()
        };
        let recipe = Self {
            path: "the command line".into(),
            component: files.iter().map(component).collect(),
            ..Self::default()
        };
        recipe.check()?;
        Ok(recipe)
    }

    /// A field is not what it should be.
    pub(super) fn wrong(&self, field: &str, value: impl Display, expected: &str) -> Failure {
        let file = self.path.display();
        let error = format!("{file}: `{field}` is `{value}`; expected {expected}");
        Failure::new(ExitCode::Usage, error)
    }

    /// What can be checked before anything is built.
    fn check(&self) -> Result<(), Failure> {
        for (index, component) in self.component.iter().enumerate() {
            self.check_component(index, component)?;
        }
        let mut names = Vec::new();
        for (index, data) in self.data.iter().enumerate() {
            self.check_data(index, data)?;
            if names.contains(&&data.name) {
                let field = format!("data[{index}].name");
                return Err(self.wrong(&field, &data.name, "a name that no other data has"));
            }
            names.push(&data.name);
        }
        if let Some(memory) = &self.limits.memory
            && taps_config::parse_size(memory).is_none_or(|bytes| bytes == 0)
        {
            return Err(self.wrong("limits.memory", memory, "a size such as `512 MiB`"));
        }
        if self.limits.wall_s == Some(0) {
            return Err(self.wrong("limits.wall-s", 0, "at least one second"));
        }
        for (index, expected) in self.expected.iter().enumerate() {
            if expected.values.is_empty() {
                let field = format!("expected[{index}].values");
                return Err(self.wrong(&field, "{}", "at least one value of the report"));
            }
        }
        Ok(())
    }

    fn check_component(&self, index: usize, component: &Component) -> Result<(), Failure> {
        let field = format!("component[{index}]");
        let directory = self.path.parent().unwrap_or(Path::new(""));
        match (&component.source, &component.file) {
            (None, None) => Err(self.wrong(&field, "empty", "`crate = DIR` or `file = COMPONENT`")),
            (Some(source), Some(file)) => {
                let both = format!("crate {}, file {}", source.display(), file.display());
                Err(self.wrong(&field, both, "one of `crate` and `file`"))
            }
            (Some(source), None) if !directory.join(source).join("Cargo.toml").is_file() => {
                let field = format!("{field}.crate");
                let expected = "a directory with a Cargo.toml";
                Err(self.wrong(&field, source.display(), expected))
            }
            (None, Some(file)) if !directory.join(file).is_file() => {
                let field = format!("{field}.file");
                Err(self.wrong(&field, file.display(), "a component that is there"))
            }
            (None, Some(_)) if component.tasks_component.is_some() => {
                let field = format!("{field}.tasks-component");
                Err(self.wrong(&field, "set", "to be left out where `file` is given"))
            }
            _ => Ok(()),
        }
    }

    fn check_data(&self, index: usize, data: &Data) -> Result<(), Failure> {
        let field = |name: &str| format!("data[{index}].{name}");
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !data.name.split('/').all(plain) || data.name.contains(['\\', '\0']) {
            let expected = "a relative path without `.` and `..`, such as `texts/a.txt`";
            return Err(self.wrong(&field("name"), &data.name, expected));
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        match (&data.file, &data.url) {
            (Some(file), None) if !directory.join(file).is_file() => {
                Err(self.wrong(&field("file"), file.display(), "a file that is there"))
            }
            (Some(_), None) => Ok(()),
            (None, Some(url)) if !(url.starts_with("https://") || url.starts_with("http://")) => {
                Err(self.wrong(&field("url"), url, "an address that begins with https://"))
            }
            (None, Some(_)) => self.check_remote(index, data),
            (Some(_), Some(_)) => Err(self.wrong(
                &format!("data[{index}]"),
                &data.name,
                "one of `file` and `url`",
            )),
            (None, None) => Err(self.wrong(
                &format!("data[{index}]"),
                &data.name,
                "`file`, or `url` with `sha256` and `size`",
            )),
        }
    }

    fn check_remote(&self, index: usize, data: &Data) -> Result<(), Failure> {
        let field = format!("data[{index}].sha256");
        let sha256 = data.sha256.as_deref().unwrap_or("missing");
        if Digest::from_hex(sha256).is_err() {
            return Err(self.wrong(&field, sha256, "64 hexadecimal digits"));
        }
        match data.size {
            Some(_) => Ok(()),
            None => Err(self.wrong(
                &format!("data[{index}].size"),
                "missing",
                "the number of bytes behind `url`",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join(FILE), text).expect("write");
        fs::write(place.path().join("a.wasm"), "").expect("write");
        let failure = Recipe::read(place.path()).expect_err(text);
        assert_eq!(failure.exit, ExitCode::Usage);
        failure.message()
    }

    #[test]
    fn every_refusal_names_file_field_and_value() {
        let file = "[[component]]\nfile = 'a.wasm'\n";
        for (text, field, value) in [
            ("licence = 'MIT'", "licence", "unknown field"),
            ("[bundle]\nlicense = 'MIT'", "license", "unknown field"),
            (
                "[[component]]\nfile = 'b.wasm'",
                "component[0].file",
                "b.wasm",
            ),
            ("[[component]]\ncrate = 'no'", "component[0].crate", "no"),
            (
                "[[component]]\ncrate = '.'\nfile = 'a.wasm'",
                "component[0]",
                "a.wasm",
            ),
            ("[[component]]", "component[0]", "empty"),
            (
                "[[component]]\nfile = 'a.wasm'\ninstances = 'hot'",
                "instances",
                "hot",
            ),
            (
                "[[component]]\nfile = 'a.wasm'\ntasks-component = true",
                "tasks-component",
                "set",
            ),
            (
                "[[data]]\nname = '../x'\nfile = 'a.wasm'",
                "data[0].name",
                "../x",
            ),
            (
                "[[data]]\nname = '/x'\nfile = 'a.wasm'",
                "data[0].name",
                "/x",
            ),
            (
                "[[data]]\nname = 'x'\nfile = 'none'",
                "data[0].file",
                "none",
            ),
            (
                "[[data]]\nname = 'x'\nurl = 'ftp://x'",
                "data[0].url",
                "ftp://x",
            ),
            (
                "[[data]]\nname = 'x'\nurl = 'https://x'",
                "data[0].sha256",
                "missing",
            ),
            (
                "[[data]]\nname = 'x'\nurl = 'https://x'\nsha256 = 'ab'",
                "data[0].sha256",
                "ab",
            ),
            ("[[data]]\nname = 'x'", "data[0]", "x"),
            ("[limits]\nmemory = 'much'", "limits.memory", "much"),
            ("[limits]\nwall-s = 0", "limits.wall-s", "0"),
            ("[[expected]]\nvalues = {}", "expected[0].values", "{}"),
        ] {
            let message = refused(&format!(
                "{text}\n{}",
                if text.contains("component]]") {
                    ""
                } else {
                    file
                }
            ));
            assert!(message.contains(FILE), "{message}");
            assert!(
                message.contains(field) && message.contains(value),
                "{text}: {message}"
            );
        }
        let twice = "[[data]]\nname = 'x'\nfile = 'a.wasm'\n";
        assert!(refused(&format!("{twice}{twice}{file}")).contains("data[1].name"));
    }

    #[test]
    fn a_directory_without_one_is_a_crate() {
        let place = tempfile::tempdir().expect("a directory");
        let nothing = Recipe::read(place.path()).expect_err("an empty directory");
        assert!(nothing.message().contains("neither a Cargo.toml"));
        fs::write(place.path().join("Cargo.toml"), "").expect("write");
        let recipe = Recipe::read(place.path()).expect("a plain crate");
        assert_eq!(recipe.component.len(), 1);
        assert_eq!(recipe.component[0].source.as_deref(), Some(Path::new(".")));
    }
}
