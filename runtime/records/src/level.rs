//! Levels of log lines.

use std::{fmt, str::FromStr};

/// How important a log line is: a number, most of them without a name. The names and numbers
/// are TaPS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// Each task as it passes.
    pub const TRACE: Self = Self(5);
    /// For debugging.
    pub const DEBUG: Self = Self(10);
    /// Worth knowing.
    pub const INFO: Self = Self(20);
    /// From the app.
    pub const APP: Self = Self(21);
    /// From the run itself.
    pub const RUN: Self = Self(22);
    /// Something is odd.
    pub const WARNING: Self = Self(30);
    /// Something failed.
    pub const ERROR: Self = Self(40);

    /// The levels that have names, least important first.
    pub const NAMED: [(&'static str, Self); 7] = [
        ("TRACE", Self::TRACE),
        ("DEBUG", Self::DEBUG),
        ("INFO", Self::INFO),
        ("APP", Self::APP),
        ("RUN", Self::RUN),
        ("WARNING", Self::WARNING),
        ("ERROR", Self::ERROR),
    ];

    /// The level with that number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(_, level)| level == self) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&format!("Level {}", self.0)),
        }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    /// Reads a name in any case (`WARN` is `WARNING`), or a number from 0 to 255.
    fn from_str(text: &str) -> Result<Self, LevelError> {
        let text = text.trim();
        let named = Self::NAMED
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, level)) = named {
            return Ok(*level);
        }
        if text.eq_ignore_ascii_case("WARN") {
            return Ok(Self::WARNING);
        }
        text.parse().map(Self).map_err(|_| LevelError {
            given: text.to_owned(),
        })
    }
}

/// A text that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a log level: TRACE, DEBUG, INFO, APP, RUN, WARNING, ERROR, or a number from 0 to 255"
)]
pub struct LevelError {
    /// What was given.
    pub given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_parse_in_any_case() {
        for (name, level) in Level::NAMED {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(name.to_lowercase().parse(), Ok(level));
            assert_eq!(level.number().to_string().parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("warn".parse(), Ok(Level::WARNING));
        assert_eq!("17".parse(), Ok(Level::new(17)));
        assert_eq!(Level::new(17).to_string(), "Level 17");
    }

    #[test]
    fn other_text_is_refused_with_what_is_allowed() {
        for text in ["", "LOUD", "-1", "256", "5.0"] {
            let error = text.parse::<Level>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` is not")));
            assert!(error.to_string().contains("TRACE"));
        }
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::NAMED.is_sorted_by_key(|(_, level)| *level));
    }
}
