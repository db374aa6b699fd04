//! What AutoDock Vina is told, and what it answers.

/// Where and how Vina searches. Travels to the tasks.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    /// Centre of the box, in Å.
    pub(crate) centre: [f64; 3],
    /// Sides of the box, in Å.
    pub(crate) size: [f64; 3],
    /// Independent searches.
    pub(crate) exhaustiveness: u32,
    /// Most binding modes in the answer.
    pub(crate) num_modes: u32,
    /// How much worse than the best a mode may be, in kcal/mol.
    pub(crate) energy_range: f64,
}

/// Names of the files in the directory where Vina runs.
pub(crate) const RECEPTOR: &str = "receptor.pdbqt";
pub(crate) const LIGAND: &str = "ligand.pdbqt";
pub(crate) const CONFIG: &str = "config.txt";
pub(crate) const POSES: &str = "out.pdbqt";

impl Search {
    /// Whether a place is inside the box.
    pub(crate) fn contains(&self, place: [f64; 3]) -> bool {
        (0..3).all(|axis| (place[axis] - self.centre[axis]).abs() <= self.size[axis] / 2.0)
    }

    /// The configuration file: twelve lines, as TaPS writes them.
    pub(crate) fn config_file(&self) -> String {
        let [center_x, center_y, center_z] = self.centre;
        let [size_x, size_y, size_z] = self.size;
        format!(
            "receptor = {RECEPTOR}\n\
             ligand = {LIGAND}\n\
             center_x = {center_x}\n\
             center_y = {center_y}\n\
             center_z = {center_z}\n\
             size_x = {size_x}\n\
             size_y = {size_y}\n\
             size_z = {size_z}\n\
             exhaustiveness = {}\n\
             num_modes = {}\n\
             energy_range = {}\n\
             out = {POSES}\n",
            self.exhaustiveness, self.num_modes, self.energy_range
        )
    }
}

/// Affinities of the binding modes, in kcal/mol, in the order of Vina's table, whose columns are
/// mode, affinity and two distances.
pub(crate) fn modes(output: &str) -> Result<Vec<f64>, &'static str> {
    let mut lines = output.lines();
    if !lines.any(|line| line.starts_with("-----+")) {
        return Err("it printed no table of binding modes");
    }
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut modes = Vec::new();
    for row in rows {
        // Other versions print more lines below the table.
        let (Some(Ok(mode)), 4) = (row.first().map(|cell| cell.parse::<usize>()), row.len()) else {
            break;
        };
        if mode != modes.len() + 1 {
            return Err("the modes in its table are not counted from 1");
        }
        let affinity: f64 = row[1]
            .parse()
            .map_err(|_| "an affinity in its table is no number")?;
        if !affinity.is_finite() {
            return Err("an affinity in its table is not finite");
        }
        modes.push(affinity);
    }
    if modes.is_empty() {
        return Err("its table of binding modes is empty");
    }
    Ok(modes)
}

/// The number that TaPS takes for the score: second column of the third line from the end of the
/// output, which is never the best of several modes, and depends on the version of Vina.
pub(crate) fn taps_row(output: &str) -> Result<f64, &'static str> {
    let line = output.rsplit('\n').nth(2).unwrap_or_default();
    let cell = line.split_whitespace().nth(1).unwrap_or_default();
    let score: f64 = cell.parse().map_err(
        |_| "the third line from the end of its output has no number in its second column",
    )?;
    if score.is_finite() {
        Ok(score)
    } else {
        Err("the affinity that TaPS takes is not finite")
    }
}
