//! What a run ran on.

use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
};

/// Variables that set how many threads numeric libraries use.
const THREAD_VARIABLES: [&str; 8] = [
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// What only the caller knows of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentExtra {
    /// Versions of this program and of the libraries that matter.
    pub packages: BTreeMap<String, String>,
    /// Which bundle runs, and by what right.
    pub bundle: Option<BundleRecord>,
    /// Digests of the components, by name.
    pub components: BTreeMap<String, String>,
    /// Versions of the programs that tasks may call.
    pub natives: BTreeMap<String, String>,
    /// Features of the kernel that were probed, for example `pagemap_scan`.
    pub kernel_features: BTreeMap<String, bool>,
    /// Choices that the runtime made, for example the payload store in use.
    pub runtime: BTreeMap<String, String>,
}

/// The bundle of a run: what somebody needs to know who wants the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BundleRecord {
    // Fields in alphabetical order: the file has its keys sorted.
    /// Where compiled code comes from: `cached` when it is kept on this host for later runs, `uncached` when
    /// every run compiles. It is never part of a bundle.
    pub aot: &'static str,
    /// Name of the app.
    pub app: String,
    /// Why it may run: `built-in`, `unneeded`, `signed`, `remembered`, `allowed`.
    pub consent: &'static str,
    /// Its digest, `sha256:` and 64 digits.
    pub digest: String,
    /// Version of this program.
    pub host_version: String,
    /// Fingerprint of the known key that signed it.
    pub key: Option<String>,
    /// Where it came from: `built in`, a path, `cache`, or the place in a registry.
    pub source: String,
    /// Version of the app.
    pub version: String,
}

/// The content of `environment.json`: TaPS's fields but for Python's, and more. What the
/// system does not tell is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    // Fields in alphabetical order: the file has its keys sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleRecord>,
    components: BTreeMap<String, String>,
    hardware: Hardware,
    natives: BTreeMap<String, String>,
    packages: BTreeMap<String, String>,
    runtime: Runtime,
    system: System,
    threads: BTreeMap<&'static str, Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Hardware {
    architecture: &'static str,
    /// Logical cores that this process may use.
    available_cores: Option<usize>,
    cpu_model: Option<String>,
    /// Over 1, 5 and 15 minutes.
    load_average: Option<[f64; 3]>,
    logical_cores: Option<usize>,
    /// In GB of 10⁹ bytes, two decimals.
    memory_capacity: f64,
    physical_cores: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Runtime {
    choices: BTreeMap<String, String>,
    kernel_features: BTreeMap<String, bool>,
    transparent_hugepage: BTreeMap<&'static str, Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct System {
    hostname: String,
    kernel: String,
    platform: String,
    platform_ext: String,
}

impl Environment {
    /// Asks the system, and adds what the caller knows.
    pub fn collect(extra: EnvironmentExtra) -> Self {
        let EnvironmentExtra {
            packages,
            bundle,
            components,
            natives,
            kernel_features,
            runtime,
        } = extra;
        let thread_setting = |name| (name, std::env::var(name).ok());
        Self {
            bundle,
            components,
            hardware: hardware(),
            natives,
            packages,
            runtime: Runtime {
                choices: runtime,
                kernel_features,
                transparent_hugepage: transparent_hugepage(),
            },
            system: system(),
            threads: THREAD_VARIABLES.map(thread_setting).into(),
        }
    }

    /// Name of this host.
    pub fn hostname(&self) -> &str {
        &self.system.hostname
    }

    /// The file's text: keys sorted, four spaces of indentation, a line end at the end.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        // Maps with string keys, strings and finite numbers always serialise.
        let _ = self.serialize(&mut serializer);
        text.push(b'\n');
        String::from_utf8(text).unwrap_or_default()
    }
}

/// The text for people: sections, and a line each.
impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(sections)) => write_section(f, &sections, 0),
            _ => Ok(()),
        }
    }
}

fn write_section(
    f: &mut fmt::Formatter<'_>,
    section: &serde_json::Map<String, serde_json::Value>,
    depth: usize,
) -> fmt::Result {
    use serde_json::Value;
    for (key, value) in section {
        write!(f, "{:indent$}{key}:", "", indent = depth * 2)?;
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                writeln!(f)?;
                write_section(f, inner, depth + 1)?;
            }
            Value::Object(_) => writeln!(f, " none")?,
            Value::Null => writeln!(f, " not set")?,
            Value::Bool(yes) => writeln!(f, " {}", if *yes { "yes" } else { "no" })?,
            Value::String(text) => writeln!(f, " {text}")?,
            Value::Array(items) => {
                for item in items {
                    write!(f, " {item}")?;
                }
                writeln!(f)?;
            }
            Value::Number(number) => writeln!(f, " {number}")?,
        }
    }
    Ok(())
}

