//! What a page says that a command prints, against what it prints: the same but for numbers, digests and times, and for
//! what `…` stands for.

/// Differences of `said` on a page and `printed`: none, or a text for people.
pub(super) fn difference(said: &str, printed: &str) -> Option<String> {
    // What is said of compiling depends on how long it takes.
    let lines = |text: &str| -> Vec<String> {
        let kept = text.lines().filter(|line| !line.starts_with("compiling "));
        kept.map(masked).collect()
    };
    let said = lines(said);
    let printed = lines(printed);
    if lines_match(&said, &printed) {
        return None;
    }
    let shown = |lines: &[String]| lines.join("\n");
    Some(format!(
        "----- the page says\n{}\n----- the command prints\n{}",
        shown(&said),
        shown(&printed)
    ))
}

/// Lines of the page, of which a `…` alone stands for any number, against lines that were printed.
fn lines_match(said: &[String], printed: &[String]) -> bool {
    match said.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, more)| line_matches(first, line) && lines_match(rest, more)),
    }
}

/// A line of the page, in which `…` stands for anything, against one that was printed.
fn line_matches(said: &str, printed: &str) -> bool {
    let parts: Vec<&str> = said.split('…').collect();
    let (Some((first, rest)), true) = (parts.split_first(), parts.len() > 1) else {
        return said == printed;
    };
    let Some(mut left) = printed.strip_prefix(first) else {
        return false;
    };
    let (last, middle) = rest.split_last().expect("two parts");
    for part in middle {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// Units that change with the size of a number.
const UNITS: [&str; 16] = [
    "ns", "µs", "ms", "min", "s", "kB", "MB", "GB", "KiB", "MiB", "GiB", "bytes", "B", "%", "k",
    "M",
];

/// A line with `#` for numbers with their units, digests and times, and one blank for several: columns move with the
/// length of what is in them.
fn masked(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim_end();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let word = !before.is_alphanumeric();
        if word && let Some(length) = digest(rest) {
            text.push('#');
            rest = &rest[length..];
            before = '#';
        } else if word && c.is_ascii_digit() {
            text.push('#');
            rest = after_unit(&rest[number(rest)..]);
            before = '#';
        } else {
            if !(c == ' ' && before == ' ' && !text.is_empty()) {
                text.push(c);
            }
            rest = &rest[c.len_utf8()..];
            before = c;
        }
    }
    text
}

/// Length of the digits at the start, with dots, commas, colons and dashes between digits.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    loop {
        while bytes.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        let joined = bytes
            .get(end)
            .is_some_and(|byte| matches!(byte, b'.' | b',' | b':' | b'-' | b'e'))
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        // As in 2e-14.
        let negative = bytes.get(end..end + 2) == Some(b"e-");
        if joined {
            end += 1;
        } else if negative {
            end += 2;
        } else {
            return end;
        }
    }
}

fn after_unit(rest: &str) -> &str {
    let trimmed = rest.strip_prefix(' ').unwrap_or(rest);
    for unit in UNITS {
        if let Some(after) = trimmed.strip_prefix(unit)
            && !after.starts_with(char::is_alphanumeric)
        {
            return after;
        }
    }
    rest
}

/// Length of a digest at the start: twelve hexadecimal digits or more, or four and a `…` where a page shortens it.
fn digest(text: &str) -> Option<usize> {
    let end = text
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let rest = &text[end..];
    if end >= 4 && rest.starts_with('…') {
        return Some(end + '…'.len_utf8());
    }
    (end >= 12 && !rest.starts_with(char::is_alphanumeric)).then_some(end)
}

#[test]
fn numbers_may_differ_and_words_may_not() {
    let same = |said: &str, printed: &str| difference(said, printed).is_none();
    assert!(same("done in 1.5 s", "done   in 900 ms  "));
    assert!(same("residual 2.1e-17", "residual 3e-16"));
    assert!(same("sha256:69ba…", "sha256:69ba01234567"));
    assert!(same("a\n…\nz", "a\nb\nc\nz"));
    assert!(same("a\n…", "a"));
    assert!(same("…/runs/x", "/tmp/abc/runs/x"));
    assert!(!same("a\nz", "a\nb\nz"));
    assert!(!same("12 tasks succeeded", "12 tasks failed"));
    assert!(!same("f64", "f32"));
    assert!(!same("", "something"));
}
