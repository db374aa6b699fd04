//! Gradients against finite differences, and layers against their definitions.

use crate::layers::{Activation, Convolution, Dense, Layer, MaxPool, Pass, Scratch};
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
    let mut apart = 0;
    let mut largest = 0.0_f64;
    for index in 0..weights.len() {
        let mut other = weights.clone();
        other[index] = weights[index] + STEP;
        let above = loss(&other);
        let width = f64::from(other[index]);
        other[index] = weights[index] - STEP;
        let numeric = (above - loss(&other)) / (width - f64::from(other[index]));
        let gradient = f64::from(weights[index]) - f64::from(moved[index]);
        let difference = (numeric - gradient).abs();
        apart += usize::from(difference >= 2e-3);
        worst = worst.max(difference);
        largest = largest.max(gradient.abs());
    }
    // Rounding allows 2e-3; a kink of a rectifier or a pool between the two points somewhat more, for few of the
    // weights. A wrong gradient differs by its own size.
    assert!(largest > 0.02, "nothing to compare: {largest}");
    assert!(
        apart <= weights.len() / 30 && worst < 5e-3,
        "{apart} of {} differ, by up to {worst}, gradients up to {largest}",
        weights.len()
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

/// Numbers from -1 to 1.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random::new(seed, Purpose::Weights, 0);
    (0..count)
        .map(|_| random.between(-1.0, 1.0) as f32)
        .collect()
}

/// A convolution by its definition.
fn slow_convolution(layer: &Convolution, parameters: &[f32], image: &[f32]) -> Vec<f32> {
    let (side, channels) = (layer.side.cast_signed(), layer.input_channels);
    let at = |channel: usize, row: isize, column: isize| {
        let inside = (0..side).contains(&row) && (0..side).contains(&column);
        if inside {
            image[(row * side + column) as usize * channels + channel]
        } else {
            0.0
        }
    };
    let (weights, biases) = parameters.split_at(layer.output_channels * layer.fan_in());
    let mut outputs = Vec::new();
    for row in 0..side {
        for column in 0..side {
            for (weights, bias) in weights.chunks_exact(layer.fan_in()).zip(biases) {
                let mut sum = *bias;
                for (index, weight) in weights.iter().enumerate() {
                    let (place, channel) = (index / channels, index % channels);
                    let (down, right) = (place.cast_signed() / 3 - 1, place.cast_signed() % 3 - 1);
                    sum += weight * at(channel, row + down, column + right);
                }
                outputs.push(sum.max(0.0));
            }
        }
    }
    outputs
}

/// A convolution and the images of a batch of it. The last one needs more than a group of images.
fn convolutions() -> Vec<(Convolution, usize)> {
    let layer = |side, input_channels| Convolution {
        input_channels,
        output_channels: 3,
        side,
        activation: Activation::Rectified,
    };
    let large = layer(16, 128);
    assert!((2..7).contains(&large.group()), "{}", large.group());
    vec![
        (layer(1, 2), 2),
        (layer(2, 2), 2),
        (layer(4, 2), 3),
        (layer(5, 1), 2),
        (large, 7),
    ]
}

#[test]
fn convolution_is_what_it_is_defined_as() {
    for (layer, images) in convolutions() {
        let pixels = images * layer.side * layer.side;
        let parameters = numbers(1, 3 * (layer.fan_in() + 1));
        let inputs = numbers(2, pixels * layer.input_channels);
        let mut outputs = vec![7.0; 3 * pixels];
        let scratch = &mut Scratch::default();
        layer
            .forward(&parameters, &inputs, &mut outputs, scratch)
            .unwrap();
        let expected: Vec<f32> = inputs
            .chunks(inputs.len() / images)
            .flat_map(|image| slow_convolution(&layer, &parameters, image))
            .collect();
        for (output, expected) in outputs.iter().zip(&expected) {
            assert!(
                (output - expected).abs() < 1e-4,
                "{layer:?}: {output} {expected}"
            );
        }
    }
}

/// A batch of many groups steps as its images do one by one, all with the weights before the step.
#[test]
fn groups_of_images_make_one_step() {
    for (layer, images) in convolutions() {
        let pixels = layer.side * layer.side;
        let (input, output) = (pixels * layer.input_channels, pixels * 3);
        let parameters = numbers(1, 3 * (layer.fan_in() + 1));
        let inputs = numbers(2, images * input);
        let outputs = numbers(3, images * output);
        let gradients = numbers(4, images * output);
        let scratch = &mut Scratch::default();
        let mut back = |range: std::ops::Range<usize>| {
            let mut moved = parameters.clone();
            let mut input_gradient = vec![7.0; range.len() * input];
            let pass = Pass {
                inputs: &inputs[range.start * input..range.end * input],
                outputs: &outputs[range.start * output..range.end * output],
                gradient: &mut gradients[range.start * output..range.end * output].to_vec(),
                input_gradient: Some(&mut input_gradient),
            };
            layer.backward(&mut moved, pass, 0.01, scratch).unwrap();
            (moved, input_gradient)
        };
        let (moved, input_gradient) = back(0..images);
        let mut expected = parameters.clone();
        for image in 0..images {
            let (alone, of_input) = back(image..image + 1);
            let steps = alone.iter().zip(&parameters);
            for (expected, (alone, before)) in expected.iter_mut().zip(steps) {
                *expected += alone - before;
            }
            close(&input_gradient[image * input..][..input], &of_input);
        }
        close(&moved, &expected);
    }
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}

/// fold is the transpose of unfold: (unfold x) · y = x · (fold y).
#[test]
fn fold_is_the_transpose_of_unfold() {
    for (layer, images) in convolutions() {
        let x = numbers(1, images * layer.input_channels * layer.side * layer.side);
        let y = numbers(2, 9 * x.len());
        let scratch = &mut Scratch::default();
        let product = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum()
        };
        let patches = layer.unfold(&x, scratch);
        let of_patches = product(patches, &y);
        patches.copy_from_slice(&y);
        let mut image = vec![7.0; x.len()];
        layer.fold(&mut image, scratch);
        let difference = of_patches - product(&x, &image);
        assert!(difference.abs() < 1e-3, "{layer:?}: {difference}");
    }
}

/// The largest of each square of each channel; its gradient goes there alone.
#[test]
fn pools_take_the_largest_of_each_channel() {
    let layer = MaxPool {
        channels: 2,
        side: 4,
    };
    let inputs = numbers(1, 2 * 32);
    let mut outputs = vec![7.0; 2 * 8];
    layer.forward(&inputs, &mut outputs);
    let mut gradient = numbers(2, 2 * 8);
    let mut input_gradient = vec![7.0; 2 * 32];
    layer.backward(Pass {
        inputs: &inputs,
        outputs: &outputs,
        gradient: &mut gradient,
        input_gradient: Some(&mut input_gradient),
    });
    for (index, output) in outputs.iter().enumerate() {
        let (image, row, column, channel) = (index / 8, index / 4 % 2, index / 2 % 2, index % 2);
        let corner = image * 32 + row * 16 + column * 4 + channel;
        let square = [corner, corner + 2, corner + 8, corner + 10];
        let largest = square
            .into_iter()
            .max_by(|a, b| inputs[*a].total_cmp(&inputs[*b]));
        for place in square {
            let (value, expected) = (input_gradient[place], gradient[index]);
            if Some(place) == largest {
                assert_eq!((inputs[place], value), (*output, expected), "{index}");
            } else {
                assert!(value.abs() < f32::MIN_POSITIVE, "{index}: {value}");
            }
        }
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
