//! The tables as a directory of Parquet files.

use super::{
    Rows, Value,
    definition::{Kind, Of, Table, tables},
    fill,
};
use crate::{
    destination::{Destination, NewDirectory},
    error::ExportError,
};
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Values of a table that wait for a row group, in bytes: what bounds memory.
const GROUP_BYTES: usize = 8 << 20;
/// Pages are encoded when so many values wait.
const PAGE_ROWS: usize = 16 << 10;

/// Writes a run as a directory with a file for each table.
pub(crate) fn write(run: &Path, to: Destination<'_>) -> Result<Vec<String>, ExportError> {
    let (path, replace) = to.path("Parquet")?;
    let ours = |name: &str| tables().iter().any(|table| file_name(table) == name);
    let place = NewDirectory::create(path, replace, ours)?;
    let mut files = Files::create(place.temporary(), path)?;
    let notes = fill(run, &mut files)?;
    files.close()?;
    place.commit()?;
    Ok(notes)
}

fn file_name(table: &Table) -> String {
    format!("{}.parquet", table.name)
}

/// The files that are being written.
struct Files {
    files: Vec<Writer>,
    failed: Option<ExportError>,
}

impl Files {
    /// `path` is where they will be.
    fn create(directory: &Path, path: &Path) -> Result<Self, ExportError> {
        let files = tables().iter().map(|table| {
            let name = file_name(table);
            let path = path.join(&name);
            Writer::create(&directory.join(name), table)
                .map_err(|source| ExportError::Parquet {
                    path: path.clone(),
                    source,
                })
                .map(|file| Writer { path, ..file })
        });
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            failed: None,
        })
    }

    fn close(self) -> Result<(), ExportError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.files.into_iter().try_for_each(Writer::close)
    }
}

impl Rows for Files {
    fn row(&mut self, table: Of, values: &[Value<'_>]) {
        if self.failed.is_none() {
            self.failed = self.files[table as usize].row(values).err();
        }
    }
}

/// One file.
struct Writer {
    path: PathBuf,
    file: SerializedFileWriter<File>,
    columns: Vec<Buffer>,
    bytes: usize,
}

impl Writer {
    fn create(path: &Path, table: &Table) -> Result<Self, ParquetError> {
        let fields = table.columns.iter().map(|column| {
            let physical = match column.kind {
                Kind::Integer => Physical::INT64,
                Kind::Text => Physical::BYTE_ARRAY,
                Kind::Boolean => Physical::BOOLEAN,
            };
            let repetition = if column.nullable {
                Repetition::OPTIONAL
            } else {
                Repetition::REQUIRED
            };
            let logical = (column.kind == Kind::Text).then_some(LogicalType::String);
            Type::primitive_type_builder(column.name, physical)
                .with_repetition(repetition)
                .with_logical_type(logical)
                .build()
                .map(Arc::new)
        });
        let schema = Type::group_type_builder(table.name)
            .with_fields(fields.collect::<Result<_, _>>()?)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("taps-wasm {}", env!("CARGO_PKG_VERSION")))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .build();
        let file = SerializedFileWriter::new(
            File::create_new(path)?,
            Arc::new(schema),
            Arc::new(properties),
        )?;
        Ok(Self {
            path: path.to_owned(),
            file,
            columns: table.columns.iter().map(Buffer::of).collect(),
            bytes: 0,
        })
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        debug_assert_eq!(values.len(), self.columns.len(), "a value for each column");
        for (column, value) in self.columns.iter_mut().zip(values) {
            self.bytes += column.push(*value);
        }
        if self.bytes < GROUP_BYTES {
            return Ok(());
        }
        self.group().map_err(|source| ExportError::Parquet {
            path: self.path.clone(),
            source,
        })
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        self.bytes = 0;
        Ok(())
    }

    fn close(mut self) -> Result<(), ExportError> {
        self.end().map_err(|source| ExportError::Parquet {
            path: self.path.clone(),
            source,
        })
    }

    fn end(&mut self) -> Result<(), ParquetError> {
        if self.bytes > 0 {
            self.group()?;
        }
        self.file.finish().map(|_| ())
    }
}

/// Values of a column, and where there are none.
struct Buffer {
    /// 1 for a value, 0 for null; `None` where there is always one.
    levels: Option<Vec<i16>>,
    values: Values,
}

enum Values {
    Integers(Vec<i64>),
    Texts(Vec<ByteArray>),
    Booleans(Vec<bool>),
}

impl Buffer {
    fn of(column: &super::Column) -> Self {
        Self {
            levels: column.nullable.then(Vec::new),
            values: match column.kind {
                Kind::Integer => Values::Integers(Vec::new()),
                Kind::Text => Values::Texts(Vec::new()),
                Kind::Boolean => Values::Booleans(Vec::new()),
            },
        }
    }

    /// Adds a value, and says how much memory it takes.
    fn push(&mut self, value: Value<'_>) -> usize {
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(value != Value::Null));
        }
        match (&mut self.values, value) {
            (Values::Integers(values), Value::Integer(value)) => values.push(value),
            (Values::Booleans(values), Value::Boolean(value)) => values.push(value),
            (Values::Texts(values), Value::Text(value)) => {
                values.push(ByteArray::from(value));
                // The bytes are counted, and kept elsewhere.
                return value.len() + 4 * size_of::<ByteArray>();
            }
            (_, value) => debug_assert_eq!(value, Value::Null, "a value of the column's kind"),
        }
        size_of::<i64>() + size_of::<i16>()
    }

    fn write(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, File>,
    ) -> Result<(), ParquetError> {
        let levels = self.levels.as_deref();
        match &mut self.values {
            Values::Integers(values) => column::<Int64Type>(group, values, levels)?,
            Values::Texts(values) => column::<ByteArrayType>(group, values, levels)?,
            Values::Booleans(values) => column::<BoolType>(group, values, levels)?,
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        Ok(())
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &mut Vec<T::T>,
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("a column too many".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()?;
    values.clear();
    Ok(())
}
