//! The pooling layer: the largest of each 2 x 2 square.

use super::Pass;

/// A pooling layer, on square images of an even side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxPool {
    /// Channels.
    pub(crate) channels: usize,
    /// Rows and columns of the images before it.
    pub(crate) side: usize,
}

impl MaxPool {
    /// The outputs of a batch.
    pub(crate) fn forward(&self, inputs: &[f32], outputs: &mut [f32]) {
        let half = self.side / 2;
        let rows = inputs.chunks_exact(2 * self.side);
        for (pair, output) in rows.zip(outputs.chunks_exact_mut(half)) {
            let (upper, lower) = pair.split_at(self.side);
            let squares = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for ((upper, lower), output) in squares.zip(output) {
                *output = larger(larger(upper[0], upper[1]), larger(lower[0], lower[1]));
            }
        }
    }

    /// The gradient goes to the first of the largest, the others get none.
    pub(crate) fn backward(&self, pass: Pass<'_>) {
        let Some(input_gradient) = pass.input_gradient else {
            return;
        };
        let half = self.side / 2;
        let rows = pass.inputs.chunks_exact(2 * self.side);
        let outputs = pass
            .outputs
            .chunks_exact(half)
            .zip(pass.gradient.chunks_exact(half));
        let gradients = input_gradient.chunks_exact_mut(2 * self.side);
        for ((inputs, (outputs, gradients)), input_gradient) in rows.zip(outputs).zip(gradients) {
            input_gradient.fill(0.0);
            for (column, (output, gradient)) in outputs.iter().zip(gradients).enumerate() {
                let corner = 2 * column;
                let places = [
                    corner,
                    corner + 1,
                    corner + self.side,
                    corner + self.side + 1,
                ];
                if let Some(place) = places.into_iter().find(|place| inputs[*place] >= *output) {
                    input_gradient[place] = *gradient;
                }
            }
        }
    }
}

/// The larger of two; NaN if the first is.
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}
