//! Programs that try to escape, to do harm or to outlive their task: all are stopped, and all that
//! happened is told.
//!
//! The launcher and the hostile program are this one, which therefore has a `main` of its own.

#![expect(
    clippy::print_stdout,
    reason = "a test runner reads what tests there are"
)]

mod bench;
mod hostile;

use bench::{Bench, NOBODY, alive, arguments, call, hostile};
use std::{
    fs,
    os::fd::AsFd as _,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use taps_programs::{Call, Content, ProgramError, ProgramLimits, serve_launcher};

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($name), $name)),*];
    };
}

tests![
    files_and_streams_go_in_and_out,
    nothing_outside_is_read_or_written,
    inputs_cannot_be_changed,
    sockets_cannot_be_opened,
    nothing_leaves_its_group_or_its_namespaces,
    other_processes_are_out_of_reach,
    what_is_left_behind_is_killed_and_counted,
    a_program_that_ignores_signals_ends_with_its_call,
    a_call_that_is_given_up_ends_with_all_that_it_started,
    a_caller_that_dies_takes_its_programs_along,
    every_limit_is_enforced,
    a_crash_is_a_signal,
    what_cannot_run_is_explained,
    outputs_do_not_lead_outside,
    descriptors_are_not_inherited,
    the_launcher_ends_with_the_run,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["launcher"] => return serve(),
        ["hostile", ref act @ ..] => {
            hostile::act(act);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if args.contains(&"--list") {
        // None of them is to be ignored.
        if !args.contains(&"--ignored") {
            for (name, _) in TESTS {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    let mut names = args.iter().filter(|arg| !arg.starts_with("--")).peekable();
    let all = names.peek().is_none();
    let names: Vec<_> = names.collect();
    for (name, test) in TESTS {
        if all || names.contains(&name) {
            test();
            eprintln!("{name}: ok");
        }
    }
    ExitCode::SUCCESS
}

fn serve() -> ExitCode {
    match serve_launcher() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn files_and_streams_go_in_and_out() {
    let bench = Bench::new();
    let file = bench.file("a file ");
    let args = arguments(&["echo"]);
    let (outputs, environment) = (
        ["out/b".to_owned(), "out/none".to_owned()],
        [
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("X".to_owned(), "1".to_owned()),
        ],
    );
    let done = bench
        .run(&Call {
            inputs: vec![("in/a", Content::File(&file))],
            outputs: &outputs,
            environment: &environment,
            stdin: Some(Content::Bytes(b"and a stream")),
            ..hostile(&args)
        })
        .expect("it ran");
    assert_eq!((done.exit_code, done.signal), (Some(3), None));
    let [Some(made), None] = &done.outputs[..] else {
        panic!("one of two was made: {:?}", done.outputs);
    };
    assert_eq!(
        fs::read_to_string(&*made.path).expect("it is kept"),
        "a file and a stream"
    );
    assert!(bench.programs.files().owns(made));
    assert_eq!(done.stderr, b"done\n");
    let mut environment: Vec<_> = std::str::from_utf8(&done.stdout)
        .expect("text")
        .lines()
        .collect();
    environment.sort_unstable();
    let names: Vec<_> = environment
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert_eq!(names, ["HOME", "LC_ALL", "PATH", "TMPDIR", "X"]);
    assert!(environment.contains(&"LC_ALL=C"), "{environment:?}");
    let used = bench.last_use();
    assert_eq!(
        (used.exit, used.signal, used.killed.as_deref()),
        (Some(3), None, None)
    );
    assert_eq!((used.input_bytes, used.output_bytes), (7, 19));
    let linked = bench.launcher.confinement().protects_inputs();
    assert_eq!(
        (used.inputs_linked == 1, used.inputs_copied == 1),
        (linked, !linked)
    );
    assert!(
        used.wall_ns > 0 && used.peak_memory_bytes > 100_000,
        "{used:?}"
    );
    assert!(bench.scratch_is_empty());
}

fn nothing_outside_is_read_or_written() {
    let bench = Bench::new();
    if !bench.is_full() {
        return;
    }
    let secret = bench.directory.path().join("secret");
    fs::write(&secret, "hidden").expect("a file");
    let secret = secret.to_str().expect("text");
    for path in [secret, "/etc/shadow", "/etc/passwd", "/proc/self/environ"] {
        assert_eq!(
            bench.act(&["read", path]),
            format!("{path}: PermissionDenied\n")
        );
    }
    for path in [
        "/",
        "/tmp",
        "/home",
        bench.programs.files().path().to_str().expect("text"),
    ] {
        assert_eq!(
            bench.act(&["list", path]),
            format!("{path}: PermissionDenied\n")
        );
    }
    for path in [
        secret,
        "/tmp/taps-escape",
        "../beside",
        "/usr/bin/taps-escape",
    ] {
        assert_eq!(
            bench.act(&["write", path]),
            format!("{path}: PermissionDenied\n")
        );
    }
    assert_eq!(fs::read_to_string(secret).expect("it is there"), "hidden");
    assert_eq!(bench.act(&["write", "own"]), "own: ok\n");
    assert_eq!(bench.act(&["execute-own"]), "execute: PermissionDenied\n");
}

fn inputs_cannot_be_changed() {
    let bench = Bench::new();
    let file = bench.file("precious");
    let args = arguments(&["spoil-input"]);
    let done = bench
        .run(&Call {
            inputs: vec![("in/a", Content::File(&file))],
            ..hostile(&args)
        })
        .expect("it ran");
    if bench.is_full() {
        let expected = "write: PermissionDenied\nappend: PermissionDenied\n\
                        write after chmod: PermissionDenied\ntruncate: PermissionDenied\n\
                        write after fchmod: PermissionDenied\nreplace: ok\n";
        assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
    }
    assert_eq!(
        fs::read_to_string(&*file.path).expect("it is there"),
        "precious"
    );
    // Times count: a payload whose file has others has changed.
    taps_payload::FilePayload::open(&file).expect("it is what it was");
}

fn sockets_cannot_be_opened() {
    let bench = Bench::new();
    if !bench.is_full() {
        return;
    }
    let said = bench.act(&["sockets"]);
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(
        said.lines().all(|line| line.ends_with("PermissionDenied")),
        "{said}"
    );
}

fn nothing_leaves_its_group_or_its_namespaces() {
    let bench = Bench::new();
    if !bench.is_full() {
        return;
    }
    let said = bench.act(&["escape"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.lines().all(|line| line.ends_with("PermissionDenied")),
        "{said}"
    );
}

fn other_processes_are_out_of_reach() {
    let bench = Bench::new();
    if !bench.is_full() {
        return;
    }
    let own = std::process::id().to_string();
    assert_eq!(bench.act(&["trace", &own]), "ptrace: PermissionDenied\n");
    assert_eq!(bench.act(&["signal", &own]), "signal: PermissionDenied\n");
}

fn what_is_left_behind_is_killed_and_counted() {
    let bench = Bench::new();
    for how in ["child", "grandchild"] {
        assert_eq!(bench.end(&["leave", how]), (Some(0), None));
        assert_eq!(bench.last_use().left_behind, 1, "{how}");
        assert_eq!(alive("sleep"), NOBODY, "{how}");
    }
    bench.act(&["read", "/dev/null"]);
    assert_eq!(bench.last_use().left_behind, 0);
}

fn a_program_that_ignores_signals_ends_with_its_call() {
    let bench = Bench::new();
    let args = arguments(&["stubborn"]);
    let error = bench
        .run(&Call {
            timeout: Some(Duration::from_millis(300)),
            ..hostile(&args)
        })
        .expect_err("it never ends");
    let expected = "it ran longer than its time limit of 300ms";
    assert_eq!(error, ProgramError::Limit(expected.to_owned()));
    let used = bench.last_use();
    assert_eq!(
        (used.signal, used.killed.as_deref()),
        (Some(9), Some(expected))
    );
    assert_eq!(alive("stubborn"), NOBODY);
    assert!(bench.scratch_is_empty());
}

fn a_call_that_is_given_up_ends_with_all_that_it_started() {
    let bench = Bench::new();
    let begun = Instant::now();
    let args = arguments(&["sleep"]);
    let given_up = || begun.elapsed() > Duration::from_millis(100);
    let error = bench
        .programs
        .run(&hostile(&args), &given_up, &mut bench.uses.borrow_mut())
        .expect_err("nobody wants it");
    assert_eq!(error, ProgramError::GivenUp);
    assert_eq!(alive("sleep"), NOBODY);
}

fn a_caller_that_dies_takes_its_programs_along() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        // A panic of the thread that waits closes its end of the call, as its death would.
        let caller = scope.spawn(|| {
            let args = arguments(&["stubborn"]);
            let begun = Instant::now();
            let dies = || {
                assert!(
                    begun.elapsed() < Duration::from_millis(200),
                    "this thread dies here"
                );
                false
            };
            let _ = bench.programs.run(&hostile(&args), &dies, &mut Vec::new());
        });
        assert!(caller.join().is_err(), "it died");
    });
    let begun = Instant::now();
    while !alive("stubborn").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        bench.act(&["write", "own"]),
        "own: ok\n",
        "the launcher serves others"
    );
}

fn every_limit_is_enforced() {
    let bench = Bench::with(|settings| {
        settings.limits = ProgramLimits {
            cpu_seconds: Some(1),
            memory_bytes: Some(1 << 30),
            file_bytes: 1 << 20,
            open_files: 64,
            output_bytes: 1 << 20,
        };
    });
    let (exit, signal) = bench.end(&["memory"]);
    assert!(exit != Some(0) && signal != Some(9), "{exit:?} {signal:?}");
    assert_eq!(bench.end(&["spin"]), (None, Some(24)), "SIGXCPU");
    let used = bench.last_use();
    // The limit is counted by ticks of the kernel, some of which are another process's: not all of the second.
    assert!(
        used.cpu_user_ns + used.cpu_system_ns >= 500_000_000,
        "{used:?}"
    );
    // Rust programs take the signal as it is by default.
    assert_eq!(bench.end(&["large-file"]), (None, Some(25)), "SIGXFSZ");
    assert!(bench.act(&["many-files"]).starts_with("open: "), "not ok");
    let args = arguments(&["flood"]);
    let error = bench.run(&hostile(&args)).expect_err("it never ends");
    let expected =
        "it wrote more than programs.output_limit = 1048576 bytes to its standard output";
    assert_eq!(error, ProgramError::Limit(expected.to_owned()));
    assert_eq!(
        bench.last_use().said_bytes,
        1 << 20,
        "what came before is kept"
    );
    assert_eq!(alive("flood"), NOBODY);
}

fn a_crash_is_a_signal() {
    let bench = Bench::new();
    let args = arguments(&["sleep"]);
    let crashed = bench.run(&Call {
        crash: true,
        ..hostile(&args)
    });
    assert_eq!(crashed.expect("it ran").signal, Some(11));
}

fn what_cannot_run_is_explained() {
    let bench = Bench::new();
    let none = [];
    let failed = |name: &str| {
        let error = bench.run(&call(name, &none)).expect_err("it cannot run");
        (
            format!("{error:?}")
                .split('(')
                .next()
                .unwrap_or_default()
                .to_owned(),
            error.to_string(),
        )
    };
    let (kind, text) = failed("absent");
    assert_eq!(
        (kind.as_str(), text.as_str()),
        ("NotFound", "`absent`: install it with care")
    );
    let (kind, text) = failed("rm");
    assert_eq!(
        (kind.as_str(), text.as_str()),
        ("NotAllowed", "the app does not list `rm`")
    );
    let (kind, text) = failed("vanished");
    assert!(kind == "Failed" && text.contains("No such file"), "{text}");
    let (kind, text) = failed("text");
    assert!(
        kind == "Failed" && text.contains("Permission denied"),
        "{text}"
    );
    for path in ["/etc/passwd", "../up", "", "a/../../b", "a/"] {
        let inputs = vec![(path, Content::Bytes(b""))];
        let error = bench
            .run(&Call {
                inputs,
                ..hostile(&none)
            })
            .expect_err(path);
        assert!(error.to_string().contains("no relative path"), "{error}");
        let outputs = [path.to_owned()];
        let error = bench
            .run(&Call {
                outputs: &outputs,
                ..hostile(&none)
            })
            .expect_err(path);
        assert!(error.to_string().contains("no relative path"), "{error}");
    }
    assert!(bench.scratch_is_empty());
    if bench.launcher.confinement().is_full() {
        return;
    }
    let strict = Bench::with(|settings| settings.require_sandbox = true);
    let error = strict.run(&hostile(&none)).expect_err("the kernel is old");
    assert!(error.to_string().contains("require_sandbox"), "{error}");
}

fn outputs_do_not_lead_outside() {
    let bench = Bench::new();
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("b"), "not yours").expect("a file");
    let args = arguments(&["lead-out", outside.to_str().expect("text")]);
    let outputs = ["out/b".to_owned()];
    let taken = bench.run(&Call {
        outputs: &outputs,
        ..hostile(&args)
    });
    let error = taken.expect_err("it leads out").to_string();
    assert_eq!(
        error,
        "the output `out/b` leads out of the scratch directory"
    );
    assert_eq!(
        fs::read_to_string(outside.join("b")).expect("it is there"),
        "not yours"
    );
    let outputs = ["out".to_owned()];
    let taken = bench.run(&Call {
        outputs: &outputs,
        ..hostile(&arguments(&["lead-out", "/etc/passwd"]))
    });
    assert!(taken.is_err(), "a link is no output");
}

fn descriptors_are_not_inherited() {
    // Without the flag that closes it, as a careless parent might have left it.
    let leaked = fs::File::open("/dev/zero").expect("a file");
    rustix::io::fcntl_setfd(leaked.as_fd(), rustix::io::FdFlags::empty()).expect("a descriptor");
    let bench = Bench::new();
    assert_eq!(bench.act(&["inherited"]), "");
}

fn the_launcher_ends_with_the_run() {
    let Bench {
        programs, launcher, ..
    } = Bench::new();
    let pid = launcher_of(Path::new("/proc/self/task"));
    assert_eq!(pid.len(), 1, "one launcher");
    // It still has a socket to it.
    drop(launcher);
    let error = programs.run(&hostile(&[]), &|| false, &mut Vec::new());
    assert!(matches!(error, Err(ProgramError::Failed(_))), "{error:?}");
    assert!(!Path::new(&format!("/proc/{}", pid[0])).exists());
}

/// Children of this process.
fn launcher_of(tasks: &Path) -> Vec<u32> {
    let tasks = fs::read_dir(tasks).expect("there is one").flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}
