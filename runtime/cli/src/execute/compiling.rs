//! A line for people who wait while a component is compiled.

use crate::render;
use parking_lot::Mutex;
use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};
use taps_config::Switches;
use taps_sandbox::CompileWatcher;

/// Whoever waits longer is told why.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether people see stderr at all.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Follows the switches of a command from now on.
pub(crate) fn tell(switches: Switches) {
    let unseen = switches.json && !render::stderr_is_terminal();
    SILENT.store(switches.quiet || unseen, Ordering::Relaxed);
}

/// Says on stderr what is compiled, when that takes a while.
#[derive(Default)]
pub(crate) struct Notice {
    /// Dropped when what is compiled now is done.
    going_on: Mutex<Option<(Sender<()>, thread::JoinHandle<()>)>>,
}

impl CompileWatcher for Notice {
    fn begins(&self, name: &str, bytes: usize) {
        if SILENT.load(Ordering::Relaxed) {
            return;
        }
        let text = line(name, bytes);
        let (sender, receiver) = channel::<()>();
        let told = move || {
            if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                render::note(&text);
            }
        };
        // Without the thread nobody is told, and it takes as long.
        let thread = thread::Builder::new().name("compile-notice".into());
        if let Ok(thread) = thread.spawn(told) {
            *self.going_on.lock() = Some((sender, thread));
        }
    }

    fn ends(&self) {
        if let Some((sender, thread)) = self.going_on.lock().take() {
            drop(sender);
            // It cannot panic; a line that is being written is whole before what comes next.
            let _ = thread.join();
        }
    }
}

/// Sizes in powers of ten.
fn line(name: &str, bytes: usize) -> String {
    let size = indicatif::DecimalBytes(bytes as u64).to_string();
    format!("compiling {name} ({size})…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_component_and_its_size() {
        assert_eq!(
            line("app.wasm", 18_300_000),
            "compiling app.wasm (18.30 MB)…"
        );
    }
}
