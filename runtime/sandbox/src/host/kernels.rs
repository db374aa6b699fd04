//! Interface `kernels`: dense linear algebra on the guest's own memory.

use super::interface;
use crate::{Interrupted, State, memory::lend_numbers, wire::Matrix};
use taps_kernels::{Cancelled, KernelError, MatMut, MatRef, Native};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList},
};

type Store<'a> = StoreContextMut<'a, State>;
type List = WasmList<u8>;

/// A view with a shape from the guest, checked against its buffer.
fn view<T>(data: &[T], m: Matrix) -> wasmtime::Result<MatRef<'_, T>> {
    Ok(MatRef::new(
        data,
        m.rows as usize,
        m.columns as usize,
        m.row_stride as usize,
        m.column_stride as usize,
    )?)
}

fn view_mut<T>(data: &mut [T], m: Matrix) -> wasmtime::Result<MatMut<'_, T>> {
    Ok(MatMut::new(
        data,
        m.rows as usize,
        m.columns as usize,
        m.row_stride as usize,
        m.column_stride as usize,
    )?)
}

/// Runs a kernel under the attempt's control.
fn controlled(
    state: &mut State,
    kernel: impl FnOnce(&mut dyn FnMut() -> Result<(), Cancelled>) -> Result<(), KernelError>,
) -> wasmtime::Result<Result<(), KernelError>> {
    let mut why: Option<Interrupted> = None;
    let control = &state.control;
    let result = kernel(&mut || {
        control.check().map_err(|interrupted| {
            why = Some(interrupted);
            Cancelled
        })
    });
    if let Some(why) = why {
        state.interrupted = Some(why);
        return Err(why.into());
    }
    Ok(result)
}

macro_rules! gemm {
    ($name:ident, $number:ty) => {
        fn $name(
            mut store: Store<'_>,
            (alpha, a_shape, a, b_shape, b, beta, c_shape, c): (
                $number,
                Matrix,
                List,
                Matrix,
                List,
                $number,
                Matrix,
                List,
            ),
        ) -> wasmtime::Result<()> {
            lend_numbers::<$number, 2, _>(&mut store, [&a, &b], &c, |state, [a, b], c| {
                let (a, b) = (view(a, a_shape)?, view(b, b_shape)?);
                let c = view_mut(c, c_shape)?;
                controlled(state, |check| {
                    taps_kernels::gemm::<Native, $number>(alpha, a, b, beta, c, check)
                })??;
                Ok(())
            })?
        }
    };
}

gemm!(gemm_f64, f64);
gemm!(gemm_f32, f32);

fn syrk(
    mut store: Store<'_>,
    (alpha, a_shape, a, beta, c_shape, c): (f64, Matrix, List, f64, Matrix, List),
) -> wasmtime::Result<()> {
    lend_numbers::<f64, 1, _>(&mut store, [&a], &c, |state, [a], c| {
        let (a, c) = (view(a, a_shape)?, view_mut(c, c_shape)?);
        controlled(state, |check| {
            taps_kernels::syrk::<Native, f64>(alpha, a, beta, c, check)
        })??;
        Ok(())
    })?
}

fn trsm(
    mut store: Store<'_>,
    (l_shape, l, b_shape, b): (Matrix, List, Matrix, List),
) -> wasmtime::Result<()> {
    lend_numbers::<f64, 1, _>(&mut store, [&l], &b, |state, [l], b| {
        let (l, b) = (view(l, l_shape)?, view_mut(b, b_shape)?);
        controlled(state, |check| {
            taps_kernels::trsm::<Native, f64>(l, b, check)
        })??;
        Ok(())
    })?
}

fn potrf(
    mut store: Store<'_>,
    (a_shape, a): (Matrix, List),
) -> wasmtime::Result<(Result<(), u32>,)> {
    lend_numbers::<f64, 0, _>(&mut store, [], &a, |state, [], a| {
        let a = view_mut(a, a_shape)?;
        match controlled(state, |check| taps_kernels::potrf::<Native, f64>(a, check))? {
            Ok(()) => Ok((Ok(()),)),
            Err(KernelError::NotPositiveDefinite { column }) => Ok((Err(column as u32),)),
            Err(error) => Err(error.into()),
        }
    })?
}

pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut kernels = linker.instance(interface!("kernels"))?;
    kernels.func_wrap("gemm-f64", gemm_f64)?;
    kernels.func_wrap("gemm-f32", gemm_f32)?;
    kernels.func_wrap("syrk-f64", syrk)?;
    kernels.func_wrap("trsm-f64", trsm)?;
    kernels.func_wrap("potrf-f64", potrf)
}
