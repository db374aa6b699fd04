//! Tasks as they are registered and run.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::backend;
use crate::value::{Archivable, Archived, TaskOutput};
use crate::{Error, Payload, Result, TaskError, Value, View};

/// One task of an app, made by [`#[taps::task]`](macro@crate::task).
#[derive(Debug)]
pub struct TaskEntry {
    /// Cargo package that defines the task: an app has the tasks of its own package.
    pub package: &'static str,
    /// Name by which it is submitted; shown in records.
    pub name: &'static str,
    /// First paragraph of the doc comment.
    pub help: &'static str,
    /// Names and declared types of the parameters, in order.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Declared types of the outputs, in order.
    pub outputs: &'static [&'static str],
    /// Whether equal arguments always give equal outputs.
    pub pure: bool,
    /// Names of the path fields of the configuration that the task may reach.
    pub grants: &'static [&'static str],
    /// Names of the programs that the task may run.
    pub programs: &'static [&'static str],
    /// Whether the last parameter takes the rest of the arguments.
    pub takes_rest: bool,
    #[doc(hidden)]
    pub run: fn(Arguments) -> Result<Vec<TaskOutput>, TaskError>,
}

/// A task put on the list of its binary.
#[doc(hidden)]
pub struct TaskRegistration(pub fn() -> &'static TaskEntry);

inventory::collect!(TaskRegistration);

/// The tasks of a package, sorted by name: the order of their indices.
pub fn tasks(package: &str) -> Vec<&'static TaskEntry> {
    let mut tasks: Vec<_> = inventory::iter::<TaskRegistration>()
        .map(|registration| (registration.0)())
        .filter(|task| task.package == package)
        .collect();
    tasks.sort_unstable_by_key(|task| task.name);
    tasks
}

/// The task at `index` in that order; finds it without a list, because a fresh sandbox does this
/// once per task.
#[cfg(target_arch = "wasm32")]
pub(crate) fn nth(package: &str, index: usize) -> Option<&'static TaskEntry> {
    let all = || {
        inventory::iter::<TaskRegistration>()
            .map(|registration| (registration.0)())
            .filter(|task| task.package == package)
    };
    all().find(|task| all().filter(|other| other.name < task.name).count() == index)
}

thread_local! {
    /// Tasks called by name so far.
    static NAMED: RefCell<HashMap<String, &'static TaskEntry>> = RefCell::default();
}

/// A task by its name alone: in a component one that the host knows, and elsewhere one of this binary.
pub(crate) fn by_name(name: &str) -> &'static TaskEntry {
    NAMED.with_borrow_mut(|named| {
        if let Some(entry) = named.get(name) {
            return *entry;
        }
        let own = inventory::iter::<TaskRegistration>()
            .map(|registration| (registration.0)())
            .find(|task| task.name == name);
        // Kept for ever, as entries are: a driver calls few tasks by name, each many times.
        let entry = own.unwrap_or_else(|| Box::leak(Box::new(elsewhere(name))));
        named.insert(name.to_owned(), entry);
        entry
    })
}

/// A task that is not in this binary.
fn elsewhere(name: &str) -> TaskEntry {
    TaskEntry {
        package: "",
        name: Box::leak(name.into()),
        help: "",
        parameters: &[("arguments", "any")],
        outputs: &["any"],
        pure: false,
        grants: &[],
        programs: &[],
        takes_rest: true,
        run: |_| {
            let reason =
                "no task of this binary has the name; another component's runs in a bundle only";
            Err(TaskError::new(&Error::app("UnknownTask", reason)))
        },
    }
}

impl TaskEntry {
    /// Runs the task in the surroundings of this thread.
    pub(crate) fn run_with(&self, arguments: Vec<Payload>) -> Result<Vec<TaskOutput>, TaskError> {
        let count = self.parameters.len();
        let lists = self.takes_rest;
        let enough = if lists {
            arguments.len() + 1 >= count
        } else {
            arguments.len() == count
        };
        if !enough {
            return Err(TaskError::new(&Error::ArgumentCount {
                given: arguments.len(),
                expected: if lists {
                    format!("at least {}", count - 1)
                } else {
                    count.to_string()
                },
            }));
        }
        (self.run)(Arguments(arguments.into_iter()))
    }
}

/// The arguments of a task, in order. Used by the code that `#[taps::task]` makes.
#[doc(hidden)]
pub struct Arguments(std::vec::IntoIter<Payload>);

impl Arguments {
    fn next(&mut self) -> Result<Payload> {
        self.0.next().ok_or(Error::ArgumentCount {
            given: 0,
            expected: "more".to_owned(),
        })
    }

    /// A parameter taken by value, or lent as `&T`.
    pub fn value<T: Parameter>(&mut self) -> Result<T> {
        T::take(self)
    }

    /// A parameter `&Archived<T>`.
    pub fn archived<T: Archivable>(&mut self) -> Result<View<T>> {
        View::new(self.next()?.into_bytes()?)
    }
}

/// A type that a task can take by value.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a task cannot take a `{Self}`",
    label = "not a taps value",
    note = "a task takes values (`#[taps::value]`), `&Archived<T>`, `&Array<T>`, `&[u8]`, `&str`, `Payload` and, last, `List<T>`"
)]
pub trait Parameter: Sized {
    /// Takes as many arguments as the parameter needs.
    fn take(arguments: &mut Arguments) -> Result<Self>;
}

