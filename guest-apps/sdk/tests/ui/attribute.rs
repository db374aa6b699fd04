//! Misspelt options.

#[taps::task(pur)]
fn noop() {}

#[derive(taps::Config)]
struct Config {
    #[taps(defualt = 3)]
    size: u32,
}

#[derive(taps::Config)]
#[taps(validate = check)]
struct Other {}

#[taps::app(name = "My App")]
fn run(config: Config, engine: &taps::Engine) -> taps::Result<taps::Report> {
    Ok(taps::Report::new())
}

#[taps::app(nans = "quiet")]
fn other(config: Config, engine: &taps::Engine) -> taps::Result<taps::Report> {
    Ok(taps::Report::new())
}

fn main() {}
