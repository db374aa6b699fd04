//! The tables as one SQLite database.

use super::{
    Rows, Value,
    definition::{Kind, Of, Table, tables},
    fill,
};
use crate::{
    destination::{Destination, NewFile},
    error::ExportError,
};
use rusqlite::{Connection, types::ValueRef};
use std::{fmt::Write as _, path::Path};

/// Rows of a transaction.
const TRANSACTION_ROWS: u64 = 100_000;

/// How the database is written: nobody reads it before it is whole, rows come before those that they refer to, and the
/// memory for it is 4 MiB.
const SETTINGS: &str = "
PRAGMA foreign_keys = OFF;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -4096;
PRAGMA temp_store = FILE;
";

/// Views: attempts by where their time went, in seconds, and the same summed by name.
const VIEWS: &str = "
CREATE VIEW attempt_times AS SELECT
    attempts.attempt_id, task_id, name, worker_id, attempts.outcome,
    (dispatched_ns - submitted_ns) / 1e9 AS before_s,
    (received_ns - dispatched_ns) / 1e9 AS deliver_s,
    (coalesce(task_start_ns, finished_ns) - received_ns
        - coalesce(resolve_end_ns - resolve_start_ns, 0)) / 1e9 AS prepare_s,
    coalesce(resolve_end_ns - resolve_start_ns, 0) / 1e9 AS resolve_s,
    (coalesce(task_end_ns, finished_ns) - task_start_ns) / 1e9 AS compute_s,
    (finished_ns - coalesce(task_end_ns, finished_ns)) / 1e9 AS store_s,
    (attempts.ended_ns - finished_ns) / 1e9 AS report_s
FROM attempts JOIN tasks USING (task_id);
CREATE VIEW by_name AS SELECT
    name,
    count(*) AS tasks,
    sum(outcome = 'ok') AS succeeded,
    sum(outcome NOT IN ('ok', 'open')) AS failed,
    sum(tries) AS tries,
    sum(run_ns) / 1e9 AS run_s,
    avg(run_ns) / 1e9 AS mean_run_s,
    max(run_ns) / 1e9 AS longest_run_s,
    sum(input_bytes) AS input_bytes,
    sum(output_bytes) AS output_bytes
FROM tasks GROUP BY name;
";

/// Writes a run as a database.
pub(crate) fn write(run: &Path, to: Destination<'_>) -> Result<Vec<String>, ExportError> {
    let (path, replace) = to.path("an SQLite database")?;
    let place = NewFile::create(path, replace)?;
    let failed = |source| ExportError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open(place.temporary()).map_err(failed)?;
    let mut database = Database::create(&connection).map_err(failed)?;
    let notes = fill(run, &mut database)?;
    database.finish().map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    place.commit()?;
    Ok(notes)
}

/// A database that is being written.
struct Database<'a> {
    connection: &'a Connection,
    inserts: Vec<String>,
    rows: u64,
    failed: Option<rusqlite::Error>,
}

impl<'a> Database<'a> {
    fn create(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(tables().len());
        connection.execute_batch(SETTINGS)?;
        for table in tables() {
            connection.execute_batch(&creation(table))?;
        }
        connection.execute_batch("BEGIN")?;
        Ok(Self {
            connection,
            inserts: tables().iter().map(insertion).collect(),
            rows: 0,
            failed: None,
        })
    }

    fn insert(&mut self, table: Of, values: &[Value<'_>]) -> rusqlite::Result<()> {
        let insert = &self.inserts[table as usize];
        let mut statement = self.connection.prepare_cached(insert)?;
        for (place, value) in (1..).zip(values) {
            let value = match value {
                Value::Null => ValueRef::Null,
                Value::Integer(number) => ValueRef::Integer(*number),
                Value::Text(text) => ValueRef::Text(text.as_bytes()),
                Value::Boolean(is) => ValueRef::Integer((*is).into()),
            };
            statement.raw_bind_parameter(place, rusqlite::types::ToSqlOutput::Borrowed(value))?;
        }
        statement.raw_execute()?;
        self.rows += 1;
        if self.rows.is_multiple_of(TRANSACTION_ROWS) {
            self.connection.execute_batch("COMMIT; BEGIN")?;
        }
        Ok(())
    }

    fn finish(self) -> rusqlite::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.connection.execute_batch("COMMIT")?;
        self.connection.flush_prepared_statement_cache();
        for table in tables() {
            for columns in table.indexes {
                let (name, list) = (columns.join("_"), columns.join(", "));
                let table = table.name;
                self.connection.execute_batch(&format!(
                    "CREATE INDEX {table}_by_{name} ON {table} ({list})"
                ))?;
            }
        }
        self.connection.execute_batch(VIEWS)?;
        self.connection
            .execute_batch("ANALYZE; PRAGMA user_version = 1;")
    }
}

impl Rows for Database<'_> {
    fn row(&mut self, table: Of, values: &[Value<'_>]) {
        if self.failed.is_none() {
            self.failed = self.insert(table, values).err();
        }
    }
}

/// `CREATE TABLE` with what each column must be.
fn creation(table: &Table) -> String {
    let mut lines = Vec::new();
    for column in table.columns {
        let kind = match column.kind {
            Kind::Integer | Kind::Boolean => "INTEGER",
            Kind::Text => "TEXT",
        };
        let mut line = format!("\"{}\" {kind}", column.name);
        // Writing to a String cannot fail.
        if table.key == [column.name] {
            let _ = write!(line, " PRIMARY KEY");
        } else if !column.nullable {
            let _ = write!(line, " NOT NULL");
        }
        if column.kind == Kind::Boolean {
            let _ = write!(line, " CHECK (\"{}\" IN (0, 1))", column.name);
        }
        if let Some((_, other)) = table.references.iter().find(|(own, _)| *own == column.name) {
            let _ = write!(line, " REFERENCES {other}");
        }
        lines.push(line);
    }
    let many = table.key.len() > 1;
    if many {
        lines.push(format!("PRIMARY KEY ({})", table.key.join(", ")));
    }
    let rowid = if many { ", WITHOUT ROWID" } else { "" };
    format!(
        "CREATE TABLE {} (\n    {}\n) STRICT{rowid};",
        table.name,
        lines.join(",\n    ")
    )
}

fn insertion(table: &Table) -> String {
    let places = vec!["?"; table.columns.len()].join(", ");
    format!("INSERT INTO {} VALUES ({places})", table.name)
}
