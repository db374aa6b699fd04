//! One batch from a file to a file, for engines whose tasks are programs.

use super::{
    Batch, WorkerOptions, check_version, find_package, run_frame, runner::Runner, running::Running,
    sharing::Sharing,
};
use crate::{
    frame::{self, Frame, FrameError},
    message::{FromWorker, ToWorker},
};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a batch was not run, or its answer not written.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A frame cannot be read or written.
    #[error("{path}")]
    Frame {
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: FrameError,
    },
    /// The file does not hold what it should.
    #[error("{path}: expected the frames `setup` and `run`, {found}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
}

/// Runs the batch in `input`, and puts the answer at `output`: whole, or not at all. What a worker would say when
/// it cannot serve is an answer, too.
pub fn exec(input: &Path, output: &Path, options: &WorkerOptions) -> Result<(), ExecError> {
    let mut kept = None;
    exec_with(input, output, options, &mut kept)
}

/// A runner that was made for a package, for the batches that come after.
pub(super) type Kept = Option<(String, Runner)>;

/// As [`exec`]; makes the runner only where it is not there.
pub(super) fn exec_with(
    input: &Path,
    output: &Path,
    options: &WorkerOptions,
    kept: &mut Kept,
) -> Result<(), ExecError> {
    let file = File::open(input).map_err(|source| ExecError::File {
        path: input.to_owned(),
        source,
    })?;
    let mut file = BufReader::new(file);
    let mut frame = || next(&mut file, input);
    let (setup, _) = frame()?;
    let (run, buffers) = frame()?;
    let (
        ToWorker::Setup {
            protocol,
            version,
            digest: Some(digest),
            path,
            keep,
            cancel_dir,
            ..
        },
        ToWorker::Run { n, refs, .. },
    ) = (setup, run)
    else {
        return Err(ExecError::Content {
            path: input.to_owned(),
            found: "found others".to_owned(),
        });
    };
    let failed =
        |kind: &str, message: String| answer(output, &FromWorker::Failed { kind, message }, &[]);
    if let Err(unfit) = check_version(options.version, protocol, &version) {
        return failed(unfit.kind, unfit.message);
    }
    if kept.as_ref().is_none_or(|(of, _)| *of != digest) {
        let path = path.map(|path| beside(input, &path));
        let Some((setup, bundle)) = find_package(&digest, path.as_deref(), options) else {
            return answer(output, &FromWorker::NeedPackage { digest: &digest }, &[]);
        };
        match Runner::new(setup, bundle, options.cache.as_deref()) {
            Ok(runner) => *kept = Some((digest, runner)),
            Err(error) => return failed("bundle", taps_engine::chain(error.as_ref())),
        }
    }
    let Some((_, runner)) = kept else {
        unreachable!("made just above");
    };
    let running = Arc::<Running>::default();
    if let Some(directory) = cancel_dir {
        running.wishes_in(directory);
        running.watch();
    }
    let batch = Batch {
        count: n,
        refs,
        buffers,
        lent: Vec::new(),
        held: Vec::new(),
        files: Vec::new(),
        keep,
    };
    let ran = run_frame(runner, batch, &mut Sharing::default(), &running).map_err(|found| {
        ExecError::Content {
            path: input.to_owned(),
            found,
        }
    })?;
    let (done, buffers, _) = ran.into_message();
    let slices: Vec<&[u8]> = buffers.iter().map(AsRef::as_ref).collect();
    answer(output, &done, &slices)
}

/// A file that is named relatively lies beside the input.
fn beside(input: &Path, path: &Path) -> PathBuf {
    input.parent().unwrap_or(Path::new("")).join(path)
}

fn next(file: &mut impl Read, path: &Path) -> Result<(ToWorker, Vec<Vec<u8>>), ExecError> {
    let wrong = |source| ExecError::Frame {
        path: path.to_owned(),
        source,
    };
    let frame = Frame::read(file).map_err(wrong)?;
    let frame = frame.ok_or_else(|| ExecError::Content {
        path: path.to_owned(),
        found: "and it ends before".to_owned(),
    })?;
    let message = frame.message().map_err(wrong)?;
    Ok((message, frame.buffers))
}

fn answer(output: &Path, message: &FromWorker<'_>, buffers: &[&[u8]]) -> Result<(), ExecError> {
    let failed = |source| ExecError::File {
        path: output.to_owned(),
        source,
    };
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = output.with_file_name(name);
    let mut file = BufWriter::new(File::create(&part).map_err(failed)?);
    frame::write(&mut file, message, buffers).map_err(|source| ExecError::Frame {
        path: output.to_owned(),
        source,
    })?;
    drop(file);
    fs::rename(&part, output).map_err(failed)
}
