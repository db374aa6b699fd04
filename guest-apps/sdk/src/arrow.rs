//! Tables as Arrow IPC streams.

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};

use crate::{Bytes, Error, Result, Value};

/// A table that travels as an Arrow IPC stream, without compression: columns that other languages read as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows, in one or more pieces.
    pub batches: Vec<RecordBatch>,
}

impl Arrow {
    /// Rows in all pieces.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl From<RecordBatch> for Arrow {
    fn from(batch: RecordBatch) -> Self {
        Self {
            schema: batch.schema(),
            batches: vec![batch],
        }
    }
}

impl Value for Arrow {
    fn encode(&self) -> Result<Bytes> {
        let write = || -> Result<_, ArrowError> {
            let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
            for batch in &self.batches {
                writer.write(batch)?;
            }
            writer.into_inner()
        };
        write()
            .map(Bytes::from)
            .map_err(|error| Error::Encode(error.to_string()))
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        let read = || -> Result<_, ArrowError> {
            let reader = StreamReader::try_new(bytes.as_slice(), None)?;
            let schema = reader.schema();
            let batches = reader.collect::<Result<_, _>>()?;
            Ok(Self { schema, batches })
        };
        read().map_err(|error| Error::decode("an Arrow IPC stream", error))
    }
}