fn hardware() -> Hardware {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let memory = rustix::system::sysinfo();
    let memory_bytes = memory.totalram as f64 * f64::from(memory.mem_unit);
    Hardware {
        architecture: std::env::consts::ARCH,
        available_cores: std::thread::available_parallelism().ok().map(Into::into),
        cpu_model: cpu_model(&cpuinfo),
        load_average: read("/proc/loadavg").as_deref().and_then(load_average),
        logical_cores: logical_cores(&cpuinfo),
        memory_capacity: (memory_bytes / 1e7).round() / 100.0,
        physical_cores: physical_cores(),
    }
}

fn system() -> System {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let (platform, kernel) = (text(uname.sysname()), text(uname.release()));
    System {
        hostname: text(uname.nodename()),
        platform_ext: format!("{platform}-{kernel}-{}", text(uname.machine())),
        platform,
        kernel,
    }
}

fn transparent_hugepage() -> BTreeMap<&'static str, Option<String>> {
    let setting = |name| {
        let text = read(&format!("/sys/kernel/mm/transparent_hugepage/{name}"));
        (name, text.as_deref().and_then(chosen))
    };
    ["defrag", "enabled", "shmem_enabled"].map(setting).into()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The word in brackets: `always [madvise] never` gives `madvise`.
fn chosen(setting: &str) -> Option<String> {
    let (_, rest) = setting.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(word.to_owned())
}

fn load_average(loadavg: &str) -> Option<[f64; 3]> {
    let mut numbers = loadavg.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// x86 names the model; others give numbers of implementer and part.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        let (_, value) = line.split_once(':')?;
        Some(value.trim().to_owned())
    };
    field("model name").or_else(|| {
        let (implementer, part) = (field("CPU implementer")?, field("CPU part")?);
        Some(format!("implementer {implementer} part {part}"))
    })
}

fn logical_cores(cpuinfo: &str) -> Option<usize> {
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    (cores > 0).then_some(cores)
}

/// Distinct pairs of package and core.
fn physical_cores() -> Option<usize> {
    let cores: BTreeSet<_> = fs::read_dir("/sys/devices/system/cpu")
        .ok()?
        .filter_map(|entry| {
            let topology = entry.ok()?.path().join("topology");
            let package = fs::read_to_string(topology.join("physical_package_id")).ok()?;
            let core = fs::read_to_string(topology.join("core_id")).ok()?;
            Some((package, core))
        })
        .collect();
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra() -> EnvironmentExtra {
        EnvironmentExtra {
            packages: [
                ("wasmtime".into(), "48.0.8".into()),
                ("a".into(), "1".into()),
            ]
            .into(),
            components: [("cholesky".into(), "sha256:ab".into())].into(),
            kernel_features: [("pagemap_scan".into(), true)].into(),
            ..EnvironmentExtra::default()
        }
    }

    #[test]
    fn keys_are_sorted_and_taps_fields_are_there() {
        let text = Environment::collect(extra()).to_json();
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // serde_json's maps are sorted, so equal text means sorted keys.
        let mut sorted = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut sorted, formatter);
        value.serialize(&mut serializer).expect("serialise");
        assert_eq!(text.trim_end().as_bytes(), sorted);
        for pointer in [
            "/hardware/architecture",
            "/hardware/logical_cores",
            "/hardware/physical_cores",
            "/hardware/memory_capacity",
            "/packages/wasmtime",
            "/system/hostname",
            "/system/platform",
            "/system/platform_ext",
            "/threads/OMP_NUM_THREADS",
            "/components/cholesky",
            "/runtime/kernel_features/pagemap_scan",
        ] {
            assert!(value.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(text.contains("\n    \"hardware\": {\n        \"architecture\""));
    }

    #[test]
    fn the_text_has_a_line_for_each_fact() {
        let text = Environment::collect(extra()).to_string();
        assert!(
            text.contains("packages:\n  a: 1\n  wasmtime: 48.0.8\n"),
            "{text}"
        );
        assert!(text.contains("    pagemap_scan: yes\n"), "{text}");
        assert!(text.contains("natives: none\n"), "{text}");
    }

    #[test]
    fn system_files_are_understood() {
        assert_eq!(
            chosen("always [madvise] never\n").as_deref(),
            Some("madvise")
        );
        assert_eq!(chosen("nothing chosen"), None);
        assert_eq!(
            load_average("0.50 1.25 2.00 1/234 567\n"),
            Some([0.5, 1.25, 2.0])
        );
        assert_eq!(load_average("0.50 x"), None);
        let x86 =
            "processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu_model(x86).as_deref(), Some("AMD EPYC"));
        assert_eq!(logical_cores(x86), Some(2));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
        assert_eq!(
            cpu_model(arm).as_deref(),
            Some("implementer 0x41 part 0xd40")
        );
        assert_eq!(cpu_model(""), None);
    }
}
