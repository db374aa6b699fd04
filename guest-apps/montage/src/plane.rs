//! Planes, fitted to values by least squares.

/// The plane `a·x + b·y + c`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Plane {
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) c: f64,
}

impl Plane {
    /// Its value at a point.
    pub(crate) fn at(self, x: f64, y: f64) -> f64 {
        self.a * x + self.b * y + self.c
    }
}

/// Sums over points, from which a plane is fitted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlaneFit {
    /// Upper triangle of the normal equations for (x, y, 1).
    xx: f64,
    xy: f64,
    x: f64,
    yy: f64,
    y: f64,
    count: f64,
    /// Their right side.
    xz: f64,
    yz: f64,
    z: f64,
}

impl PlaneFit {
    /// Adds a value at a point. Points should lie around the origin.
    pub(crate) fn add(&mut self, x: f64, y: f64, z: f64) {
        self.xx += x * x;
        self.xy += x * y;
        self.x += x;
        self.yy += y * y;
        self.y += y;
        self.count += 1.0;
        self.xz += x * z;
        self.yz += y * z;
        self.z += z;
    }

    /// The plane nearest to all values; `None` if the points do not determine one.
    pub(crate) fn plane(&self) -> Option<Plane> {
        // Cramer's rule is good enough for three unknowns and points around the origin.
        let determinant = |m: [[f64; 3]; 3]| {
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
                - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
                + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        };
        let matrix = [
            [self.xx, self.xy, self.x],
            [self.xy, self.yy, self.y],
            [self.x, self.y, self.count],
        ];
        let right = [self.xz, self.yz, self.z];
        let whole = determinant(matrix);
        // The largest that the determinant could be: all points far apart in both directions.
        let scale = self.xx * self.yy * self.count;
        if self.count < 3.0 || whole.abs() <= 1e-12 * scale || !whole.is_normal() {
            return None;
        }
        let unknown = |column: usize| {
            let mut replaced = matrix;
            for (row, value) in replaced.iter_mut().zip(right) {
                row[column] = value;
            }
            determinant(replaced) / whole
        };
        Some(Plane {
            a: unknown(0),
            b: unknown(1),
            c: unknown(2),
        })
    }
}
