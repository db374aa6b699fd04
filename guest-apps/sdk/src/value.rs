//! Values that travel between drivers and tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::ser::allocator::ArenaHandle;

use crate::{Bytes, Error, Payload, Result};

/// A type that can be an argument or a result of a task.
///
/// Implemented for numbers, `bool`, `String`, `Option`, `Vec`, `BTreeMap`, `HashMap`, tuples
/// inside those, [`Array`](crate::Array) and [`Bytes`]; for your own types by
/// [`#[taps::value]`](macro@crate::value).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result of a task",
    label = "not a taps value",
    note = "add `#[taps::value]` to the definition of a struct or enum; a task also takes `&Archived<T>`, `&Array<T>`, `&[u8]`, `&str`, `Payload` and, last, `List<T>`"
)]
pub trait Value: Sized + 'static {
    /// The value as bytes.
    fn encode(&self) -> Result<Bytes>;

    /// The value as bytes, giving up the value: saves a copy where it holds them already.
    fn into_bytes(self) -> Result<Bytes> {
        self.encode()
    }

    /// The value as the result of a task.
    #[doc(hidden)]
    fn into_output(self) -> Result<TaskOutput> {
        self.into_bytes().map(TaskOutput::Bytes)
    }

    /// The value in `bytes`, checked.
    fn decode(bytes: Bytes) -> Result<Self>;
}

/// One result of a task, on its way to the host.
#[doc(hidden)]
#[derive(Debug)]
pub enum TaskOutput {
    /// Bytes.
    Bytes(Bytes),
    /// A file that a program made.
    File(Payload),
}

/// A type with an rkyv archive in our byte format: little-endian, aligned, 32-bit pointers,
/// the same in a sandbox and on the host. Implemented for every type that derives rkyv's traits,
/// which is what [`#[taps::value]`](macro@crate::value) does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no archive",
    label = "`Archived<{Self}>` does not exist",
    note = "add `#[taps::value]` to the definition of the type"
)]
pub trait Archivable:
    Sized
    + rkyv::Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, rkyv::rancor::Error>>
                      + rkyv::Deserialize<Self, HighDeserializer<rkyv::rancor::Error>>,
    > + for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rkyv::rancor::Error>>
    + 'static
{
}

impl<T> Archivable for T where
    T: rkyv::Archive<
            Archived: for<'a> CheckBytes<HighValidator<'a, rkyv::rancor::Error>>
                          + rkyv::Deserialize<T, HighDeserializer<rkyv::rancor::Error>>,
        > + for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rkyv::rancor::Error>>
        + 'static
{
}

/// Archive of a value: what a task reads in place through `&Archived<T>`.
pub type Archived<T> = rkyv::Archived<T>;

/// Writes the archive of a value.
pub fn encode_archive<T: Archivable>(value: &T) -> Result<Bytes> {
    let bytes = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(value, Vec::new())
        .map_err(|error| Error::Encode(error.to_string()))?;
    Ok(Bytes::from(bytes))
}

/// Reads a value from its archive, checked.
pub fn decode_archive<T: Archivable>(bytes: Bytes) -> Result<T> {
    let bytes = bytes.aligned();
    let archived = access::<T>(&bytes)?;
    rkyv::api::high::deserialize::<T, rkyv::rancor::Error>(archived)
        .map_err(|error| Error::decode(std::any::type_name::<T>(), error))
}

pub(crate) fn access<T: Archivable>(bytes: &Bytes) -> Result<&Archived<T>> {
    rkyv::api::high::access::<Archived<T>, rkyv::rancor::Error>(bytes.as_slice())
        .map_err(|error| Error::decode(std::any::type_name::<T>(), error))
}

/// Implements [`Value`] by archive for a type that derives rkyv's traits.
#[doc(hidden)]
#[macro_export]
macro_rules! __archive_value {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> $crate::Value for $type {
            fn encode(&self) -> $crate::Result<$crate::Bytes> {
                $crate::__private::encode_archive(self)
            }
            fn decode(bytes: $crate::Bytes) -> $crate::Result<Self> {
                $crate::__private::decode_archive(bytes)
            }
        }
    )*};
}

crate::__archive_value! {
    [] u8; [] u16; [] u32; [] u64; [] u128;
    [] i8; [] i16; [] i32; [] i64; [] i128;
    [] f32; [] f64; [] bool; [] char; [] String;
    [T: Archivable] Option<T>;
    [T: Archivable] Vec<T>;
    [T: Archivable] Box<T>;
}

/// Implements [`Value`] for a type whose archive needs bounds of its own on the parameters.
macro_rules! bounded_value {
    ($([$($name:ident),*] $type:ty;)*) => {$(
        impl<$($name),*> Value for $type
        where
            $($name: 'static,)*
            $type: Archivable,
        {
            fn encode(&self) -> Result<Bytes> {
                encode_archive(self)
            }
            fn decode(bytes: Bytes) -> Result<Self> {
                decode_archive(bytes)
            }
        }
    )*};
}

bounded_value! {
    [K, V] BTreeMap<K, V>;
    [K] BTreeSet<K>;
    [K, V] HashMap<K, V>;
    [A] (A,);
    [A, B] (A, B);
    [A, B, C] (A, B, C);
    [A, B, C, D] (A, B, C, D);
}

impl Value for Bytes {
    fn encode(&self) -> Result<Bytes> {
        Ok(self.clone())
    }
    fn into_bytes(self) -> Result<Bytes> {
        Ok(self)
    }
    fn decode(bytes: Bytes) -> Result<Self> {
        Ok(bytes)
    }
}
