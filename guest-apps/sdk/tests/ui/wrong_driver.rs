//! A driver whose configuration, engine or report has another type.

struct Plain;

#[taps::app]
fn run(config: Plain, engine: &taps::Engine) -> taps::Result<taps::Report> {
    Ok(taps::Report::new())
}

#[derive(taps::Config)]
struct Config {
    when: std::time::Duration,
}

fn main() {}
