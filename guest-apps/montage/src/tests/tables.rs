//! Tables and status lines.

use std::fmt::Write as _;

use proptest::prelude::*;

use crate::ipac::Table;
use crate::status::Status;
use crate::tasks::correction;

const IMAGES: &str = "\
\\datatype = fitshdr
| cntr |      ra     | fname   |
| int  |    double   | char    |
      0    83.9501593 b c.fits 
      1   -83.8307824          
      2               a.fits
";

#[test]
fn values_lie_between_bars() {
    let table = Table::parse("images.tbl", IMAGES).unwrap();
    let (ra, name) = (table.column("ra").unwrap(), table.column("fname").unwrap());
    assert_eq!(table.len(), 3);
    assert_eq!(table.text(0, name).unwrap(), "b c.fits");
    assert_eq!(table.text(1, name).unwrap(), "");
    assert_eq!(table.text(2, ra).unwrap(), "");
    assert_eq!(
        table.number(1, ra).unwrap().to_bits(),
        (-83.830_782_4_f64).to_bits()
    );
    assert_eq!(table.count(2, table.column("cntr").unwrap()).unwrap(), 2);
}

#[test]
fn errors_name_line_and_column() {
    let table = Table::parse("images.tbl", IMAGES).unwrap();
    let ra = table.column("ra").unwrap();
    let cases = [
        (
            table.number(2, ra).unwrap_err(),
            "images.tbl, line 6, column ra: `` is not a number",
        ),
        (
            table.count(1, ra).unwrap_err(),
            "images.tbl, line 5, column ra: `-83.8307824` is not a whole number",
        ),
        (
            table.column("dec").unwrap_err(),
            "images.tbl: no column dec among cntr, ra, fname",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.kind(), "BadTable");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_value_across_a_bar_is_an_error_not_two_values() {
    let table = Table::parse("t", "|a |b |\n 123 4\n").unwrap();
    let error = table.text(0, table.column("a").unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "t, line 2, column a: a value wider than its column"
    );
    assert!(table.text(0, table.column("b").unwrap()).is_err());
}

#[test]
fn what_is_no_table_is_refused() {
    let cases = [
        (
            "",
            "t, line 1: no line of column names, which begins with `|`",
        ),
        ("1 2\n|a|\n", "t, line 1: a row above the column names"),
        ("|a|b\n", "t, line 1: column names without a bar at the end"),
        ("|\n", "t, line 1: column names without a bar at the end"),
        (
            "|a |b |\n|a|bc |\n",
            "t, line 2: bars that are not below those of the names",
        ),
        (
            "|a |b |\n 1  2  3\n",
            "t, line 2: a value behind the last column",
        ),
        (
            "|a |\n 1\n|b |\n",
            "t, line 3: a line of column names below the rows",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(
            Table::parse("t", text).unwrap_err().to_string(),
            message,
            "{text:?}"
        );
    }
}

#[test]
fn sorting_gives_one_table_whatever_the_order_was() {
    let table = Table::parse("images.tbl", IMAGES).unwrap();
    let sorted = table.sorted("fname", "cntr").unwrap().to_string();
    let expected = "\
\\datatype = fitshdr
| cntr |      ra     | fname   |
| int  |    double   | char    |
      0   -83.8307824
      1               a.fits
      2    83.9501593 b c.fits
";
    assert_eq!(sorted, expected);
}

#[test]
fn corrections_are_found_in_tables_of_any_length_and_order() {
    let mut text = String::from("|   id   |      a       |      b       |      c       |\n");
    for id in (0..400).rev().filter(|id| *id != 90) {
        let row = format!(
            "{id:9}  {:13.5e}  {:13.5e}  {:13.5e}\n",
            -0.5,
            f64::from(id),
            1e-300
        );
        text += &row;
    }
    let table = Table::parse("corrections.tbl", &text).unwrap();
    for id in [0, 89, 91, 92, 399] {
        let [a, b, _] = correction(&table, id).unwrap().unwrap();
        assert_eq!(a, "-5.00000e-1");
        assert_eq!(
            b.parse::<f64>().unwrap().to_bits(),
            f64::from(id).to_bits(),
            "{b}"
        );
    }
    assert_eq!(correction(&table, 90).unwrap(), None);
    assert_eq!(correction(&table, 400).unwrap(), None);
}

#[test]
fn status_lines_are_found() {
    let text = "noise\n[struct stat=\"OK\", module=\"mImgtbl\", count=10, badfits=2]\n";
    let status = Status::parse(text).unwrap();
    assert_eq!(status.stat, "OK");
    assert_eq!(status.field("module"), Some("mImgtbl"));
    assert_eq!(
        (status.count("count"), status.count("badfits")),
        (Some(10), Some(2))
    );
    assert_eq!(status.count("module"), None);

    let error = Status::parse("[struct stat=\"ERROR\", msg=\"a, b = c]\"]").unwrap();
    assert_eq!((&*error.stat, error.message()), ("ERROR", "a, b = c]"));
    let silent = Status::parse("[struct stat=\"ERROR\", msg=\"\"]").unwrap();
    assert_eq!(silent.message(), "no reason given");
    for text in [
        "",
        "stat=\"OK\"",
        "[struct stat=\"OK\"",
        "[struct module=\"m\"]",
        "[struct ]",
    ] {
        assert_eq!(Status::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_table_reads_back(
        rows in prop::collection::vec(prop::collection::vec("[!-{}~]{0,9}", 4), 0..120),
    ) {
        let mut text = String::from("|a         |b         |c         |d         |\n");
        for row in &rows {
            for value in row {
                write!(text, " {value:>10}").unwrap();
            }
            text.push('\n');
        }
        // A line that begins as a comment or is blank is no row.
        let table = Table::parse("t", &text).unwrap();
        prop_assert_eq!(Table::parse("t", &table.to_string()).unwrap().to_string(), table.to_string());
        let kept: Vec<_> = rows.iter().filter(|row| row.iter().any(|value| !value.is_empty())).collect();
        prop_assert_eq!(table.len(), kept.len());
        for (number, row) in kept.into_iter().enumerate() {
            for (name, value) in ["a", "b", "c", "d"].into_iter().zip(row) {
                prop_assert_eq!(table.text(number, table.column(name).unwrap()).unwrap(), value);
            }
        }
    }

    #[test]
    fn no_text_breaks_the_parsers(text in "[|\\\\ a1é\n=\",\\[\\]structa]{0,200}") {
        if let Ok(table) = Table::parse("t", &text) {
            for name in ["a", "", "1"] {
                let Ok(column) = table.column(name) else { continue };
                for row in 0..table.len() {
                    let _ = table.number(row, column);
                }
                let _ = table.clone().sorted(name, name);
            }
        }
        let _ = Status::parse(&text);
    }
}
