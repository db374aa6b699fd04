//! The host's side of the WIT interfaces, one module each.

pub(crate) mod context;
pub(crate) mod engine;
pub(crate) mod kernels;
pub(crate) mod outputs;
pub(crate) mod payloads;
pub(crate) mod program;
pub(crate) mod wasi_files;
pub(crate) mod wasi_poll;

use crate::{Interrupted, State};
use wasmtime::{Engine, StoreContextMut, component::Linker};

/// Version suffix of the interfaces served.
macro_rules! interface {
    ($name:literal) => {
        concat!("taps:core/", $name, "@0.1.0")
    };
}
pub(crate) use interface;

/// Links everything for tasks: nothing asynchronous, so that calls stay synchronous.
pub(crate) fn task_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    wasi_poll::add_sync(&mut linker)?;
    wasi_files::add_sync(&mut linker)?;
    add_common(&mut linker)?;
    context::add_sync(&mut linker)?;
    engine::add_refusing(&mut linker)?;
    Ok(linker)
}

/// Links everything for drivers, which wait by suspending their fiber.
pub(crate) fn driver_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasi_poll::add_async(&mut linker)?;
    wasi_files::add_async(&mut linker)?;
    add_common(&mut linker)?;
    context::add_async(&mut linker)?;
    engine::add(&mut linker)?;
    Ok(linker)
}

fn add_common(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    payloads::add(linker)?;
    kernels::add(linker)?;
    program::add(linker)
}

/// Ends the guest because its attempt should end, and notes why.
pub(crate) fn interrupt(
    store: &mut StoreContextMut<'_, State>,
    why: Interrupted,
) -> wasmtime::Error {
    store.data_mut().interrupted = Some(why);
    why.into()
}
