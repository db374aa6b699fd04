//! Programs of a local run: run as they are, without confinement, in a temporary directory. The
//! host confines them; this serves the tests of an app.

use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::local::Payload;
use super::{ProgramCall, ProgramContent, ProgramEnd, ProgramRefusal};

/// How often a program is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A directory that is removed with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("taps-program-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where a relative path leads, with the directories to it.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let inside = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside {
            let reason = format!("`{path}` is no relative path inside the scratch directory");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let place = self.0.join(path);
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(place)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test's leavings in the temporary directory; nothing more can be done.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program to its end.
pub(super) fn run(call: &ProgramCall<'_, Payload>) -> Result<ProgramEnd<Payload>, ProgramRefusal> {
    run_in_scratch(call).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ProgramRefusal::NotFound(format!("`{}`: {error}", call.program)),
        io::ErrorKind::TimedOut => ProgramRefusal::Limit(error.to_string()),
        _ => ProgramRefusal::Failed(error.to_string()),
    })
}

fn run_in_scratch(call: &ProgramCall<'_, Payload>) -> io::Result<ProgramEnd<Payload>> {
    let scratch = Scratch::new()?;
    for (path, content) in &call.inputs {
        fs::write(scratch.place(path)?, bytes(content)?)?;
    }
    let places = call.outputs.iter().map(|path| scratch.place(path));
    let places = places.collect::<io::Result<Vec<_>>>()?;
    let stdin = call.stdin.as_ref().map(bytes).transpose()?;
    let mut child = Command::new(call.program)
        .args(call.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &scratch.0)
        .envs(call.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&scratch.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take();
    let writer = thread::spawn(move || {
        if let (Some(mut input), Some(bytes)) = (input, stdin) {
            // A program need not read all of it.
            let _ = input.write_all(&bytes);
        }
    });
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some(limit) = call.timeout.filter(|limit| begin.elapsed() > *limit) {
            child.kill()?;
            child.wait()?;
            let reason = format!("it ran longer than its limit of {limit:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        thread::sleep(LOOK);
    };
    // It has ended with its pipe.
    let _ = writer.join();
    let whole = |stream: thread::JoinHandle<Vec<u8>>| stream.join().unwrap_or_default();
    let (stdout, stderr) = (whole(stdout), whole(stderr));
    let outputs = places.iter().map(|place| match fs::read(place) {
        Ok(bytes) => Ok(Some(Payload(Arc::new(bytes)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    });
    Ok(ProgramEnd {
        exit_code: status.code(),
        signal: status.signal(),
        outputs: outputs.collect::<io::Result<_>>()?,
        stdout,
        stderr,
    })
}

/// Reads a stream to its end, whatever else is waited for: a full pipe stops the program.
fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before an error is what there is.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn bytes(content: &ProgramContent<'_, Payload>) -> io::Result<Vec<u8>> {
    let payload = match content {
        ProgramContent::Inline(bytes) => return Ok(bytes.to_vec()),
        ProgramContent::Payload(payload) => &payload.0,
    };
    let mut bytes = vec![0; usize::try_from(payload.size()).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match payload.read_at(filled as u64, &mut bytes[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(bytes)
}
