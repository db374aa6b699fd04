//! Values as JSON: what every language reads.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Bytes, Error, Result, Value};

/// A value that travels as JSON text, for tasks in other languages. Between tasks in Rust an archive is smaller and
/// is read in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + 'static> Value for Json<T> {
    fn encode(&self) -> Result<Bytes> {
        serde_json::to_vec(&self.0)
            .map(Bytes::from)
            .map_err(|error| Error::Encode(error.to_string()))
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let expected = format!("JSON of {}", std::any::type_name::<T>());
            Error::decode(&expected, error)
        })
    }
}
