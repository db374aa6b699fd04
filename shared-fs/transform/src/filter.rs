//! Which payloads a transformer takes.

use crate::ConfigProblem;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Description of a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterConfig {
    /// No payload.
    Never,
    /// Every payload; also what no filter means.
    #[default]
    All,
    /// Payloads of these many bytes, both ends included.
    Size {
        /// Least.
        min_bytes: u64,
        /// Most.
        max_bytes: u64,
    },
    /// Payloads whose declared type matches one of the patterns.
    Type {
        /// Regular expressions, each searched in the name of the type.
        patterns: Vec<String>,
    },
}

/// Says which payloads are taken.
#[derive(Clone, Debug)]
pub struct Filter(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Never,
    All,
    Size(u64, u64),
    Type(Vec<Regex>),
}

/// Bytes that one compiled pattern may take: a few thousand states, and no more.
const PATTERN_BYTES: usize = 1 << 20;

impl Filter {
    /// Compiles the patterns. The problem names the one that is no regular expression.
    pub fn new(config: &FilterConfig) -> Result<Self, ConfigProblem> {
        Ok(Self(match config {
            FilterConfig::Never => Rule::Never,
            FilterConfig::All => Rule::All,
            FilterConfig::Size {
                min_bytes,
                max_bytes,
            } => Rule::Size(*min_bytes, *max_bytes),
            FilterConfig::Type { patterns } => {
                let compiled = patterns.iter().map(|pattern| {
                    RegexBuilder::new(pattern)
                        .size_limit(PATTERN_BYTES)
                        .build()
                        .map_err(|error| not_a_pattern(pattern, &error))
                });
                Rule::Type(compiled.collect::<Result<_, _>>()?)
            }
        }))
    }

    /// Whether a payload of that declared type and serialised size is taken.
    pub fn takes(&self, type_name: &str, bytes: u64) -> bool {
        match &self.0 {
            Rule::Never => false,
            Rule::All => true,
            Rule::Size(least, most) => (*least..=*most).contains(&bytes),
            Rule::Type(patterns) => patterns.iter().any(|pattern| pattern.is_match(type_name)),
        }
    }
}

fn not_a_pattern(pattern: &str, error: &regex::Error) -> ConfigProblem {
    // The last line of the parser's picture says what is wrong; the rest shows where.
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    ConfigProblem::new(
        "patterns",
        format!("`{pattern}` ({reason})"),
        "a list of regular expressions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(config: &FilterConfig) -> Filter {
        Filter::new(config).expect("a valid filter")
    }

    #[test]
    fn patterns_are_searched_and_none_take_nothing() {
        let of = |patterns: &[&str]| {
            filter(&FilterConfig::Type {
                patterns: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            })
        };
        assert!(of(&["Array", "x"]).takes("Array<f64>", 1));
        assert!(of(&["^u(8|64)$"]).takes("u64", 1));
        assert!(!of(&["^u(8|64)$"]).takes("u640", 1));
        assert!(!of(&[]).takes("u64", 1));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let patterns = vec!["fine".to_owned(), "(open".to_owned()];
        let problem = Filter::new(&FilterConfig::Type { patterns }).expect_err("it is no pattern");
        assert_eq!(problem.field, "patterns");
        assert!(problem.given.contains("`(open`"), "{}", problem.given);
        assert!(
            problem.given.contains("unclosed group"),
            "{}",
            problem.given
        );
    }

    #[test]
    fn a_pattern_cannot_take_all_memory() {
        let patterns = vec!["(((a{200}){200}){200})".to_owned()];
        assert!(Filter::new(&FilterConfig::Type { patterns }).is_err());
    }

    proptest! {
        #[test]
        fn sizes_include_both_ends(least in 0_u64..1000, span in 0_u64..1000, bytes in 0_u64..3000) {
            let most = least + span;
            let sized = filter(&FilterConfig::Size { min_bytes: least, max_bytes: most });
            prop_assert_eq!(sized.takes("any", bytes), bytes >= least && bytes <= most);
            prop_assert!(filter(&FilterConfig::All).takes("any", bytes));
            prop_assert!(!filter(&FilterConfig::Never).takes("any", bytes));
        }
    }
}
