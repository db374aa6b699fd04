//! The dependence patterns of Task Bench (Slaughter et al., SC20): steps of tasks side by side, each
//! of which takes outputs of the step before.
//!
//! Steps go down, columns to the right. Both directions of the relation are written out here: a task
//! goes by [`Pattern::parents`], the count of edges in the report by [`Pattern::children`], and a
//! property test holds one against the other.

use std::ops::Range;

use crate::digest;

/// Which tasks of the step before a task takes.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// None.
    Trivial,
    /// That of its own column.
    NoComm,
    /// Its own and both beside it.
    Stencil,
    /// The same on a ring.
    StencilPeriodic,
    /// Its own and the one to the left, within a front that sweeps a domain.
    Dom,
    /// The one above it in a binary tree.
    Tree,
    /// The butterfly of a fast Fourier transform.
    Fft,
    /// All.
    AllToAll,
    /// `radix` around it.
    Nearest,
    /// `radix` spread evenly, turned a little at each step.
    Spread,
    /// Its own, and others of `radix` around it with a given probability.
    Random,
}

/// A pattern of a given size.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pattern {
    pub(crate) shape: Shape,
    /// Most tasks of a step.
    pub(crate) width: u32,
    pub(crate) steps: u32,
    /// Candidates of nearest, spread and random.
    pub(crate) radix: u32,
    /// Steps after which spread and random repeat.
    pub(crate) period: u32,
    /// Probability of a dependency of random.
    pub(crate) fraction: f64,
    /// What random draws from.
    pub(crate) seed: u64,
}

impl Pattern {
    /// The columns in which a step has tasks.
    pub(crate) fn columns(&self, step: u32) -> Range<u32> {
        let (width, steps) = (self.width, self.steps);
        match self.shape {
            Shape::Dom => {
                let first =
                    (u64::from(step) + u64::from(width)).saturating_sub(steps.into()) as u32;
                let count = width.min(step + 1).min(steps - step);
                first..first + count
            }
            Shape::Tree => 0..width.min(1_u32.checked_shl(step).unwrap_or(u32::MAX)),
            _ => 0..width,
        }
    }

    /// The tasks of all steps.
    pub(crate) fn tasks(&self) -> u64 {
        (0..self.steps)
            .map(|step| self.columns(step).len() as u64)
            .sum()
    }

    /// Columns of the step before whose outputs a task takes, in increasing order.
    pub(crate) fn parents(&self, step: u32, column: u32, into: &mut Vec<u32>) {
        into.clear();
        if step == 0 {
            return;
        }
        let radix = i64::from(self.radix);
        let (here, set) = (i64::from(column), self.set(step));
        match self.shape {
            Shape::Trivial => {}
            Shape::NoComm => into.push(column),
            Shape::Stencil => push(into, here - 1..=here + 1),
            Shape::StencilPeriodic => {
                into.extend([-1, 0, 1].map(|offset| self.wrapped(here + offset)));
            }
            Shape::Dom => push(into, here - 1..=here),
            Shape::Tree => into.push(column / 2),
            Shape::Fft => {
                push(into, [here - (1 << set), here, here + (1 << set)]);
            }
            Shape::AllToAll => into.extend(0..self.width),
            Shape::Nearest => push(into, around(here, radix / 2, radix)),
            Shape::Spread => {
                into.extend((0..radix).map(|number| self.wrapped(here + self.turn(number, set))));
            }
            Shape::Random => push(
                into,
                around(here, radix / 2, radix).filter(|parent| self.drawn(set, *parent, here)),
            ),
        }
        tidy(into, &self.columns(step - 1));
    }

