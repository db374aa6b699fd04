//! The convolution layer: 3 x 3, padding 1, stride 1, on square images.
//!
//! ```text
//!   image: channels x side²          columns: 9 channels x side²
//!   ┌─────────────┐                  ┌─────────────┐ channel 0, shifted by (-1,-1)
//!   │ channel 0   │   ── unfold ──►  │             │ channel 0, shifted by (-1, 0)
//!   │ channel 1   │   ◄── fold ────  │      …      │    …
//!   └─────────────┘                  └─────────────┘
//!   outputs = W columns, W: output channels x 9 channels
//! ```
//!
//! Image by image: the columns of one stay in the cache.

use taps::Result;
use taps::kernels::{self, Matrix, MatrixMut};

use super::{Activation, Pass, Scratch, room};

/// A convolution layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convolution {
    /// Channels before it.
    pub(crate) input_channels: usize,
    /// Channels after it.
    pub(crate) output_channels: usize,
    /// Rows and columns of the images, at least 2.
    pub(crate) side: usize,
    /// What follows.
    pub(crate) activation: Activation,
}

impl Convolution {
    /// Numbers that each output is made of.
    pub(crate) fn fan_in(&self) -> usize {
        9 * self.input_channels
    }

    fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// The outputs of a batch.
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (pixels, fan_in) = (self.pixels(), self.fan_in());
        let (weights, biases) = parameters.split_at(fan_in * self.output_channels);
        let columns = room(&mut scratch.columns, fan_in * pixels);
        let images = inputs.chunks_exact(self.input_channels * pixels);
        for (image, output) in images.zip(outputs.chunks_exact_mut(self.output_channels * pixels)) {
            unfold(image, self.side, columns);
            for (channel, bias) in output.chunks_exact_mut(pixels).zip(biases) {
                channel.fill(*bias);
            }
            kernels::gemm(
                1.0,
                Matrix::row_major(weights, self.output_channels, fan_in),
                Matrix::row_major(columns, fan_in, pixels),
                1.0,
                MatrixMut::row_major(output, self.output_channels, pixels),
            )?;
        }
        self.activation.forward(outputs);
        Ok(())
    }

    /// dW = Σ dY columnsᵀ, dX = fold(Wᵀ dY), then a step by `rate`.
    pub(crate) fn backward(
        &self,
        parameters: &mut [f32],
        mut pass: Pass<'_>,
        rate: f32,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (pixels, fan_in) = (self.pixels(), self.fan_in());
        let (weights, biases) = parameters.split_at_mut(fan_in * self.output_channels);
        self.activation.backward(pass.outputs, pass.gradient);
        let columns = room(&mut scratch.columns, fan_in * pixels);
        let gradient = room(&mut scratch.gradient, weights.len());
        gradient.fill(0.0);
        let size = self.input_channels * pixels;
        let images = pass.inputs.chunks_exact(size).enumerate();
        let output_gradients = pass.gradient.chunks_exact(self.output_channels * pixels);
        for ((index, image), output) in images.zip(output_gradients) {
            let output = Matrix::row_major(output, self.output_channels, pixels);
            unfold(image, self.side, columns);
            kernels::gemm(
                1.0,
                output,
                Matrix::row_major(&*columns, fan_in, pixels).transpose(),
                1.0,
                MatrixMut::row_major(gradient, self.output_channels, fan_in),
            )?;
            if let Some(input_gradient) = &mut pass.input_gradient {
                kernels::gemm(
                    1.0,
                    Matrix::row_major(&*weights, self.output_channels, fan_in).transpose(),
                    output,
                    0.0,
                    MatrixMut::row_major(columns, fan_in, pixels),
                )?;
                fold(
                    columns,
                    self.side,
                    &mut input_gradient[index * size..][..size],
                );
            }
        }
        for (weight, gradient) in weights.iter_mut().zip(&*gradient) {
            *weight -= rate * gradient;
        }
        for image in pass.gradient.chunks_exact(self.output_channels * pixels) {
            for (bias, channel) in biases.iter_mut().zip(image.chunks_exact(pixels)) {
                *bias -= rate * channel.iter().sum::<f32>();
            }
        }
        Ok(())
    }
}

/// Position of an image's first number in its copy shifted by (`down`, `right`) - 1, and in the
/// image: one of them is 0.
fn offsets(down: usize, right: usize, side: usize) -> (usize, usize) {
    let (from, centre) = (down * side + right, side + 1);
    (centre.saturating_sub(from), from.saturating_sub(centre))
}

/// Sets to zero what a shift by one column brings from the row before or after.
fn clear_wrapped(plane: &mut [f32], right: usize, side: usize) {
    let column = match right {
        0 => 0,
        1 => return,
        _ => side - 1,
    };
    for row in plane.chunks_exact_mut(side) {
        row[column] = 0.0;
    }
}

/// Nine copies of each channel, shifted by a pixel in all directions; outside is zero. A copy is one
/// move of memory, whatever the shift.
pub(crate) fn unfold(image: &[f32], side: usize, columns: &mut [f32]) {
    let pixels = side * side;
    for (channel, copies) in image
        .chunks_exact(pixels)
        .zip(columns.chunks_exact_mut(9 * pixels))
    {
        for (shift, plane) in copies.chunks_exact_mut(pixels).enumerate() {
            let (start, first) = offsets(shift / 3, shift % 3, side);
            let length = pixels - start.max(first);
            plane[..start].fill(0.0);
            plane[start..start + length].copy_from_slice(&channel[first..first + length]);
            plane[start + length..].fill(0.0);
            clear_wrapped(plane, shift % 3, side);
        }
    }
}

/// The reverse of [`unfold`] for gradients: adds up the nine copies. They are used up.
pub(crate) fn fold(columns: &mut [f32], side: usize, image: &mut [f32]) {
    let pixels = side * side;
    image.fill(0.0);
    let channels = image.chunks_exact_mut(pixels);
    for (channel, copies) in channels.zip(columns.chunks_exact_mut(9 * pixels)) {
        for (shift, plane) in copies.chunks_exact_mut(pixels).enumerate() {
            clear_wrapped(plane, shift % 3, side);
            let (start, first) = offsets(shift / 3, shift % 3, side);
            let length = pixels - start.max(first);
            let values = &plane[start..start + length];
            for (sum, value) in channel[first..first + length].iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}
