//! A test app whose tasks run native programs, well and badly.

use std::time::Duration;
use taps::{Bytes, Engine, Error, File, Payload, Program, ProgramNeed, Report, Result};

/// What the tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Action {
    /// Numbers go through files from program to program.
    Chain,
    /// Exit with a code that is not 0.
    Fail,
    /// Do not end.
    Hang,
    /// Do not end, with a limit of the call's own.
    HangLimited,
    /// Write without end.
    Flood,
    /// Call a program that is not installed.
    Missing,
    /// Call a program that the task does not list.
    Unlisted,
    /// Promise a file and write none.
    Nothing,
    /// End by a signal.
    Crash,
    /// Leave a process running.
    Leave,
    /// Give a path that leads outside.
    Outside,
    /// Call a program from the driver.
    Driver,
    /// Give the same file as two results.
    Twice,
}

/// Runs native programs.
#[derive(Debug, taps::Config)]
struct Probe {
    /// What the tasks do.
    action: Action,
    /// Number of chains.
    #[taps(default = 3, min = 1)]
    count: u32,
    /// Lines of each file.
    #[taps(default = 1000, min = 1)]
    lines: u32,
}

const PROGRAMS: &[ProgramNeed] = &[
    ProgramNeed::new("cat", "apt-get install coreutils").version(&["--version"]),
    ProgramNeed::new("cp", "apt-get install coreutils"),
    ProgramNeed::new("seq", "apt-get install coreutils"),
    ProgramNeed::new("sh", "apt-get install dash"),
    ProgramNeed::new("sleep", "apt-get install coreutils"),
    ProgramNeed::new("sort", "apt-get install coreutils"),
    ProgramNeed::new("yes", "apt-get install coreutils"),
    ProgramNeed::new("no-such-program", "a miracle").optional(),
];

/// Numbers from 1, backwards, in a file.
#[taps::task(pure, programs("seq", "sort"))]
fn numbers(lines: u32) -> Result<File> {
    let numbers = Program::new("seq").arg(lines.to_string()).run_checked()?;
    let sorted = Program::new("sort")
        .args(["-n", "-r", "-o", "out/sorted", "-"])
        .stdin(numbers.stdout)
        .output("out/sorted")
        .run_checked()?;
    Ok(File::new(sorted.output("out/sorted")?))
}

/// The file twice: two files.
#[taps::task(pure, programs("cp"))]
fn copies(file: Payload) -> Result<(File, File)> {
    let done = Program::new("cp")
        .args(["in", "a"])
        .input("in", &file)
        .output("a")
        .run_checked()?;
    let again = Program::new("cp")
        .args(["in", "b"])
        .input("in", &done.output("a")?)
        .output("b")
        .run_checked()?;
    Ok((File::new(done.output("a")?), File::new(again.output("b")?)))
}

/// The files one after another, as the program prints them.
#[taps::task(pure, programs("cat"))]
fn join(first: Payload, second: Payload) -> Result<Bytes> {
    let done = Program::new("cat")
        .args(["first", "second"])
        .input("first", &first)
        .input("second", &second)
        .run_checked()?;
    Ok(Bytes::from(done.stdout))
}

/// One file as two results.
#[taps::task(programs("cp"))]
fn twice(file: Payload) -> Result<(File, File)> {
    let done = Program::new("cp")
        .args(["in", "a"])
        .input("in", &file)
        .output("a")
        .run_checked()?;
    let made = done.output("a")?;
    Ok((File::new(made.clone()), File::new(made)))
}

/// Goes wrong as it is told.
#[taps::task(programs("cat", "no-such-program", "sh", "sleep", "yes"))]
fn wrong(how: &str) -> Result<File> {
    let program = match how {
        "Fail" => Program::new("cat").arg("no-such-file"),
        "Hang" => Program::new("sleep").arg("600"),
        "HangLimited" => Program::new("sleep")
            .arg("600")
            .timeout(Duration::from_millis(200)),
        "Flood" => Program::new("yes"),
        "Missing" => Program::new("no-such-program"),
        "Unlisted" => Program::new("cp"),
        "Nothing" => Program::new("cat").output("result"),
        "Crash" => Program::new("sh").args(["-c", "kill -SEGV $$"]),
        "Leave" => Program::new("sh")
            .args(["-c", "sleep 600 & echo made > result"])
            .output("result"),
        "Outside" => Program::new("cat").output("../result"),
        other => return Err(Error::app("UnknownAction", other)),
    };
    let done = program.run_checked()?;
    Ok(File::new(done.output("result")?))
}

#[taps::app(name = "program-probe", programs = PROGRAMS)]
fn run(config: Probe, engine: &Engine) -> Result<Report> {
    match config.action {
        Action::Chain => chain(&config, engine),
        Action::Driver => Program::new("cat").run().map(|_| Report::new()),
        Action::Twice => {
            let file = engine.submit(numbers::call(config.lines))?;
            let (first, second) = engine.submit(twice::call(&file))?;
            let same = first.payload()?.bytes()? == second.payload()?.bytes()?;
            Ok(Report::new().check("same", same, taps::Bound::Equals(true.into())))
        }
        action => {
            engine
                .submit(wrong::call(format!("{action:?}").as_str()))?
                .finish()?;
            Ok(Report::new())
        }
    }
}

fn chain(config: &Probe, engine: &Engine) -> Result<Report> {
    let mut joined = Vec::new();
    for number in 0..config.count {
        let file = engine.submit(numbers::call(config.lines + number))?;
        let (first, second) = engine.submit(copies::call(&file))?;
        joined.push(engine.submit(join::call(&first, &second))?);
    }
    let mut report = Report::new();
    for (number, joined) in (0..).zip(joined) {
        let text = joined.result()?;
        let found: Vec<u32> = std::str::from_utf8(&text)?
            .lines()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let backwards = (1..=config.lines + number).rev();
        let expected: Vec<u32> = backwards.clone().chain(backwards).collect();
        let right = taps::Bound::Equals(true.into());
        report = report
            .check(&format!("numbers-{number}"), found == expected, right)
            .value(&format!("lines-{number}"), found.len() as u64);
    }
    Ok(report)
}
