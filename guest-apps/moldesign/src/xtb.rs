//! The programs: Open Babel makes a geometry of a SMILES, xtb computes energies.
//!
//! The ionisation energy is vertical: the energy of the cation less that of the molecule, both at
//! the geometry of the molecule, by GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput.
//! 15, 2019, 1652). It is the plain difference: `xtb --vip` takes 4.8455 eV off it.

use taps::{Completion, Error, Payload, Program, ProgramNeed, Result};

use crate::geometry::{self, GeometryError};

/// What the app needs on the host.
pub(crate) const PROGRAMS: &[ProgramNeed] = &[
    ProgramNeed::new("obabel", "apt-get install openbabel")
        .help("makes a first geometry of a SMILES")
        .version(&["-V"]),
    ProgramNeed::new("xtb", "apt-get install xtb")
        .help("computes energies by GFN2-xTB")
        .version(&["--version"]),
];

/// eV in a Hartree (Eh), the unit in which xtb prints energies.
pub(crate) const EV_PER_HARTREE: f64 = 27.211_386;
/// Bytes of a geometry that xtb has optimised; more is none.
const LARGEST_GEOMETRY: u64 = geometry::LARGEST_FILE;

/// A geometry of the molecule by Open Babel, in XYZ format. It starts from random coordinates: two
/// calls do not give quite the same.
///
/// # Errors
/// Of kind `BadSmiles` when Open Babel makes nothing of it; it exits with 0 then, and leaves an
/// empty file.
pub(crate) fn start_geometry(smiles: &str) -> Result<Payload> {
    // Its threads must not spin while they wait: two at a time take seconds then instead of a tenth. With
    // two, coordinates are those that it makes by itself on two cores.
    let done = Program::new("obabel")
        .env("OMP_NUM_THREADS", "2")
        .env("OMP_WAIT_POLICY", "passive")
        .args([
            &format!("-:{smiles}"),
            "--gen3d",
            "-h",
            "-oxyz",
            "-O",
            "in.xyz",
        ])
        .output("in.xyz")
        .run_checked()?;
    match done.output("in.xyz") {
        Ok(geometry) if geometry.size() > 0 => Ok(geometry),
        _ => Err(Error::app(
            "BadSmiles",
            format!(
                "obabel makes no molecule of it: {}",
                complaint(&done.stderr_text())
            ),
        )),
    }
}

/// What Open Babel says is wrong: the line after its first heading.
fn complaint(stderr: &str) -> &str {
    let mut lines = stderr.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("*** Open Babel"))
        .and_then(|_| lines.next())
        .unwrap_or("it gives no reason")
}

/// Reads a geometry and counts its atoms.
///
/// # Errors
/// Of kind `BadGeometry` when it is none, `UnknownElement` when the method does not know one of its
/// elements.
pub(crate) fn check_geometry(geometry: &Payload) -> Result<u32> {
    if geometry.size() > LARGEST_GEOMETRY {
        let reason = format!("{} bytes are no geometry of a molecule", geometry.size());
        return Err(Error::app("BadGeometry", reason));
    }
    let bytes = geometry.bytes()?;
    let text = str::from_utf8(&bytes)
        .map_err(|error| Error::app("BadGeometry", format!("it is no text: {error}")))?;
    match geometry::atoms(text) {
        Ok(atoms) => Ok(atoms as u32),
        Err(GeometryError::Malformed(reason)) => Err(Error::app("BadGeometry", reason)),
        Err(GeometryError::Element(symbol)) => Err(Error::app(
            "UnknownElement",
            format!("GFN2-xTB knows the elements from H to Rn, and not `{symbol}`"),
        )),
    }
}

/// The geometry of least energy of the neutral molecule, in XYZ format.
pub(crate) fn optimise(geometry: &Payload) -> Result<Payload> {
    let done = xtb("in.xyz", geometry, &["--opt"])
        .output("xtbopt.xyz")
        .run()?;
    energy_of(&done)?;
    done.output("xtbopt.xyz")
}

