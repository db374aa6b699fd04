//! The networks: TaPS's two, and a small one for quick runs.

use taps::{Array, Result};

use crate::layers::{
    Activation, Convolution, Dense, Layer, Loss, MaxPool, Pass, Scratch, cross_entropy, room,
};
use crate::random::{Purpose, Random};

/// Hidden neurons of the small network.
const SMALL: usize = 128;

/// Which network.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Model {
    /// That of TaPS: four dense layers for grey images, a convolutional network for colour images.
    Taps,
    /// One hidden layer of 128 neurons.
    Mlp,
}

/// What a network is built for.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// Which network.
    pub(crate) model: Model,
    /// Colours of an image.
    pub(crate) channels: u32,
    /// Rows and columns of an image.
    pub(crate) side: u32,
    /// Classes.
    pub(crate) classes: u32,
}

impl Architecture {
    /// Numbers per image.
    pub(crate) fn pixels(&self) -> usize {
        (self.channels * self.side * self.side) as usize
    }

    fn layers(&self) -> Vec<Layer> {
        let classes = self.classes as usize;
        match (self.model, self.channels) {
            (Model::Mlp, _) => dense(&[self.pixels(), SMALL, classes]),
            (Model::Taps, 1) => dense(&[self.pixels(), 3136, 784, 196, classes]),
            (Model::Taps, _) => convolutional(self.channels as usize, self.side as usize, classes),
        }
    }
}

/// Dense layers through these widths.
fn dense(widths: &[usize]) -> Vec<Layer> {
    let last = widths.len() - 2;
    let layer = |(index, pair): (usize, &[usize])| {
        let activation = if index == last {
            Activation::Identity
        } else {
            Activation::Rectified
        };
        Layer::Dense(Dense {
            inputs: pair[0],
            outputs: pair[1],
            activation,
        })
    };
    widths.windows(2).enumerate().map(layer).collect()
}

/// TaPS's network for CIFAR: three times two convolutions and a pool, then three dense layers.
fn convolutional(channels: usize, mut side: usize, classes: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut input_channels = channels;
    for pair in [[32, 64], [128, 128], [256, 256]] {
        for output_channels in pair {
            layers.push(Layer::Convolution(Convolution {
                input_channels,
                output_channels,
                side,
                activation: Activation::Rectified,
            }));
            input_channels = output_channels;
        }
        layers.push(Layer::MaxPool(MaxPool {
            channels: input_channels,
            side,
        }));
        side /= 2;
    }
    layers.extend(dense(&[input_channels * side * side, 1024, 512, classes]));
    layers
}

/// A batch of samples: images as bytes, labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// Samples, each a label and then the pixels.
    pub(crate) samples: &'a [u8],
}

/// A network, and what its computation needs. The weights are elsewhere.
pub(crate) struct Network {
    layers: Vec<Layer>,
    classes: usize,
    /// What goes into each layer, and what comes out of the last.
    activations: Vec<Vec<f32>>,
    /// Gradients on their way back: by the outputs and by the inputs of a layer.
    gradients: [Vec<f32>; 2],
    labels: Vec<u8>,
    scratch: Scratch,
}

impl Network {
    /// A network without weights.
    pub(crate) fn new(architecture: &Architecture) -> Self {
        Self::of_layers(architecture.layers())
    }

    /// A network of these layers, whose last one gives a number for each class.
    ///
    /// # Panics
    /// If there is no layer.
    pub(crate) fn of_layers(layers: Vec<Layer>) -> Self {
        let classes = layers.last().expect("a layer").outputs();
        let activations = vec![Vec::new(); layers.len() + 1];
        Self {
            layers,
            classes,
            activations,
            gradients: [Vec::new(), Vec::new()],
            labels: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Numbers that are learnt.
    pub(crate) fn parameters(&self) -> usize {
        self.layers.iter().map(Layer::parameters).sum()
    }

    /// The first weights: uniform within ±1/√(inputs of a neuron), as PyTorch begins.
    pub(crate) fn initial(&self, seed: u64) -> Array<f32> {
        let mut weights = Array::zeros(&[self.parameters()]);
        let mut random = Random::new(seed, Purpose::Weights, 0);
        let mut rest = weights.as_mut_slice();
        for layer in &self.layers {
            let (own, others) = rest.split_at_mut(layer.parameters());
            let bound = 1.0 / libm::sqrt(layer.fan_in() as f64);
            for weight in own {
                *weight = random.between(-bound, bound) as f32;
            }
            rest = others;
        }
        weights
    }

    /// The loss of a batch.
    pub(crate) fn evaluate(&mut self, weights: &[f32], batch: Batch<'_>) -> Result<Loss> {
        self.forward(weights, batch)?;
        Ok(self.loss())
    }

    /// One step of gradient descent on a batch; gives the loss before it.
    pub(crate) fn step(
        &mut self,
        weights: &mut [f32],
        batch: Batch<'_>,
        rate: f32,
    ) -> Result<Loss> {
        self.forward(weights, batch)?;
        let loss = self.loss();
        self.backward(weights, rate)?;
        Ok(loss)
    }

    /// Fills the activations. Pixels become numbers from 0 to 1.
    fn forward(&mut self, weights: &[f32], batch: Batch<'_>) -> Result<()> {
        let pixels = self.layers[0].inputs();
        let count = batch.samples.len() / (1 + pixels);
        self.labels.clear();
        let input = &mut self.activations[0];
        input.resize(count * pixels, 0.0);
        let samples = batch.samples.chunks_exact(1 + pixels);
        for (sample, numbers) in samples.zip(input.chunks_exact_mut(pixels)) {
            self.labels.push(sample[0]);
            for (number, pixel) in numbers.iter_mut().zip(&sample[1..]) {
                *number = f32::from(*pixel) / 255.0;
            }
        }
        let mut rest = weights;
        for (index, layer) in self.layers.iter().enumerate() {
            let (own, others) = rest.split_at(layer.parameters());
            let (before, after) = self.activations.split_at_mut(index + 1);
            after[0].resize(count * layer.outputs(), 0.0);
            layer.forward(own, &before[index], &mut after[0], &mut self.scratch)?;
            rest = others;
        }
        Ok(())
    }

    /// The loss; the gradient of its mean goes to the first of the gradients.
    fn loss(&mut self) -> Loss {
        let outputs = &self.activations[self.layers.len()];
        let gradient = room(&mut self.gradients[0], outputs.len());
        gradient.copy_from_slice(outputs);
        cross_entropy(gradient, &self.labels, self.classes)
    }

    fn backward(&mut self, weights: &mut [f32], rate: f32) -> Result<()> {
        let [gradient, input_gradient] = &mut self.gradients;
        let mut rest = weights;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (others, own) = rest.split_at_mut(rest.len() - layer.parameters());
            let (inputs, outputs) = (&self.activations[index], &self.activations[index + 1]);
            let pass = Pass {
                inputs,
                outputs,
                gradient: room(gradient, outputs.len()),
                input_gradient: (index > 0).then(|| room(input_gradient, inputs.len())),
            };
            layer.backward(own, pass, rate, &mut self.scratch)?;
            std::mem::swap(gradient, input_gradient);
            rest = others;
        }
        Ok(())
    }
}
