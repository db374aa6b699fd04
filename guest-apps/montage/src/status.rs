//! What Montage's programs say of themselves: a line on standard output,
//!
//! ```text
//! [struct stat="OK", module="mImgtbl", count=10, badfits=0]
//! [struct stat="ERROR", msg="All pixels are blank."]
//! ```

/// The last such line of a program's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// `OK`, `WARNING` or `ERROR`.
    pub(crate) stat: String,
    fields: Vec<(String, String)>,
}

const BEGIN: &str = "[struct ";

impl Status {
    /// Finds the line; `None` if there is none, or if it is broken off.
    pub(crate) fn parse(output: &str) -> Option<Self> {
        let line = output.lines().rev().find_map(|line| {
            let start = line.find(BEGIN)? + BEGIN.len();
            line[start..].trim_end().strip_suffix(']')
        })?;
        let mut status = Self::default();
        let mut rest = line;
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_start_matches([',', ' ']).to_owned();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            if name == "stat" {
                value.clone_into(&mut status.stat);
            } else {
                status.fields.push((name, value.trim().to_owned()));
            }
            rest = after;
        }
        (!status.stat.is_empty()).then_some(status)
    }

    /// A field by its name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| &**value)
    }

    /// A field that is a number of things.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The text for people; some errors have none.
    pub(crate) fn message(&self) -> &str {
        match self.field("msg") {
            Some("") | None => "no reason given",
            Some(message) => message,
        }
    }
}
