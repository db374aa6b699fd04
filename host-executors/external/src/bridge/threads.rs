//! The threads that serve a bridge.

use super::{Outgoing, Shared, State, arguments::Sendable, grouping::Next, process::with_fix};
use crate::{
    frame::{self, Frame, FrameError},
    message::{FromBridge, Group, GroupTask, Resources, ToBridge},
};
use std::{
    io::{self, BufReader},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};
use taps_engine::{Demands, EventSink, ExecutorEvent, FetchError};
use taps_sandbox::LogLevel;

/// Most groups of one frame.
const MOST_GROUPS: usize = 1024;

/// Starts them.
pub(super) fn serve(
    shared: &Arc<Shared>,
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    sink: Arc<dyn EventSink>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let (sender, events) = channel();
    *shared.events.lock() = Some(sender);
    let start = |name: &str, serve: Box<dyn FnOnce(&Shared) + Send>| {
        let shared = Arc::clone(shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&shared))
    };
    Ok(vec![
        start(
            "bridge-events",
            Box::new(move |_| deliver(&events, sink.as_ref())),
        )?,
        start(
            "bridge-writer",
            Box::new(move |shared| shared.write(writer)),
        )?,
        start("bridge-reader", Box::new(move |shared| shared.read(reader)))?,
    ])
}

fn deliver(events: &Receiver<Vec<ExecutorEvent>>, sink: &dyn EventSink) {
    while let Ok(mut batch) = events.recv() {
        while let Ok(more) = events.try_recv() {
            batch.extend(more);
        }
        sink.deliver(batch);
    }
}

impl Shared {
    fn read(&self, mut reader: BufReader<UnixStream>) {
        let why = loop {
            match Frame::read(&mut reader) {
                Ok(Some(frame)) => match frame.message() {
                    Ok(FromBridge::Fatal { message, fix, .. }) => break with_fix(message, fix),
                    Ok(message) => self.hear(message, frame.buffers),
                    Err(error) => break taps_engine::chain(&error),
                },
                Ok(None) => break "the bridge has ended".to_owned(),
                Err(error) => {
                    break format!("the bridge has ended: {}", taps_engine::chain(&error));
                }
            }
        };
        let log = self.options.log.display();
        self.fail(&format!("{why} (its log: {log})"));
        let mut state = self.state.lock();
        state.stopping = true;
        drop(state);
        self.wake.notify_all();
    }

    fn hear(&self, message: FromBridge, buffers: Vec<Vec<u8>>) {
        let say = &self.options.log_line;
        match message {
            FromBridge::Done { results } => self.tell(self.ended(results, buffers)),
            FromBridge::Fetched {
                request,
                ok,
                message,
                lost,
            } => {
                let answer = match buffers.into_iter().next() {
                    Some(bytes) if ok => Ok(bytes),
                    _ => Err(FetchError {
                        lost,
                        reason: message,
                    }),
                };
                if let Some(waiting) = self.fetches.lock().remove(&request) {
                    // It may have given up.
                    let _ = waiting.send(answer);
                }
            }
            FromBridge::NeedPackage => {
                self.state.lock().outbox.push_back(Outgoing::Package);
                self.wake.notify_all();
            }
            FromBridge::Log { level, message } => say(level_of(&level), &message),
            FromBridge::Reran { ids } => {
                for id in ids {
                    let text = format!("the engine ran attempt {id} again although it had ended");
                    say(LogLevel::Warn, &text);
                }
            }
            FromBridge::Workers { joined, lost } => {
                for name in joined {
                    say(LogLevel::Debug, &format!("worker {name} has joined"));
                }
                for worker in lost {
                    let text = format!("worker {} is lost: {}", worker.name, worker.reason);
                    say(LogLevel::Warn, &text);
                }
            }
            other @ (FromBridge::Ready { .. } | FromBridge::Fatal { .. }) => {
                say(LogLevel::Warn, &format!("the bridge said {other:?}"));
            }
        }
    }

    fn write(&self, mut writer: UnixStream) {
        while let Some(batch) = self.next_batch() {
            for message in batch {
                if self.send(&mut writer, message).is_err() {
                    // The reader sees that the bridge is gone, and says so.
                    return;
                }
            }
        }
    }

