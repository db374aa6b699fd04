//! The tasks.

use taps::{Bytes, Error, List, Payload, Result, Value as _};

use crate::content;
use crate::digest;
use crate::header::{self, Header};
use crate::kernels::Load;
use crate::patterns::Pattern;

/// What a `noop` is to do.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) load: Load,
    /// Size of the output.
    pub(crate) output_bytes: u32,
    /// Whether payloads carry their hash, and inputs are checked.
    pub(crate) verify: bool,
    /// Whether the output is made of words that count up.
    pub(crate) plain: bool,
    /// Whether inputs are read that are not checked.
    pub(crate) read: bool,
}

/// Makes its output and does its work.
///
/// The first argument is a [`Work`], the others are inputs, each of which is read. Without
/// arguments it does nothing at all: the cheapest task there is.
#[taps::task]
pub(crate) fn noop(mut arguments: List<Bytes>) -> Result<Bytes> {
    let Some(work) = arguments.next() else {
        return Ok(Bytes::from(Vec::new()));
    };
    let work = Work::decode(work?)?;
    let start = work.load.start();
    for (position, input) in arguments.enumerate() {
        take(&input?, position, work.verify, work.read)?;
    }
    let mut output = Bytes::zeros(work.output_bytes as usize);
    if !output.is_empty() {
        content::make(&mut output, taps::seed(), work.verify, work.plain);
    }
    work.load.run(start);
    Ok(output)
}

/// Does nothing.
#[taps::task]
pub(crate) fn warmup() {}

/// Checks or reads the content of an input.
fn take(content: &[u8], position: usize, verify: bool, read: bool) -> Result<()> {
    if verify && !content::is_intact(content) {
        let message = format!(
            "input {position} of {} bytes is not what was sent",
            content.len()
        );
        return Err(Error::app("ContentMismatch", message));
    }
    if read && !verify {
        // Kept from being optimised away.
        std::hint::black_box(content::sum(content));
    }
    Ok(())
}

/// What a `point` is, and is to do.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) pattern: Pattern,
    pub(crate) step: u32,
    pub(crate) column: u32,
    pub(crate) load: Load,
    /// Size of the output, its header included.
    pub(crate) output_bytes: u32,
    /// Whether payloads carry their hash, and inputs are checked.
    pub(crate) verify: bool,
    /// Whether the output is made of words that count up.
    pub(crate) plain: bool,
    /// Whether inputs are read that are not checked.
    pub(crate) read: bool,
}

/// One task of a pattern: checks that its inputs are those of its parents, does its work, and says
/// in its output who it is.
#[taps::task]
pub(crate) fn point(point: Point, inputs: List<Bytes>) -> Result<Bytes> {
    let start = point.load.start();
    let (step, column) = (point.step, point.column);
    let mut parents = Vec::new();
    point.pattern.parents(step, column, &mut parents);
    let expected = parents.iter().map(|parent| (step.wrapping_sub(1), *parent));
    let digests = check_inputs(inputs, expected, |content, position| {
        take(content, position, point.verify, point.read)
    })?;
    let digest = point.pattern.digest(step, column, digests.into_iter());
    let mut output = Bytes::zeros(point.output_bytes as usize);
    let header = Header {
        row: step,
        column,
        digest,
    };
    header.write(&mut output);
    let content = &mut output[header::LENGTH..];
    if !content.is_empty() {
        content::make(content, digest, point.verify, point.plain);
    }
    point.load.run(start);
    Ok(output)
}

/// Digests of the inputs, if they are exactly those expected.
fn check_inputs(
    inputs: List<Bytes>,
    expected: impl ExactSizeIterator<Item = (u32, u32)>,
    take: impl Fn(&[u8], usize) -> Result<()>,
) -> Result<Vec<u64>> {
    check_count(inputs.len(), expected.len())?;
    let inputs = inputs.zip(expected).enumerate();
    let digests = inputs.map(|(position, (input, maker))| {
        let input = input?;
        let header = Header::read(&input)?;
        check_maker(header, maker, position)?;
        take(&input[header::LENGTH..], position)?;
        Ok(header.digest)
    });
    digests.collect()
}

