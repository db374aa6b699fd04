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
    /// Numbers in two rows of an image, and in what they become.
    fn rows(&self) -> (usize, usize) {
        let row = self.side * self.channels;
        (2 * row, row / 2)
    }

    /// The outputs of a batch.
    pub(crate) fn forward(&self, inputs: &[f32], outputs: &mut [f32]) {
        let (two, half) = self.rows();
        for (pair, outputs) in inputs.chunks_exact(two).zip(outputs.chunks_exact_mut(half)) {
            let (upper, lower) = pair.split_at(two / 2);
            let squares = upper
                .chunks_exact(2 * self.channels)
                .zip(lower.chunks_exact(2 * self.channels));
            for ((upper, lower), outputs) in squares.zip(outputs.chunks_exact_mut(self.channels)) {
                let (upper, lower) = (upper.split_at(self.channels), lower.split_at(self.channels));
                let upper = upper.0.iter().zip(upper.1);
                let lower = lower.0.iter().zip(lower.1);
                for ((upper, lower), output) in upper.zip(lower).zip(outputs) {
                    *output = larger(larger(*upper.0, *upper.1), larger(*lower.0, *lower.1));
                }
            }
        }
    }

    /// The gradient goes to the first of the largest, the others get none.
    pub(crate) fn backward(&self, pass: Pass<'_>) {
        let Some(input_gradient) = pass.input_gradient else {
            return;
        };
        let (two, half) = self.rows();
        let pairs = pass
            .inputs
            .chunks_exact(two)
            .zip(input_gradient.chunks_exact_mut(two));
        let results = pass
            .outputs
            .chunks_exact(half)
            .zip(pass.gradient.chunks_exact(half));
        for ((inputs, input_gradient), (outputs, gradients)) in pairs.zip(results) {
            input_gradient.fill(0.0);
            for (index, (output, gradient)) in outputs.iter().zip(gradients).enumerate() {
                let corner = index / self.channels * 2 * self.channels + index % self.channels;
                let below = corner + two / 2;
                let places = [corner, corner + self.channels, below, below + self.channels];
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
