//! From wasmtime's errors to typed outcomes.

use crate::{Interrupted, State};
use taps_engine::{Failure, OutcomeKind, TrapKind};
use wasmtime::{Trap, WasmBacktrace};

/// Turns what ended a guest into its outcome. `stderr` is what the guest wrote there: a Rust panic's
/// message, which explains an `unreachable`.
pub(crate) fn failure(error: &wasmtime::Error, state: &State, stderr: Option<&str>) -> Failure {
    let (outcome, message) = outcome(error, state);
    let message = match (outcome, stderr.and_then(panic_message)) {
        (OutcomeKind::Trap(TrapKind::Unreachable), Some(panic)) => panic,
        _ => message,
    };
    let mut failure = Failure::new(outcome, message);
    failure.detail = error
        .downcast_ref::<WasmBacktrace>()
        .filter(|backtrace| !backtrace.frames().is_empty())
        .map(ToString::to_string);
    failure
}

/// The outcome of an attempt that was ended early.
pub(crate) fn interrupted(why: Interrupted) -> Failure {
    let outcome = match why {
        Interrupted::Cancelled => OutcomeKind::Cancelled,
        Interrupted::Timeout => OutcomeKind::Timeout,
        // Not seen: who makes a fault strike puts the fault's own outcome in its place.
        Interrupted::Struck => OutcomeKind::EngineError,
    };
    Failure::new(outcome, why.to_string())
}

fn outcome(error: &wasmtime::Error, state: &State) -> (OutcomeKind, String) {
    if let Some(why) = state.interrupted.or_else(|| error.downcast_ref().copied()) {
        let Failure {
            outcome, message, ..
        } = interrupted(why);
        return (outcome, message);
    }
    if state.memory.exceeded {
        return (OutcomeKind::OutOfMemory, root(error));
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return (
            OutcomeKind::Trap(TrapKind::Exit),
            format!("the guest exited with status {}", exit.0),
        );
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return (OutcomeKind::Trap(trap_kind(*trap)), trap.to_string());
    }
    if error
        .downcast_ref::<wasmtime::PoolConcurrencyLimitError>()
        .is_some()
    {
        return (OutcomeKind::EngineError, root(error));
    }
    (OutcomeKind::Trap(TrapKind::HostCall), root(error))
}

fn trap_kind(trap: Trap) -> TrapKind {
    match trap {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned | Trap::TableOutOfBounds => {
            TrapKind::OutOfBounds
        }
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::IntegerDivisionByZero => TrapKind::DivisionByZero,
        Trap::IntegerOverflow | Trap::BadConversionToInteger => TrapKind::IntegerOverflow,
        Trap::IndirectCallToNull | Trap::BadSignature => TrapKind::BadCall,
        _ => TrapKind::Other,
    }
}

/// The innermost message: outer ones only say which Wasm frame was running.
fn root(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

/// The message of the last Rust panic in what a guest wrote to standard error.
fn panic_message(stderr: &str) -> Option<String> {
    let start = stderr.rfind("panicked at ")?;
    let mut lines = stderr[start..].lines();
    let place = lines.next()?.trim_end_matches(':');
    let message = lines
        .take_while(|line| !line.starts_with("note: "))
        .collect::<Vec<_>>()
        .join("\n");
    Some(format!("{} ({place})", message.trim()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_panic_message_is_found_behind_other_output() {
        let stderr = "working\n\nthread 'main' panicked at src/lib.rs:3:5:\nindex out of range\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(
            super::panic_message(stderr).as_deref(),
            Some("index out of range (panicked at src/lib.rs:3:5)")
        );
        assert_eq!(super::panic_message("nothing here"), None);
    }
}
