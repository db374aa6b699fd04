//! What both tasks and drivers may ask of their surroundings.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::backend::{Backend as _, Current, KernelMode, Level};

/// Writes a line to the log of the run. The macros [`info!`](crate::info) and its siblings are
/// shorter.
pub fn log(level: Level, message: std::fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => Current::log(level, text),
        None => Current::log(level, &message.to_string()),
    }
}

/// Seed of this task or driver: equal for equal seed of the run, task name and index.
pub fn seed() -> u64 {
    Current::seed()
}

/// A generator seeded with [`seed`]: it gives the same numbers on every host, and on every
/// attempt of the task. Each call starts it anew, so keep it.
pub fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed())
}

/// Number of this attempt, from 0; 0 in a driver.
pub fn attempt() -> u32 {
    Current::attempt()
}

/// Time since the run began. In a driver: the time of the last event that reached it, so that a
/// replayed driver sees the same clock.
pub fn clock() -> Duration {
    Current::clock()
}

/// Sleeps; ends the task when the attempt is cancelled or its time is up.
pub fn sleep(duration: Duration) {
    Current::sleep(duration);
}

/// Which kernels the run asks for. The functions in [`kernels`](crate::kernels) obey by themselves.
pub fn kernel_mode() -> KernelMode {
    Current::kernel_mode()
}

/// Logs a line at a level: `log!(Level::Info, "{n} words")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($message:tt)+) => {
        $crate::context::log($level, ::core::format_args!($($message)+))
    };
}

/// Logs every step.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log!($crate::Level::Trace, $($message)+) };
}

/// Logs something for the author.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log!($crate::Level::Debug, $($message)+) };
}

/// Logs something for the user.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log!($crate::Level::Info, $($message)+) };
}

/// Logs something odd that does not stop the run.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log!($crate::Level::Warn, $($message)+) };
}

/// Logs a failure.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log!($crate::Level::Error, $($message)+) };
}
