//! A struct without `#[taps::value]` as parameter and as result.

struct Point {
    x: f64,
}

#[taps::task]
fn norm(point: Point) -> f64 {
    point.x
}

#[taps::task]
fn origin() -> Point {
    Point { x: 0.0 }
}

fn main() {}
