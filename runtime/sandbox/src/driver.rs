//! Running the driver: a fiber that its host polls.

use crate::{
    CancelToken, Control, DriverHost, Interrupted, LoadedComponent, RunContext, SandboxError,
    Speaker, State, Stream, classify, state::Role, ticker::Turns,
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
};
use taps_engine::{Failure, Limits};
use taps_schema::Kernels;

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
/// it waits, and every few milliseconds in between.
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
    let turns = Arc::<Turns>::default();
    let mut store = component.new_store(state, Some(Arc::clone(&turns)));
    let mut running = Box::pin(async move {
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
    });
    Ok(Box::pin(poll_fn(move |context| {
        turns.poll();
        running.as_mut().poll(context)
    })))
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
