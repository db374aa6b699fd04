//! Runs the commands of a page, in order, in one shell and one directory, as a reader would.

use super::{
    markdown::{Block, Kind, Page},
    skip, transcript,
};
use crate::harness::{CACHE, built_apps, engines_python, installed};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    env,
    fmt::Write,
    fs,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// No page takes longer; one that does is ended, and fails.
const LONGEST: Duration = Duration::from_mins(10);

/// Runs the commands of pages that go on where the one before ended, and compares what they print with what the pages
/// say.
#[track_caller]
pub(super) fn run_pages(paths: &[&str]) {
    let pages: Vec<Page> = paths.iter().map(|path| Page::read(path)).collect();
    let needs: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.needs.iter().map(String::as_str))
        .collect();
    let Some(tools) = tools(&needs) else {
        return;
    };
    let place = Place::new(paths[0]);
    let steps: Vec<Step> = pages.iter().flat_map(steps).collect();
    let status = place.run(&script(&steps, &place.state()), &tools);
    let at = fs::read_to_string(place.state().join("at")).unwrap_or_default();
    let reached = at.trim().parse::<usize>().expect("a step");
    let step = &steps[reached];
    let expected = match step.exit {
        0 => String::new(),
        code => format!("; exit code {code} was expected"),
    };
    assert!(
        status.success() && reached + 1 == steps.len(),
        "{}: {}\n{}\n----- {status}{expected}",
        step.place,
        step.command,
        place.output(reached),
    );
    for (index, step) in steps.iter().enumerate() {
        let Some(said) = &step.said else { continue };
        if let Some(difference) = transcript::difference(said, &place.output(index)) {
            panic!("{}: {}\n{difference}", step.place, step.command);
        }
    }
}

/// What a page needs beyond this program, as folders for the front of the `PATH`; none, visibly, where it is not there
/// and not required.
fn tools(needs: &[&str]) -> Option<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let mut programs = Vec::new();
    for &need in needs {
        if need == "engines" {
            let python = engines_python()?;
            folders.push(python.parent().expect("a folder").to_owned());
        } else {
            programs.push(need);
        }
    }
    installed(&programs).then_some(folders)
}

/// Something that is run, and what is expected of it.
struct Step {
    /// Page and line.
    place: String,
    command: String,
    exit: i32,
    /// What the page says that it prints.
    said: Option<String>,
}

fn steps(page: &Page) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in &page.blocks {
        match block.kind {
            Kind::Hidden => steps.push(step(page, block, 0)),
            Kind::Commands { exit } => steps.push(step(page, block, exit)),
            Kind::Transcript { exit } => transcribed(page, block, exit, &mut steps),
            Kind::File => steps.push(written(page, block)),
            Kind::Elsewhere(_) => {
                let runs = block.dry_runs().into_iter();
                steps.extend(runs.map(|command| Step {
                    command,
                    ..step(page, block, 0)
                }));
            }
            Kind::Other => {}
        }
    }
    assert!(!steps.is_empty(), "{}: no commands", page.path);
    steps
}

fn step(page: &Page, block: &Block, exit: i32) -> Step {
    Step {
        place: format!("{}:{}", page.path, block.line),
        command: block.text.clone(),
        exit,
        said: None,
    }
}

/// Writes a file that the page shows: its name is the comment in its first line.
fn written(page: &Page, block: &Block) -> Step {
    let name = block.file().expect("a name");
    let command = format!(
        "cat >{name} <<'DOCUMENTATION'\n{}DOCUMENTATION\n",
        block.text
    );
    Step {
        command,
        ..step(page, block, 0)
    }
}

