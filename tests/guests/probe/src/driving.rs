//! Drivers that wait in every way that a driver can.

use crate::{Probe, add_up, error, flaky, nap, ok, panic, produce, said as told, sleep, spin};
use std::time::{Duration, Instant};
use taps::{Bound, Completions, Engine, Report, Status, TaskOptions, Wait};

/// As short as waits can be told apart from none.
const MOMENT: Duration = Duration::from_millis(40);

/// Keeps some tasks outstanding, and adds up what they give.
pub(crate) fn churn(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    let mut queue = Completions::new();
    let mut submitted = 0;
    let mut sum = 0;
    while submitted < config.count && u64::from(submitted) < config.bytes.max(1) {
        queue.add(engine.submit(ok::call(submitted))?);
        submitted += 1;
    }
    while let Some((future, _)) = queue.next_within(None) {
        sum += u64::from(future.result()?);
        if submitted < config.count {
            queue.add(engine.submit(ok::call(submitted))?);
            submitted += 1;
        }
    }
    let count = u64::from(config.count);
    let expected = count * (count - 1) / 2;
    Ok(Report::new().check("sum", sum, Bound::Equals(expected.into())))
}

/// Waits for a task that sleeps until its time is up, then cancels it.
pub(crate) fn waits(engine: &Engine) -> taps::Result<Report> {
    let future = engine.submit(sleep::call(1))?;
    let before = taps::clock();
    engine.wait(std::slice::from_ref(&future), Wait::All, Some(MOMENT));
    let waited = taps::clock().saturating_sub(before) >= MOMENT;
    let pending = future.status() == Status::Pending;
    future.cancel();
    let mut queue = Completions::new();
    queue.add(future);
    let ended = queue.next_within(None);
    let failed = ended.is_some_and(|(_, status)| status == Status::Failed);
    let empty = queue.next_within(Some(MOMENT)).is_none();
    Ok(said(&[
        ("waited", waited),
        ("pending", pending),
        ("failed", failed),
        ("empty", empty),
    ]))
}

/// Sleeps without a task to wait for.
pub(crate) fn naps() -> Report {
    let before = taps::clock();
    taps::sleep(MOMENT);
    let slept = taps::clock().saturating_sub(before) >= MOMENT;
    let before = Instant::now();
    std::thread::sleep(MOMENT);
    let std_slept = before.elapsed() >= MOMENT;
    said(&[("slept", slept), ("std-slept", std_slept)])
}

/// Drops the futures of tasks that fail, and of those that need them.
pub(crate) fn drops(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    let options = TaskOptions::new().label("dropped");
    for value in 0..config.count {
        let parent = engine.submit_with(error::call(value), &options)?;
        drop(engine.submit(ok::call(&parent))?);
    }
    let last = engine.submit(ok::call(config.count))?.result()?;
    Ok(Report::new().check("last", last, Bound::Equals(config.count.into())))
}

/// Submits one task that lasts and many that do not, which are known to be short by then.
pub(crate) fn behind(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    for _ in 0..50 {
        engine.submit(nap::call(0))?.result()?;
    }
    let slow = match config.bytes {
        0 => Slow::Endless(engine.submit(spin::call(0))?),
        milliseconds => Slow::Nap(engine.submit(nap::call(milliseconds))?),
    };
    let mut queue = Completions::new();
    for _ in 0..config.count {
        queue.add(engine.submit(nap::call(0))?);
    }
    let mut ended = 0;
    while let Some((future, _)) = queue.next_within(None) {
        ended += 1 - future.result()?;
    }
    let (status, told) = slow.end();
    Ok(Report::new()
        .value("pending", u64::from(status == Status::Pending))
        .value("slow", told)
        .check("ended", ended, Bound::Equals(config.count.into())))
}

enum Slow {
    Nap(taps::Future<u64>),
    Endless(taps::Future<u32>),
}

impl Slow {
    /// Its status, and how it ended; what would end by itself is cancelled.
    fn end(self) -> (Status, String) {
        match self {
            Self::Nap(future) => {
                let status = future.status();
                future.cancel();
                (status, crate::said(future.result()))
            }
            Self::Endless(future) => (future.status(), crate::said(future.result())),
        }
    }
}

/// Computes in the driver between tasks, for that many millions of steps.
pub(crate) fn ponder(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    let mut state = 1_u64;
    for round in 0..config.count {
        let outstanding = engine.submit(nap::call(300))?;
        engine.submit(ok::call(round))?.result()?;
        for _ in 0..config.bytes * 1_000_000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) + 1);
        }
        outstanding.result()?;
    }
    Ok(Report::new().value("state", state % 2))
}

/// Fails in several ways, recovers, and submits equal tasks: what becomes of each is in the report.
pub(crate) fn ways(config: &Probe, engine: &Engine) -> taps::Result<Report> {
    // The limit of the run is for the endless one, however slow the machine is.
    let patient = TaskOptions::new().timeout(Duration::from_hours(1));
    let panicked = engine.submit_with(panic::call(1), &patient)?;
    let endless = engine.submit(spin::call(2))?;
    let failed = engine.submit_with(error::call(3), &patient)?;
    let child = engine.submit_with(ok::call(&failed), &patient)?;
    let mended = engine.submit_with(flaky::call(4), &patient)?;
    let reader = engine.submit_with(ok::call(&mended), &patient)?;
    let mut sums = Vec::new();
    for _ in 0..2 {
        let data = engine.submit_with(produce::call(config.bytes), &patient)?;
        sums.push(engine.submit_with(add_up::call(&data), &patient)?);
    }
    let mut report = Report::new()
        .value("panicked", told(panicked.result()))
        .value("failed", told(failed.result()))
        .value("child", told(child.result()))
        .value("mended", told(mended.result()))
        .value("reader", told(reader.result()));
    for (index, sum) in sums.iter().enumerate() {
        report = report.value(&format!("sum {index}"), sum.result()?);
    }
    Ok(report.value("endless", u64::from(endless.result().is_err())))
}

/// Asks for a resource that no worker has, and for more cores than any.
pub(crate) fn special(engine: &Engine) -> taps::Result<Report> {
    let unicorns = TaskOptions::new().resource("unicorn", 2);
    let refused = engine.submit_with(ok::call(1), &unicorns)?;
    let cores = TaskOptions::new().cores(5000);
    let cores = engine.submit_with(ok::call(1), &cores)?;
    Ok(Report::new()
        .value("refused", told(refused.result()))
        .value("cores", told(cores.result())))
}

/// Holds completion queues, as a driver of a large run holds futures.
pub(crate) fn hoard(config: &Probe) -> Report {
    let held: Vec<Completions<u32>> = (0..config.count).map(|_| Completions::new()).collect();
    let expected = Bound::Equals(config.count.into());
    Report::new().check("held", held.len() as u64, expected)
}

fn said(facts: &[(&str, bool)]) -> Report {
    facts.iter().fold(Report::new(), |report, (name, fact)| {
        report.check(name, u64::from(*fact), Bound::Equals(1.into()))
    })
}
