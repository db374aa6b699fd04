//! Compile errors point at the author's line and say what to do.

#[test]
fn compile_errors_point_at_the_author() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
