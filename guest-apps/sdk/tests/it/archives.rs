//! Archives against those that the Python package writes: its test `test_archive.py` reads the same file.

use serde::de::DeserializeOwned;
use taps::Value;

#[derive(serde::Deserialize)]
struct Case {
    r#type: String,
    value: serde_json::Value,
    archive: String,
}

/// Checks that a value's archive is `expected`, in hexadecimal digits, and reads back.
fn check<T: Value + DeserializeOwned + PartialEq + std::fmt::Debug>(case: &Case) {
    let value: T = serde_json::from_value(case.value.clone()).expect("the value is of the type");
    check_value(case, &value);
}

fn check_value<T: Value + PartialEq + std::fmt::Debug>(case: &Case, value: &T) {
    let name = &case.r#type;
    let archive = value.encode().expect("it can be encoded");
    assert_eq!(
        archive.as_slice(),
        bytes_of(&case.archive),
        "{name} {value:?}"
    );
    assert_eq!(
        T::decode(archive).expect("it can be decoded"),
        *value,
        "{name}"
    );
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("the archive is in hexadecimal digits"))
        .collect()
}

/// Integers beyond 64 bits are texts in the file.
fn wide<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &serde_json::Value) -> T {
    value.as_str().expect("a text").parse().expect("an integer")
}

#[test]
fn archives_are_those_of_the_python_package() {
    let text = include_str!("../../../../host-executors/python/tests/archives.json");
    let cases: Vec<Case> = serde_json::from_str(text).expect("the file is JSON");
    assert!(cases.len() > 30, "the file holds too few cases");
    for case in &cases {
        match case.r#type.as_str() {
            "bool" => check::<bool>(case),
            "u8" => check::<u8>(case),
            "u16" => check::<u16>(case),
            "u32" => check::<u32>(case),
            "u64" => check::<u64>(case),
            "u128" => check_value::<u128>(case, &wide(&case.value)),
            "i8" => check::<i8>(case),
            "i16" => check::<i16>(case),
            "i32" => check::<i32>(case),
            "i64" => check::<i64>(case),
            "i128" => check_value::<i128>(case, &wide(&case.value)),
            "f32" => check::<f32>(case),
            "f64" => check::<f64>(case),
            "char" => check::<char>(case),
            "String" => check::<String>(case),
            "Vec<u8>" => check::<Vec<u8>>(case),
            "Vec<f64>" => check::<Vec<f64>>(case),
            "Vec<String>" => check::<Vec<String>>(case),
            "Vec<Vec<u32>>" => check::<Vec<Vec<u32>>>(case),
            "Vec<Option<u8>>" => check::<Vec<Option<u8>>>(case),
            "Vec<(String, f64)>" => check::<Vec<(String, f64)>>(case),
            "Option<u32>" => check::<Option<u32>>(case),
            "Option<String>" => check::<Option<String>>(case),
            "Option<Vec<u64>>" => check::<Option<Vec<u64>>>(case),
            "Option<(u8, i128)>" => {
                let value = Some((1u8, wide::<i128>(&case.value[1])));
                check_value(case, &value);
            }
            "(u8, f64)" => check::<(u8, f64)>(case),
            "(u32, u8, u16)" => check::<(u32, u8, u16)>(case),
            "(String, u64)" => check::<(String, u64)>(case),
            other => panic!("the test does not know the type `{other}`"),
        }
    }
}
