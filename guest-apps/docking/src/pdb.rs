//! PDB files: the element column.

use taps_molecules::ELEMENTS;

/// Columns of the element, from 0; right-justified.
const ELEMENT: std::ops::Range<usize> = 76..78;
/// Columns of the atom's name.
const NAME: std::ops::Range<usize> = 12..16;

/// Whether a line describes an atom.
pub(crate) fn is_atom(line: &str) -> bool {
    line.starts_with("ATOM  ") || line.starts_with("HETATM")
}

/// The coordinates of an atom, in Å.
pub(crate) fn coordinates(line: &str) -> Option<[f64; 3]> {
    let number = |columns: std::ops::Range<usize>| {
        let number: f64 = line.get(columns)?.trim().parse().ok()?;
        number.is_finite().then_some(number)
    };
    Some([number(30..38)?, number(38..46)?, number(46..54)?])
}

/// The same file with the element of every atom in its column. One that is there stays; otherwise
/// it comes from the atom's name.
///
/// A name tells by where it begins: elements of one letter in its second column, those of two in
/// the first. (TaPS takes the first letter, so that `CL` becomes carbon.) Returns the line of an
/// atom without a known element as the error.
pub(crate) fn set_elements(text: &str) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        if is_atom(line) {
            result += &with_element(line).ok_or_else(|| line.to_owned())?;
        } else {
            result += line;
        }
        result.push('\n');
    }
    Ok(result)
}

fn with_element(line: &str) -> Option<String> {
    let given = line.get(ELEMENT).map(str::trim).and_then(element);
    if given.is_some() {
        return Some(line.to_owned());
    }
    let name = line.get(NAME)?;
    let letters = name.trim_matches(|character: char| !character.is_ascii_alphabetic());
    // Four characters that begin with H are a hydrogen with a long name, and no mercury.
    let hydrogen = name.starts_with('H') && !name.contains(' ');
    let element = match name.get(..2).and_then(element) {
        Some(element) if !name.starts_with(' ') && !hydrogen => element,
        _ => element(letters.get(..1)?)?,
    };
    let before = format!("{line:76}");
    let after = line.get(ELEMENT.end..).unwrap_or_default();
    Some(format!(
        "{}{element:>2}{after}",
        before.get(..ELEMENT.start)?
    ))
}

/// The element of that symbol, whatever its case.
fn element(symbol: &str) -> Option<&'static str> {
    let mut elements = ELEMENTS.iter();
    elements
        .find(|element| element.eq_ignore_ascii_case(symbol))
        .copied()
}

/// Whether atoms have places of their own: a generator that gave up leaves all in one.
pub(crate) fn has_structure(text: &str) -> bool {
    let places: Option<Vec<[f64; 3]>> = text
        .lines()
        .filter(|line| is_atom(line))
        .map(coordinates)
        .collect();
    places.is_some_and(|places| match &places[..] {
        [] => false,
        [_] => true,
        [first, others @ ..] => others
            .iter()
            .flat_map(|other| other.iter().zip(first))
            .any(|(one, other)| (one - other).abs() > 0.0),
    })
}
