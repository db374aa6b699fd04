//! What confinement costs: one confined program against a bare spawn of the same one.
//!
//! ```text
//! cargo run --release -p taps-programs --example spawn
//! ```
//!
//! Both run `true` to its end with its output captured, one after another, in turns. The confined one has a scratch
//! directory, an input file and an output; the bare one has none of these.

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::{
    error::Error,
    fs,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use taps_payload::FileStore;
use taps_programs::{
    Call, Content, FoundProgram, Launcher, ProgramLimits, ProgramSettings, Programs, find,
    serve_launcher,
};

/// Pairs, and those of them that only warm up.
const ROUNDS: usize = 1000;
const WARM_UP: usize = 100;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return match serve_launcher() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("launcher");
    let launcher = Launcher::start(command)?;
    let directory = tempfile::tempdir()?;
    let scratch = directory.path().join("scratch");
    fs::create_dir(&scratch)?;
    let path = find("true", None)?;
    let settings = ProgramSettings {
        found: vec![FoundProgram {
            name: "true".to_owned(),
            path: path.clone(),
            reads: Vec::new(),
        }],
        missing: Vec::new(),
        limits: ProgramLimits::default(),
        require_sandbox: false,
        confinement: launcher.confinement(),
        scratch,
    };
    let files = FileStore::create(directory.path())?;
    let service = launcher.service().try_clone_to_owned()?;
    let programs = Programs::new(settings, service, files);
    let made = directory.path().join("made");
    fs::write(&made, "an input")?;
    let input = programs.files().adopt_file(&made)?;
    let (mut bare, mut confined) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + WARM_UP {
        let begun = Instant::now();
        let done = Command::new(&path).stdin(Stdio::null()).output()?;
        let took = begun.elapsed();
        assert!(done.status.success(), "it does nothing else");
        let begun = Instant::now();
        let call = Call {
            program: "true",
            arguments: &[],
            inputs: vec![("in", Content::File(&input))],
            outputs: &["out".to_owned()],
            environment: &[],
            stdin: None,
            timeout: None,
            crash: false,
        };
        let done = programs.run(&call, &|| false, &mut Vec::new())?;
        let confined_took = begun.elapsed();
        assert_eq!(done.exit_code, Some(0));
        if round >= WARM_UP {
            bare.push(took);
            confined.push(confined_took);
        }
    }
    println!("{}", launcher.confinement());
    let (bare, confined) = (median(&mut bare), median(&mut confined));
    println!("bare spawn      {:8.3} ms (median of {ROUNDS})", ms(bare));
    println!("confined, whole {:8.3} ms", ms(confined));
    println!(
        "ratio {:.2}, difference {:.3} ms",
        confined.as_secs_f64() / bare.as_secs_f64(),
        ms(confined) - ms(bare)
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
