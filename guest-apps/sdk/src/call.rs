//! Calls of tasks, as drivers make them.

use std::marker::PhantomData;
use std::rc::Rc;

use crate::backend;
use crate::{Bytes, Error, Future, Payload, Result, TaskEntry, Value};

/// One argument of a call.
#[derive(Debug)]
pub enum Argument {
    /// Bytes made by the driver.
    Inline(Vec<u8>),
    /// A payload that the driver holds.
    Payload(Payload),
    /// An output of another task: this is the dataflow.
    Output(Output),
}

impl Argument {
    /// A value as an argument.
    pub fn value<V: Value>(value: V) -> Result<Self> {
        Ok(Self::Inline(value.into_bytes()?.into_vec()))
    }
}

/// The result of a task, when it is there.
impl<V> From<&Future<V>> for Argument {
    fn from(future: &Future<V>) -> Self {
        future.as_argument()
    }
}

impl From<&Payload> for Argument {
    fn from(payload: &Payload) -> Self {
        Self::Payload(payload.clone())
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Inline(text.into())
    }
}

/// Bytes as they are.
impl From<Vec<u8>> for Argument {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Inline(bytes)
    }
}

/// An output of a submitted task.
pub struct Output {
    pub(crate) future: Rc<backend::Future>,
    pub(crate) index: u32,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({})", self.index)
    }
}

/// A call of a task that waits to be submitted, made by the task's `call` function. `O` is what
/// the task returns.
#[must_use = "a call does nothing until it is submitted"]
#[derive(Debug)]
pub struct Call<O> {
    pub(crate) task: &'static TaskEntry,
    pub(crate) arguments: Result<Vec<Argument>>,
    _outputs: PhantomData<fn() -> O>,
}

impl<O> Call<O> {
    /// A call without arguments yet.
    #[doc(hidden)]
    pub fn new(task: &'static TaskEntry) -> Self {
        Self {
            task,
            arguments: Ok(Vec::new()),
            _outputs: PhantomData,
        }
    }

    /// A call of a task by its name, for tasks of other components of the bundle, whatever language they are
    /// written in. `O` is what the bytes of the result are read as: [`Bytes`], [`Json`](crate::Json), or whatever
    /// both sides agree on. A name that no component has is refused when the call is submitted.
    ///
    /// Outside of a sandbox, in a plain test, a task of this binary with that name stands in for it.
    ///
    /// ```no_run
    /// # fn driver(engine: &taps::Engine) -> taps::Result<()> {
    /// use taps::{Call, Json};
    /// type Counts = std::collections::BTreeMap<String, u64>;
    ///
    /// let count = Call::<Json<Counts>>::named("python_count_words", ["to be or not to be".into()]);
    /// let counts = engine.submit(count)?;
    /// // A future is an argument: bytes go from one language to the other without the driver.
    /// let merge = Call::<Json<Counts>>::named("c_merge_counts", [(&counts).into(), (&counts).into()]);
    /// let Json(counts) = engine.submit(merge)?.result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn named(task: &str, arguments: impl IntoIterator<Item = Argument>) -> Self {
        Self {
            arguments: Ok(arguments.into_iter().collect()),
            ..Self::new(crate::task::by_name(task))
        }
    }

    /// Adds one argument.
    #[doc(hidden)]
    pub fn argument<V>(mut self, argument: impl IntoArgument<V>) -> Self {
        if let Ok(arguments) = &mut self.arguments {
            match argument.into_argument() {
                Ok(argument) => arguments.push(argument),
                Err(error) => self.arguments = Err(error),
            }
        }
        self
    }

    /// Adds the rest of the arguments.
    #[doc(hidden)]
    pub fn arguments<V>(mut self, arguments: impl IntoArguments<V>) -> Self {
        if let Ok(list) = &mut self.arguments
            && let Err(error) = arguments.append_to(list)
        {
            self.arguments = Err(error);
        }
        self
    }

    /// The task that is called.
    pub fn task(&self) -> &'static TaskEntry {
        self.task
    }
}

