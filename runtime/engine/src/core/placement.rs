//! Which worker runs what.
//!
//! A worker is a slot that runs one attempt at a time; others may be queued behind it (see
//! [`super::look_ahead`]), which occupy nothing until their turn comes. What slots of one host bring (cores, memory,
//! custom resources) adds up to the host's total, from which attempts take their demand: a task
//! that asks for four cores occupies one slot and four of the host's cores.

use super::look_ahead::{MAX_QUEUED, Paces, Rooms};
use super::ready::Demand;
use super::spec::SubmitError;
use super::table::{Key, Place};
use crate::{TaskId, WorkerId, WorkerInfo};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Workers, hosts, and what is free on them.
#[derive(Default)]
pub(super) struct Placement {
    workers: FxHashMap<WorkerId, Worker>,
    hosts: Vec<Host>,
    /// Hosts as they will be when every worker that the executor starts has joined.
    promised: Vec<Host>,
    /// Idle workers; the last one became idle last, and is warm.
    idle: Vec<(WorkerId, u32)>,
    /// How long attempts take.
    pub(super) paces: Paces,
    /// Where attempts can be queued, by demand class.
    rooms: Vec<Rooms>,
    /// Some worker takes attempts ahead.
    looks_ahead: bool,
}

struct Worker {
    info: WorkerInfo,
    host: u32,
    current: Option<Placed>,
    /// Attempts behind the current one, of the same demand class, in their order.
    queue: VecDeque<Placed>,
    /// Demand class of all of them.
    class: u32,
    /// Attempts may be queued behind the current one.
    open: bool,
    /// It is in `rooms`, under its class and the length of its queue.
    listed: bool,
}

/// An attempt on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) key: Key,
    /// Number of the task's name.
    pub(super) kind: u16,
}

/// For the sanity check: an attempt that is out, as its task has it.
pub(super) struct Occupation<'a> {
    pub(super) worker: WorkerId,
    pub(super) key: Key,
    pub(super) task: TaskId,
    pub(super) place: Place,
    pub(super) class: u32,
    pub(super) demand: &'a Demand,
}

impl Worker {
    /// Most attempts in its queue.
    fn limit(&self) -> u32 {
        self.info.look_ahead.min(MAX_QUEUED)
    }

    /// An attempt becomes the current one.
    fn begin(&mut self, next: Placed, paces: &Paces) {
        self.current = Some(next);
        self.open = self.info.look_ahead > 0 && paces.depth(next.kind) > 0;
    }

    fn enlist(&mut self, rooms: &mut Vec<Rooms>) {
        if !self.open || self.queue.len() >= self.limit() as usize {
            return;
        }
        let class = self.class as usize;
        if rooms.len() <= class {
            rooms.resize_with(class + 1, Rooms::default);
        }
        rooms[class].insert(self.queue.len(), self.info.id);
        self.listed = true;
    }

    fn delist(&mut self, rooms: &mut [Rooms]) {
        if std::mem::replace(&mut self.listed, false) {
            rooms[self.class as usize].remove(self.queue.len(), self.info.id);
        }
    }
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

/// Adds what a worker brings to its host; gives the host's position.
fn grow(hosts: &mut Vec<Host>, info: &WorkerInfo) -> usize {
    let known = hosts.iter().position(|host| host.name == info.host);
    let position = known.unwrap_or_else(|| {
        hosts.push(Host {
            name: info.host.clone(),
            cores: Amount::default(),
            memory_bytes: Amount::default(),
            resources: Vec::new(),
        });
        hosts.len() - 1
    });
    let host = &mut hosts[position];
    host.cores.add(info.cores);
    host.memory_bytes.add(info.memory_bytes);
    for (name, amount) in &info.resources {
        host.resource_mut(name).add(*amount);
    }
    position
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

    /// Number of idle workers.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Whether a worker ever joined that takes attempts ahead.
    pub(super) fn looks_ahead(&self) -> bool {
        self.looks_ahead
    }

    /// Adds an idle worker that is not there.
    pub(super) fn join(&mut self, info: WorkerInfo) {
        let host = grow(&mut self.hosts, &info);
        self.idle.push((info.id, host as u32));
        self.looks_ahead |= info.look_ahead > 0;
        let worker = Worker {
            host: host as u32,
            current: None,
            queue: VecDeque::new(),
            class: 0,
            open: false,
            listed: false,
            info,
        };
        self.workers.insert(worker.info.id, worker);
    }

    /// Takes an idle worker away, with what it brought to its host.
    pub(super) fn leave(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        debug_assert_eq!(worker.current, None, "attempts are given back first");
        self.idle.retain(|&(idle, _)| idle != id);
        let host = &mut self.hosts[worker.host as usize];
        host.cores.remove(worker.info.cores);
        host.memory_bytes.remove(worker.info.memory_bytes);
        for (name, amount) in &worker.info.resources {
            host.resource_mut(name).remove(*amount);
        }
    }

    /// Tasks whose attempts are on the worker; the current one comes first.
    pub(super) fn attempts(&self, worker: WorkerId) -> Vec<Key> {
        let worker = self.workers.get(&worker).into_iter();
        let placed = worker.flat_map(|worker| worker.current.iter().chain(&worker.queue));
        placed.map(|placed| placed.key).collect()
    }

    /// Position of the idle worker that became idle last and whose host has the demand free.
    pub(super) fn find(&self, demand: &Demand) -> Option<usize> {
        self.idle
            .iter()
            .rposition(|&(_, host)| self.hosts[host as usize].fits(demand))
    }

    /// Puts an attempt on the idle worker at that position.
    #[inline]
    pub(super) fn occupy(
        &mut self,
        position: usize,
        attempt: Placed,
        class: u32,
        demand: &Demand,
    ) -> WorkerId {
        let (id, host) = self.idle.remove(position);
        self.hosts[host as usize].occupy(demand, -1);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.class = class;
            worker.begin(attempt, &self.paces);
            worker.enlist(&mut self.rooms);
        }
        id
    }

