//! `wasi:io/poll`, so that waiting guests can be cancelled.
//!
//! The stock synchronous version blocks until something is ready, which a cancel or a deadline could
//! not end: `std::thread::sleep` in a task goes through here. The asynchronous version needs tokio's
//! timers, which exist only inside its runtime.

use super::interrupt;
use crate::{Control, Interrupted, State};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    p2::{
        DynPollable,
        bindings::io::poll::{Host, HostPollable},
    },
    runtime::{in_tokio, with_ambient_tokio_runtime},
};

type Store<'a> = StoreContextMut<'a, State>;

const POLL: &str = "wasi:io/poll@0.2.12";

/// How often a waiting task looks at its control.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for a future, blocking, until the attempt should end.
fn wait<T>(control: &Control, future: impl Future<Output = T>) -> Result<T, Interrupted> {
    in_tokio(async {
        let mut future = pin!(future);
        loop {
            control.check()?;
            if let Ok(value) = tokio::time::timeout(LOOK, future.as_mut()).await {
                return Ok(value);
            }
        }
    })
}

pub(crate) fn add_sync(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut store: Store<'_>, (pollable,): (Resource<DynPollable>,)| {
            let control = store.data().control.clone();
            wait(
                &control,
                HostPollable::block(&mut store.data_mut().table, pollable),
            )
            .map_err(|why| interrupt(&mut store, why))?
        },
    )?;
    poll.func_wrap(
        "poll",
        |mut store: Store<'_>, (pollables,): (Vec<Resource<DynPollable>>,)| {
            let control = store.data().control.clone();
            wait(&control, Host::poll(&mut store.data_mut().table, pollables))
                .map_err(|why| interrupt(&mut store, why))?
                .map(|ready| (ready,))
        },
    )
}

/// Polls a future inside of tokio's runtime, wherever the driver is being driven.
async fn within_tokio<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| with_ambient_tokio_runtime(|| future.as_mut().poll(context))).await
}

pub(crate) fn add_async(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap_async(
        "[method]pollable.block",
        |mut store: Store<'_>, (pollable,): (Resource<DynPollable>,)| {
            Box::new(async move {
                within_tokio(HostPollable::block(&mut store.data_mut().table, pollable)).await
            })
        },
    )?;
    poll.func_wrap_async(
        "poll",
        |mut store: Store<'_>, (pollables,): (Vec<Resource<DynPollable>>,)| {
            Box::new(async move {
                within_tokio(Host::poll(&mut store.data_mut().table, pollables))
                    .await
                    .map(|ready| (ready,))
            })
        },
    )
}
