//! Softmax and cross-entropy.

/// What a batch costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Loss {
    /// Sum of the losses of the samples: minus the logarithm of the probability of the label.
    pub(crate) sum: f64,
    /// Samples whose label is the most probable class.
    pub(crate) correct: u64,
}

/// The loss of a batch, from the last layer's outputs; they become the gradient of the mean loss.
///
/// # Panics
/// If a label is no class.
pub(crate) fn cross_entropy(outputs: &mut [f32], labels: &[u8], classes: usize) -> Loss {
    let mut loss = Loss::default();
    let scale = 1.0 / labels.len() as f32;
    for (row, label) in outputs.chunks_exact_mut(classes).zip(labels) {
        let label = usize::from(*label);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let best = row.iter().position(|value| *value >= largest);
        loss.correct += u64::from(best == Some(label));
        let of_label = f64::from(row[label]) - f64::from(largest);
        let mut sum = 0.0;
        for value in &mut *row {
            *value = libm::expf(*value - largest);
            sum += *value;
        }
        loss.sum += libm::log(f64::from(sum)) - of_label;
        for value in &mut *row {
            *value *= scale / sum;
        }
        row[label] -= scale;
    }
    loss
}
