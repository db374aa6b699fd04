//! An example: an app that wraps a native program, here `gzip`.
//!
//! ```text
//!            ┌─► compress (block 1) ─┬─► check_block
//! file ──────┼─► compress (block 2) ─┼─► check_block       all blocks one after another are
//!            └─► compress (block 3) ─┴─► check_block       the compressed file
//! ```
//!
//! `docs/wrap-a-program.md` goes through it step by step.

use std::io::Write as _;

use taps::{
    Bound, Bytes, Engine, Error, Future, InputFile, OutputDir, Payload, Program, ProgramNeed,
    Report, Result,
};

/// The programs that this app needs on the host, each with the command that installs it.
const PROGRAMS: &[ProgramNeed] =
    &[ProgramNeed::new("gzip", "apt-get install gzip").version(&["--version"])];

/// Compresses a file with gzip, in blocks, and checks that they can be restored.
#[derive(Debug, taps::Config)]
struct Gzip {
    /// File to compress.
    file: InputFile,
    /// Size of a block in KiB; each is compressed by a task of its own.
    #[taps(default = 1024, min = 1, max = 8192)]
    block_kib: u32,
    /// Directory for the file `compressed.gz`; relative to the run directory.
    #[taps(default = "data")]
    output_dir: OutputDir,
}

/// Bytes of a file, from an offset.
fn block(file: &Payload, start: u64, length: u32) -> Result<Vec<u8>> {
    file.read(start, length as usize)
}

/// Compresses a block.
#[taps::task(pure, programs("gzip"))]
fn compress(file: Payload, start: u64, length: u32) -> Result<Bytes> {
    let done = Program::new("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(block(&file, start, length)?)
        .run_checked()?;
    Ok(done.stdout.into())
}

/// Restores a block, and tells whether it is what it was.
#[taps::task(pure, programs("gzip"))]
fn check_block(file: Payload, start: u64, length: u32, compressed: Payload) -> Result<bool> {
    let done = Program::new("gzip")
        .args(["-d", "-c"])
        .stdin(&compressed)
        .run()?;
    // A program that fails need not be an error of the task: here it is an answer.
    Ok(done.succeeded() && done.stdout == block(&file, start, length)?)
}

#[taps::app(name = "gzip", programs = PROGRAMS)]
fn run(config: Gzip, engine: &Engine) -> Result<Report> {
    let file = engine.input_file(&config.file)?;
    if file.size() == 0 {
        return Err(Error::config(
            "file",
            &config.file,
            "a file with something in it",
        ));
    }
    let block_bytes = config.block_kib * 1024;
    let mut compressed: Vec<Future<Bytes>> = Vec::new();
    let mut checked: Vec<Future<bool>> = Vec::new();
    for start in (0..file.size()).step_by(block_bytes as usize) {
        let block = engine.submit(compress::call(&file, start, block_bytes))?;
        // A future is an argument: the check begins as soon as its block is there.
        checked.push(engine.submit(check_block::call(&file, start, block_bytes, &block))?);
        compressed.push(block);
    }
    let mut output = std::fs::File::create(config.output_dir.join("compressed.gz"))?;
    let mut bytes = 0;
    for block in compressed {
        let block = block.bytes()?;
        output.write_all(&block)?;
        bytes += block.len();
    }
    let blocks = checked.len();
    let mut restored = 0;
    for check in checked {
        restored += usize::from(check.result()?);
    }
    Ok(Report::new()
        .check("restored_blocks", restored, Bound::Equals(blocks.into()))
        .value("bytes", file.size())
        .value("compressed_bytes", bytes))
}

#[cfg(test)]
mod tests;
