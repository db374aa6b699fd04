//! Which worker runs what.
//!
//! A worker is a slot that runs one attempt at a time. What slots of one host bring (cores, memory,
//! custom resources) adds up to the host's total, from which attempts take their demand: a task
//! that asks for four cores occupies one slot and four of the host's cores.

use super::ready::Demand;
use super::spec::SubmitError;
use crate::{TaskId, WorkerId, WorkerInfo};
use rustc_hash::FxHashMap;

/// Workers, hosts, and what is free on them.
#[derive(Default)]
pub(super) struct Placement {
    workers: FxHashMap<WorkerId, Worker>,
    hosts: Vec<Host>,
    /// Idle workers; the last one became idle last, and is warm.
    idle: Vec<(WorkerId, u32)>,
}

struct Worker {
    info: WorkerInfo,
    host: u32,
    current: Option<TaskId>,
}

struct Host {
    name: String,
    cores: Amount,
    memory_bytes: Amount,
    resources: Vec<(String, Amount)>,
}

/// An amount of something on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    total: i128,
    /// Below zero when a worker left while others used what it had brought.
    free: i128,
}

impl Amount {
    fn add(&mut self, amount: impl Into<i128>) {
        let amount = amount.into();
        self.total += amount;
        self.free += amount;
    }

    fn remove(&mut self, amount: impl Into<i128>) {
        let amount = amount.into();
        self.total -= amount;
        self.free -= amount;
    }
}

impl Host {
    fn fits(&self, demand: &Demand) -> bool {
        i128::from(demand.cores) <= self.cores.free.max(0)
            && (demand.memory_bytes == 0
                || i128::from(demand.memory_bytes) <= self.memory_bytes.free)
            && demand
                .resources
                .iter()
                .all(|(name, amount)| i128::from(*amount) <= self.resource(name).free.max(0))
    }

    fn could_fit(&self, demand: &Demand) -> bool {
        i128::from(demand.cores) <= self.cores.total
            && i128::from(demand.memory_bytes) <= self.memory_bytes.total
            && demand
                .resources
                .iter()
                .all(|(name, amount)| i128::from(*amount) <= self.resource(name).total)
    }

    fn resource(&self, name: &str) -> Amount {
        self.resources
            .iter()
            .find(|(known, _)| known == name)
            .map_or_else(Amount::default, |(_, amount)| *amount)
    }

    fn resource_mut(&mut self, name: &str) -> &mut Amount {
        let index = self.resources.iter().position(|(known, _)| known == name);
        let index = index.unwrap_or_else(|| {
            self.resources.push((name.to_owned(), Amount::default()));
            self.resources.len() - 1
        });
        &mut self.resources[index].1
    }

    /// Takes (`sign` −1) or gives back (+1) what an attempt occupies.
    fn occupy(&mut self, demand: &Demand, sign: i128) {
        self.cores.free += sign * i128::from(demand.cores);
        self.memory_bytes.free += sign * i128::from(demand.memory_bytes);
        for (name, amount) in &demand.resources {
            self.resource_mut(name).free += sign * i128::from(*amount);
        }
    }
}

impl Placement {
    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Adds an idle worker that is not there.
    pub(super) fn join(&mut self, info: WorkerInfo) {
        let host = self.hosts.iter().position(|host| host.name == info.host);
        let host = host.unwrap_or_else(|| {
            self.hosts.push(Host {
                name: info.host.clone(),
                cores: Amount::default(),
                memory_bytes: Amount::default(),
                resources: Vec::new(),
            });
            self.hosts.len() - 1
        });
        let shared = &mut self.hosts[host];
        shared.cores.add(info.cores);
        shared.memory_bytes.add(info.memory_bytes);
        for (name, amount) in &info.resources {
            shared.resource_mut(name).add(*amount);
        }
        self.idle.push((info.id, host as u32));
        let worker = Worker {
            host: host as u32,
            current: None,
            info,
        };
        self.workers.insert(worker.info.id, worker);
    }

    /// Takes an idle worker away, with what it brought to its host.
    pub(super) fn leave(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        debug_assert_eq!(worker.current, None, "the attempt is given back first");
        self.idle.retain(|&(idle, _)| idle != id);
        let host = &mut self.hosts[worker.host as usize];
        host.cores.remove(worker.info.cores);
        host.memory_bytes.remove(worker.info.memory_bytes);
        for (name, amount) in &worker.info.resources {
            host.resource_mut(name).remove(*amount);
        }
    }

