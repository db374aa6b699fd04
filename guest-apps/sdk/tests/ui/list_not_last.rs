//! `List` takes the rest of the arguments.

#[taps::task]
fn scale(numbers: taps::List<f64>, factor: f64) -> taps::Result<f64> {
    numbers.map(|number| Ok(number? * factor)).sum()
}

fn main() {}
