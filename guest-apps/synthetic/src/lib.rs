//! The synthetic app.

use taps::{Array, Engine, Report};

/// Synthetic workloads.
#[derive(taps::Config)]
struct Synthetic {
    /// Number of tasks.
    task_count: u32,
}

/// Does nothing.
#[taps::task]
fn noop(a: &Array<f64>) -> Array<f64> {
    let mut out = Array::zeros(a.shape());
    out.as_mut_slice().copy_from_slice(a.as_slice());
    out
}

#[taps::app(name = "synthetic")]
fn run(config: Synthetic, engine: &Engine) -> taps::Result<Report> {
    for _ in 0..config.task_count {
        engine.submit(noop::call(Array::zeros(&[10])))?;
    }
    Ok(Report::new())
}
