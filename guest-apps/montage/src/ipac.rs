//! IPAC tables, as Montage writes and reads them.
//!
//! ```text
//! \datatype = fitshdr                    keywords and comments
//! | cntr |      ra     | fname |         names of the columns
//! | int  |    double   | char  |         types, units and nulls: up to three more such lines
//!      0    83.9501593   a.fits          rows: each value between the bars of its column
//! ```
//!
//! Values are found by the places of the bars, so that they may be empty or contain blanks, and a
//! table may have any number of rows and columns.

use taps::{Error, Result};

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Name of the table, for errors.
    name: String,
    /// All lines up to the last that begins with a bar.
    head: Vec<String>,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    /// Byte after the bar before it.
    start: usize,
    /// The bar after it.
    end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// Number of its line, from 1.
    line: usize,
    text: String,
}

/// A column of one table, found by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnIndex(usize);

impl Table {
    /// Reads a table; `name` is what errors call it.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        let mut table = Self {
            name: name.to_owned(),
            head: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            match line.as_bytes().first() {
                Some(b'\\') if table.rows.is_empty() => table.head.push(line.to_owned()),
                Some(b'|') if table.rows.is_empty() => table.take_bars(number, line)?,
                Some(b'|') => {
                    return Err(table.broken(number, "a line of column names below the rows"));
                }
                Some(b'\\') | None => {}
                Some(_) if line.trim().is_empty() => {}
                Some(_) => table.take_row(number, line)?,
            }
        }
        if table.columns.is_empty() {
            return Err(table.broken(1, "no line of column names, which begins with `|`"));
        }
        Ok(table)
    }

    fn take_bars(&mut self, number: usize, line: &str) -> Result<()> {
        let line = line.trim_end();
        let bars: Vec<usize> = line.match_indices('|').map(|(place, _)| place).collect();
        let places = bars.iter().zip(bars.iter().skip(1));
        let columns: Vec<Column> = places
            .map(|(before, after)| Column {
                name: line[before + 1..*after].trim().to_owned(),
                start: before + 1,
                end: *after,
            })
            .collect();
        if self.columns.is_empty() {
            if columns.is_empty() || !line.ends_with('|') {
                return Err(self.broken(number, "column names without a bar at the end"));
            }
            self.columns = columns;
        } else if !self
            .columns
            .iter()
            .map(|column| column.end)
            .eq(columns.iter().map(|column| column.end))
        {
            return Err(self.broken(number, "bars that are not below those of the names"));
        }
        self.head.push(line.to_owned());
        Ok(())
    }

    fn take_row(&mut self, number: usize, line: &str) -> Result<()> {
        let Some(last) = self.columns.last() else {
            return Err(self.broken(number, "a row above the column names"));
        };
        if line
            .get(last.end + 1..)
            .is_some_and(|rest| !rest.trim().is_empty())
        {
            return Err(self.broken(number, "a value behind the last column"));
        }
        self.rows.push(Row {
            line: number,
            text: line.trim_end().to_owned(),
        });
        Ok(())
    }

    fn broken(&self, line: usize, what: &str) -> Error {
        Error::app("BadTable", format!("{}, line {line}: {what}", self.name))
    }

    fn broken_value(&self, row: usize, column: &Column, what: &str) -> Error {
        let (table, line, column) = (&self.name, self.rows[row].line, &column.name);
        let message = format!("{table}, line {line}, column {column}: {what}");
        Error::app("BadTable", message)
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Finds a column.
    pub(crate) fn column(&self, name: &str) -> Result<ColumnIndex> {
        let found = self.columns.iter().position(|column| column.name == name);
        found.map(ColumnIndex).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| &*column.name).collect();
            let names = names.join(", ");
            let message = format!("{}: no column {name} among {names}", self.name);
            Error::app("BadTable", message)
        })
    }

    /// A value without the blanks around it; empty where there is none.
    pub(crate) fn text(&self, row: usize, column: ColumnIndex) -> Result<&str> {
        let column = &self.columns[column.0];
        let text = &self.rows[row].text;
        let blank = |place: usize| matches!(text.as_bytes().get(place), None | Some(b' ' | b'|'));
        if !blank(column.start - 1) || !blank(column.end) {
            return Err(self.broken_value(row, column, "a value wider than its column"));
        }
        let start = column.start.min(text.len());
        let end = column.end.min(text.len());
        match text.get(start..end) {
            Some(value) => Ok(value.trim()),
            None => Err(self.broken_value(row, column, "not aligned with its bars")),
        }
    }

    /// A value as a number of some kind, called `what` in errors.
    fn parsed<T: std::str::FromStr>(
        &self,
        row: usize,
        column: ColumnIndex,
        what: &str,
    ) -> Result<T> {
        let text = self.text(row, column)?;
        text.parse().map_err(|_| {
            let message = format!("`{text}` is not {what}");
            self.broken_value(row, &self.columns[column.0], &message)
        })
    }

    /// A value as a finite number.
    pub(crate) fn number(&self, row: usize, column: ColumnIndex) -> Result<f64> {
        let number: f64 = self.parsed(row, column, "a number")?;
        if number.is_finite() {
            return Ok(number);
        }
        Err(self.broken_value(row, &self.columns[column.0], "not a finite number"))
    }

    /// A value as a whole number that is not negative.
    pub(crate) fn count(&self, row: usize, column: ColumnIndex) -> Result<u32> {
        self.parsed(row, column, "a whole number")
    }

    /// The rows sorted by the bytes of one column, with another numbered anew from 0: the same
    /// table whatever the order of the rows was.
    pub(crate) fn sorted(mut self, by: &str, numbered: &str) -> Result<Self> {
        let by = self.column(by)?;
        let numbered = self.column(numbered)?;
        let mut order = (0..self.len())
            .map(|row| Ok((self.text(row, by)?.to_owned(), row)))
            .collect::<Result<Vec<_>>>()?;
        order.sort_unstable();
        let column = &self.columns[numbered.0];
        let width = column.end - column.start;
        let mut rows = Vec::with_capacity(order.len());
        for (number, (_, row)) in order.into_iter().enumerate() {
            self.text(row, numbered)?;
            let mut text = self.rows[row].text.clone();
            let number = format!("{number:>width$}");
            if number.len() > width || text.len() < column.end {
                return Err(self.broken_value(row, column, "no room for a number"));
            }
            text.replace_range(column.start..column.end, &number);
            rows.push(Row {
                line: self.rows[row].line,
                text,
            });
        }
        self.rows = rows;
        Ok(self)
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.rows.iter().map(|row| &row.text);
        self.head
            .iter()
            .chain(rows)
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