fn check_count(given: usize, expected: usize) -> Result<()> {
    if given != expected {
        let message = format!("{given} inputs, {expected} expected");
        return Err(Error::app("WrongInput", message));
    }
    Ok(())
}

fn check_maker(header: Header, (row, column): (u32, u32), position: usize) -> Result<()> {
    if (header.row, header.column) != (row, column) {
        let message = format!(
            "input {position} is that of {}.{}, {row}.{column} expected",
            header.row, header.column
        );
        return Err(Error::app("WrongInput", message));
    }
    Ok(())
}

/// A file within an input of a replayed task.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    /// Which input.
    pub(crate) input: u32,
    /// Where in it.
    pub(crate) offset: u32,
    /// What it is.
    pub(crate) file: Made,
}

/// A file that a replayed task makes.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) bytes: u32,
    /// What its content follows from.
    pub(crate) seed: u64,
}

/// What a `replay` is, and is to do.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replayed {
    pub(crate) number: u32,
    pub(crate) seed: u64,
    pub(crate) load: Load,
    /// Whether files carry their hash, and are checked.
    pub(crate) verify: bool,
    /// Whether files are made of words that count up.
    pub(crate) plain: bool,
    /// Numbers of the tasks whose outputs are its inputs.
    pub(crate) parents: Vec<u32>,
    pub(crate) takes: Vec<Take>,
    pub(crate) makes: Vec<Made>,
}

/// One task of a workflow that ran elsewhere: reads the files that it took, lasts as long as it
/// lasted, and makes the files that it made.
#[taps::task]
pub(crate) fn replay(task: Replayed, inputs: List<Payload>) -> Result<Bytes> {
    let start = task.load.start();
    check_count(inputs.len(), task.parents.len())?;
    let inputs: Vec<Payload> = inputs.into_payloads().collect();
    let mut digest = digest::of([task.seed, task.number.into()]);
    for (position, (input, parent)) in inputs.iter().zip(&task.parents).enumerate() {
        let header = Header::read(&input.read(0, header::LENGTH)?)?;
        check_maker(header, (*parent, 0), position)?;
        digest = digest::fold(digest, header.digest);
    }
    for take in &task.takes {
        let input = &inputs[take.input as usize];
        let content = input.read(take.offset.into(), take.file.bytes as usize)?;
        check_file(&content, take, task.verify)?;
        digest = digest::fold(digest, content.len() as u64);
    }
    let sizes = task.makes.iter().map(|file| file.bytes as usize);
    let mut output = Bytes::zeros(header::LENGTH + sizes.sum::<usize>());
    let header = Header {
        row: task.number,
        column: 0,
        digest,
    };
    header.write(&mut output);
    let mut rest = &mut output[header::LENGTH..];
    for file in &task.makes {
        let (content, after) = rest.split_at_mut(file.bytes as usize);
        content::make(content, file.seed, task.verify, task.plain);
        rest = after;
    }
    task.load.run(start);
    Ok(output)
}

/// Checks that a file is there as a whole, and is the one that was made.
fn check_file(content: &[u8], take: &Take, verify: bool) -> Result<()> {
    let Take { input, file, .. } = take;
    let bytes = file.bytes;
    if content.len() != bytes as usize {
        let message = format!(
            "{} of {bytes} bytes of a file of input {input}",
            content.len()
        );
        return Err(Error::app("ContentMismatch", message));
    }
    let right = !verify || content::is_intact(content) && content::begins(content, file.seed);
    if !right {
        let message = format!("a file of {bytes} bytes of input {input} is not what was made");
        return Err(Error::app("ContentMismatch", message));
    }
    if !verify {
        std::hint::black_box(content::sum(content));
    }
    Ok(())
}