    /// The task whose attempt is on the worker.
    pub(super) fn current(&self, worker: WorkerId) -> Option<TaskId> {
        self.workers.get(&worker)?.current
    }

    /// Position of the idle worker that became idle last and whose host has the demand free.
    pub(super) fn find(&self, demand: &Demand) -> Option<usize> {
        self.idle
            .iter()
            .rposition(|&(_, host)| self.hosts[host as usize].fits(demand))
    }

    /// Puts an attempt on the idle worker at that position.
    pub(super) fn occupy(&mut self, position: usize, task: TaskId, demand: &Demand) -> WorkerId {
        let (id, host) = self.idle.remove(position);
        self.hosts[host as usize].occupy(demand, -1);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.current = Some(task);
        }
        id
    }

    /// Takes the attempt off its worker, which is idle again.
    pub(super) fn vacate(&mut self, id: WorkerId, demand: &Demand) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.current = None;
        self.hosts[worker.host as usize].occupy(demand, 1);
        self.idle.push((id, worker.host));
    }

    /// Whether some host could run the demand if it ran nothing else.
    pub(super) fn is_feasible(&self, demand: &Demand) -> bool {
        self.hosts.iter().any(|host| host.could_fit(demand))
    }

    /// Refuses a demand that no host can meet, once workers are known.
    pub(super) fn check(&self, demand: &Demand) -> Result<(), SubmitError> {
        if self.workers.is_empty() || self.is_feasible(demand) {
            return Ok(());
        }
        let cores = ("cores", u64::from(demand.cores));
        let memory = ("memory-bytes", demand.memory_bytes);
        let custom = demand.resources.iter().map(|(name, n)| (&**name, *n));
        let demands: Vec<_> = [cores, memory].into_iter().chain(custom).collect();
        for (position, &(what, asked)) in demands.iter().enumerate() {
            let largest = self.largest(position, what);
            if asked > largest {
                return Err(SubmitError::Infeasible {
                    what: what.to_owned(),
                    asked,
                    largest,
                });
            }
        }
        let demands: Vec<_> = demands.iter().map(|(w, n)| format!("{w} {n}")).collect();
        Err(SubmitError::InfeasibleTogether {
            demand: demands.join(", "),
        })
    }

    /// The largest total of cores (0), memory (1) or a named resource that a host has.
    fn largest(&self, position: usize, name: &str) -> u64 {
        let totals = self.hosts.iter().map(|host| match position {
            0 => host.cores.total,
            1 => host.memory_bytes.total,
            _ => host.resource(name).total,
        });
        totals.max().unwrap_or(0).try_into().unwrap_or(u64::MAX)
    }

    /// For the sanity check: panics unless what is free is the total less what these attempts take.
    pub(super) fn sanity_check(&self, attempts: &[(WorkerId, TaskId, &Demand)]) {
        let mut used = vec![(0_i128, 0_i128); self.hosts.len()];
        for &(id, task, demand) in attempts {
            let worker = self.workers.get(&id);
            let worker = worker.unwrap_or_else(|| panic!("task {task} runs on lost worker {id}"));
            assert_eq!(worker.current, Some(task), "worker {id} runs another task");
            used[worker.host as usize].0 += i128::from(demand.cores);
            used[worker.host as usize].1 += i128::from(demand.memory_bytes);
        }
        for (host, used) in self.hosts.iter().zip(used) {
            let name = &host.name;
            assert_eq!(
                host.cores.total - host.cores.free,
                used.0,
                "cores of {name}"
            );
            let memory = host.memory_bytes;
            assert_eq!(memory.total - memory.free, used.1, "memory of {name}");
        }
        let busy = self.workers.values().filter(|w| w.current.is_some());
        assert_eq!(busy.count(), attempts.len(), "a worker runs a ghost");
        for (id, host) in &self.idle {
            let worker = self.workers.get(id);
            let worker = worker.unwrap_or_else(|| panic!("lost worker {id} counts as idle"));
            assert_eq!(worker.current, None, "busy worker {id} counts as idle");
            assert_eq!(worker.host, *host, "worker {id} is on another host");
        }
        let idle = self.workers.len() - attempts.len();
        assert_eq!(self.idle.len(), idle, "idle workers are missing or double");
    }
}