/// The energy at a geometry and a charge, in Hartree.
pub(crate) fn energy(geometry: &Payload, charge: i32) -> Result<f64> {
    let charge = charge.to_string();
    energy_of(&xtb("xtbopt.xyz", geometry, &["--chrg", &charge]).run()?)
}

fn xtb(file: &str, geometry: &Payload, arguments: &[&str]) -> Program {
    Program::new("xtb")
        .args([file, "--gfn", "2", "--acc", "0.05"])
        .args(arguments.iter().copied())
        .input(file, geometry)
        // One core per task: else OpenMP and the linear algebra take all there are.
        .env("OMP_NUM_THREADS", "1")
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("MKL_NUM_THREADS", "1")
}

fn energy_of(done: &Completion) -> Result<f64> {
    let output = done.stdout_text();
    match read(&output) {
        Outcome::NotConverged(what) => Err(Error::app("NotConverged", what)),
        Outcome::UnknownElement(what) => Err(Error::app("UnknownElement", what)),
        Outcome::Energy(energy) if done.succeeded() => Ok(energy),
        // Its standard error has nothing but addresses then.
        Outcome::Refused(what) => Err(Error::Program {
            program: "xtb".to_owned(),
            message: format!("it refuses: {what}"),
        }),
        Outcome::Energy(_) | Outcome::None if !done.succeeded() => Err(done.error("it failed")),
        Outcome::Energy(_) | Outcome::None => Err(done.error("it printed no energy")),
    }
}

/// What an output of xtb tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The last total energy, in Hartree.
    Energy(f64),
    /// The electrons or the geometry did not converge; the line that says so.
    NotConverged(String),
    /// An element without parameters; the line that says so.
    UnknownElement(String),
    /// It stopped with an error; the innermost cause.
    Refused(String),
    /// Nothing of that.
    None,
}

/// Reads what xtb printed.
pub(crate) fn read(output: &str) -> Outcome {
    let bare = |line: &str| {
        line.trim_matches(|sign: char| sign == '*' || sign.is_whitespace())
            .to_owned()
    };
    let (mut energy, mut cause) = (None, None);
    for line in output.lines() {
        if line.contains("convergence criteria cannot be satisfied")
            || line.contains("FAILED TO CONVERGE")
            || line.contains("did not converge")
        {
            return Outcome::NotConverged(bare(line));
        }
        if line.contains("no basis found for atom") || line.contains("unknown element") {
            return Outcome::UnknownElement(bare(line));
        }
        if let Some(text) = line.strip_prefix("-1- ") {
            cause = Some(text.trim().to_owned());
        }
        if let Some((_, rest)) = line.split_once("TOTAL ENERGY") {
            let mut words = rest.split_whitespace();
            let value = words.next().and_then(|word| word.parse::<f64>().ok());
            energy = match (value, words.next()) {
                (Some(value), Some("Eh")) if value.is_finite() => Some(value),
                _ => return Outcome::None,
            };
        }
    }
    match (cause, energy) {
        (Some(cause), _) => Outcome::Refused(cause),
        (None, Some(energy)) => Outcome::Energy(energy),
        (None, None) => Outcome::None,
    }
}

/// Net charge of a SMILES: the sum over its atoms in brackets.
pub(crate) fn net_charge(smiles: &str) -> i64 {
    smiles
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .map(|(atom, _)| atom_charge(atom))
        .sum()
}

/// Charge of an atom in brackets: `+`, `-2`, `++`, before the class that may follow a colon.
fn atom_charge(atom: &str) -> i64 {
    let atom = atom.split(':').next().unwrap_or(atom);
    let Some(start) = atom.find(['+', '-']) else {
        return 0;
    };
    let (sign, rest) = atom[start..].split_at(1);
    let size = match rest.parse::<u32>() {
        Ok(size) => i64::from(size),
        Err(_) => rest.matches(sign).fold(1, |size, _| size + 1),
    };
    if sign == "-" { -size } else { size }
}
