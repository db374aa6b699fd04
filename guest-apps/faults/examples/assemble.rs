//! Assembles `division.wat` to `division.wasm`, which is embedded: as bytes, because an assembler among the
//! dependencies of a build script would be one for everybody who builds the program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let component = wat::parse_file(source.join("division.wat"))?;
    std::fs::write(source.join("division.wasm"), component)?;
    Ok(())
}
