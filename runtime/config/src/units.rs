//! Sizes with units.

const KIB: u64 = 1 << 10;

/// Units with their bytes; of two that show a size equally short, the earlier one is used.
const UNITS: [(&str, u64); 9] = [
    ("TiB", KIB * KIB * KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("MiB", KIB * KIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Bytes of a size such as `1 GiB`, `1.5GB` or `512` (a bare number counts MB, 10⁶ bytes).
/// `None` when it is not a size, not a whole number of bytes, or above `i64::MAX` bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start();
    let unit_bytes = if unit.is_empty() {
        1_000_000
    } else {
        UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
            .1
    };
    let bytes = if let Some((whole, fraction)) = number.split_once('.') {
        decimal(whole, fraction, unit_bytes)?
    } else {
        number.parse::<u64>().ok()?.checked_mul(unit_bytes)?
    };
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// `whole.fraction × unit` when that is a whole number of bytes.
fn decimal(whole: &str, fraction: &str, unit_bytes: u64) -> Option<u64> {
    let digits = u32::try_from(fraction.len()).ok()?;
    let scale = 10_u128.checked_pow(digits)?;
    let whole: u128 = whole.parse().ok()?;
    let part: u128 = fraction.parse().ok()?;
    let scaled = whole
        .checked_mul(scale)?
        .checked_add(part)?
        .checked_mul(u128::from(unit_bytes))?;
    (scaled % scale == 0)
        .then(|| u64::try_from(scaled / scale).ok())
        .flatten()
}

/// The shortest exact way to write a size; the inverse of [`parse_size`].
pub(crate) fn show_size(bytes: u64) -> String {
    let shortest = UNITS
        .iter()
        .filter(|(_, unit)| bytes.is_multiple_of(*unit) && bytes > 0)
        .min_by_key(|(_, unit)| bytes / unit);
    match shortest {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(parse_size("1 GiB"), Some(1 << 30));
        assert_eq!(parse_size("1gib"), Some(1 << 30));
        assert_eq!(parse_size("1.5 kB"), Some(1500));
        assert_eq!(parse_size("512"), Some(512_000_000));
        assert_eq!(parse_size("0 B"), Some(0));
        for bad in [
            "",
            "x",
            "1 XB",
            "-1",
            "1.2.3 GB",
            "0.0001 kB",
            "9999999 TiB",
            ". B",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        assert_eq!(show_size(1 << 30), "1 GiB");
        assert_eq!(show_size(1_024_000_000), "1024 MB");
        assert_eq!(show_size(1001), "1001 B");
        assert_eq!(show_size(0), "0 B");
    }

    proptest! {
        #[test]
        fn shown_sizes_read_back(bytes in 0..=i64::MAX as u64) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
    }
}
