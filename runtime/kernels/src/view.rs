//! Strided views of matrices over slices.

use crate::ShapeError;

/// Rows, columns and strides in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Layout {
    /// Checks that the matrix lies within `length` elements; returns how many it spans. A stride
    /// that is never taken becomes 1, so that all later arithmetic on strides is in range.
    fn new(
        length: usize,
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<(Self, usize), ShapeError> {
        let layout = Self {
            rows,
            columns,
            row_stride: if rows > 1 { row_stride } else { 1 },
            column_stride: if columns > 1 { column_stride } else { 1 },
        };
        let needed = layout.span().ok_or(ShapeError::Overflow)?;
        if needed > length {
            return Err(ShapeError::TooShort { needed, length });
        }
        Ok((layout, needed))
    }

    /// Elements from the first to the last; none on overflow.
    fn span(&self) -> Option<usize> {
        // A broadcast (stride 0) may name more elements than it has; their number must fit too.
        self.rows.checked_mul(self.columns)?;
        if self.rows == 0 || self.columns == 0 {
            return Some(0);
        }
        let down = (self.rows - 1).checked_mul(self.row_stride)?;
        let across = (self.columns - 1).checked_mul(self.column_stride)?;
        let span = down.checked_add(across)?.checked_add(1)?;
        (isize::try_from(span).is_ok()).then_some(span)
    }

    /// Whether two positions may be the same element.
    fn overlaps(&self) -> bool {
        let (rows, columns) = (self.rows, self.columns);
        let mut axes = [(self.row_stride, rows), (self.column_stride, columns)];
        axes.sort_unstable();
        let [(short, count), (long, others)] = axes;
        if rows <= 1 || columns <= 1 {
            return (rows > 1 && self.row_stride == 0) || (columns > 1 && self.column_stride == 0);
        }
        debug_assert!(others > 1, "both axes have several positions here");
        short == 0 || long <= short * (count - 1)
    }

    fn transpose(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn offset(&self, row: usize, column: usize) -> usize {
        assert!(
            row < self.rows && column < self.columns,
            "({row}, {column}) is outside of {}x{}",
            self.rows,
            self.columns
        );
        row * self.row_stride + column * self.column_stride
    }

    /// The layout of a block, and the range of elements that it spans.
    fn block(
        &self,
        row: usize,
        column: usize,
        rows: usize,
        columns: usize,
    ) -> (Self, std::ops::Range<usize>) {
        let fits = |start: usize, count: usize, limit: usize| {
            start.checked_add(count).is_some_and(|end| end <= limit)
        };
        assert!(
            fits(row, rows, self.rows) && fits(column, columns, self.columns),
            "block {rows}x{columns} at ({row}, {column}) is outside of {}x{}",
            self.rows,
            self.columns
        );
        let layout = Self {
            rows,
            columns,
            ..*self
        };
        if rows == 0 || columns == 0 {
            return (layout, 0..0);
        }
        let start = row * self.row_stride + column * self.column_stride;
        let end = start + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1;
        (layout, start..end)
    }
}

/// A matrix to read.
///
/// Element (i, j) is `data[i * row_stride + j * column_stride]`; a stride may be 0 (broadcast).
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    layout: Layout,
}

/// A matrix to read and write; no two positions are the same element.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    layout: Layout,
}

impl<'a, T> MatRef<'a, T> {
    /// A view of `data`, which may be longer than needed. The shape may come from an untrusted
    /// source: all arithmetic on it is checked.
    pub fn new(
        data: &'a [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, ShapeError> {
        let (layout, span) = Layout::new(data.len(), rows, columns, row_stride, column_stride)?;
        let data = &data[..span];
        Ok(Self { data, layout })
    }

    /// A view of columns one after another.
    pub fn column_major(data: &'a [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        Self::new(data, rows, columns, 1, rows)
    }

    /// A view of rows one after another.
    pub fn row_major(data: &'a [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        Self::new(data, rows, columns, columns, 1)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.layout.row_stride
    }

    /// Elements from one column to the next.
    pub fn column_stride(&self) -> usize {
        self.layout.column_stride
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.layout.rows, self.layout.columns)
    }

    /// The transpose, of the same elements.
    #[must_use]
    pub fn transpose(self) -> Self {
        let layout = self.layout.transpose();
        Self { layout, ..self }
    }

    /// The block of `rows` x `columns` whose first element is (`row`, `column`).
    ///
    /// # Panics
    /// When the block is not within the matrix.
    #[must_use]
    pub fn block(&self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        let (layout, range) = self.layout.block(row, column, rows, columns);
        let data = &self.data[range];
        Self { data, layout }
    }

    /// The elements from the first of the matrix to its last, those in the gaps of the strides
    /// included: what to hand on, with the shape and the strides, to another kernel.
    pub fn span(&self) -> &'a [T] {
        self.data
    }

    /// `count` elements down the column, from (`row`, `column`); none if they are not adjacent.
    pub(crate) fn run(&self, row: usize, column: usize, count: usize) -> Option<&'a [T]> {
        let adjacent = self.layout.row_stride == 1 && count > 0;
        adjacent.then(|| &self.block(row, column, count, 1).data[..count])
    }
}

