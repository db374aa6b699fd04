//! What a link makes of what its process says.

use super::*;
use crate::{
    lending::Wake,
    message::{StoreSetup, bare_attempt},
};
use proptest::prelude::*;
use taps_engine::{Failure, OutcomeKind, TaskId};
use taps_payload::{Medium, MemoryId, MemoryInfo, Place, SegmentRef, StoreKind, StoreOptions};
use taps_sandbox::{InstancePolicy, Interrupt, Moment, RunSetup};

/// A process that is nobody but this test, and its ends of the channels.
fn process() -> (Process, OwnedFd, SegmentStore) {
    let (near, far) = channel::pair().expect("sockets work");
    let incarnation = Incarnation {
        worker: WorkerId(0),
        number: 0,
    };
    let setup = Setup {
        worker: incarnation,
        slots: 3,
        slot: 1,
        manifest: String::new(),
        cache_directory: None,
        run: RunSetup {
            began: Moment::of(Instant::now()),
            interrupt: Interrupt::Epoch,
            policy: InstancePolicy::Fresh,
            notes: Vec::new(),
            grants: Vec::new(),
            environment: Vec::new(),
            inline_max_bytes: 0,
            map_min_bytes: 0,
            verify_payloads: false,
            data: None,
        },
        programs: None,
        store: StoreSetup {
            kind: StoreKind::RecycledMemfd,
            huge_pages: false,
            huge_pages_work: false,
            recycle_bytes: 0,
            slab_max_bytes: 0,
            id_space: 1,
            spill_directory: None,
            tmpfs: false,
        },
    };
    let store = SegmentStore::new(StoreOptions::default()).expect("a store");
    let borrower = Borrower::new(store.clone(), Wake(Box::new(|| {})));
    let process = Process::new(incarnation, near, setup, Vec::new(), borrower);
    (process.expect("it is set up"), far, store)
}

fn attempt(task: u64) -> AttemptId {
    AttemptId {
        task: TaskId(task),
        number: 0,
    }
}

fn said(message: &FromWorker) -> Heard {
    let (mut process, far, _store) = process();
    channel::send_now(&far, message, Vec::new()).expect("somebody listens");
    let mut heard = Heard::default();
    process.hear_data(&mut heard, &Traffic::default());
    assert!(process.closed && process.trouble.is_some(), "{message:?}");
    heard
}

#[test]
fn a_worker_that_makes_no_sense_is_not_believed() {
    let failure = Failure::new(OutcomeKind::TaskError, "made up");
    let heard = said(&FromWorker::Batch {
        loans: Loans::default(),
        words: Vec::new(),
        reports: vec![AttemptReport::bare(attempt(7), WorkerId(0), Err(failure))],
    });
    assert!(heard.reports.is_empty());
    let loan = |id, memory| Loan {
        segment: SegmentRef {
            id: SegmentId(id),
            len: 10,
        },
        place: Place {
            memory: MemoryId(memory),
            offset: 0,
        },
    };
    // A segment of the coordinator's.
    said(&FromWorker::Batch {
        loans: Loans {
            lent: vec![loan(3, 1)],
            ..Loans::default()
        },
        words: Vec::new(),
        reports: Vec::new(),
    });
    // A memory without its descriptor.
    said(&FromWorker::Batch {
        loans: Loans {
            memories: vec![MemoryInfo {
                id: MemoryId(1),
                capacity: 1 << 20,
                huge: false,
                mappable: true,
                medium: Medium::Memfd,
            }],
            ..Loans::default()
        },
        words: Vec::new(),
        reports: Vec::new(),
    });
}

#[test]
fn workers_without_work_are_counted() {
    let words = SharedWords::create(1).expect("memfds work");
    let (process, far, store) = process();
    let mut link = Link::new(WorkerId(0), 0);
    let traffic = Traffic::default();
    let counted = |link: &mut Link| {
        if let Some(process) = &mut link.process {
            process.hear_data(&mut Heard::default(), &traffic);
        }
        link.tell_if_idle(&words);
        words.words()[IDLE_WORD].load(Ordering::Acquire)
    };
    assert_eq!(counted(&mut link), 0, "there is no process");
    link.process = Some(process);
    assert_eq!(counted(&mut link), 0, "it is not ready");
    channel::send_now(&far, &FromWorker::Ready, Vec::new()).expect("somebody listens");
    assert_eq!(counted(&mut link), 1);
    assert_eq!(counted(&mut link), 1, "once");
    link.queue(bare_attempt(1), &store);
    link.queue(bare_attempt(2), &store);
    assert_eq!(counted(&mut link), 0, "it has two attempts");
    for (task, idle) in [(1, 0), (2, 1)] {
        let reports = vec![AttemptReport::bare(
            attempt(task),
            WorkerId(0),
            Ok(Vec::new()),
        )];
        let batch = FromWorker::Batch {
            loans: Loans::default(),
            words: Vec::new(),
            reports,
        };
        channel::send_now(&far, &batch, Vec::new()).expect("somebody listens");
        assert_eq!(counted(&mut link), idle, "{task} has ended");
    }
    drop(far);
    assert_eq!(counted(&mut link), 0, "it is gone");
    link.process = None;
    assert_eq!(counted(&mut link), 0);
}

#[test]
fn it_is_ready_once() {
    let (mut process, far, _store) = process();
    let mut heard = Heard::default();
    channel::send_now(&far, &FromWorker::Ready, Vec::new()).expect("somebody listens");
    process.hear_data(&mut heard, &Traffic::default());
    assert!(process.ready && heard.ready && process.trouble.is_none());
    assert!(process.awaited.is_none(), "it has answered");
    process.ping(1, Instant::now());
    assert!(process.awaited.is_some());
    channel::send_now(&far, &FromWorker::Ready, Vec::new()).expect("somebody listens");
    process.hear_data(&mut heard, &Traffic::default());
    assert!(process.trouble.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Bytes of any kind, as frames of the right length and without: no panic, and no more memory than
    /// they take.
    #[test]
    fn any_bytes_are_survived(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
        framed in any::<bool>(),
        control in any::<bool>(),
    ) {
        let (mut process, data, _store) = process();
        let (near, far) = channel::pair().expect("sockets work");
        rustix::io::ioctl_fionbio(&near, true).expect("a socket");
        let far = if control {
            process.control = near;
            far
        } else {
            data
        };
        for frame in frames {
            if framed {
                let len = (frame.len() as u32).to_le_bytes();
                rustix::io::write(&far, &len).expect("there is room");
            }
            rustix::io::write(&far, &frame).expect("there is room");
        }
        drop(far);
        let (mut heard, traffic) = (Heard::default(), Traffic::default());
        process.hear_data(&mut heard, &traffic);
        process.hear_control(&mut heard, &traffic);
        prop_assert!(control || process.closed);
        prop_assert!(heard.reports.is_empty() && heard.returned.is_empty());
    }
}
