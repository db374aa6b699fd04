//! The second time that the records stream by: the tasks, with what the first time told of their edges and files.

use super::graph::Graph;
use crate::{latch::Latch, sparse::Seen};
use serde_json::json;
use taps_records::LogEvent;
use taps_report::{Facts, Sink};

/// Writes the list of tasks.
pub(super) struct Specification<'a, 'b> {
    graph: &'a Graph,
    out: &'a mut Latch<'b>,
    written: Seen,
    is_first: bool,
}

impl<'a, 'b> Specification<'a, 'b> {
    pub(super) fn new(graph: &'a Graph, out: &'a mut Latch<'b>) -> Self {
        Self {
            graph,
            out,
            written: Seen::default(),
            is_first: true,
        }
    }
}

impl Sink for Specification<'_, '_> {
    fn event(&mut self, event: &LogEvent) {
        let LogEvent::Submitted {
            task,
            name,
            parents,
            ..
        } = event
        else {
            return;
        };
        // A run that goes on may have submitted more since.
        let Some(place) = self.graph.place(*task) else {
            return;
        };
        if !self.written.insert(task.0) {
            return;
        }
        let graph = self.graph;
        let parents = graph.parents(place, parents);
        let ids = |places: &[u32]| places.iter().map(|at| graph.id(*at)).collect::<Vec<_>>();
        let made = parents.iter().flat_map(|parent| graph.outputs(*parent));
        let inputs: Vec<String> = made.chain(graph.externals(place)).collect();
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.text(",");
        }
        self.out.json(&json!({
            "name": if name.is_empty() { "task" } else { name },
            "id": graph.id(place),
            "parents": ids(&parents),
            "children": ids(graph.children(place)),
            "inputFiles": inputs,
            "outputFiles": graph.outputs(place).collect::<Vec<_>>(),
        }));
    }

    fn record(&mut self, _: &Facts<'_>) {}

    fn open(&mut self, _: &Facts<'_>) {}
}
