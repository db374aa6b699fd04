//! Which task waits for which, of all tasks at once.

use crate::sparse::Sparse;
use std::collections::HashMap;
use taps_engine::TaskId;

/// A task, by the order of submissions.
pub(super) type Place = u32;

/// Names, parents and children of all tasks, and how many files each has.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Places, plus one, of tasks by their numbers.
    places: Sparse<u32>,
    ids: Vec<u64>,
    names: Vec<String>,
    name_places: HashMap<String, u32>,
    name_of: Vec<u32>,
    level_of: Vec<u32>,
    widths: Vec<u64>,
    outputs_of: Vec<u32>,
    externals_of: Vec<u32>,
    edges: Vec<(Place, Place)>,
    /// Where the children of each begin in the list of all, which `sort` makes of the edges.
    children_from: Vec<usize>,
    children: Vec<Place>,
    /// Parents that were not submitted before.
    pub(super) unknown_parents: u64,
}

impl Graph {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The place of a task that was submitted.
    pub(super) fn place(&self, id: TaskId) -> Option<Place> {
        self.places.get(id.0).checked_sub(1)
    }

    /// Adds a task; a second submission of one changes nothing.
    pub(super) fn submitted(&mut self, id: TaskId, name: &str, parents: &[TaskId]) {
        let Ok(place) = Place::try_from(self.ids.len()) else {
            return;
        };
        if self.place(id).is_some() || place == Place::MAX {
            return;
        }
        let before = self.parents(place, parents);
        // Many arguments may be outputs of one task.
        let known = parents
            .iter()
            .filter(|parent| self.place(**parent).is_some());
        self.unknown_parents += (parents.len() - known.count()) as u64;
        let above = before.iter().map(|parent| self.level_of[*parent as usize]);
        let level = above.max().map_or(0, |level| level + 1);
        if self.widths.len() <= level as usize {
            self.widths.push(0);
        }
        self.widths[level as usize] += 1;
        self.edges
            .extend(before.into_iter().map(|parent| (parent, place)));
        self.places.set(id.0, place + 1);
        self.ids.push(id.0);
        let name = self.name(name);
        self.name_of.push(name);
        self.level_of.push(level);
        self.outputs_of.push(0);
        self.externals_of.push(0);
    }

    /// Notes how many outputs a task has, and arguments that are no task's outputs.
    pub(super) fn files(&mut self, place: Place, outputs: usize, externals: usize) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.outputs_of[place as usize] = count(outputs);
        self.externals_of[place as usize] = count(externals);
    }

    /// Sorts the edges into children, in order.
    pub(super) fn sort(&mut self) {
        let mut from = vec![0_usize; self.len() + 1];
        for (parent, _) in &self.edges {
            from[*parent as usize + 1] += 1;
        }
        for at in 1..from.len() {
            from[at] += from[at - 1];
        }
        let (mut next, mut children) = (from.clone(), vec![0; self.edges.len()]);
        for (parent, child) in std::mem::take(&mut self.edges) {
            let at = &mut next[parent as usize];
            children[*at] = child;
            *at += 1;
        }
        (self.children_from, self.children) = (from, children);
    }

    /// Those that wait for a task, in order of submission.
    pub(super) fn children(&self, place: Place) -> &[Place] {
        let at = place as usize;
        &self.children[self.children_from[at]..self.children_from[at + 1]]
    }

    /// The tasks among `parents` that were submitted before, each once, in order of submission.
    pub(super) fn parents(&self, place: Place, parents: &[TaskId]) -> Vec<Place> {
        let known = parents.iter().filter_map(|parent| self.place(*parent));
        let mut before: Vec<Place> = known.filter(|parent| *parent < place).collect();
        before.sort_unstable();
        before.dedup();
        before
    }

    /// Levels, and how many tasks the narrowest and the widest one have.
    pub(super) fn levels(&self) -> (usize, u64, u64) {
        let least = self.widths.iter().min().copied().unwrap_or(0);
        let most = self.widths.iter().max().copied().unwrap_or(0);
        (self.widths.len(), least, most)
    }

    /// How a task is named in the document.
    pub(super) fn id(&self, place: Place) -> String {
        let name = &self.names[self.name_of[place as usize] as usize];
        format!("{name}_ID{:07}", self.ids[place as usize])
    }

    /// Names of the files that are a task's outputs.
    pub(super) fn outputs(&self, place: Place) -> impl Iterator<Item = String> {
        let (id, count) = (self.id(place), self.outputs_of[place as usize]);
        (0..count).map(move |output| output_file(&id, output as usize))
    }

    /// Names of the files that a task was given by the driver.
    pub(super) fn externals(&self, place: Place) -> impl Iterator<Item = String> {
        let (id, count) = (self.id(place), self.externals_of[place as usize]);
        (0..count).map(move |input| external_file(&id, input as usize))
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(&at) = self.name_places.get(name) {
            return at;
        }
        let at = self.names.len() as u32;
        self.names.push(plain(name));
        self.name_places.insert(name.to_owned(), at);
        at
    }
}

/// File of the n-th output of a task.
pub(super) fn output_file(id: &str, output: usize) -> String {
    format!("{id}_out{output}")
}

/// File of the n-th argument of a task that no task made.
pub(super) fn external_file(id: &str, input: usize) -> String {
    format!("{id}_in{input}")
}

/// A name of the characters that both versions allow in an id.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.#".contains(c);
    name.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> Vec<TaskId> {
        numbers.iter().copied().map(TaskId).collect()
    }

    #[test]
    fn children_agree_with_parents_whatever_is_submitted() {
        let mut graph = Graph::default();
        // Twice the same parent, itself, one that nobody knows.
        for (id, parents) in [
            (0, vec![]),
            (5, ids(&[0, 0, 5, 77])),
            (2, ids(&[5, 0])),
            (2, ids(&[0])),
        ] {
            graph.submitted(TaskId(id), "a b", &parents);
        }
        graph.sort();
        assert_eq!(graph.len(), 3);
        assert_eq!(graph.unknown_parents, 2);
        assert_eq!(graph.children(0), [1, 2]);
        assert_eq!(graph.children(1), [2]);
        assert_eq!(graph.children(2), [0_u32; 0]);
        assert_eq!(graph.levels(), (3, 1, 1));
        assert_eq!(graph.id(1), "a_b_ID0000005");
    }
}