    /// Columns of the next step whose tasks take the output of this one, in increasing order.
    pub(crate) fn children(&self, step: u32, column: u32, into: &mut Vec<u32>) {
        into.clear();
        if step + 1 >= self.steps {
            return;
        }
        let radix = i64::from(self.radix);
        let (here, set) = (i64::from(column), self.set(step + 1));
        let before = (radix - 1) / 2;
        match self.shape {
            Shape::Trivial => {}
            Shape::NoComm => into.push(column),
            Shape::Stencil => push(into, here - 1..=here + 1),
            Shape::StencilPeriodic => {
                into.extend([-1, 0, 1].map(|offset| self.wrapped(here + offset)));
            }
            Shape::Dom => push(into, here..=here + 1),
            Shape::Tree => push(into, 2 * here..=2 * here + 1),
            Shape::Fft => {
                push(into, [here - (1 << set), here, here + (1 << set)]);
            }
            Shape::AllToAll => into.extend(0..self.width),
            Shape::Nearest => push(into, around(here, before, radix)),
            Shape::Spread => {
                into.extend((0..radix).map(|number| self.wrapped(here - self.turn(number, set))));
            }
            Shape::Random => push(
                into,
                around(here, before, radix).filter(|child| self.drawn(set, here, *child)),
            ),
        }
        tidy(into, &self.columns(step + 1));
    }

    /// Dependencies of all tasks, counted from the side of those that are depended on.
    pub(crate) fn edges(&self) -> u64 {
        if self.shape == Shape::AllToAll {
            let step = u64::from(self.width) * u64::from(self.width);
            return step * u64::from(self.steps - 1);
        }
        let mut children = Vec::new();
        let mut edges = 0;
        for step in 0..self.steps {
            for column in self.columns(step) {
                self.children(step, column, &mut children);
                edges += children.len() as u64;
            }
        }
        edges
    }

    /// Digest of a task whose inputs have these digests.
    pub(crate) fn digest(&self, step: u32, column: u32, inputs: impl Iterator<Item = u64>) -> u64 {
        let own = digest::of([self.seed, step.into(), column.into()]);
        inputs.fold(own, digest::fold)
    }

    /// Digest of the outputs of the last step, from the pattern alone.
    pub(crate) fn result(&self) -> u64 {
        let mut parents = Vec::new();
        let (mut first, mut before): (u32, Vec<u64>) = (0, Vec::new());
        for step in 0..self.steps {
            let columns = self.columns(step);
            let row = columns.clone().map(|column| {
                self.parents(step, column, &mut parents);
                let inputs = parents.iter().map(|at| before[(at - first) as usize]);
                self.digest(step, column, inputs)
            });
            before = row.collect();
            first = columns.start;
        }
        digest::of(before)
    }

    /// Which of the sets of dependencies that take turns holds at a step.
    fn set(&self, step: u32) -> u32 {
        match self.shape {
            Shape::Fft => {
                let levels = self.width.next_power_of_two().trailing_zeros().max(1);
                (step + levels - 1) % levels
            }
            Shape::Spread | Shape::Random => step % self.period,
            _ => 0,
        }
    }

    /// How far right of a task its parent of this number is, with spread.
    fn turn(&self, number: i64, set: u32) -> i64 {
        let turned = if number > 0 { i64::from(set) } else { 0 };
        number * i64::from(self.width) / i64::from(self.radix) + turned
    }

    fn wrapped(&self, column: i64) -> u32 {
        column.rem_euclid(self.width.into()) as u32
    }

    /// Whether random has this dependency.
    fn drawn(&self, set: u32, parent: i64, child: i64) -> bool {
        let words = [self.seed, set.into(), parent as u64, child as u64];
        parent == child || digest::uniform(words) < self.fraction
    }
}

/// `count` columns, of which `before` are to the left.
fn around(here: i64, before: i64, count: i64) -> Range<i64> {
    here - before..here - before + count
}

/// Adds columns, but for those left of the first.
fn push(into: &mut Vec<u32>, columns: impl IntoIterator<Item = i64>) {
    into.extend(columns.into_iter().filter_map(|at| u32::try_from(at).ok()));
}

/// Leaves each column once, and only those of tasks that there are.
fn tidy(columns: &mut Vec<u32>, there: &Range<u32>) {
    columns.retain(|column| there.contains(column));
    columns.sort_unstable();
    columns.dedup();
}
