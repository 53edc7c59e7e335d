//! Rows picked by number, and rows put back by number: lists of rows, with no shader of their own ([`message`] does it).
//!
//! A list has slots; each names a row, the same row as often as it likes, or none ([`EMPTY`]). Picking is a gather over the slots, putting
//! back a sum over each row's slots, found by the list's inverse: no atomics, a fixed order, and each is the other's gradient.

use super::edges::{EMPTY, sort};
use super::expect;
use super::message::{self, Segments};
use crate::gpu::{DType, Engine, Error, PlanBuilder, Result, Tensor};

/// A list of rows on the device: three tensors of u32, which the host rewrites; plans stay.
#[derive(Debug, Clone)]
pub struct RowList {
    tensors: [Tensor; 3],
}

impl RowList {
    /// Room for a list of `slots` out of `rows`; not written yet.
    ///
    /// # Errors
    /// No row or no slot; out of memory.
    pub fn new(engine: &Engine, rows: usize, slots: usize) -> Result<Self> {
        let make = |name: &str, n: usize| engine.tensor(name, &[n], DType::U32);
        Self::from_tensors([make("rows", slots)?, make("offsets by row", rows + 1)?, make("slots by row", slots)?])
    }

    /// Wraps u32 \[K\], the row of each slot; \[N + 1\] and \[K\], its inverse: `slots[offsets[i]..offsets[i + 1]]` are those of row i.
    ///
    /// # Errors
    /// Other types or shapes; no row or no slot.
    pub fn from_tensors(tensors: [Tensor; 3]) -> Result<Self> {
        let [index, offsets, slots] = &tensors;
        let (k, n) = (index.len(), offsets.len());
        if k == 0 || n < 2 {
            return Err(Error::shape("row list", format!("{k} slots and {n} offsets: there must be a slot and a row")));
        }
        for (name, t, len) in [("rows", index, k), ("offsets by row", offsets, n), ("slots by row", slots, k)] {
            expect("row list", name, t, &[len], DType::U32)?;
        }
        Ok(Self { tensors })
    }

    /// Overwrites the list; slots beyond it become [`EMPTY`], which it may also hold itself. Plans that read it see it from the next
    /// submission on.
    ///
    /// # Errors
    /// A row that is not there; more than there are slots.
    pub fn write(&self, engine: &Engine, list: &[u32]) -> Result<()> {
        let [rows, slots] = self.counts();
        for (t, values) in self.tensors.iter().zip(with_inverse(rows, slots, list)?) {
            engine.write(t, &values)?;
        }
        Ok(())
    }

    /// Numbers of rows and of slots.
    pub fn counts(&self) -> [usize; 2] {
        [self.tensors[1].len() - 1, self.tensors[0].len()]
    }
}

/// A list padded to its slots, with its inverse: what the three tensors of a [`RowList`] hold.
///
/// # Errors
/// A row that is not there; more than there are slots.
pub fn with_inverse(rows: usize, slots: usize, list: &[u32]) -> Result<[Vec<u32>; 3]> {
    if list.len() > slots {
        return Err(Error::shape("row list", format!("{} rows for {slots} slots", list.len())));
    }
    let taken: Vec<usize> = (0..list.len()).filter(|k| list[*k] != EMPTY).collect();
    let bins: Vec<u32> = taken.iter().map(|k| list[*k]).collect();
    if let Some(k) = taken.iter().find(|k| list[**k] as usize >= rows) {
        return Err(Error::shape("row list", format!("slot {k} names row {} of {rows}", list[*k])));
    }
    let (offsets, order) = sort(&bins, rows);
    let padded = |mut values: Vec<u32>| {
        values.resize(slots, EMPTY);
        values
    };
    Ok([padded(list.to_vec()), offsets, padded(order.iter().map(|i| taken[*i as usize] as u32).collect())])
}

/// Appends y \[K, F\], the row of x \[N, F\] that each slot names, 0 where it names none. Rows are what comes after the first extent.
///
/// # Errors
/// Shapes differ from these.
pub fn gather(plan: &mut PlanBuilder<'_>, list: &RowList, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "gather rows";
    let [n, k] = list.counts();
    message::same_rows(op, ("x", x, n), ("y", y, k))?;
    message::spread(plan, op, (&list.tensors[0], n), x, None, y)
}

/// Appends x \[N, F\], for each row the sum of the rows of y \[K, F\] whose slots name it, 0 where none does; what is in other slots does
/// not count.
///
/// # Errors
/// Shapes differ from these.
pub fn scatter(plan: &mut PlanBuilder<'_>, list: &RowList, y: &Tensor, x: &Tensor) -> Result<()> {
    let op = "scatter rows";
    let [n, slots] = list.counts();
    message::same_rows(op, ("y", y, slots), ("x", x, n))?;
    let [owner, offsets, order] = &list.tensors;
    let segments = Segments { n, rows: slots, slots, offsets, order: Some(order), index: None, owner };
    message::sum_segments(plan, op, &segments, y, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts() {
        let [list, offsets, slots] = with_inverse(5, 7, &[3, EMPTY, 0, 3, 4]).unwrap();
        assert_eq!(list, [3, EMPTY, 0, 3, 4, EMPTY, EMPTY]);
        assert_eq!(offsets, [0, 1, 1, 1, 3, 4]);
        assert_eq!(slots, [2, 0, 3, 4, EMPTY, EMPTY, EMPTY]);
        let [list, offsets, slots] = with_inverse(1, 2, &[]).unwrap();
        assert_eq!((list, offsets, slots), (vec![EMPTY; 2], vec![0, 0], vec![EMPTY; 2]));
    }

    #[test]
    fn refuses() {
        let e = with_inverse(5, 3, &[0, 5]).unwrap_err().to_string();
        assert!(e.contains("slot 1 names row 5 of 5"), "{e}");
        let e = with_inverse(5, 1, &[0, 0]).unwrap_err().to_string();
        assert!(e.contains("2 rows for 1 slots"), "{e}");
    }
}
