//! From a SMILES to a ligand for Vina: tasks that run Open Babel, Meeko or MGLTools.

use taps::{Bytes, Completion, Error, File, Payload, Program, Result};

use crate::pdb;

/// Characters of a program's complaint, or of a SMILES, that an error shows.
const SHOWN_CHARACTERS: usize = 300;

/// Makes a molecule's 3-D structure, as PDB.
#[taps::task(programs("obabel"))]
pub(crate) fn smi_to_pdb(smiles: &str) -> Result<File> {
    structure(smiles, "in.pdb", "-opdb")
}

/// Makes a molecule's 3-D structure, as SDF.
#[taps::task(programs("obabel"))]
pub(crate) fn smi_to_sdf(smiles: &str) -> Result<File> {
    structure(smiles, "in.sdf", "-osdf")
}

/// Fills in the column of the elements of a PDB file.
#[taps::task(pure)]
pub(crate) fn set_element(pdb_file: Payload) -> Result<Bytes> {
    let bytes = pdb_file.bytes()?;
    let text = String::from_utf8_lossy(bytes.as_slice());
    let text = pdb::set_elements(&text).map_err(|line| {
        Error::app(
            "UnknownElement",
            format!("an atom has no known element: {line:?}"),
        )
    })?;
    Ok(text.into_bytes().into())
}

/// Makes a ligand of a PDB file, with Open Babel.
#[taps::task(programs("obabel"))]
pub(crate) fn pdb_to_pdbqt(pdb_file: Payload) -> Result<File> {
    let done = obabel()
        .args(["coords.pdb", "-opdbqt", "--title", "", "-O", "coords.pdbqt"])
        .input("coords.pdb", &pdb_file)
        .output("coords.pdbqt")
        .run_checked()?;
    written(&done, "coords.pdbqt")
}

/// Makes a ligand of an SDF file, with Meeko.
#[taps::task(programs("mk_prepare_ligand.py"))]
pub(crate) fn sdf_to_pdbqt(sdf_file: Payload) -> Result<File> {
    let done = Program::new("mk_prepare_ligand.py")
        .args(["-i", "in.sdf", "-o", "coords.pdbqt"])
        .input("in.sdf", &sdf_file)
        .output("coords.pdbqt")
        .run_checked()?;
    written(&done, "coords.pdbqt")
}

/// Makes a ligand of a PDB file, with MGLTools.
#[taps::task(programs("prepare_ligand4.py"))]
pub(crate) fn pdb_to_pdbqt_mgltools(pdb_file: Payload) -> Result<File> {
    let done = Program::new("prepare_ligand4.py")
        .args([
            "-l",
            "coords.pdb",
            "-o",
            "coords.pdbqt",
            "-U",
            "nphs_lps_waters",
        ])
        .input("coords.pdb", &pdb_file)
        .output("coords.pdbqt")
        .run_checked()?;
    written(&done, "coords.pdbqt")
}

/// Open Babel, with its number of threads fixed: it adds up energies in as many parts, so that
/// coordinates depend on it. With two, the sum does not depend on who comes first. They must not
/// spin while they wait, or a busy machine takes seconds instead of a tenth.
fn obabel() -> Program {
    Program::new("obabel")
        .env("OMP_NUM_THREADS", "2")
        .env("OMP_WAIT_POLICY", "passive")
}

/// Runs Open Babel on a SMILES. One that it cannot read makes it leave an empty file and exit
/// with 0.
fn structure(smiles: &str, file: &str, format: &str) -> Result<File> {
    let done = obabel()
        .arg(format!("-:{smiles}"))
        .args(["--gen3d", "-h", format, "-O", file])
        .output(file)
        .run_checked()?;
    let shown: String = smiles.chars().take(SHOWN_CHARACTERS).collect();
    let made = done.output(file)?;
    if made.size() == 0 {
        let said = complaint(&done.stderr_text());
        let message = format!("{shown:?} is no SMILES that Open Babel can read: {said}");
        return Err(Error::app("InvalidSmiles", message));
    }
    if format == "-opdb" {
        let bytes = made.bytes()?;
        let text = String::from_utf8_lossy(bytes.as_slice());
        if !pdb::has_structure(&text) {
            let message = format!("Open Babel found no 3-D structure of {shown:?}");
            return Err(Error::app("NoStructure", message));
        }
    }
    Ok(File::new(made))
}

/// What Open Babel complains of, in one line, without its frames and counts.
fn complaint(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| {
        !line.is_empty()
            && !line.starts_with("====")
            && !line.starts_with("***")
            && !line.ends_with("converted")
    });
    let joined = lines.collect::<Vec<_>>().join(" ");
    joined.chars().take(SHOWN_CHARACTERS).collect()
}

/// A file that a program wrote, and not an empty one.
fn written(done: &Completion, file: &str) -> Result<File> {
    let made = done.output(file)?;
    if made.size() == 0 {
        return Err(done.error(format!("it wrote nothing into `{file}`")));
    }
    Ok(File::new(made))
}
