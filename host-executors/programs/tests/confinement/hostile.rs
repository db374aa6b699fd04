//! A program that tries what it may not. It prints what came of it: `ok`, or the kind of the error.

#![expect(
    unsafe_code,
    clippy::print_stdout,
    reason = "some attempts have no safe form; what came of them is the output"
)]

use rustix::process::{Pid, Signal};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::BorrowedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixStream},
        },
    },
    process::{Command, Stdio},
    time::Duration,
};

const LONG: Duration = Duration::from_mins(10);

pub(crate) fn act(args: &[&str]) {
    match *args {
        ["read", path] => tell(path, fs::read(path)),
        ["list", path] => tell(path, fs::read_dir(path)),
        ["write", path] => tell(
            path,
            OpenOptions::new().append(true).create(true).open(path),
        ),
        ["spoil-input"] => spoil_input(),
        ["sockets"] => sockets(),
        ["escape"] => escape(),
        ["trace", pid] => {
            let pid: libc::pid_t = pid.parse().expect("a number");
            // SAFETY: attaching takes no memory of ours.
            let done = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) };
            tell(
                "ptrace",
                if done == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                },
            );
        }
        ["signal", pid] => {
            let pid = Pid::from_raw(pid.parse().expect("a number")).expect("not 0");
            let sent = rustix::process::kill_process(pid, Signal::CONT);
            tell("signal", sent.map_err(io::Error::from));
        }
        ["leave", how] => leave(how),
        ["sleep"] => std::thread::sleep(LONG),
        ["stubborn"] => {
            // SAFETY: ignoring a signal installs no handler.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            File::create("ready").expect("the scratch directory can be written");
            std::thread::sleep(LONG);
        }
        ["flood"] => loop {
            if io::stdout().write_all(&[b'x'; 4096]).is_err() {
                return;
            }
        },
        ["large-file"] => {
            let written = File::create("large")
                .and_then(|mut file| (0..64).try_for_each(|_| file.write_all(&vec![0; 1 << 20])));
            tell("large", written);
        }
        ["memory"] => {
            let mut held = Vec::new();
            for _ in 0..64 {
                held.push(vec![1_u8; 64 << 20]);
            }
            println!("ok: {} pieces", held.len());
        }
        ["spin"] => loop {
            std::hint::black_box(0);
        },
        ["many-files"] => {
            let opened: io::Result<Vec<File>> =
                (0..4096).map(|_| File::open("/dev/null")).collect();
            tell("open", opened);
        }
        ["execute-own"] => {
            let made = fs::copy("/bin/true", "own").and_then(|_| {
                fs::set_permissions("own", fs::Permissions::from_mode(0o755))?;
                Command::new("./own").status()
            });
            tell("execute", made);
        }
        ["lead-out", path] => {
            // It is there where an output is below it.
            let _ = fs::remove_dir_all("out");
            tell("link", std::os::unix::fs::symlink(path, "out"));
        }
        ["echo"] => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .expect("there is an input");
            let files = fs::read_to_string("in/a").expect("there is a file");
            fs::write("out/b", format!("{files}{text}")).expect("it may write there");
            for (name, value) in std::env::vars() {
                println!("{name}={value}");
            }
            eprintln!("done");
            std::process::exit(3);
        }
        ["inherited"] => {
            for number in 3..64 {
                // SAFETY: the descriptor is only asked about, and an error if it is closed.
                let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
                if rustix::io::fcntl_getfd(descriptor).is_ok() {
                    println!("{number} is open");
                }
            }
        }
        _ => println!("unknown act {args:?}"),
    }
}

fn tell<T>(what: &str, done: io::Result<T>) {
    match done {
        Ok(_) => println!("{what}: ok"),
        Err(error) => println!("{what}: {:?}", error.kind()),
    }
}

/// Every way to change an input that is a link to a file of others.
fn spoil_input() {
    let path = "in/a";
    tell("write", OpenOptions::new().write(true).open(path));
    tell("append", OpenOptions::new().append(true).open(path));
    // Without effect, whatever it says.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o666));
    tell(
        "write after chmod",
        OpenOptions::new().write(true).open(path),
    );
    tell(
        "truncate",
        OpenOptions::new().write(true).truncate(true).open(path),
    );
    if let Ok(file) = File::open(path) {
        let _ = file.set_permissions(fs::Permissions::from_mode(0o666));
        let _ = file.set_modified(std::time::SystemTime::UNIX_EPOCH);
        tell(
            "write after fchmod",
            OpenOptions::new().write(true).open(path),
        );
    }
    // Its own name of it: the file stays.
    tell(
        "replace",
        fs::remove_file(path).and_then(|()| fs::write(path, "mine")),
    );
}

fn sockets() {
    tell("tcp listener", TcpListener::bind("127.0.0.1:0"));
    tell("tcp stream", TcpStream::connect("127.0.0.1:1"));
    tell("udp", UdpSocket::bind("127.0.0.1:0"));
    tell("unix stream", UnixStream::connect("/run/docker.sock"));
    tell("unix datagram", UnixDatagram::unbound());
}

/// Every way out of the process group, and into other namespaces.
fn escape() {
    tell("setsid", rustix::process::setsid().map_err(io::Error::from));
    tell(
        "setpgid",
        rustix::process::setpgid(None, None).map_err(io::Error::from),
    );
    // SAFETY: neither call takes memory of ours, and both leave this process as it is or fail.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
    tell(
        "unshare",
        if unshared == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        },
    );
}

/// Leaves processes behind.
fn leave(how: &str) {
    let itself = std::env::current_exe().expect("it is said in argument 0 as well");
    let mut command = Command::new(itself);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match how {
        "child" => command.args(["hostile", "sleep"]),
        "grandchild" => command.args(["hostile", "leave", "child"]),
        other => panic!("how: {other}?"),
    };
    #[expect(clippy::zombie_processes, reason = "what it leaves is the point")]
    let mut child = command.spawn().expect("it may start itself");
    if how == "grandchild" {
        child.wait().expect("it is its child");
    }
}
