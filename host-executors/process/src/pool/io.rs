//! The I/O thread: reads every socket of the pool, starts what is missing, and delivers events.

use super::{
    Shared, Traffic,
    link::{Heard, Link, Process},
    nodes::{News, Nodes, back_off, ends_node},
};
use crate::{
    channel,
    lending::{Borrower, Wake},
    message::{Control, Ended, Incarnation, ToManager},
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use taps_engine::{EventSink, ExecutorEvent, Failure, OutcomeKind, Running};

/// How often the thread looks at what has no descriptor.
const TICK: Duration = Duration::from_millis(100);

/// How often workers are asked for a sign of life; more often where the answer must come soon.
const PING_EVERY: Duration = Duration::from_secs(1);
const PINGS_IN_TIME: u32 = 4;

/// A process that lived this long is no failure of the start.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// Most starts in a row that may fail.
const MOST_FAILURES: u32 = 5;

/// How long after the end of its channel a process may be waited for, to know how it ended.
const ENDING: Duration = Duration::from_secs(1);

/// What a socket belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Wake,
    Launcher,
    Manager(u32),
    Data(u32),
    Control(u32),
}

impl Token {
    fn data(self) -> EventData {
        let (kind, index) = match self {
            Self::Wake => (0, 0),
            Self::Launcher => (1, 0),
            Self::Manager(node) => (2, node),
            Self::Data(worker) => (3, worker),
            Self::Control(worker) => (4, worker),
        };
        EventData::new_u64(kind << 32 | u64::from(index))
    }

    fn of(data: EventData) -> Self {
        let index = data.u64() as u32;
        match data.u64() >> 32 {
            0 => Self::Wake,
            1 => Self::Launcher,
            2 => Self::Manager(index),
            3 => Self::Data(index),
            _ => Self::Control(index),
        }
    }
}

pub(super) struct IoThread {
    shared: Arc<Shared>,
    sink: Arc<dyn EventSink>,
    nodes: Nodes,
    epoll: OwnedFd,
    events: Vec<ExecutorEvent>,
    news: Vec<News>,
    /// When the thread began to look after the pool last.
    looked: Instant,
    /// When to look after the processes next.
    look_at: Instant,
    pinged: Instant,
    pings: u64,
    stopping: Option<Instant>,
    failed: bool,
}

