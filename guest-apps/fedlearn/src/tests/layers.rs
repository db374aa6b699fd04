//! Gradients against finite differences, and layers against their definitions.

use crate::layers::{Activation, Convolution, Dense, Layer, MaxPool, fold, unfold};
use crate::network::{Architecture, Batch, Model, Network};
use crate::random::{Purpose, Random};

const COLOURS: Architecture = Architecture {
    model: Model::Taps,
    channels: 3,
    side: 32,
    classes: 10,
};
const GREY: Architecture = Architecture {
    channels: 1,
    side: 28,
    ..COLOURS
};

/// Random samples for a network: labels, then pixels.
fn samples(count: usize, pixels: usize, classes: usize) -> Vec<u8> {
    let mut random = Random::new(5, Purpose::TrainDigits, 0);
    let mut samples = Vec::new();
    for _ in 0..count {
        samples.push(random.below(classes) as u8);
        samples.extend((0..pixels).map(|_| random.below(256) as u8));
    }
    samples
}

/// Every derivative of the mean loss, from a step of length 1, against central differences.
#[track_caller]
fn check_gradient(layers: Vec<Layer>, count: usize) {
    const STEP: f32 = 1e-3;
    let (pixels, classes) = (layers[0].inputs(), layers[layers.len() - 1].outputs());
    let mut network = Network::of_layers(layers);
    let weights = network.initial(3).as_slice().to_vec();
    let samples = samples(count, pixels, classes);
    let batch = Batch { samples: &samples };
    let mut moved = weights.clone();
    network.step(&mut moved, batch, 1.0).unwrap();
    let mut loss = |weights: &[f32]| network.evaluate(weights, batch).unwrap().sum / count as f64;
    let mut worst = 0.0_f64;
    let mut largest = 0.0_f64;
    for index in 0..weights.len() {
        let mut other = weights.clone();
        other[index] = weights[index] + STEP;
        let above = loss(&other);
        let width = f64::from(other[index]);
        other[index] = weights[index] - STEP;
        let numeric = (above - loss(&other)) / (width - f64::from(other[index]));
        let gradient = f64::from(weights[index]) - f64::from(moved[index]);
        worst = worst.max((numeric - gradient).abs());
        largest = largest.max(gradient.abs());
    }
    // Rounding and the kinks of rectifiers and pools allow 2e-3; a wrong gradient differs by its own
    // size.
    assert!(largest > 0.02, "nothing to compare: {largest}");
    assert!(
        worst < 2e-3,
        "differs by {worst}, gradients up to {largest}"
    );
}

fn dense(inputs: usize, outputs: usize, activation: Activation) -> Layer {
    Layer::Dense(Dense {
        inputs,
        outputs,
        activation,
    })
}

fn convolution(input_channels: usize, output_channels: usize, side: usize) -> Layer {
    Layer::Convolution(Convolution {
        input_channels,
        output_channels,
        side,
        activation: Activation::Rectified,
    })
}

#[test]
fn gradient_of_one_dense_layer() {
    check_gradient(vec![dense(9, 4, Activation::Identity)], 7);
}

#[test]
fn gradient_through_dense_layers() {
    let layers = vec![
        dense(12, 10, Activation::Rectified),
        dense(10, 8, Activation::Rectified),
        dense(8, 5, Activation::Identity),
    ];
    check_gradient(layers, 6);
}

#[test]
fn gradient_through_convolutions_and_pools() {
    let layers = vec![
        convolution(2, 3, 8),
        convolution(3, 4, 8),
        Layer::MaxPool(MaxPool {
            channels: 4,
            side: 8,
        }),
        convolution(4, 3, 4),
        Layer::MaxPool(MaxPool {
            channels: 3,
            side: 4,
        }),
        dense(12, 4, Activation::Identity),
    ];
    check_gradient(layers, 3);
}

/// A convolution by its definition.
fn slow_convolution(layer: &Convolution, parameters: &[f32], image: &[f32]) -> Vec<f32> {
    let side = layer.side.cast_signed();
    let at = |channel: usize, row: isize, column: isize| {
        let inside = (0..side).contains(&row) && (0..side).contains(&column);
        let index = channel * layer.side * layer.side;
        if inside {
            image[index + (row * side + column) as usize]
        } else {
            0.0
        }
    };
    let biases = &parameters[layer.output_channels * layer.fan_in()..];
    let mut outputs = Vec::new();
    for output in 0..layer.output_channels {
        for row in 0..side {
            for column in 0..side {
                let mut sum = biases[output];
                for input in 0..layer.input_channels {
                    for (index, weight) in parameters[output * layer.fan_in() + 9 * input..][..9]
                        .iter()
                        .enumerate()
                    {
                        let (down, right) =
                            (index.cast_signed() / 3 - 1, index.cast_signed() % 3 - 1);
                        sum += weight * at(input, row + down, column + right);
                    }
                }
                outputs.push(sum.max(0.0));
            }
        }
    }
    outputs
}

