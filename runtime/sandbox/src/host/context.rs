//! Interface `context`.

use super::{interface, interrupt};
use crate::{
    LogLevel, Speaker, State,
    state::Role,
    wire::{KernelMode, Level, text},
};
use std::{future::poll_fn, sync::Arc, time::Duration};
use taps_schema::Kernels;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmStr},
};

type Store<'a> = StoreContextMut<'a, State>;

impl State {
    /// Who the guest is in the log.
    pub(crate) fn speaker(&self) -> Speaker {
        self.role
            .attempt()
            .map_or(Speaker::Driver, Speaker::Attempt)
    }
}

fn log(store: Store<'_>, (level, message): (Level, WasmStr)) -> wasmtime::Result<()> {
    let level = match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    let message = text(&message, &store)?;
    let state = store.data();
    state.run.sink.log(state.speaker(), level, &message);
    Ok(())
}

fn clock(store: Store<'_>, (): ()) -> wasmtime::Result<(u64,)> {
    let state = store.data();
    Ok((match &state.role {
        Role::Driver { host, .. } => host.clock_ns(),
        Role::Task { .. } | Role::Describe => state.run.now_ns(),
    },))
}

fn add_common(context: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    context.func_wrap("log", log)?;
    context.func_wrap("clock-ns", clock)?;
    context.func_wrap("seed", |store: Store<'_>, (): ()| {
        Ok((store.data().role.seed(),))
    })?;
    context.func_wrap("attempt", |store: Store<'_>, (): ()| {
        Ok((store.data().role.attempt().map_or(0, |id| id.number),))
    })?;
    context.func_wrap("kernel-mode", |store: Store<'_>, (): ()| {
        Ok((match store.data().role.kernels() {
            Kernels::Host => KernelMode::Host,
            Kernels::Guest => KernelMode::Guest,
        },))
    })
}

/// For tasks: sleeping blocks the worker.
pub(crate) fn add_sync(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut context = linker.instance(interface!("context"))?;
    add_common(&mut context)?;
    context.func_wrap("sleep-ns", |mut store: Store<'_>, (duration,): (u64,)| {
        let control = store.data().control.clone();
        control
            .sleep(Duration::from_nanos(duration))
            .map_err(|why| interrupt(&mut store, why))
    })
}

/// For drivers: sleeping suspends the fiber.
pub(crate) fn add_async(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut context = linker.instance(interface!("context"))?;
    add_common(&mut context)?;
    context.func_wrap_async("sleep-ns", |store: Store<'_>, (duration,): (u64,)| {
        Box::new(async move {
            let Role::Driver { host, .. } = &store.data().role else {
                wasmtime::bail!("only a driver sleeps here");
            };
            let host = Arc::clone(host);
            let until = host.clock_ns().saturating_add(duration);
            poll_fn(|context| host.poll_sleep(until, context.waker())).await;
            Ok(())
        })
    })
}
