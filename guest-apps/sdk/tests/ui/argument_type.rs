//! A parameter of a type that tasks cannot take.

#[taps::task]
fn sum(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

#[taps::task]
fn change(number: &mut u64) {
    *number += 1;
}

#[taps::task]
fn call(function: fn(u64) -> u64) -> u64 {
    function(1)
}

fn main() {}