    /// Waits for something to send; none when nothing more will come.
    fn next_batch(&self) -> Option<Vec<Written>> {
        let mut state = self.state.lock();
        loop {
            let mut batch = Vec::new();
            let mut until = None;
            let mut is_last = false;
            while let Some(message) = state.outbox.pop_front() {
                is_last |= matches!(message, Outgoing::Shutdown);
                Written::add(message, &mut batch, &mut state);
            }
            while batch.len() < MOST_GROUPS && !is_last {
                match state.groups.next(Instant::now()) {
                    Next::Send(group) => Written::add_group(group, &mut batch, &mut state),
                    Next::Wait(when) => {
                        until = when;
                        break;
                    }
                }
            }
            if !batch.is_empty() {
                return Some(batch);
            }
            if state.stopping {
                return None;
            }
            match until {
                Some(until) => {
                    self.wake.wait_until(&mut state, until);
                }
                None => self.wake.wait(&mut state),
            }
        }
    }

    fn send(&self, writer: &mut UnixStream, message: Written) -> Result<(), FrameError> {
        let message = match message {
            Written::Submit(groups) => return submit(writer, groups),
            Written::Other(message) => message,
        };
        match message {
            Outgoing::Put { key, bytes } => {
                frame::write(writer, &ToBridge::Put { key: &key }, &[&bytes])
            }
            Outgoing::Release(keys) => {
                frame::write(writer, &ToBridge::Release { keys: &keys }, &[])
            }
            Outgoing::Fetch {
                request,
                key,
                index,
            } => {
                let key = key.to_string();
                let fetch = ToBridge::Fetch {
                    request,
                    key,
                    index,
                };
                frame::write(writer, &fetch, &[])
            }
            Outgoing::Cancel(ids) => frame::write(writer, &ToBridge::Cancel { ids: &ids }, &[]),
            Outgoing::Package => frame::write(writer, &ToBridge::Package, &[self.package.bytes()]),
            Outgoing::Shutdown => {
                let deadline_s = self.options.stop_timeout.as_secs_f64();
                frame::write(writer, &ToBridge::Shutdown { deadline_s }, &[])
            }
            Outgoing::Single(one) => submit(writer, vec![vec![one]]),
        }
    }
}

/// What becomes one frame.
enum Written {
    Submit(Vec<Vec<Sendable>>),
    Other(Outgoing),
}

impl Written {
    fn add(message: Outgoing, batch: &mut Vec<Self>, state: &mut State) {
        match message {
            Outgoing::Single(one) => Self::add_group(vec![one], batch, state),
            other => batch.push(Self::Other(other)),
        }
    }

    /// Groups that follow each other go together.
    fn add_group(group: Vec<Sendable>, batch: &mut Vec<Self>, state: &mut State) {
        Shared::sent(state, &group);
        match batch.last_mut() {
            Some(Self::Submit(groups)) => groups.push(group),
            _ => batch.push(Self::Submit(vec![group])),
        }
    }
}

fn submit(writer: &mut UnixStream, groups: Vec<Vec<Sendable>>) -> Result<(), FrameError> {
    let mut buffers = Vec::new();
    let mut submitted = Vec::with_capacity(groups.len());
    for group in groups {
        let demands = group.iter().find_map(|one| one.demands.as_deref());
        let (resources, priority) = resources(demands);
        let mut tasks = Vec::with_capacity(group.len());
        for one in group {
            tasks.push(GroupTask {
                id: one.id,
                key: one.key,
                refs: one.refs,
            });
            buffers.push(one.bytes);
        }
        submitted.push(Group {
            tasks,
            resources,
            priority,
        });
    }
    let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    frame::write(writer, &ToBridge::Submit { groups: submitted }, &slices)
}

fn resources(demands: Option<&Demands>) -> (Resources, i32) {
    let Some(demands) = demands else {
        let one = Resources {
            cores: 1,
            memory_bytes: 0,
            custom: serde_json::Map::new(),
        };
        return (one, 0);
    };
    let custom = demands.resources.iter();
    let custom = custom.map(|(name, amount)| (name.clone(), (*amount).into()));
    let resources = Resources {
        cores: demands.cores,
        memory_bytes: demands.memory_bytes,
        custom: custom.collect(),
    };
    (resources, demands.priority)
}

fn level_of(word: &str) -> LogLevel {
    match word {
        "debug" => LogLevel::Debug,
        "warning" => LogLevel::Warn,
        "error" => LogLevel::Error,
        _ => LogLevel::Info,
    }
}
