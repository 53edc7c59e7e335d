//! Twin of `src/kernels/row_list.rs`. Rows have `f` values; a slot of [`EMPTY`] names none.

use crate::kernels::edges::EMPTY;

/// Calls `g(slot, row)` for each slot that names a row.
fn each(list: &[u32], mut g: impl FnMut(usize, usize)) {
    list.iter().enumerate().filter(|(_, row)| **row != EMPTY).for_each(|(slot, row)| g(slot, *row as usize));
}

/// y [K, F]: the row of x that each slot names.
pub fn gather(list: &[u32], x: &[f64], f: usize) -> Vec<f64> {
    let mut y = vec![0.0; list.len() * f];
    each(list, |slot, row| y[slot * f..][..f].copy_from_slice(&x[row * f..][..f]));
    y
}

/// x [rows, F]: for each row the sum of the rows of y whose slots name it.
pub fn scatter(list: &[u32], rows: usize, y: &[f64], f: usize) -> Vec<f64> {
    let mut x = vec![0.0; rows * f];
    each(list, |slot, row| (0..f).for_each(|k| x[row * f + k] += y[slot * f + k]));
    x
}
