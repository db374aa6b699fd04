//! How payloads crossed the sandbox boundary, summed over a run.

use serde::Serialize;
use taps_engine::AttemptReport;
use taps_payload::{Transfer, Way};

/// What all attempts of a run took and gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Travel {
    /// Arguments, by the way in which they came.
    pub inputs: Vec<WayTotal>,
    /// Results, by the way in which they went.
    pub outputs: Vec<WayTotal>,
}

/// The payloads that travelled in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WayTotal {
    /// The way.
    pub way: Way,
    /// How many.
    pub payloads: u64,
    /// Their lengths together.
    pub bytes: u64,
    /// Bytes copied: those that moved, times how often.
    pub copied_bytes: u64,
}

impl Travel {
    /// Adds what one attempt took and gave.
    pub(crate) fn add(&mut self, report: &AttemptReport) {
        for transfer in &report.inputs {
            count(&mut self.inputs, transfer);
        }
        for transfer in &report.outputs {
            count(&mut self.outputs, transfer);
        }
    }

    /// Bytes copied in all.
    pub fn copied_bytes(&self) -> u64 {
        let all = self.inputs.iter().chain(&self.outputs);
        all.map(|total| total.copied_bytes).sum()
    }
}

fn count(totals: &mut Vec<WayTotal>, transfer: &Transfer) {
    // There are few ways, and the commonest comes first in most runs.
    let known = totals.iter().position(|total| total.way == transfer.way);
    let position = known.unwrap_or_else(|| {
        totals.push(WayTotal {
            way: transfer.way,
            payloads: 0,
            bytes: 0,
            copied_bytes: 0,
        });
        totals.len() - 1
    });
    let total = &mut totals[position];
    total.payloads += 1;
    total.bytes += transfer.bytes;
    total.copied_bytes += transfer.bytes_moved * u64::from(transfer.copies);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_summed_apart_and_copies_count_the_bytes_that_moved() {
        let transfer = |way, bytes, bytes_moved, copies| Transfer {
            bytes,
            bytes_moved,
            way,
            copies,
        };
        let mut totals = Vec::new();
        for one in [
            transfer(Way::Inline, 10, 10, 1),
            transfer(Way::Read, 100, 30, 2),
            transfer(Way::Inline, 5, 5, 1),
            transfer(Way::Mapped, 1000, 1000, 0),
        ] {
            count(&mut totals, &one);
        }
        let total = |way, payloads, bytes, copied_bytes| WayTotal {
            way,
            payloads,
            bytes,
            copied_bytes,
        };
        assert_eq!(
            totals,
            [
                total(Way::Inline, 2, 15, 15),
                total(Way::Read, 1, 100, 60),
                total(Way::Mapped, 1, 1000, 0),
            ]
        );
    }
}
