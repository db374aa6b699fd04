//! `doctor`: whether this machine runs apps well, and what to do where it does not.

mod engines;

use crate::exit::{ExitCode, Failure};
use crate::render::{self, Style};
use rustix::fs::{MemfdFlags, memfd_create, statvfs};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use taps_payload::{SegmentStore, StoreOptions};
use taps_programs::Launcher;
use taps_sandbox::AotCache;
use taps_schema::ProgramDescription;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// As it should be.
    Ok,
    /// Fine without; only some apps want it.
    Note,
    /// Works, but worse than it could.
    Warn,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    name: Cow<'static, str>,
    state: State,
    found: String,
    /// What to do; empty when nothing.
    advice: String,
}

impl Finding {
    fn new(name: impl Into<Cow<'static, str>>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: State::Ok,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn or(mut self, fine: bool, state: State, advice: impl Into<String>) -> Self {
        if !fine {
            self.state = state;
            self.advice = advice.into();
        }
        self
    }
}

/// Looks, with an interpreter that was named, or else `python3`.
pub(crate) fn doctor(as_json: bool, python: Option<&Path>) -> Result<ExitCode, Failure> {
    let (mut findings, interpreter) = (findings(), engines::look(python));
    findings.extend(engines::findings(python, &interpreter));
    if as_json {
        let fine = findings.iter().all(|finding| finding.state != State::Warn);
        let python = interpreter.ok();
        render::json(&serde_json::json!({"ok": fine, "checks": findings, "python": python}))?;
    } else {
        render::data(&text(&findings))?;
    }
    Ok(ExitCode::Ok)
}

fn findings() -> Vec<Finding> {
    let mut findings = vec![
        kernel(),
        pagemap_scan(),
        memfd(),
        huge_pages("enabled"),
        huge_pages("shmem_enabled"),
        user_namespaces(),
        payload_store(),
        cache_dir(),
        disk(Path::new(".")),
        confinement(),
    ];
    findings.extend(programs());
    findings
}

fn text(findings: &[Finding]) -> String {
    let style = Style::for_stdout();
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Ok => style.good("ok  "),
            State::Note => "note".to_owned(),
            State::Warn => style.warning("warn"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{state}  {}: {}", finding.name, finding.found);
        if !finding.advice.is_empty() {
            let _ = writeln!(text, "      {}", finding.advice);
        }
    }
    text
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let numbers: Vec<u32> = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse().ok())
        .take(2)
        .collect();
    let recent = numbers.as_slice() >= [6, 7].as_slice();
    Finding::new("kernel", format!("Linux {release}")).or(
        recent,
        State::Warn,
        "Linux 6.7 or later recycles sandboxes two to five times faster; figures are claimed for it",
    )
}

fn pagemap_scan() -> Finding {
    let available = taps_sandbox::pagemap_scan_available();
    let found = if available { "available" } else { "missing" };
    Finding::new("PAGEMAP_SCAN", found).or(
        available,
        State::Warn,
        "sandboxes are cleared whole instead of by page: use Linux 6.7 or later",
    )
}

fn memfd() -> Finding {
    match memfd_create("taps-doctor", MemfdFlags::CLOEXEC) {
        Ok(_) => Finding::new("memfd", "available"),
        Err(error) => Finding::new("memfd", error.to_string()).or(
            false,
            State::Warn,
            "payloads cannot be mapped: allow memfd_create(2) in the container's seccomp profile",
        ),
    }
}

/// Transparent huge pages: for memory (`enabled`), or for shared memory (`shmem_enabled`).
fn huge_pages(file: &str) -> Finding {
    let (name, advice) = if file == "enabled" {
        (
            "huge pages",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        )
    } else {
        (
            "huge pages of shared memory",
            "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled; without, large \
             payloads are mapped by 4 KiB pages unless the huge-page store can be used",
        )
    };
    let path = Path::new("/sys/kernel/mm/transparent_hugepage").join(file);
    match fs::read_to_string(path) {
        Ok(text) => {
            let chosen = text
                .split_whitespace()
                .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
                .unwrap_or("unknown");
            Finding::new(name, chosen).or(!matches!(chosen, "never" | "deny"), State::Warn, advice)
        }
        Err(error) => Finding::new(name, error.to_string()).or(
            false,
            State::Warn,
            "the kernel is built without them; large payloads cost more page faults",
        ),
    }
}

