//! The convolution layer: 3 x 3, padding 1, stride 1, on square images.
//!
//! ```text
//!   image, padded: (side+2)² x channels      patches: side² x 9 channels
//!   ┌───┬───┬───┬───┐                        ┌───────┬───────┬───────┐ pixel (0, 0)
//!   │ 0   0   0 │ 0 │                        │ row 0 │ row 1 │ row 2 │ pixel (0, 1)
//!   │ 0   a   b │ 0 │   ── unfold ──►        │ 3 neighbours each     │   …
//!   │ 0   c   d │ 0 │   ◄── fold ────        └───────┴───────┴───────┘
//!   └───────────┴───┘                         outputs = patches Wᵀ, a row per pixel
//! ```
//!
//! With the channels of a pixel side by side, a third of a patch is one run of memory, and the outputs of
//! many images are one product. A group of images is unfolded at a time: enough for a product to be large,
//! few enough for the caches.

use taps::Result;
use taps::kernels::{self, Matrix, MatrixMut};

use super::{Activation, Pass, Scratch, room};

/// Most numbers in the patches of a group of images, unless one has more: 4 MiB.
const GROUP: usize = 1 << 20;

/// A convolution layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convolution {
    /// Channels before it.
    pub(crate) input_channels: usize,
    /// Channels after it.
    pub(crate) output_channels: usize,
    /// Rows and columns of the images.
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

    /// Images that are unfolded together.
    pub(crate) fn group(&self) -> usize {
        (GROUP / (self.fan_in() * self.pixels())).max(1)
    }

    /// The outputs of a batch.
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (pixels, fan_in, group) = (self.pixels(), self.fan_in(), self.group());
        let (weights, biases) = parameters.split_at(fan_in * self.output_channels);
        for row in outputs.chunks_exact_mut(self.output_channels) {
            row.copy_from_slice(biases);
        }
        let images = inputs.chunks(group * self.input_channels * pixels);
        for (images, outputs) in
            images.zip(outputs.chunks_mut(group * self.output_channels * pixels))
        {
            let rows = outputs.len() / self.output_channels;
            let patches = self.unfold(images, scratch);
            kernels::gemm(
                1.0,
                Matrix::row_major(patches, rows, fan_in),
                Matrix::row_major(weights, self.output_channels, fan_in).transpose(),
                1.0,
                MatrixMut::row_major(outputs, rows, self.output_channels),
            )?;
        }
        self.activation.forward(outputs);
        Ok(())
    }

    /// dW = Σ dYᵀ patches, dX = fold(dY W), then a step by `rate`.
    pub(crate) fn backward(
        &self,
        parameters: &mut [f32],
        mut pass: Pass<'_>,
        rate: f32,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (pixels, fan_in, group) = (self.pixels(), self.fan_in(), self.group());
        let (weights, biases) = parameters.split_at_mut(fan_in * self.output_channels);
        self.activation.backward(pass.outputs, pass.gradient);
        // The weights before the step are needed until the last group is through.
        let mut step = std::mem::take(&mut scratch.step);
        let step_of_all = room(&mut step, weights.len());
        let size = group * self.input_channels * pixels;
        let gradients = pass.gradient.chunks(group * self.output_channels * pixels);
        for (index, (images, gradient)) in pass.inputs.chunks(size).zip(gradients).enumerate() {
            let rows = gradient.len() / self.output_channels;
            let gradient = Matrix::row_major(gradient, rows, self.output_channels);
            let patches = self.unfold(images, scratch);
            kernels::gemm(
                rate,
                gradient.transpose(),
                Matrix::row_major(&*patches, rows, fan_in),
                if index == 0 { 0.0 } else { 1.0 },
                MatrixMut::row_major(step_of_all, self.output_channels, fan_in),
            )?;
            if let Some(input_gradient) = &mut pass.input_gradient {
                kernels::gemm(
                    1.0,
                    gradient,
                    Matrix::row_major(&*weights, self.output_channels, fan_in),
                    0.0,
                    MatrixMut::row_major(patches, rows, fan_in),
                )?;
                self.fold(&mut input_gradient[index * size..][..images.len()], scratch);
            }
        }
        for (weight, step) in weights.iter_mut().zip(&*step_of_all) {
            *weight -= step;
        }
        scratch.step = step;
        // Image by image: a sum of few numbers is a better one.
        let sums = room(&mut scratch.padded, self.output_channels);
        for image in pass.gradient.chunks_exact(self.output_channels * pixels) {
            sums.fill(0.0);
            for row in image.chunks_exact(self.output_channels) {
                add(sums, row);
            }
            for (bias, sum) in biases.iter_mut().zip(&*sums) {
                *bias -= rate * sum;
            }
        }
        Ok(())
    }

    /// The patches of some images.
    pub(crate) fn unfold<'a>(&self, images: &[f32], scratch: &'a mut Scratch) -> &'a mut [f32] {
        let (channels, patch) = (self.input_channels, self.fan_in());
        let size = self.pixels() * channels;
        let padded = self.padded(&mut scratch.padded);
        padded.fill(0.0);
        let patches = room(&mut scratch.patches, images.len() * 9);
        for (image, patches) in images
            .chunks_exact(size)
            .zip(patches.chunks_exact_mut(self.pixels() * patch))
        {
            for (row, pixels) in image.chunks_exact(self.side * channels).enumerate() {
                padded[self.place(row, 0)..][..pixels.len()].copy_from_slice(pixels);
            }
            for (pixel, patch) in patches.chunks_exact_mut(patch).enumerate() {
                for (down, neighbours) in patch.chunks_exact_mut(3 * channels).enumerate() {
                    let first = self.first(pixel, down);
                    neighbours.copy_from_slice(&padded[first..first + 3 * channels]);
                }
            }
        }
        patches
    }

    /// The reverse of [`unfold`](Self::unfold) for gradients: adds up what the patches in the scratch hold of
    /// each pixel.
    pub(crate) fn fold(&self, images: &mut [f32], scratch: &mut Scratch) {
        let (channels, patch) = (self.input_channels, self.fan_in());
        let size = self.pixels() * channels;
        let padded = self.padded(&mut scratch.padded);
        for (image, patches) in images
            .chunks_exact_mut(size)
            .zip(scratch.patches.chunks_exact(self.pixels() * patch))
        {
            padded.fill(0.0);
            for (pixel, patch) in patches.chunks_exact(patch).enumerate() {
                for (down, neighbours) in patch.chunks_exact(3 * channels).enumerate() {
                    let first = self.first(pixel, down);
                    add(&mut padded[first..first + 3 * channels], neighbours);
                }
            }
            for (row, pixels) in image.chunks_exact_mut(self.side * channels).enumerate() {
                pixels.copy_from_slice(&padded[self.place(row, 0)..][..pixels.len()]);
            }
        }
    }

    /// Room for an image with a border of a pixel.
    fn padded<'a>(&self, buffer: &'a mut Vec<f32>) -> &'a mut [f32] {
        room(
            buffer,
            (self.side + 2) * (self.side + 2) * self.input_channels,
        )
    }

    /// Where a pixel lies in the padded image.
    fn place(&self, row: usize, column: usize) -> usize {
        ((row + 1) * (self.side + 2) + column + 1) * self.input_channels
    }

    /// Where the neighbours of a pixel begin in the padded image: those in the row above, its own, and the
    /// row below.
    fn first(&self, pixel: usize, down: usize) -> usize {
        ((pixel / self.side + down) * (self.side + 2) + pixel % self.side) * self.input_channels
    }
}

/// Adds numbers to sums.
fn add(sums: &mut [f32], numbers: &[f32]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}
