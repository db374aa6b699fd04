//! Tables of text: columns separated by white space, with a header.

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableError {
    /// Line, from 1; none when it is about the whole.
    pub(crate) line: Option<usize>,
    /// What was expected there; reads after "expected".
    pub(crate) expected: String,
}

impl TableError {
    pub(crate) fn at(line: usize, expected: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            expected: expected.into(),
        }
    }

    fn whole(expected: impl Into<String>) -> Self {
        Self {
            line: None,
            expected: expected.into(),
        }
    }

    /// The error of a field of the configuration whose file this table is.
    pub(crate) fn of(self, field: &str, path: &str) -> taps::Error {
        let place = match self.line {
            Some(line) => format!("{path}, line {line}"),
            None => path.to_owned(),
        };
        taps::Error::config(field, place, self.expected)
    }
}

/// A table whose lines have been split.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    header: Vec<&'a str>,
    /// Number of the line, from 1, and its fields; as many as the header has.
    lines: Vec<(usize, Vec<&'a str>)>,
}

impl<'a> Table<'a> {
    /// Splits a table. Empty lines do not count; every other line has as many fields as the first.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.split(|byte| *byte == b'\n').count();
            TableError::at(line, "text in UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split_whitespace().collect::<Vec<_>>()))
            .filter(|(_, fields)| !fields.is_empty());
        let Some((_, header)) = lines.next() else {
            return Err(TableError::whole("a file with a header; it is empty"));
        };
        let lines = lines
            .map(|(line, fields)| {
                if fields.len() == header.len() {
                    return Ok((line, fields));
                }
                let expected = format!(
                    "{} fields separated by white space, as in the header; it has {}",
                    header.len(),
                    fields.len()
                );
                Err(TableError::at(line, expected))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { header, lines })
    }

    /// Where a column is; upper and lower case do not matter.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        let same = |column: &&str| column.eq_ignore_ascii_case(name);
        self.header.iter().position(same)
    }

    /// Where a column is that there must be.
    pub(crate) fn required(&self, name: &str) -> Result<usize, TableError> {
        self.column(name).ok_or_else(|| {
            TableError::whole(format!(
                "columns separated by white space and named in the first line, one of them `{name}`; \
                 there are: {}",
                self.header.join(", ")
            ))
        })
    }

    /// Numbers of the lines and their fields.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &[&'a str])> {
        self.lines.iter().map(|(line, fields)| (*line, &fields[..]))
    }
}
