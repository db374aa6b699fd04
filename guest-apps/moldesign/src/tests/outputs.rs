//! The table and the plot.

use std::time::Duration;

use crate::results::{Row, best_so_far, plot, table};

fn rows(energies: &[(f64, u32)]) -> Vec<Row> {
    let row = |(number, (energy, batch)): (usize, &(f64, u32))| Row {
        molecule: number,
        smiles: format!("C{number}"),
        energy: *energy,
        batch: *batch,
        time: Duration::from_millis(1500 * number as u64),
    };
    energies.iter().enumerate().map(row).collect()
}

#[test]
fn the_table_has_the_columns_of_taps() {
    let mut rows = rows(&[(13.5, 0), (12.25, 0), (14.125, 1)]);
    rows[1].smiles = "C,\"N".to_owned();
    assert_eq!(
        table(&rows).unwrap(),
        "smiles,ie,batch,time\nC0,13.5,0,0.000\n\"C,\"\"N\",12.25,0,1.500\nC2,14.125,1,3.000\n"
    );
    assert_eq!(table(&[]).unwrap(), "smiles,ie,batch,time\n");
}

#[test]
fn the_best_so_far_only_rises() {
    let rows = rows(&[(13.0, 0), (12.0, 0), (15.0, 1), (14.0, 1), (15.5, 2)]);
    assert_eq!(best_so_far(&rows), [13.0, 13.0, 15.0, 15.0, 15.5]);
}

#[test]
fn the_plot_is_a_picture_of_any_number_of_molecules() {
    for count in [0, 1, 2, 200] {
        let energies: Vec<_> = (0..count)
            .map(|number| (12.0 + f64::from(number % 7), u32::from(number > 8)))
            .collect();
        let png = plot(&rows(&energies)).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    }
}
