//! A crate has one app.

#[derive(taps::Config)]
struct Config {}

#[taps::app(name = "one")]
fn one(_: Config, _: &taps::Engine) -> taps::Result<taps::Report> {
    Ok(taps::Report::new())
}

#[taps::app(name = "two")]
fn two(_: Config, _: &taps::Engine) -> taps::Result<taps::Report> {
    Ok(taps::Report::new())
}

fn main() {}
