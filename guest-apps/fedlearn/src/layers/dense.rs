//! The dense layer: Y = X Wᵀ + b, W with a row per output.

use taps::Result;
use taps::kernels::{self, Matrix, MatrixMut};

use super::{Activation, Pass};

/// A dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dense {
    /// Numbers per sample before it.
    pub(crate) inputs: usize,
    /// Numbers per sample after it.
    pub(crate) outputs: usize,
    /// What follows.
    pub(crate) activation: Activation,
}

impl Dense {
    /// The outputs of a batch.
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
    ) -> Result<()> {
        let (weights, biases) = parameters.split_at(self.inputs * self.outputs);
        let batch = outputs.len() / self.outputs;
        for row in outputs.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(biases);
        }
        kernels::gemm(
            1.0,
            Matrix::row_major(inputs, batch, self.inputs),
            Matrix::row_major(weights, self.outputs, self.inputs).transpose(),
            1.0,
            MatrixMut::row_major(outputs, batch, self.outputs),
        )?;
        self.activation.forward(outputs);
        Ok(())
    }

    /// dX = dY W, then W -= rate dYᵀ X and b -= rate Σ dY.
    pub(crate) fn backward(&self, parameters: &mut [f32], pass: Pass<'_>, rate: f32) -> Result<()> {
        let (weights, biases) = parameters.split_at_mut(self.inputs * self.outputs);
        let batch = pass.outputs.len() / self.outputs;
        self.activation.backward(pass.outputs, pass.gradient);
        let gradient = Matrix::row_major(&*pass.gradient, batch, self.outputs);
        if let Some(input_gradient) = pass.input_gradient {
            kernels::gemm(
                1.0,
                gradient,
                Matrix::row_major(weights, self.outputs, self.inputs),
                0.0,
                MatrixMut::row_major(input_gradient, batch, self.inputs),
            )?;
        }
        kernels::gemm(
            -rate,
            gradient.transpose(),
            Matrix::row_major(pass.inputs, batch, self.inputs),
            1.0,
            MatrixMut::row_major(weights, self.outputs, self.inputs),
        )?;
        for row in pass.gradient.chunks_exact(self.outputs) {
            for (bias, gradient) in biases.iter_mut().zip(row) {
                *bias -= rate * gradient;
            }
        }
        Ok(())
    }
}