impl<T: Copy> MatRef<'_, T> {
    /// Element (`row`, `column`).
    ///
    /// # Panics
    /// When it is outside of the matrix.
    pub fn get(&self, row: usize, column: usize) -> T {
        self.data[self.layout.offset(row, column)]
    }

    /// A copy, column after column.
    pub(crate) fn to_column_major(self) -> Vec<T> {
        let (rows, columns) = self.shape();
        let mut copy = Vec::with_capacity(rows * columns);
        for column in 0..columns {
            if let Some(run) = self.run(0, column, rows) {
                copy.extend_from_slice(run);
            } else if rows > 0 {
                let (_, range) = self.layout.block(0, column, rows, 1);
                let values = self.data[range]
                    .iter()
                    .step_by(self.layout.row_stride.max(1));
                copy.extend(values.take(rows));
            }
        }
        copy
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A view of `data`, which may be longer than needed. The shape may come from an untrusted
    /// source: all arithmetic on it is checked, and strides by which two positions could be the
    /// same element are refused.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, ShapeError> {
        let (layout, span) = Layout::new(data.len(), rows, columns, row_stride, column_stride)?;
        if span > 0 && layout.overlaps() {
            return Err(ShapeError::Overlap);
        }
        let data = &mut data[..span];
        Ok(Self { data, layout })
    }

    /// A view of columns one after another.
    pub fn column_major(
        data: &'a mut [T],
        rows: usize,
        columns: usize,
    ) -> Result<Self, ShapeError> {
        Self::new(data, rows, columns, 1, rows)
    }

    /// A view of rows one after another.
    pub fn row_major(data: &'a mut [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        Self::new(data, rows, columns, columns, 1)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.layout.row_stride
    }

    /// Elements from one column to the next.
    pub fn column_stride(&self) -> usize {
        self.layout.column_stride
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.layout.rows, self.layout.columns)
    }

    /// The transpose, of the same elements.
    #[must_use]
    pub fn transpose(self) -> Self {
        let layout = self.layout.transpose();
        Self { layout, ..self }
    }

    /// The same view for a shorter time.
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut {
            data: self.data,
            layout: self.layout,
        }
    }

    /// The view to read.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef {
            data: self.data,
            layout: self.layout,
        }
    }

    /// The block of `rows` x `columns` whose first element is (`row`, `column`).
    ///
    /// # Panics
    /// When the block is not within the matrix.
    #[must_use]
    pub fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> MatMut<'a, T> {
        let (layout, range) = self.layout.block(row, column, rows, columns);
        let data = &mut self.data[range];
        MatMut { data, layout }
    }

    /// Cuts the matrix before a column, if the elements of both parts do not interleave, as in a
    /// column-major matrix.
    pub(crate) fn split_at_column(self, column: usize) -> Result<(Self, Self), Self> {
        let layout = self.layout;
        let down = (layout.rows.max(1) - 1) * layout.row_stride;
        let cut = column * layout.column_stride;
        if layout.column_stride <= down || cut >= self.data.len() {
            return Err(self);
        }
        let (left, right) = self.data.split_at_mut(cut);
        let part = |columns| Layout { columns, ..layout };
        Ok((
            MatMut {
                data: left,
                layout: part(column),
            },
            MatMut {
                data: right,
                layout: part(layout.columns - column),
            },
        ))
    }

    /// The elements from the first of the matrix to its last, as [`MatRef::span`].
    pub fn span_mut(&mut self) -> &mut [T] {
        self.data
    }

    /// `count` elements down the column, from (`row`, `column`); none if they are not adjacent.
    pub(crate) fn run_mut(&mut self, row: usize, column: usize, count: usize) -> Option<&mut [T]> {
        if self.layout.row_stride != 1 || count == 0 {
            return None;
        }
        let (_, range) = self.layout.block(row, column, count, 1);
        Some(&mut self.data[range])
    }
}

impl<T: Copy> MatMut<'_, T> {
    /// Element (`row`, `column`).
    ///
    /// # Panics
    /// When it is outside of the matrix.
    pub fn get(&self, row: usize, column: usize) -> T {
        self.data[self.layout.offset(row, column)]
    }

    /// Sets element (`row`, `column`).
    ///
    /// # Panics
    /// When it is outside of the matrix.
    pub fn set(&mut self, row: usize, column: usize, value: T) {
        self.data[self.layout.offset(row, column)] = value;
    }
}
