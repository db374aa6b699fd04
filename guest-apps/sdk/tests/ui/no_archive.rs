//! `&Archived<T>` of a struct without `#[taps::value]`.

struct Document {
    text: String,
}

#[taps::task]
fn length(document: &taps::Archived<Document>) -> u64 {
    0
}

fn main() {}