impl IoThread {
    /// Starts the launcher; to be called on the main thread.
    pub(super) fn new(shared: Arc<Shared>, sink: Arc<dyn EventSink>) -> io::Result<Self> {
        let nodes = Nodes::new(shared.options.nodes)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &shared.wake, Token::Wake.data(), EventFlags::IN)?;
        epoll::add(
            &epoll,
            &nodes.channel,
            Token::Launcher.data(),
            EventFlags::IN,
        )?;
        let now = Instant::now();
        for link in &shared.links {
            link.lock().start_at = Some(now);
        }
        Ok(Self {
            shared,
            sink,
            nodes,
            epoll,
            events: Vec::new(),
            news: Vec::new(),
            looked: now,
            look_at: now,
            pinged: now,
            pings: 0,
            stopping: None,
            failed: false,
        })
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::with_capacity(64);
        loop {
            self.look_after();
            self.send_news();
            if self.stopping.is_some_and(|since| self.has_ended(since)) {
                break;
            }
            let timeout = Timespec::try_from(self.patience()).unwrap_or_default();
            ready.clear();
            // An interrupted wait is a wait that ended early.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&timeout));
            for event in &ready {
                self.attend(Token::of(event.data));
            }
            self.deliver();
        }
        self.nodes.end();
    }

    /// Delivers what has happened. The sink may submit at once, on this thread.
    fn deliver(&mut self) {
        for news in std::mem::take(&mut self.news) {
            self.take_news(news);
        }
        if !self.events.is_empty() && self.stopping.is_none() {
            self.sink.deliver(std::mem::take(&mut self.events));
        }
        self.events.clear();
    }

    fn attend(&mut self, token: Token) {
        match token {
            Token::Wake => {
                let mut count = [0; 8];
                // Nothing to read: another wake came first.
                let _ = rustix::io::read(&self.shared.wake, &mut count);
            }
            Token::Launcher => self.nodes.hear_launcher(&mut self.news),
            Token::Manager(node) => self.attend_manager(node),
            Token::Data(worker) => self.attend_worker(worker, Process::hear_data),
            Token::Control(worker) => self.attend_worker(worker, Process::hear_control),
        }
    }

    fn attend_manager(&mut self, node: u32) {
        if !self.nodes.hear_manager(node, &mut self.news)
            && let Some(manager) = &self.nodes.all[node as usize].manager
        {
            let _ = epoll::delete(&self.epoll, &manager.channel);
        }
    }

    fn attend_worker(&mut self, worker: u32, hear: fn(&mut Process, &mut Heard, &Traffic)) {
        let shared = Arc::clone(&self.shared);
        let mut heard = Heard::default();
        let mut link = shared.links[worker as usize].lock();
        let Some(process) = &mut link.process else {
            return;
        };
        hear(process, &mut heard, &shared.bytes);
        if process.closed {
            // Whatever it sent is read; how it ended is told by its manager.
            let _ = epoll::delete(&self.epoll, &process.data);
            let _ = epoll::delete(&self.epoll, &process.control);
            process.ending.get_or_insert_with(Instant::now);
        } else if process.wants_to_send() {
            process.send(&shared.bytes);
        }
        link.tell_if_idle(&shared.words);
        drop(link);
        self.take_heard(worker, heard);
    }

    fn take_heard(&mut self, worker: u32, heard: Heard) {
        for said in heard.words {
            said.tell(&self.shared.setup.context);
        }
        if heard.ready {
            self.events
                .push(ExecutorEvent::WorkerJoined(self.shared.info(worker)));
        }
        let reports = heard.reports.into_iter().map(Box::new);
        self.events.extend(reports.map(ExecutorEvent::Finished));
        let returned = heard.returned.into_iter();
        self.events.extend(returned.map(ExecutorEvent::Returned));
        if let Some(reason) = heard.failed {
            // The next one would fail for the same reason.
            self.fail(&format!("worker {worker} cannot start: {reason}"));
        }
    }

    fn take_news(&mut self, news: News) {
        // Something may have to be started.
        self.look_at = Instant::now();
        match news {
            News::WorkerEnded {
                worker,
                ended,
                reason,
            } => self.worker_ended(worker, ended, &reason, false),
            News::NodeLost { node, reason } => self.node_lost(node, &reason),
            News::LauncherLost => {
                let _ = epoll::delete(&self.epoll, &self.nodes.channel);
                if self.stopping.is_none() {
                    self.fail("the launcher process is gone");
                }
            }
        }
    }

    /// A manager is dead, and all of its node with it.
    fn node_lost(&mut self, node: u32, reason: &str) {
        let shared = Arc::clone(&self.shared);
        let links = || shared.links.iter().filter(|link| link.lock().node == node);
        let doomed_now = links().any(|link| shared.fatal(&link.lock()).is_some_and(ends_node));
        let found = &mut self.nodes.all[node as usize];
        if let Some(manager) = found.manager.take() {
            let _ = epoll::delete(&self.epoll, &manager.channel);
        }
        let lived = found.since.elapsed();
        let doomed = std::mem::take(&mut found.doomed) || doomed_now;
        found.failures = if doomed || lived >= LONG_LIFE {
            0
        } else {
            found.failures + 1
        };
        found.start_at = Some(Instant::now() + back_off(found.failures));
        if found.failures > MOST_FAILURES {
            self.fail(reason);
        }
        for link in links() {
            let process = link.lock().process.as_ref().map(|found| found.incarnation);
            if let Some(incarnation) = process {
                self.worker_ended(incarnation, None, reason, doomed);
            }
        }
        // That of one of these workers, not of the next manager's.
        self.nodes.all[node as usize].doomed = false;
    }

    /// A worker process is dead: what it sent is read, the rest is lost. `doomed` tells that a fault was to
    /// end it.
    fn worker_ended(
        &mut self,
        incarnation: Incarnation,
        ended: Option<Ended>,
        reason: &str,
        doomed: bool,
    ) {
        let shared = Arc::clone(&self.shared);
        let worker = incarnation.worker;
        let mut heard = Heard::default();
        let mut link = shared.links[worker.0 as usize].lock();
        let current = |process: &mut Process| process.incarnation == incarnation;
        let Some(mut process) = link.process.take_if(current) else {
            return;
        };
        process.hear_data(&mut heard, &shared.bytes);
        process.hear_control(&mut heard, &shared.bytes);
        if !process.closed {
            let _ = epoll::delete(&self.epoll, &process.data);
            let _ = epoll::delete(&self.epoll, &process.control);
        }
        let number = shared.words.words()[Shared::slot(worker)].swap(0, Ordering::AcqRel);
        // One that has no such number has reported already.
        let running = process
            .numbered(number)
            .map_or(Running::Nothing, Running::Attempt);
        link.orphans.extend(process.memories());
        let stopped = ended == Some(Ended::Exit(crate::worker::STOPPED_A_GUEST));
        let fatal = process.fatal(number);
        self.nodes.all[link.node as usize].doomed |= fatal.is_some_and(ends_node);
        let started = process.has_reported || doomed || fatal.is_some();
        link.failures = if stopped || started {
            0
        } else {
            link.failures + 1
        };
        link.start_at = Some(Instant::now() + back_off(link.failures));
        let gives_up = link.failures > MOST_FAILURES;
        let was_ready = process.ready;
        let reason = match process.trouble.take() {
            Some(trouble) => format!("{reason} ({trouble})"),
            None => reason.to_owned(),
        };
        // Gives back what it had borrowed.
        drop(process);
        shared.setup.account.retire(Shared::slot(worker), 0);
        self.settle_orphans(&mut link);
        link.tell_if_idle(&shared.words);
        drop(link);
        // It cannot be ready any more.
        heard.ready = false;
        self.take_heard(worker.0, heard);
        if was_ready {
            self.events.push(ExecutorEvent::WorkerLost {
                worker,
                reason: reason.clone(),
                running,
            });
        }
        if gives_up {
            self.fail(&format!("worker {worker} cannot start: {reason}"));
        }
    }

    /// Accounts for the memory that dead processes of the slot made and others still hold.
    fn settle_orphans(&self, link: &mut Link) {
        if link.orphans.is_empty() {
            return;
        }
        link.orphans.retain(|memory| memory.strong_count() > 0);
        let held = link.orphans.iter().filter_map(std::sync::Weak::upgrade);
        let bytes = held.map(|memory| memory.info().capacity).sum();
        let slot = self.shared.orphans_slot(link.worker);
        self.shared.setup.account.retire(slot, bytes);
    }

    fn fail(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            let failure = Failure::new(OutcomeKind::EngineError, reason);
            self.events.push(ExecutorEvent::Failed(failure));
        }
    }

    /// Starts what is missing, asks for signs of life, and ends what gives none.
    fn look_after(&mut self) {
        if self.shared.stop.load(Ordering::Acquire) && self.stopping.is_none() {
            self.stop();
        }
        let now = Instant::now();
        if self.stopping.is_some() || self.failed || now < self.look_at {
            return;
        }
        self.look_at = now + self.tick();
        let away = self.was_away(now);
        for node in 0..self.nodes.all.len() as u32 {
            let due = self.nodes.all[node as usize]
                .start_at
                .is_some_and(|at| at <= now);
            if due {
                self.start_node(node);
            }
        }
        let ping = now.duration_since(self.pinged) >= self.ping_every();
        if ping {
            self.pinged = now;
            self.pings += 1;
        }
        let shared = Arc::clone(&self.shared);
        for link in &shared.links {
            let mut link = link.lock();
            self.settle_orphans(&mut link);
            if link.start_at.is_some_and(|at| at <= now) {
                self.start_worker(&mut link);
            }
            if let Some(process) = &mut link.process {
                process.awaited = process.awaited.map(|since| since + away);
            }
            self.check(&mut link, now, ping);
        }
        self.deliver();
    }

    /// How long this thread could not hear anybody, which is nobody's silence: it may have run the driver, or the
    /// whole program was stopped.
    fn was_away(&mut self, now: Instant) -> Duration {
        let since = now.duration_since(std::mem::replace(&mut self.looked, now));
        if since > 2 * self.tick() {
            since
        } else {
            Duration::ZERO
        }
    }

    fn tick(&self) -> Duration {
        TICK.min(self.ping_every())
    }

    fn ping_every(&self) -> Duration {
        PING_EVERY.min(self.shared.options.heartbeat_timeout / PINGS_IN_TIME)
    }

    fn start_node(&mut self, node: u32) {
        let started = self.nodes.start(node).and_then(|()| {
            let manager = self.nodes.all[node as usize].manager.as_ref();
            manager.map_or(Ok(()), |manager| {
                epoll::add(
                    &self.epoll,
                    &manager.channel,
                    Token::Manager(node).data(),
                    EventFlags::IN,
                )
                .map_err(crate::error::ChannelError::Closed)
            })
        });
        if let Err(error) = started {
            self.fail(&format!(
                "the manager of node {node} cannot start: {}",
                taps_engine::chain(&error)
            ));
        }
    }

    fn start_worker(&mut self, link: &mut Link) {
        if self.nodes.all[link.node as usize].manager.is_none() {
            return;
        }
        link.start_at = None;
        if let Err(reason) = self.try_start_worker(link) {
            self.fail(&format!("worker {} cannot start: {reason}", link.worker));
        }
    }

    fn try_start_worker(&mut self, link: &mut Link) -> Result<(), String> {
        let incarnation = Incarnation {
            worker: link.worker,
            number: link.started,
        };
        link.started += 1;
        let text = |error: &dyn std::error::Error| taps_engine::chain(error);
        let (near, far) = channel::pair().map_err(|error| text(&error))?;
        let (setup, descriptors) = self
            .shared
            .setup(incarnation)
            .map_err(|error| text(&error))?;
        let waker = Arc::clone(&self.shared);
        let wake = Wake(Box::new(move || waker.wake_io()));
        let borrower = Borrower::new(self.shared.setup.context.store.clone(), wake);
        let mut process = Process::new(incarnation, near, setup, descriptors, borrower)
            .map_err(|error| text(&error))?;
        let node = &mut self.nodes.all[link.node as usize];
        node.tell(&ToManager::StartWorker(incarnation), vec![far])
            .map_err(|error| text(&error))?;
        let worker = link.worker.0;
        let watch = |socket: &OwnedFd, token: Token| {
            epoll::add(&self.epoll, socket.as_fd(), token.data(), EventFlags::IN)
        };
        watch(&process.data, Token::Data(worker)).map_err(|error| text(&error))?;
        watch(&process.control, Token::Control(worker)).map_err(|error| text(&error))?;
        process.send(&self.shared.bytes);
        link.process = Some(process);
        Ok(())
    }

    /// Looks at one process: is it in trouble, late, or silent?
    fn check(&mut self, link: &mut Link, now: Instant, ping: bool) {
        let options = &self.shared.options;
        let Some(process) = &mut link.process else {
            return;
        };
        let incarnation = process.incarnation;
        if let Some(since) = process.ending {
            // Its manager would have said how it ended.
            if now.duration_since(since) > ENDING {
                let reason = "it closed its channel".to_owned();
                self.kill(link.node, incarnation);
                self.news.push(News::WorkerEnded {
                    worker: incarnation,
                    ended: None,
                    reason,
                });
            }
            return;
        }
        let silent = process
            .awaited
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let late = if process.ready {
            options.heartbeat_timeout
        } else {
            options.start_timeout
        };
        if process.trouble.is_some() || silent > late {
            let what = if process.ready {
                "sign of life"
            } else {
                "word that it is ready"
            };
            process
                .trouble
                .get_or_insert_with(|| format!("no {what} for {:.0} s", silent.as_secs_f64()));
            process.ending = Some(now);
            self.kill(link.node, incarnation);
        } else if ping && process.ready {
            process.ping(self.pings, now);
        }
    }

    fn kill(&mut self, node: u32, worker: Incarnation) {
        // Without its manager the process is dead.
        let _ = self.nodes.all[node as usize].tell(&ToManager::KillWorker(worker), Vec::new());
    }

    /// Sends what has gathered without an attempt to go with, and what a socket did not take before.
    fn send_news(&mut self) {
        let shared = Arc::clone(&self.shared);
        for (worker, link) in shared.links.iter().enumerate() {
            let mut link = link.lock();
            let Some(process) = link
                .process
                .as_mut()
                .filter(|process| process.ending.is_none())
            else {
                continue;
            };
            if process.has_news() || process.wants_to_send() {
                process.send(&shared.bytes);
            }
            let wants = process.wants_to_send();
            if std::mem::replace(&mut process.watched_for_room, wants) != wants {
                let flags = if wants {
                    EventFlags::IN | EventFlags::OUT
                } else {
                    EventFlags::IN
                };
                let token = Token::Data(worker as u32);
                // The tick comes to the same.
                let _ = epoll::modify(&self.epoll, &process.data, token.data(), flags);
            }
        }
    }

    /// How long the next wait may last.
    fn patience(&self) -> Duration {
        if self.stopping.is_some() || self.failed {
            // Nothing is looked after any more.
            return TICK;
        }
        self.look_at.saturating_duration_since(Instant::now())
    }

    /// Tells every worker to end.
    fn stop(&mut self) {
        self.stopping = Some(Instant::now());
        for link in &self.shared.links {
            let mut link = link.lock();
            link.start_at = None;
            if let Some(process) = &mut link.process {
                process.say(&Control::Stop);
            }
        }
    }

    /// Whether all workers have ended, or had their time.
    fn has_ended(&self, since: Instant) -> bool {
        self.failed
            || since.elapsed() > ENDING
            || self
                .shared
                .links
                .iter()
                .all(|link| link.lock().process.is_none())
    }
}