/// The commands of a transcript. One that ends in a backslash, or has a here document, goes on in the lines behind it.
fn transcribed(page: &Page, block: &Block, exit: i32, steps: &mut Vec<Step>) {
    let first = steps.len();
    // What ends the command that goes on, if that is not its line.
    let mut until: Option<&str> = None;
    let mut goes_on = false;
    for (index, line) in block.text.lines().enumerate() {
        let begun = line.strip_prefix("$ ").filter(|_| until.is_none());
        if let Some(command) = begun {
            steps.push(Step {
                place: format!("{}:{}", page.path, block.line + 1 + index),
                command: format!("{command}\n"),
                exit: 0,
                said: Some(String::new()),
            });
            until = command
                .split("<<'")
                .nth(1)
                .map(|rest| rest.trim_end_matches('\''));
            goes_on = line.ends_with('\\');
            continue;
        }
        let step = steps[first..].last_mut().expect("`$` first");
        let text = if goes_on || until.is_some() {
            &mut step.command
        } else {
            step.said.as_mut().expect("a transcript")
        };
        text.push_str(line);
        text.push('\n');
        goes_on &= line.ends_with('\\');
        if until == Some(line) {
            until = None;
        }
    }
    steps.last_mut().expect("a command").exit = exit;
}

/// One script for a page, so that its variables and its directory last. Before each step it says how far it is.
fn script(steps: &[Step], state: &Path) -> String {
    let state = state.display();
    let mut text = "set -e -o pipefail\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "echo {index} >'{state}/at'");
        let _ = writeln!(text, "exec >'{state}/output-{index}' 2>&1");
        match step.exit {
            0 => text.push_str(&step.command),
            code => {
                let _ = writeln!(
                    text,
                    "set +e\n{}documentation_exit=$?\nset -e\n[[ $documentation_exit == {code} ]]",
                    step.command
                );
            }
        }
    }
    text
}

/// Where pages are run: a directory with a home of its own. It is the same each time, so that cargo knows what it built
/// there.
struct Place {
    directory: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The next run removes what is left.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Place {
    fn new(page: &str) -> Self {
        let name = page.replace(['/', '.'], "-");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("documentation")
            .join(name);
        let _ = fs::remove_dir_all(&directory);
        for folder in ["work", "state", "home"] {
            fs::create_dir_all(directory.join(folder)).expect("a folder");
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// What a step printed.
    fn output(&self, step: usize) -> String {
        let path = self.state().join(format!("output-{step}"));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    fn run(&self, script: &str, tools: &[PathBuf]) -> ExitStatus {
        let ours = Path::new(env!("CARGO_BIN_EXE_taps-wasm"));
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [ours.parent().expect("a folder").to_owned()]
            .into_iter()
            .chain(tools.iter().cloned())
            .chain(env::split_paths(&path));
        let home = self.path("home");
        let compiled = home.join(".cache/taps-wasm/aot");
        share(&Path::new(CACHE).join("taps-wasm/aot"), &compiled);
        let file = self.state().join("script");
        fs::write(&file, script).expect("written");
        let mut command = Command::new("bash");
        command
            .arg(&file)
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", env::join_paths(folders).expect("a path"))
            .env("HOME", &home)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("CARGO_TARGET_DIR", built_apps())
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .envs(of_cargo())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let status = wait(command.spawn().expect("start bash"));
        share(&compiled, &Path::new(CACHE).join("taps-wasm/aot"));
        status
    }
}

/// What cargo and rustup need to find what is installed and fetched already, and to fetch the rest.
fn of_cargo() -> Vec<(String, std::ffi::OsString)> {
    let home = env::var("HOME").unwrap_or_default();
    let folders = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
    let folders = folders.map(|(name, below)| {
        let folder = env::var_os(name).unwrap_or_else(|| Path::new(&home).join(below).into());
        (name.to_owned(), folder)
    });
    let begins = [
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "SSL_CERT_",
    ];
    let network = env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let wanted = begins.iter().any(|begin| name.starts_with(begin))
            || name.to_ascii_uppercase().ends_with("_PROXY");
        wanted.then_some((name, value))
    });
    network.chain(folders).collect()
}

/// Waits for the end of a page; nothing of it is left then.
fn wait(mut child: Child) -> ExitStatus {
    let start = Instant::now();
    let group = Pid::from_child(&child);
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if start.elapsed() > LONGEST {
            skip(&format!("ended after {LONGEST:?}"));
            // It may have ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    };
    // There is nobody left as a rule.
    let _ = kill_process_group(group, Signal::KILL);
    status
}

/// Links compiled code into another directory, so that it is not compiled for every page anew.
fn share(from: &Path, to: &Path) {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .expect("a cache");
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        // Most are there already, and one that cannot be linked is compiled again.
        let _ = fs::hard_link(entry.path(), to.join(entry.file_name()));
    }
}