#[test]
fn convolution_is_what_it_is_defined_as() {
    for side in [2, 4, 5] {
        let layer = Convolution {
            input_channels: 2,
            output_channels: 3,
            side,
            activation: Activation::Rectified,
        };
        let mut random = Random::new(1, Purpose::Weights, side as u64);
        let mut numbers = |count| -> Vec<f32> {
            (0..count)
                .map(|_| random.between(-1.0, 1.0) as f32)
                .collect()
        };
        let parameters = numbers(3 * 19);
        let images = numbers(2 * 2 * side * side);
        let mut outputs = vec![0.0; 2 * 3 * side * side];
        layer
            .forward(
                &parameters,
                &images,
                &mut outputs,
                &mut crate::layers::Scratch::default(),
            )
            .unwrap();
        let expected: Vec<f32> = images
            .chunks(2 * side * side)
            .flat_map(|image| slow_convolution(&layer, &parameters, image))
            .collect();
        for (output, expected) in outputs.iter().zip(&expected) {
            assert!(
                (output - expected).abs() < 1e-5,
                "side {side}: {output} {expected}"
            );
        }
    }
}

/// fold is the transpose of unfold: (unfold x) · y = x · (fold y).
#[test]
fn fold_is_the_transpose_of_unfold() {
    for side in [2, 3, 8] {
        let pixels = side * side;
        let mut random = Random::new(2, Purpose::Weights, side as u64);
        let mut numbers = |count| -> Vec<f32> {
            (0..count)
                .map(|_| random.between(-1.0, 1.0) as f32)
                .collect()
        };
        let (x, y) = (numbers(2 * pixels), numbers(18 * pixels));
        let mut columns = vec![7.0; 18 * pixels];
        unfold(&x, side, &mut columns);
        let mut image = vec![7.0; 2 * pixels];
        fold(&mut y.clone(), side, &mut image);
        let product = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let difference = product(&columns, &y) - product(&x, &image);
        assert!(difference.abs() < 1e-4, "side {side}: {difference}");
    }
}

#[test]
fn networks_have_the_shapes_of_taps() {
    let parameters = |architecture| Network::new(&architecture).parameters();
    assert_eq!(parameters(GREY), 5_076_998);
    assert_eq!(parameters(COLOURS), 5_851_338);
    let small = Architecture {
        model: Model::Mlp,
        ..GREY
    };
    assert_eq!(parameters(small), 785 * 128 + 129 * 10);
}

#[test]
fn first_weights_are_within_the_bound_of_each_layer_and_follow_from_the_seed() {
    let network = Network::of_layers(vec![
        dense(100, 30, Activation::Rectified),
        dense(30, 10, Activation::Identity),
    ]);
    let weights = network.initial(1);
    let (first, second) = weights.as_slice().split_at(101 * 30);
    for (weights, bound) in [(first, 0.1), (second, 1.0 / 30.0_f32.sqrt())] {
        let largest = weights
            .iter()
            .fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        assert!(
            largest <= bound && largest > 0.95 * bound,
            "{largest} {bound}"
        );
        let mean = weights.iter().sum::<f32>() / weights.len() as f32;
        assert!(mean.abs() < 0.1 * bound, "{mean}");
    }
    assert_eq!(network.initial(1), weights);
    assert_ne!(network.initial(2), weights);
}

/// A diverging network must not look well: NaN goes through every layer.
#[test]
fn numbers_that_are_none_reach_the_loss() {
    let mut network = Network::new(&COLOURS);
    let mut weights = network.initial(1);
    weights.as_mut_slice()[0] = f32::NAN;
    let samples = samples(1, 3072, 10);
    let loss = network
        .evaluate(weights.as_slice(), Batch { samples: &samples })
        .unwrap();
    assert!(loss.sum.is_nan());
}

/// The convolutional network learns a handful of images by heart.
#[test]
fn the_network_of_taps_for_colours_learns() {
    let mut network = Network::new(&COLOURS);
    let mut weights = network.initial(1);
    let samples = samples(4, 3072, 10);
    let batch = Batch { samples: &samples };
    let mut losses = Vec::new();
    for _ in 0..40 {
        losses.push(
            network
                .step(weights.as_mut_slice(), batch, 0.1)
                .unwrap()
                .sum
                / 4.0,
        );
    }
    assert!((losses[0] - 10.0_f64.ln()).abs() < 0.2, "{losses:?}");
    assert!(losses[39] < 0.7 * losses[0], "{losses:?}");
}
