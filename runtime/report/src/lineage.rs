//! What must be known of every task: its name, when it ended, and the chain of tasks that led to it.

use crate::model::{Graph, Node};
use std::collections::BTreeMap;
use taps_engine::TaskId;

/// Above so many tasks, of which each takes 20 bytes, only their number is known.
pub(crate) const TASKS_LIMIT: u64 = 4_000_000;
/// Above so many tasks the graph is one of task names.
const GRAPH_TASKS: usize = 300;
/// Above so many edges, too.
const GRAPH_EDGES: usize = 2_000;
/// Most edges between names.
const NAME_EDGES: usize = 5_000;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    name: u32,
    end_ns: u64,
    chain_ns: u64,
}

/// Tasks by the sequence number of their submission.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage {
    known: Vec<Known>,
    tasks: Vec<(TaskId, u32)>,
    edges: Vec<(u64, u64)>,
    failed: Vec<u64>,
    by_name: BTreeMap<(u32, u32), u64>,
    total_edges: u64,
    pub(crate) longest_ns: u64,
    pub(crate) beyond: bool,
}

impl Lineage {
    pub(crate) fn submitted(&mut self, id: TaskId, name: u32, parents: &[TaskId]) {
        let at = id.0 as usize;
        self.beyond |= id.0 >= TASKS_LIMIT;
        if id.0 < TASKS_LIMIT {
            if self.known.len() <= at {
                self.known.resize(at + 1, Known::default());
            }
            self.known[at].name = name;
        }
        self.total_edges += parents.len() as u64;
        if self.tasks.len() <= GRAPH_TASKS && self.edges.len() <= GRAPH_EDGES {
            self.tasks.push((id, name));
            self.edges
                .extend(parents.iter().map(|parent| (parent.0, id.0)));
        }
        for parent in parents {
            let Some(from) = self.known.get(parent.0 as usize).map(|known| known.name) else {
                continue;
            };
            if self.by_name.len() < NAME_EDGES || self.by_name.contains_key(&(from, name)) {
                *self.by_name.entry((from, name)).or_default() += 1;
            }
        }
    }

    /// What is known of all tasks together, without what is known of each.
    pub(crate) fn of_all(&self) -> Self {
        Self {
            known: Vec::new(),
            tasks: self.tasks.clone(),
            edges: self.edges.clone(),
            failed: self.failed.clone(),
            by_name: self.by_name.clone(),
            total_edges: self.total_edges,
            longest_ns: self.longest_ns,
            beyond: self.beyond,
        }
    }

    /// When the last of these parents ended, as far as is known.
    pub(crate) fn parents_ended_ns(&self, parents: &[TaskId]) -> Option<u64> {
        let mut last = 0;
        for parent in parents {
            last = last.max(self.known.get(parent.0 as usize)?.end_ns);
        }
        Some(last)
    }

    /// A task ended; it ran for so long.
    pub(crate) fn ended(
        &mut self,
        id: TaskId,
        parents: &[TaskId],
        run_ns: u64,
        end_ns: u64,
        ok: bool,
    ) {
        let before = parents
            .iter()
            .filter_map(|parent| self.known.get(parent.0 as usize))
            .map(|known| known.chain_ns)
            .max();
        if !ok && self.failed.len() <= GRAPH_TASKS {
            self.failed.push(id.0);
        }
        if let Some(known) = self.known.get_mut(id.0 as usize) {
            known.end_ns = end_ns;
            known.chain_ns = before.unwrap_or(0).saturating_add(run_ns);
            self.longest_ns = self.longest_ns.max(known.chain_ns);
        }
    }

    /// The graph, of tasks where they are few. `counts` has tasks and failed ones by name.
    pub(crate) fn graph(&self, counts: &[(u64, u64)]) -> Graph {
        let total_edges = self.total_edges;
        if self.tasks.len() <= GRAPH_TASKS && self.edges.len() <= GRAPH_EDGES {
            let nodes = self.tasks.iter().map(|&(id, name)| Node {
                name,
                task: Some(id.0),
                tasks: 1,
                failed: u64::from(self.failed.contains(&id.0)),
            });
            let place: BTreeMap<u64, u32> = (0..)
                .zip(&self.tasks)
                .map(|(at, (id, _))| (id.0, at))
                .collect();
            let edge = |(from, to): &(u64, u64)| Some((*place.get(from)?, *place.get(to)?, 1));
            return Graph {
                of: "tasks",
                nodes: nodes.collect(),
                edges: self.edges.iter().filter_map(edge).collect(),
                total_edges,
            };
        }
        let nodes = (0..).zip(counts).map(|(name, &(tasks, failed))| Node {
            name,
            task: None,
            tasks,
            failed,
        });
        Graph {
            of: "names",
            nodes: nodes.collect(),
            edges: self
                .by_name
                .iter()
                .map(|(&(from, to), &count)| (from, to, count))
                .collect(),
            total_edges,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_chain_goes_through_the_slowest_parent() {
        let mut lineage = Lineage::default();
        for (id, parents) in [(0, vec![]), (1, vec![]), (2, vec![TaskId(0), TaskId(1)])] {
            lineage.submitted(TaskId(id), 0, &parents);
        }
        lineage.ended(TaskId(0), &[], 5, 10, true);
        lineage.ended(TaskId(1), &[], 50, 60, true);
        assert_eq!(lineage.parents_ended_ns(&[TaskId(0), TaskId(1)]), Some(60));
        assert_eq!(lineage.parents_ended_ns(&[TaskId(9)]), None);
        lineage.ended(TaskId(2), &[TaskId(0), TaskId(1)], 7, 70, false);
        assert_eq!(lineage.longest_ns, 57);
        let graph = lineage.graph(&[(3, 1)]);
        assert_eq!(
            (graph.of, graph.edges.len(), graph.nodes[2].failed),
            ("tasks", 2, 1)
        );
    }

    #[test]
    fn many_tasks_are_shown_by_name() {
        let mut lineage = Lineage::default();
        for id in 0..1_000_u64 {
            let parents: Vec<TaskId> = id.checked_sub(1).map(TaskId).into_iter().collect();
            lineage.submitted(TaskId(id), (id % 2) as u32, &parents);
        }
        let graph = lineage.graph(&[(500, 0), (500, 0)]);
        assert_eq!(
            (graph.of, graph.nodes.len(), graph.total_edges),
            ("names", 2, 999)
        );
        assert_eq!(graph.edges, [(0, 1, 500), (1, 0, 499)]);
    }
}