fn user_namespaces() -> Finding {
    let number = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let most = number("/proc/sys/user/max_user_namespaces").unwrap_or(0);
    let allowed = number("/proc/sys/kernel/unprivileged_userns_clone").unwrap_or(1) == 1;
    let confined =
        number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0) == 1;
    let root = rustix::process::geteuid().is_root();
    let fine = most > 0 && (root || allowed && !confined);
    let found = if fine { "allowed" } else { "not allowed" };
    Finding::new("user namespaces", found).or(
        fine,
        State::Warn,
        "payloads use memfds instead of a private huge-page store; allow them with \
         sysctl user.max_user_namespaces=10000 (and kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0, where these exist)",
    )
}

/// The store that a run would choose, made and thrown away.
fn payload_store() -> Finding {
    let name = "payload store";
    let tmpfs = crate::execute::store::make_tmpfs(taps_payload::default_limit_bytes());
    let made = SegmentStore::new(StoreOptions {
        no_tmpfs: tmpfs.as_ref().err().cloned(),
        tmpfs: tmpfs.ok(),
        ..StoreOptions::default()
    });
    match made.map(|store| store.info()) {
        Ok(info) => Finding::new(name, format!("{}: {}", info.kind, info.reason)).or(
            info.huge_pages,
            State::Warn,
            "large payloads are mapped by pages of 4 KiB, which costs up to ten times as much",
        ),
        Err(error) => Finding::new(name, error.to_string()).or(
            false,
            State::Warn,
            "payloads cannot lie in shared memory: raise the limits on memory and descriptors",
        ),
    }
}

fn cache_dir() -> Finding {
    let name = "cache";
    let Some(directory) = AotCache::default_directory() else {
        return Finding::new(name, "no directory").or(
            false,
            State::Warn,
            "set HOME or XDG_CACHE_HOME; without, every start compiles the app again",
        );
    };
    let shown = directory.display().to_string();
    match AotCache::open(&directory) {
        Ok(cache) => {
            let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            let writable = rustix::fs::access(cache.directory(), access).is_ok();
            Finding::new(name, shown).or(
                writable,
                State::Warn,
                "not writable; every start compiles the app again",
            )
        }
        Err(error) => {
            let causes = crate::exit::causes(&error).join(": ");
            Finding::new(name, causes).or(
                false,
                State::Warn,
                "remove the directory or give it to this user with mode 0700; without, every \
                 start compiles the app again",
            )
        }
    }
}

fn disk(directory: &Path) -> Finding {
    /// Below this, the records of a large run may not fit.
    const LITTLE_BYTES: u64 = 1 << 30;
    match statvfs(directory) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let shown = format!("{:.1} GB free in this directory", free as f64 / 1e9);
            Finding::new("disk", shown).or(
                free >= LITTLE_BYTES,
                State::Warn,
                "records of large runs may not fit: name another place with --run-dir",
            )
        }
        Err(error) => Finding::new("disk", error.to_string()).or(
            false,
            State::Warn,
            "the working directory cannot be looked at",
        ),
    }
}

/// How far programs are confined here.
fn confinement() -> Finding {
    let name = "confinement of programs";
    match Launcher::start(crate::internal::program_launcher()) {
        Ok(launcher) => {
            let confinement = launcher.confinement();
            Finding::new(name, confinement.to_string()).or(
                confinement.is_full(),
                State::Warn,
                "use Linux 6.12 or later with Landlock (CONFIG_LSM has `landlock`); --require-sandbox \
                 refuses programs where it is not complete",
            )
        }
        Err(error) => Finding::new(name, error.to_string()).or(
            false,
            State::Warn,
            "apps that call programs cannot run here",
        ),
    }
}

/// The programs that the built-in apps call, each once.
fn programs() -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    // Bundles that are not consistent are told of by whatever runs them.
    for bundle in taps_apps::bundles().unwrap_or_default() {
        let app = bundle.app();
        for need in &app.programs {
            if findings.iter().all(|finding| finding.name != need.name) {
                findings.push(program(&app.name, need));
            }
        }
    }
    findings
}

fn program(app: &str, need: &ProgramDescription) -> Finding {
    match taps_programs::find(&need.name, None) {
        Ok(path) => Finding::new(need.name.clone(), path.display().to_string()),
        Err(_) => Finding::new(need.name.clone(), "not on PATH").or(
            false,
            State::Note,
            format!(
                "the app {app} {} it: {}",
                if need.optional { "may call" } else { "calls" },
                need.install
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_only_where_something_is_amiss() {
        for finding in findings() {
            assert_eq!(
                finding.state == State::Ok,
                finding.advice.is_empty(),
                "{finding:?}"
            );
        }
        let text = text(&findings());
        assert!(text.contains("PAGEMAP_SCAN: "), "{text}");
    }
}