impl<T: Value> Parameter for T {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        T::decode(arguments.next()?.into_bytes()?)
    }
}

impl Parameter for Payload {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        arguments.next()
    }
}

impl<T> Parameter for List<T> {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        Ok(Self {
            items: std::mem::take(&mut arguments.0),
            _type: std::marker::PhantomData,
        })
    }
}

/// The rest of a task's arguments, as its last parameter.
///
/// Elements are fetched one by one while iterating, and each is released when it is dropped: a
/// task can go through far more data than fits in its memory.
///
/// ```
/// #[taps::task]
/// fn sum(parts: taps::List<taps::Array<f64>>) -> taps::Result<f64> {
///     let mut total = 0.0;
///     for part in parts {
///         total += part?.as_slice().iter().sum::<f64>();
///     }
///     Ok(total)
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct List<T> {
    items: std::vec::IntoIter<Payload>,
    _type: std::marker::PhantomData<fn() -> T>,
}

impl<T> List<T> {
    /// Number of elements left.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no element is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as raw handles.
    pub fn into_payloads(self) -> impl Iterator<Item = Payload> {
        self.items
    }
}

impl<T: Archivable> List<T> {
    /// The elements as archives read in place.
    pub fn into_views(self) -> impl Iterator<Item = Result<View<T>>> {
        self.items.map(|item| View::new(item.into_bytes()?))
    }
}

impl<T: Value> Iterator for List<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let item = self.items.next()?;
        Some(item.into_bytes().and_then(T::decode))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// For building lists in unit tests of a task function.
impl<T: Value> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let items: Vec<_> = values
            .into_iter()
            .map(|value| match value.into_bytes() {
                Ok(bytes) => Payload::inline(bytes.into_vec()),
                Err(error) => panic!("{error}"),
            })
            .collect();
        Self {
            items: items.into_iter(),
            _type: std::marker::PhantomData,
        }
    }
}

/// An archive made on the spot, for calling a task function in a unit test.
///
/// ```
/// # use taps::Archived;
/// fn double(number: &Archived<u32>) -> u32 { number.to_native() * 2 }
/// let number = taps::archive(&21u32)?;
/// assert_eq!(double(&number), 42);
/// # Ok::<(), taps::Error>(())
/// ```
pub fn archive<T: Archivable>(value: &T) -> Result<View<T>> {
    View::new(crate::value::encode_archive(value)?)
}

/// What a task can return: a value, `()` for nothing, or several values.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "not a taps value",
    note = "a task returns a value (`#[taps::value]`), a tuple of values for several outputs, `()`, or a `Result` of those"
)]
pub trait Outputs: Sized {
    /// The futures that a submission gives.
    type Futures;
    /// The outputs, in order.
    #[doc(hidden)]
    fn into_outputs(self) -> Result<Vec<TaskOutput>>;
    /// The futures of a submission.
    #[doc(hidden)]
    fn futures(future: std::rc::Rc<backend::Future>) -> Self::Futures;
}

impl<T: Value> Outputs for T {
    type Futures = crate::Future<T>;
    fn into_outputs(self) -> Result<Vec<TaskOutput>> {
        Ok(vec![self.into_output()?])
    }
    fn futures(future: std::rc::Rc<backend::Future>) -> Self::Futures {
        crate::Future::new(future, 0)
    }
}

impl Outputs for () {
    type Futures = crate::Future<()>;
    fn into_outputs(self) -> Result<Vec<TaskOutput>> {
        Ok(Vec::new())
    }
    fn futures(future: std::rc::Rc<backend::Future>) -> Self::Futures {
        crate::Future::new(future, 0)
    }
}

/// Several outputs of one task; `T` is the tuple that the task returns.
pub struct Many<T>(pub T);

macro_rules! many {
    ($($name:ident = $index:tt),*) => {
        impl<$($name: Value),*> Outputs for Many<($($name,)*)> {
            type Futures = ($(crate::Future<$name>,)*);
            fn into_outputs(self) -> Result<Vec<TaskOutput>> {
                Ok(vec![$(self.0.$index.into_output()?),*])
            }
            fn futures(future: std::rc::Rc<backend::Future>) -> Self::Futures {
                ($(crate::Future::<$name>::new(std::rc::Rc::clone(&future), $index),)*)
            }
        }
    };
}

many!(A = 0);
many!(A = 0, B = 1);
many!(A = 0, B = 1, C = 2);
many!(A = 0, B = 1, C = 2, D = 3);
many!(A = 0, B = 1, C = 2, D = 3, E = 4);
many!(A = 0, B = 1, C = 2, D = 3, E = 4, F = 5);

/// The outputs of a task.
#[doc(hidden)]
pub fn outputs<O: Outputs>(value: O) -> Result<Vec<TaskOutput>, TaskError> {
    value.into_outputs().map_err(|error| TaskError::new(&error))
}

/// Asks for the archive type, so that a wrong one is reported at the parameter.
#[doc(hidden)]
pub fn lend<T: Archivable>(view: &View<T>) -> &Archived<T> {
    view
}

/// A `&str` parameter: the text of an archived string.
#[doc(hidden)]
pub fn lend_str(view: &View<String>) -> &str {
    view.as_str()
}
