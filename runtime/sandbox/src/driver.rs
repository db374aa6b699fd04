//! Running the driver: a fiber that its host polls.

use crate::{
    CancelToken, Control, DriverHost, Interrupt, Interrupted, LoadedComponent, RunContext,
    SandboxError, Speaker, State, Stream, classify, host, sandbox::new_store, state::Role,
};
use std::{future::Future, pin::Pin, sync::Arc};
use taps_engine::{Failure, Limits};
use taps_schema::Kernels;
use wasmtime::UpdateDeadline;

/// What a driver needs to start.
pub struct DriverStart {
    /// Configuration as a JSON object.
    pub config: String,
    /// Seed of the run.
    pub seed: u64,
    /// Who computes dense linear algebra.
    pub kernels: Kernels,
    /// Memory and windows that it may use; a time limit is not enforced.
    pub limits: Limits,
    /// Cancelled to end the driver.
    pub token: CancelToken,
}

/// How a driver ended: its report or its own error (JSON both), or why its sandbox ended.
pub type DriverEnd = Result<Result<String, String>, Failure>;

/// A driver under way. Whoever polls it runs it, on its own thread; it gives the thread back whenever
/// it waits, and every millisecond in between.
pub type DriverFuture = Pin<Box<dyn Future<Output = DriverEnd> + Send>>;

/// Prepares a driver; it starts when first polled.
pub fn driver(
    component: &LoadedComponent,
    run: &Arc<RunContext>,
    host: Arc<dyn DriverHost>,
    start: DriverStart,
) -> Result<DriverFuture, SandboxError> {
    let linked = component.driver()?;
    let DriverStart {
        config,
        seed,
        kernels,
        limits,
        token,
    } = start;
    let role = Role::Driver {
        host,
        seed,
        kernels,
    };
    let control = Control::new(token, None);
    let state = State::new(
        run,
        role,
        control,
        limits.memory_bytes,
        limits.window_bytes,
        &run.grants,
    )
    .map_err(|source| SandboxError::Link {
        name: component.name().to_owned(),
        source,
    })?;
    let mut store = new_store(component.engine(), state, component.profile());
    if component.profile().interrupt == Interrupt::Epoch {
        store.epoch_deadline_callback(|mut store| match store.data().control.check() {
            Ok(()) => Ok(UpdateDeadline::Yield(1)),
            Err(why) => Err(host::interrupt(&mut store, why)),
        });
    }
    Ok(Box::pin(async move {
        let called = async {
            let instance = linked.pre.instantiate_async(&mut store).await?;
            let run = instance.get_typed_func::<(String,), (Result<String, String>,)>(
                &mut store,
                linked.export,
            )?;
            let (answer,) = run.call_async(&mut store, (config,)).await?;
            Ok::<_, wasmtime::Error>(answer)
        }
        .await;
        let stderr = report_output(store.data());
        called.map_err(|error| classify::failure(&error, store.data(), stderr.as_deref()))
    }))
}

fn report_output(state: &State) -> Option<String> {
    let sink = state.run.sink.as_ref();
    if let Some((text, dropped)) = state.stdout.take() {
        sink.output(Speaker::Driver, Stream::Stdout, &text, dropped);
    }
    let (text, dropped) = state.stderr.take()?;
    sink.output(Speaker::Driver, Stream::Stderr, &text, dropped);
    Some(text)
}

/// Whether a driver that ended with this failure was told to.
pub fn was_cancelled(failure: &Failure) -> bool {
    failure.outcome == taps_engine::OutcomeKind::Cancelled
        && failure.message == Interrupted::Cancelled.to_string()
}
