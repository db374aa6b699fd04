//! What the tests run programs with.

use std::{cell::RefCell, fs, path::PathBuf, process::Command, time::Duration};
use taps_engine::ProgramUse;
use taps_payload::{FileRef, FileStore};
use taps_programs::{
    Call, Completion, FoundProgram, Launcher, ProgramError, ProgramLimits, ProgramSettings,
    Programs,
};

/// A launcher, and a directory for what its programs do.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) launcher: Launcher,
    pub(crate) uses: RefCell<Vec<ProgramUse>>,
    pub(crate) directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ProgramSettings)) -> Self {
        let itself = std::env::current_exe().expect("a test has a file");
        let mut command = Command::new("/proc/self/exe");
        command.arg("launcher");
        let launcher = Launcher::start(command).expect("it starts");
        let directory = tempfile::tempdir().expect("a directory");
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).expect("a directory");
        fs::write(directory.path().join("text"), "no program").expect("a file");
        let found = |name: &str, path: PathBuf| FoundProgram {
            name: name.to_owned(),
            reads: taps_programs::reads_of(&path),
            path,
        };
        let mut settings = ProgramSettings {
            found: vec![
                found("hostile", itself),
                found("vanished", directory.path().join("vanished")),
                found("text", directory.path().join("text")),
            ],
            missing: vec![(
                "absent".to_owned(),
                "`absent`: install it with care".to_owned(),
            )],
            limits: ProgramLimits::default(),
            require_sandbox: false,
            confinement: launcher.confinement(),
            scratch,
        };
        change(&mut settings);
        let service = launcher
            .service()
            .try_clone_to_owned()
            .expect("a descriptor");
        let files = FileStore::create(directory.path()).expect("a store");
        Self {
            programs: Programs::new(settings, service, files),
            launcher,
            uses: RefCell::default(),
            directory,
        }
    }

    /// Whether this kernel confines in every way; where not, what it lacks is not tested.
    pub(crate) fn is_full(&self) -> bool {
        let full = self.launcher.confinement().is_full();
        if !full {
            eprintln!("SKIPPED in part: {}", self.launcher.confinement());
        }
        full
    }

    pub(crate) fn run(&self, call: &Call<'_>) -> Result<Completion, ProgramError> {
        self.programs
            .run(call, &|| false, &mut self.uses.borrow_mut())
    }

    /// What a hostile act printed.
    pub(crate) fn act(&self, args: &[&str]) -> String {
        let args = arguments(args);
        let done = self.run(&hostile(&args)).expect("it ran");
        String::from_utf8(done.stdout).expect("text")
    }

    /// How a hostile act ended: exit code and signal.
    pub(crate) fn end(&self, args: &[&str]) -> (Option<i32>, Option<i32>) {
        let args = arguments(args);
        let done = self.run(&hostile(&args)).expect("it ran");
        (done.exit_code, done.signal)
    }

    pub(crate) fn last_use(&self) -> ProgramUse {
        self.uses.borrow().last().expect("one ran").clone()
    }

    /// A file of the store.
    pub(crate) fn file(&self, text: &str) -> FileRef {
        let path = self.directory.path().join("made");
        fs::write(&path, text).expect("a file");
        self.programs.files().adopt_file(&path).expect("a file")
    }

    pub(crate) fn scratch_is_empty(&self) -> bool {
        let scratch = &self.programs.settings().scratch;
        fs::read_dir(scratch).expect("it is there").next().is_none()
    }
}

pub(crate) fn arguments(args: &[&str]) -> Vec<String> {
    ["hostile"]
        .iter()
        .chain(args)
        .map(|&arg| arg.to_owned())
        .collect()
}

pub(crate) fn hostile(arguments: &[String]) -> Call<'_> {
    call("hostile", arguments)
}

pub(crate) fn call<'a>(program: &'a str, arguments: &'a [String]) -> Call<'a> {
    Call {
        program,
        arguments,
        inputs: Vec::new(),
        outputs: &[],
        environment: &[],
        stdin: None,
        timeout: Some(Duration::from_mins(1)),
        crash: false,
    }
}

/// No process.
pub(crate) const NOBODY: [u32; 0] = [];

/// Processes of this test's program that do that act.
pub(crate) fn alive(act: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("there is one").flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let does = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("hostile\0{act}\0"))
    };
    processes.filter_map(number).filter(does).collect()
}