    /// The busy worker that takes another attempt of that class and name, with the shortest queue.
    pub(super) fn room(&self, class: u32, kind: u16) -> Option<WorkerId> {
        let rooms = self.rooms.get(class as usize)?;
        rooms.shortest(self.paces.depth(kind))
    }

    /// Queues an attempt on a worker that has room for it.
    pub(super) fn enqueue(&mut self, id: WorkerId, attempt: Placed) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.delist(&mut self.rooms);
            worker.queue.push_back(attempt);
            worker.enlist(&mut self.rooms);
        }
    }

    /// Queues no more on a worker until another attempt is its current one.
    pub(super) fn close(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.delist(&mut self.rooms);
            worker.open = false;
        }
    }

    /// Takes an attempt off its worker. After the current one, the next in the queue becomes
    /// current, with the resources, and is given; without a next one the worker is idle again.
    #[inline]
    pub(super) fn vacate(&mut self, id: WorkerId, key: Key, demand: &Demand) -> Option<Key> {
        let worker = self.workers.get_mut(&id)?;
        worker.delist(&mut self.rooms);
        let was_current = worker.current.is_some_and(|placed| placed.key == key);
        if !was_current {
            worker.queue.retain(|placed| placed.key != key);
            worker.enlist(&mut self.rooms);
            return None;
        }
        let Some(next) = worker.queue.pop_front() else {
            worker.current = None;
            worker.open = false;
            self.hosts[worker.host as usize].occupy(demand, 1);
            self.idle.push((id, worker.host));
            return None;
        };
        worker.begin(next, &self.paces);
        worker.enlist(&mut self.rooms);
        Some(next.key)
    }

    /// Notes a worker that will join. Demands are feasible on what will be there.
    pub(super) fn promise(&mut self, info: &WorkerInfo) {
        grow(&mut self.promised, info);
    }

    /// Hosts as they are, and as they will be.
    fn all_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().chain(&self.promised)
    }

    /// Whether some host could run the demand if it ran nothing else.
    pub(super) fn is_feasible(&self, demand: &Demand) -> bool {
        self.all_hosts().any(|host| host.could_fit(demand))
    }

    /// Refuses a demand that no host can meet, once workers are known.
    pub(super) fn check(&self, demand: &Demand) -> Result<(), SubmitError> {
        let known = !(self.workers.is_empty() && self.promised.is_empty());
        if !known || self.is_feasible(demand) {
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
        let totals = self.all_hosts().map(|host| match position {
            0 => host.cores.total,
            1 => host.memory_bytes.total,
            _ => host.resource(name).total,
        });
        totals.max().unwrap_or(0).try_into().unwrap_or(u64::MAX)
    }

    /// For the sanity check: panics unless these attempts are where they should be, once, and what
    /// is free is the total less what those among them take that are current.
    pub(super) fn sanity_check(&self, attempts: &[Occupation<'_>]) {
        let mut used = vec![(0_i128, 0_i128); self.hosts.len()];
        for attempt in attempts {
            let (id, task, key) = (attempt.worker, attempt.task, attempt.key);
            let worker = self.workers.get(&id);
            let worker = worker.unwrap_or_else(|| panic!("task {task} runs on lost worker {id}"));
            let current = worker.current.is_some_and(|placed| placed.key == key);
            let queued = worker.queue.iter().filter(|placed| placed.key == key);
            let places = (current, queued.count());
            if attempt.place == Place::Current {
                assert_eq!(places, (true, 0), "task {task} is not run by worker {id}");
                used[worker.host as usize].0 += i128::from(attempt.demand.cores);
                used[worker.host as usize].1 += i128::from(attempt.demand.memory_bytes);
            } else {
                assert_eq!(places, (false, 1), "task {task} is not queued on {id}");
            }
            assert_eq!(worker.class, attempt.class, "class of worker {id}");
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
        let busy = busy.count();
        let queued: usize = self.workers.values().map(|w| w.queue.len()).sum();
        assert_eq!(busy + queued, attempts.len(), "a worker runs a ghost");
        self.check_rooms();
        for (id, host) in &self.idle {
            let worker = self.workers.get(id);
            let worker = worker.unwrap_or_else(|| panic!("lost worker {id} counts as idle"));
            assert_eq!(worker.current, None, "busy worker {id} counts as idle");
            assert_eq!(worker.host, *host, "worker {id} is on another host");
        }
        let idle = self.workers.len() - busy;
        assert_eq!(self.idle.len(), idle, "idle workers are missing or double");
    }

    fn check_rooms(&self) {
        let mut listed = 0;
        for (class, rooms) in self.rooms.iter().enumerate() {
            for (length, id) in rooms.inspect() {
                let worker = self.workers.get(&id);
                let worker = worker.unwrap_or_else(|| panic!("lost worker {id} has room"));
                let place = (worker.class as usize, worker.queue.len());
                assert_eq!(place, (class, length), "room of worker {id}");
                listed += 1;
            }
        }
        for (id, worker) in &self.workers {
            let queued = worker.queue.len();
            let busy = worker.current.is_some();
            assert!(busy || queued == 0, "worker {id} idles before its queue");
            assert!(busy || !worker.open, "idle worker {id} is open");
            let limit = worker.limit() as usize;
            assert!(queued <= limit, "the queue of worker {id} is too long");
            let room = worker.open && queued < limit;
            assert_eq!(worker.listed, room, "worker {id} is listed");
            listed -= usize::from(worker.listed);
        }
        assert_eq!(listed, 0, "a worker is listed twice");
    }
}
