//! Interface `program`: defined, and refused until the launcher that confines programs exists.

use super::interface;
use crate::{
    State,
    wire::{Invocation, ProgramCompletion, ProgramError},
};
use wasmtime::{StoreContextMut, component::Linker};

pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut program = linker.instance(interface!("program"))?;
    program.func_wrap(
        "run",
        |_: StoreContextMut<'_, State>, (call,): (Invocation,)| {
            let answer: Result<ProgramCompletion, ProgramError> =
                Err(ProgramError::NotAllowed(format!(
                    "program `{}`: this version of the runtime serves no programs",
                    call.program
                )));
            Ok((answer,))
        },
    )
}
