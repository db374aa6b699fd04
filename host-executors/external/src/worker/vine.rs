//! TaskVine's library protocol: a process that the worker of TaskVine starts once, and that runs its functions.
//!
//! ```text
//!   worker                                  library (this process)
//!      │ ◄── LEN\n{"name", "taskid", …} ── │ and SIGCHLD: look here
//!      │ ── LEN\nTASK FUNCTION DIR OUT ──► │ runs DIR/in, writes DIR/out
//!      │ ◄────────── LEN\nTASK EXIT ────── │ and SIGCHLD
//! ```
//!
//! The messages are those of cctools (`taskvine/src/worker/vine_worker.c`, `vine_process.c`). What a call runs, and
//! where its answer is, is as with `taps-wasm exec`; the name of the function is for people.

use super::{WorkerOptions, exec::exec_with};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
};

/// Longest message that is believed.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// What the worker of TaskVine says on the command line.
#[derive(Clone, Debug)]
pub struct LibraryArguments {
    /// Name of the library.
    pub name: String,
    /// Number of the descriptor that calls come from.
    pub in_pipe: u32,
    /// Number of the descriptor that answers go to.
    pub out_pipe: u32,
    /// Number that the library has as a task.
    pub task_id: u64,
    /// Calls that run at a time.
    pub function_slots: u32,
    /// The worker, which looks for answers when it gets SIGCHLD.
    pub worker_pid: u32,
}

/// Serves until the worker closes its pipe.
pub fn serve_library(arguments: &LibraryArguments, options: &WorkerOptions) -> io::Result<()> {
    // The descriptors are inherited; opened anew they are files of this process.
    let calls = File::open(format!("/proc/self/fd/{}", arguments.in_pipe))?;
    let answers = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{}", arguments.out_pipe))?;
    let answers = Answers {
        pipe: Mutex::new(answers),
        worker: Pid::from_raw(arguments.worker_pid.cast_signed()),
    };
    let hello = serde_json::json!({
        "name": arguments.name,
        "taskid": arguments.task_id,
        "exec_mode": "direct",
    });
    answers.say(&hello.to_string())?;
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..arguments.function_slots.max(1) {
            scope.spawn(|| serve_calls(&receiver, &answers, options));
        }
        let mut calls = BufReader::new(calls);
        while let Some(call) = next(&mut calls)? {
            if sender.send(call).is_err() {
                break;
            }
        }
        drop(sender);
        Ok(())
    })
}

/// Runs calls, one after the other.
fn serve_calls(calls: &Mutex<Receiver<String>>, answers: &Answers, options: &WorkerOptions) {
    let mut kept = None;
    loop {
        // One waits with the lock, the others for it.
        let Ok(call) = calls.lock().recv() else {
            return;
        };
        let mut words = call.split_whitespace();
        let (Some(task), Some(_function), Some(directory)) =
            (words.next(), words.next(), words.next())
        else {
            eprintln!("taps-wasm taskvine-library: a call without a directory: {call:?}");
            continue;
        };
        let directory = Path::new(directory);
        let ran = exec_with(
            &directory.join("in"),
            &directory.join("out"),
            options,
            &mut kept,
        );
        if let Err(error) = &ran {
            eprintln!("taps-wasm taskvine-library: {}", taps_engine::chain(error));
        }
        let exit = i32::from(ran.is_err());
        if answers.say(&format!("{task} {exit}")).is_err() {
            return;
        }
    }
}

/// Where answers go.
struct Answers {
    pipe: Mutex<File>,
    worker: Option<Pid>,
}

impl Answers {
    fn say(&self, text: &str) -> io::Result<()> {
        let message = format!("{}\n{text}", text.len());
        self.pipe.lock().write_all(message.as_bytes())?;
        if let Some(worker) = self.worker {
            rustix::process::kill_process(worker, Signal::CHILD)?;
        }
        Ok(())
    }
}

/// The next message; none where the pipe is closed.
fn next(pipe: &mut impl BufRead) -> io::Result<Option<String>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut length = String::new();
    if pipe.by_ref().take(32).read_line(&mut length)? == 0 {
        return Ok(None);
    }
    let length: usize = length
        .trim()
        .parse()
        .map_err(|_| wrong("a message does not begin with its length"))?;
    if length > MAX_MESSAGE_BYTES {
        return Err(wrong("a message is too long"));
    }
    let mut message = vec![0; length];
    pipe.read_exact(&mut message)?;
    String::from_utf8(message)
        .map(Some)
        .map_err(|_| wrong("a message is not text"))
}

#[cfg(test)]
mod tests {
    use super::next;
    use proptest::prelude::*;

    #[test]
    fn messages_have_their_length_before_them() {
        let mut pipe = &b"16\n7 noop /tmp/x o.1"[..];
        assert_eq!(
            next(&mut pipe).expect("valid").as_deref(),
            Some("7 noop /tmp/x o.")
        );
        assert!(next(&mut &b"5\nab"[..]).is_err(), "it ends early");
        assert!(next(&mut &b"99999999\n"[..]).is_err(), "too long");
        assert!(next(&mut &b"many\n"[..]).is_err());
        assert!(next(&mut &b""[..]).expect("closed").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut pipe = bytes.as_slice();
            while let Ok(Some(_)) = next(&mut pipe) {}
        }
    }
}
