//! A call with an argument of another type.

#[taps::task]
fn double(number: u64) -> u64 {
    number * 2
}

fn driver(engine: &taps::Engine, text: &taps::Future<String>) -> taps::Result<()> {
    engine.submit(double::call("two"))?;
    engine.submit(double::call(text))?;
    Ok(())
}

fn main() {}
