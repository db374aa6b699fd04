//! Attributes on what is not a function.

#[taps::task]
struct Task;

#[taps::app]
mod app {}

struct Worker;

impl Worker {
    #[taps::task]
    fn work(&self) {}
}

fn main() {}
