//! How large the data segments of a component are: what instantiation would copy.

/// Sections of a component that hold others: a core module, a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Section of a core module that holds its data segments.
const DATA: u8 = 11;

/// Components within components are followed this deep.
const DEPTH: usize = 16;

/// Length of the magic number and the version.
const PREAMBLE: usize = 8;

/// Bytes of data sections in a component. What cannot be read counts as none: it is refused when compiled.
pub(crate) fn data_bytes(component: &[u8]) -> u64 {
    in_component(component, DEPTH)
}

fn in_component(bytes: &[u8], depth: usize) -> u64 {
    Sections::of(bytes)
        .map(|(id, content)| match id {
            CORE_MODULE => Sections::of(content)
                .filter(|(id, _)| *id == DATA)
                .map(|(_, data)| data.len() as u64)
                .sum(),
            COMPONENT if depth > 0 => in_component(content, depth - 1),
            _ => 0,
        })
        .sum()
}

/// The sections of a module or a component, until one that is cut off.
struct Sections<'a> {
    rest: &'a [u8],
}

impl<'a> Sections<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes.get(PREAMBLE..).unwrap_or_default(),
        }
    }

    /// An unsigned number of at most 32 bits, seven at a time.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, rest) = self.rest.split_first()?;
        self.rest = rest;
        let length = self.number()?;
        let (content, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some((*id, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a module that has this many bytes of data.
    fn component(data: usize) -> Vec<u8> {
        let text = "x".repeat(data);
        let text = format!(
            r#"(component (component (core module (memory 2) (data (i32.const 0) "{text}"))))"#
        );
        wat::parse_str(text).expect("sound text")
    }

    #[test]
    fn data_of_nested_modules_is_found() {
        let none = data_bytes(&wat::parse_str("(component (core module))").expect("sound text"));
        assert_eq!(none, 0);
        let some = data_bytes(&component(100_000));
        assert!((100_000..100_100).contains(&some), "{some}");
    }

    #[test]
    fn what_is_cut_off_is_no_panic() {
        let whole = component(1000);
        for length in 0..whole.len() {
            assert!(data_bytes(&whole[..length]) <= data_bytes(&whole));
        }
        assert_eq!(data_bytes(&[0xff; 64]), 0);
    }
}
