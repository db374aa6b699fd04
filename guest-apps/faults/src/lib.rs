//! Tasks that go wrong on purpose: what a fault does inside of a sandbox is real code, that runs under
//! the limits and the deadline of the attempt that it hits.
//!
//! There is no app here and no driver: `taps_apps::faults()` gives the tasks as a bundle, and
//! `Bundle::with_faults` lends them to the bundle of a run. In a sandbox `zero-division` is not the
//! function of this name, but `division.wat`: Rust checks every division, and a trap is wanted.
//!
//! What these tasks never do: reach anything beyond their own sandbox.

use taps::Error;

#[cfg(target_arch = "wasm32")]
taps::__private::inventory::submit! {
    taps::__private::PackageRegistration(env!("CARGO_PKG_NAME"))
}
#[cfg(target_arch = "wasm32")]
taps::__export_app!();

/// The component of `zero-division` in a sandbox: `division.wat`, assembled.
#[cfg(not(target_arch = "wasm32"))]
pub const DIVISION: &[u8] = include_bytes!("division.wasm");

/// The text of TaPS for errors that are injected.
const MESSAGE: &str = "Failure injection error.";

/// Returns an error.
#[taps::task]
pub fn failure() -> taps::Result<()> {
    Err(Error::app("Exception", MESSAGE))
}

/// Returns the error of a module that cannot be imported.
#[taps::task]
pub fn import() -> taps::Result<()> {
    Err(Error::app("ImportError", MESSAGE))
}

/// Divides by zero.
#[taps::task(name = "zero-division")]
pub fn zero_division() -> taps::Result<()> {
    let zero = std::hint::black_box(0_u32);
    match 1_u32.checked_div(zero) {
        Some(_) => Ok(()),
        None => Err(Error::app("ZeroDivisionError", "division by zero")),
    }
}

/// Takes memory, and writes to it, until there is no more.
#[taps::task]
pub fn memory() -> taps::Result<()> {
    const BLOCK_BYTES: usize = 1 << 20;
    let mut blocks = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(BLOCK_BYTES).is_err() {
            // A host that refuses instead of ending the sandbox.
            return Err(Error::app("MemoryError", "there is no more memory"));
        }
        block.resize(BLOCK_BYTES, 0xa5_u8);
        blocks.push(std::hint::black_box(block));
    }
}

/// Never ends: it computes and sleeps by turns.
#[taps::task]
pub fn timeout() -> taps::Result<()> {
    const TURN: std::time::Duration = std::time::Duration::from_millis(1);
    loop {
        let until = taps::clock() + TURN;
        while taps::clock() < until {
            std::hint::spin_loop();
        }
        taps::sleep(TURN);
    }
}

/// Opens handles until it gets no more.
#[taps::task]
pub fn ulimit() -> taps::Result<()> {
    let mut open = Vec::new();
    loop {
        match handles::open() {
            Ok(handle) => open.push(handle),
            Err(reason) => {
                let message = format!(
                    "too many open handles: {} and no more: {reason}",
                    open.len()
                );
                return Err(Error::app("OSError", message));
            }
        }
    }
}

/// A parent that a task does not know of, and that succeeds.
#[taps::task(name = "injected-parent")]
pub fn injected_parent() {}

/// The same parent, where it is to fail.
#[taps::task]
pub fn dependency() -> taps::Result<()> {
    Err(Error::app(
        "ParentDependencyError",
        "Simulated failure in parent task.",
    ))
}

/// What a task can open: buffers for results, each an entry in the host's table of this sandbox.
#[cfg(target_arch = "wasm32")]
mod handles {
    use taps::backend::bindings::taps::core::payloads::OutputBuffer;

    pub(super) fn open() -> Result<OutputBuffer, String> {
        OutputBuffer::copy(&[]).map_err(|error| error.name().to_owned())
    }
}

/// Outside of a sandbox there is no such table.
#[cfg(not(target_arch = "wasm32"))]
mod handles {
    pub(super) fn open() -> Result<std::convert::Infallible, String> {
        Err("there is no sandbox that would hold any".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_task_fails_in_its_own_way() {
        let kind = |result: taps::Result<()>| {
            let error = result.expect_err("it fails");
            (error.kind().to_owned(), error.to_string())
        };
        let of = |kind: &str, message: &str| (kind.to_owned(), message.to_owned());
        assert_eq!(
            kind(super::failure()),
            of("Exception", "Failure injection error.")
        );
        assert_eq!(
            kind(super::import()),
            of("ImportError", "Failure injection error.")
        );
        assert_eq!(
            kind(super::zero_division()),
            of("ZeroDivisionError", "division by zero")
        );
        assert_eq!(
            kind(super::dependency()),
            of("ParentDependencyError", "Simulated failure in parent task.")
        );
        assert_eq!(kind(super::ulimit()).0, "OSError");
    }

    #[test]
    fn the_component_is_that_of_the_text() {
        let text = include_str!("division.wat");
        let assembled = wat::parse_str(text).expect("the text is a component");
        assert!(
            assembled == super::DIVISION,
            "write it anew: cargo run --package taps-faults --example assemble"
        );
    }

    #[test]
    fn all_tasks_are_registered() {
        let names: Vec<_> = taps::tasks(env!("CARGO_PKG_NAME"))
            .into_iter()
            .map(|task| task.name)
            .collect();
        let expected = [
            "dependency",
            "failure",
            "import",
            "injected-parent",
            "memory",
            "timeout",
            "ulimit",
            "zero-division",
        ];
        assert_eq!(names, expected);
    }
}