/// What can be given for a parameter of type `V`: the value, a reference to it, or a future of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given for a parameter of type `{V}`",
    label = "expected `{V}`, `&{V}` or a `Future<{V}>`"
)]
pub trait IntoArgument<V> {
    /// The argument, or why the value cannot be written.
    fn into_argument(self) -> Result<Argument>;
}

impl<V: Value> IntoArgument<V> for V {
    fn into_argument(self) -> Result<Argument> {
        Ok(Argument::Inline(self.into_bytes()?.into_vec()))
    }
}

impl<V: Value> IntoArgument<V> for &V {
    fn into_argument(self) -> Result<Argument> {
        Ok(Argument::Inline(self.encode()?.into_vec()))
    }
}

impl<V: Value> IntoArgument<V> for &Future<V> {
    fn into_argument(self) -> Result<Argument> {
        Ok(self.as_argument())
    }
}

impl<V: Value> IntoArgument<V> for Future<V> {
    fn into_argument(self) -> Result<Argument> {
        Ok(self.as_argument())
    }
}

impl<V: Value> IntoArgument<Payload> for &Future<V> {
    fn into_argument(self) -> Result<Argument> {
        Ok(self.as_argument())
    }
}

impl<V: Value> IntoArgument<Payload> for Future<V> {
    fn into_argument(self) -> Result<Argument> {
        Ok(self.as_argument())
    }
}

/// An argument made before, for calls whose arguments are of several kinds.
impl<V> IntoArgument<V> for Argument {
    fn into_argument(self) -> Result<Argument> {
        Ok(self)
    }
}

macro_rules! payload_argument {
    ($($parameter:ty),*) => {$(
        impl IntoArgument<$parameter> for Payload {
            fn into_argument(self) -> Result<Argument> {
                Ok(Argument::Payload(self))
            }
        }
        impl IntoArgument<$parameter> for &Payload {
            fn into_argument(self) -> Result<Argument> {
                Ok(Argument::Payload(self.clone()))
            }
        }
    )*};
}

payload_argument!(Payload, Bytes);

macro_rules! bytes_argument {
    ($parameter:ty: $([$($generics:tt)*] $given:ty),*) => {$(
        impl<$($generics)*> IntoArgument<$parameter> for $given {
            fn into_argument(self) -> Result<Argument> {
                Ok(Argument::Inline(self.into()))
            }
        }
    )*};
}

bytes_argument!(Bytes: [] Vec<u8>, [] &[u8], [const N: usize] &[u8; N], [] &str);
bytes_argument!(Payload: [] Vec<u8>, [] &[u8]);

impl IntoArgument<Bytes> for &Vec<u8> {
    fn into_argument(self) -> Result<Argument> {
        Ok(Argument::Inline(self.clone()))
    }
}

impl IntoArgument<String> for &str {
    fn into_argument(self) -> Result<Argument> {
        self.to_owned().into_argument()
    }
}

/// What can be given for a last parameter `List<V>`: anything that gives arguments for `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given for a parameter of type `List<{V}>`",
    label = "expected a slice or iterator of `{V}`, `&{V}` or `Future<{V}>`"
)]
pub trait IntoArguments<V> {
    /// Appends the arguments to a call's.
    #[doc(hidden)]
    fn append_to(self, arguments: &mut Vec<Argument>) -> Result<()>;
}

impl<V, I> IntoArguments<V> for I
where
    I: IntoIterator,
    I::Item: IntoArgument<V>,
{
    fn append_to(self, arguments: &mut Vec<Argument>) -> Result<()> {
        for item in self {
            arguments.push(item.into_argument()?);
        }
        Ok(())
    }
}

/// The error of a call refused before it reached the engine.
pub(crate) fn refused(task: &TaskEntry, error: Error) -> Error {
    match error {
        Error::Submit { .. } => error,
        other => Error::Submit {
            task: task.name.to_owned(),
            reason: other.to_string(),
        },
    }
}
