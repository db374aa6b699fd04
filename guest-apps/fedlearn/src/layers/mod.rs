//! Layers of a network, forward and backward, over the kernels.
//!
//! Activations lie sample after sample; images are row after row, the channels of a pixel side by side.
//! A layer's matrix has a row per output, its columns in the order of the inputs, and lies before the biases.
//! The backward pass of a layer also takes the step of gradient descent, so that no gradient of the
//! size of a large layer is ever stored.

mod convolution;
mod dense;
mod loss;
mod pool;

pub(crate) use convolution::Convolution;
pub(crate) use dense::Dense;
pub(crate) use loss::{Loss, cross_entropy};
pub(crate) use pool::MaxPool;

/// What follows the affine part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    Identity,
    /// max(0, x).
    Rectified,
}

impl Activation {
    /// Applies it in place.
    pub(crate) fn forward(self, values: &mut [f32]) {
        if self == Self::Rectified {
            for value in values {
                // Not `max`, which would make a zero of NaN: that a run diverges must be seen.
                *value = if *value < 0.0 { 0.0 } else { *value };
            }
        }
    }

    /// Makes the gradient of the input from that of the output, in place.
    pub(crate) fn backward(self, outputs: &[f32], gradient: &mut [f32]) {
        if self == Self::Rectified {
            for (gradient, output) in gradient.iter_mut().zip(outputs) {
                *gradient = if *output > 0.0 { *gradient } else { 0.0 };
            }
        }
    }
}

/// A layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// All inputs to all outputs.
    Dense(Dense),
    /// A 3 x 3 convolution.
    Convolution(Convolution),
    /// The largest of each 2 x 2 square.
    MaxPool(MaxPool),
}

/// Gradients and products that layers need for a moment.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The patches of some images.
    patches: Vec<f32>,
    /// An image with its border, or the sums of its channels.
    padded: Vec<f32>,
    /// The step of a layer's matrix.
    step: Vec<f32>,
}

/// `length` numbers of a buffer that grows as needed; their values are left over.
pub(crate) fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// Where the gradient of a layer's inputs goes.
pub(crate) type InputGradient<'a> = Option<&'a mut [f32]>;

impl Layer {
    /// Numbers that a sample has before the layer.
    pub(crate) fn inputs(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.inputs,
            Self::Convolution(layer) => layer.input_channels * layer.side * layer.side,
            Self::MaxPool(layer) => layer.channels * layer.side * layer.side,
        }
    }

    /// Numbers that a sample has after the layer.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.outputs,
            Self::Convolution(layer) => layer.output_channels * layer.side * layer.side,
            Self::MaxPool(layer) => layer.channels * layer.side * layer.side / 4,
        }
    }

    /// Numbers that are learnt.
    pub(crate) fn parameters(&self) -> usize {
        match self {
            Self::Dense(layer) => (layer.inputs + 1) * layer.outputs,
            Self::Convolution(layer) => (layer.fan_in() + 1) * layer.output_channels,
            Self::MaxPool(_) => 0,
        }
    }

    /// Inputs that each output is made of.
    pub(crate) fn fan_in(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.inputs,
            Self::Convolution(layer) => layer.fan_in(),
            Self::MaxPool(_) => 4,
        }
    }

    /// The outputs of a batch.
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
        scratch: &mut Scratch,
    ) -> taps::Result<()> {
        match self {
            Self::Dense(layer) => layer.forward(parameters, inputs, outputs),
            Self::Convolution(layer) => layer.forward(parameters, inputs, outputs, scratch),
            Self::MaxPool(layer) => {
                layer.forward(inputs, outputs);
                Ok(())
            }
        }
    }

    /// The gradient of the inputs, where it is wanted, and a step of gradient descent by `rate`.
    /// The gradient of the outputs is used up.
    pub(crate) fn backward(
        &self,
        parameters: &mut [f32],
        pass: Pass<'_>,
        rate: f32,
        scratch: &mut Scratch,
    ) -> taps::Result<()> {
        match self {
            Self::Dense(layer) => layer.backward(parameters, pass, rate),
            Self::Convolution(layer) => layer.backward(parameters, pass, rate, scratch),
            Self::MaxPool(layer) => {
                layer.backward(pass);
                Ok(())
            }
        }
    }
}

/// What a backward pass goes through: a batch at one layer.
pub(crate) struct Pass<'a> {
    /// What went in.
    pub(crate) inputs: &'a [f32],
    /// What came out.
    pub(crate) outputs: &'a [f32],
    /// Gradient of the loss by what came out; used up.
    pub(crate) gradient: &'a mut [f32],
    /// Gradient of the loss by what went in; the first layer has no use for it.
    pub(crate) input_gradient: InputGradient<'a>,
}
