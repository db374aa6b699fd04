//! What an app says of itself.

use serde::{Deserialize, Serialize};

/// Version of the WIT package that this build speaks. Major and minor must agree for `0.x`.
pub const WIT_VERSION: &str = "0.1.0";

/// Answer of a component's `describe`: stored in the manifest when a bundle is built,
/// and the only thing that `list`, `--help` and validation read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppDescription {
    /// Name on the command line, in kebab case.
    pub name: String,
    /// Version of the app.
    pub version: String,
    /// Version of the WIT package that the component was built against.
    pub wit_version: String,
    /// One line for `list`; the whole text for `describe`.
    pub summary: String,
    /// Whether the component has a driver. A component without one only offers tasks.
    #[serde(default)]
    pub driver: bool,
    /// Fields of the configuration, in the order of declaration.
    #[serde(default)]
    pub config: Vec<ConfigField>,
    /// Tasks that the component serves, sorted by name.
    #[serde(default)]
    pub tasks: Vec<TaskDescription>,
    /// Native programs that its tasks may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramDescription>,
    /// What the bits of a NaN are worth to the app.
    #[serde(default, skip_serializing_if = "Nans::is_canonical")]
    pub nans: Nans,
}

/// Which bits a NaN has that an operation on floating-point numbers made in a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nans {
    /// The same on every host, so that results have the same digests even where they hold NaNs. After each
    /// operation the code looks whether there is one, which lengthens chains of operations on single numbers.
    #[default]
    Canonical,
    /// Those of the host's processor. For an app whose result has no NaN, and whose checks say so: all other numbers
    /// are the same on every host anyway.
    Host,
}

impl Nans {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    fn is_canonical(&self) -> bool {
        *self == Self::Canonical
    }
}

/// A native program that an app needs on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramDescription {
    /// Name by which tasks call it, and under which it is looked for on the `PATH`.
    pub name: String,
    /// What it is for, and when it is needed.
    #[serde(default)]
    pub help: String,
    /// How to install it, for people: reads after "install it with".
    #[serde(default)]
    pub install: String,
    /// Arguments with which it prints its version; empty when it cannot.
    #[serde(default)]
    pub version: Vec<String>,
    /// Whether the app can run without it, with some options.
    #[serde(default)]
    pub optional: bool,
}

/// One field of an app's (or an executor's) configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigField {
    /// Name in snake case, as in TOML; the command line takes dashes too.
    pub name: String,
    /// Type and allowed values.
    pub kind: FieldKind,
    /// Help text, from the doc comment.
    #[serde(default)]
    pub help: String,
    /// Default value; `None` means that the field is required, unless it is `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Whether the value may be absent (`none` on the command line).
    #[serde(default)]
    pub optional: bool,
}

/// Type of a configuration field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FieldKind {
    /// `true` or `false`.
    Bool,
    /// Whole number, with inclusive bounds.
    Integer {
        /// Smallest allowed value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        /// Largest allowed value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// Floating-point number, with inclusive bounds.
    Float {
        /// Smallest allowed value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// Largest allowed value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// Text.
    String,
    /// One of a few words; compared without regard to case, dashes read as underscores.
    Enum {
        /// Allowed values, in kebab case.
        values: Vec<String>,
    },
    /// A list whose items have the given kind.
    List {
        /// Kind of each item.
        item: Box<FieldKind>,
    },
    /// A table of values (`{"a": 1}`), taken as it is.
    Table,
    /// Grant: a file that the app may read. The app receives a virtual path.
    InputFile,
    /// Grant: a directory tree that the app may read.
    InputDir,
    /// Grant: a directory that the app may write, made when missing.
    OutputDir,
}

impl FieldKind {
    /// Whether naming a value of this kind grants access to a host path.
    pub fn is_path(&self) -> bool {
        matches!(self, Self::InputFile | Self::InputDir | Self::OutputDir)
    }
}

/// One task of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDescription {
    /// Name by which it is submitted; shown in records.
    pub name: String,
    /// First paragraph of the doc comment.
    #[serde(default)]
    pub help: String,
    /// Names and declared types of the parameters, in order.
    #[serde(default)]
    pub parameters: Vec<(String, String)>,
    /// Declared types of the outputs, in order.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Whether equal arguments always give equal outputs, so that results may be memoised.
    #[serde(default)]
    pub pure: bool,
    /// Names of the path fields of the configuration that the task may reach.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Names of the programs that the task may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
}

/// Who computes dense linear algebra for a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernels {
    /// The host, in place on the guest's memory, at native speed.
    #[default]
    Host,
    /// The guest itself: slower, and the same bits on every machine.
    Guest,
}
