use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder};
use echogrid::kernels::edges::EMPTY;
use echogrid::kernels::message::SLICE;
use echogrid::kernels::row_list::{self as kernel, RowList};
use echogrid::reference::row_list as twin;

/// Lists of some of so many rows: none, one, all, some often, some never, a row so often that it is summed in slices; and free slots.
fn lists() -> Vec<(usize, Vec<u32>)> {
    let some = |rows: usize, slots: usize, seed: u64| -> Vec<u32> {
        random(slots, seed).iter().map(|v| (((v + 1.0) / 2.0 * rows as f32) as u32).min(rows as u32 - 1)).collect()
    };
    let mut hub = some(40, 3 * SLICE, 3);
    hub.iter_mut().step_by(2).for_each(|row| *row = 7);
    let mut gaps = some(11, 90, 4);
    gaps.iter_mut().step_by(3).for_each(|row| *row = EMPTY);
    vec![(1, vec![]), (1, vec![0]), (9, (0..9).rev().collect()), (70, some(70, 33, 1)), (5, some(5, 203, 2)), (40, hub), (11, gaps)]
}

/// The list on the device with free slots behind it.
fn device(e: &Engine, rows: usize, list: &[u32]) -> (RowList, Vec<u32>) {
    let slots = list.len() + 5;
    let device = RowList::new(e, rows, slots).unwrap();
    device.write(e, list).unwrap();
    let mut padded = list.to_vec();
    padded.resize(slots, EMPTY);
    (device, padded)
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (rows, list) in lists() {
            let (on, padded) = device(e, rows, &list);
            let slots = padded.len();
            for f in [1, 4, 7, 20, 65] {
                let x = random(rows * f, 5);
                let (tx, ty) = (up(e, &[rows, f], &x), out(e, &[slots, f]));
                let y = run_twice(e, &ty, |p| kernel::gather(p, &on, &tx, &ty));
                close(&y, &twin::gather(&padded, &f64s(&x), f), 0.0, 0.0);
                // What free slots hold would show.
                let mut y = random(slots * f, 6);
                padded.iter().enumerate().filter(|(_, row)| **row == EMPTY).for_each(|(k, _)| y[k * f..][..f].fill(1e30));
                let (ty, tx) = (up(e, &[slots, f], &y), out(e, &[rows, f]));
                let x = run_twice(e, &tx, |p| kernel::scatter(p, &on, &ty, &tx));
                // A sum of n terms of at most 1: n roundings of partial sums, which as sums of n random terms stay below 4 sqrt(n).
                let most = (0..rows).map(|row| padded.iter().filter(|r| **r == row as u32).count()).max().unwrap_or(0).max(1);
                close(&x, &twin::scatter(&padded, rows, &f64s(&y), f), 4.0 * EPS * (most as f64).powf(1.5), 0.0);
            }
        }
    }
}

/// <dy, A x> = <A' dy, x>, of small whole numbers, whose sums are exact.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    for (rows, list) in lists() {
        let (on, padded) = device(e, rows, &list);
        let whole = |n: usize, seed: u64| -> Vec<f32> { random(n, seed).iter().map(|v| (8.0 * v).round()).collect() };
        let (f, slots) = (6, padded.len());
        let (x, dy) = (whole(rows * f, 7), whole(slots * f, 8));
        let (tx, tdy, ty, tdx) = (up(e, &[rows, f], &x), up(e, &[slots, f], &dy), out(e, &[slots, f]), out(e, &[rows, f]));
        let y = run_twice(e, &ty, |p| kernel::gather(p, &on, &tx, &ty));
        let dx = run_twice(e, &tdx, |p| kernel::scatter(p, &on, &tdy, &tdx));
        assert_eq!(dot(&y, &dy), dot(&dx, &x));
    }
}

/// A plan reads the list as it is when it runs.
#[test]
fn lists_are_rewritten() {
    let (e, _lock) = engine();
    let list = RowList::new(e, 3, 4).unwrap();
    let (x, y, back) = (up(e, &[3, 1], &[1.0, 2.0, 4.0]), out(e, &[4, 1]), out(e, &[3, 1]));
    let plan = plan(e, |p| {
        kernel::gather(p, &list, &x, &y)?;
        kernel::scatter(p, &list, &y, &back)
    });
    for (rows, picked, sums) in [
        (&[2, 0, 2][..], [4.0, 1.0, 4.0, 0.0], [1.0, 0.0, 8.0]),
        (&[EMPTY, 1], [0.0, 2.0, 0.0, 0.0], [0.0, 2.0, 0.0]),
        (&[], [0.0; 4], [0.0; 3]),
    ] {
        list.write(e, rows).unwrap();
        plan.submit(e).unwrap();
        assert_eq!(e.read::<f32>(&y).unwrap(), picked);
        assert_eq!(e.read::<f32>(&back).unwrap(), sums);
    }
}

/// A row that all of a million slots name.
#[test]
fn many_slots() {
    let (e, _lock) = engine();
    let (rows, slots) = (3, (1 << 20) + 1);
    let list = RowList::new(e, rows, slots).unwrap();
    list.write(e, &vec![1; slots]).unwrap();
    let (x, y, back) = (up(e, &[rows, 4], &[0.5; 12]), out(e, &[slots, 4]), out(e, &[rows, 4]));
    let got = run_twice(e, &y, |p| kernel::gather(p, &list, &x, &y));
    assert!(got.iter().all(|v| *v == 0.5));
    // Halves: exact up to 2^23.
    let sums = run_twice(e, &back, |p| kernel::scatter(p, &list, &y, &back));
    let all = slots as f32 / 2.0;
    assert_eq!(sums, [0.0, 0.0, 0.0, 0.0, all, all, all, all, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let list = RowList::new(e, 3, 4).unwrap();
    assert_eq!(list.counts(), [3, 4]);
    let mut p = PlanBuilder::new(e);
    says(kernel::gather(&mut p, &list, &out(e, &[4, 2]), &out(e, &[4, 2])), "`x` is [4, 2], expected 3 rows");
    says(kernel::scatter(&mut p, &list, &out(e, &[4, 2]), &out(e, &[3, 3])), "rows of `y` have 2 values, those of `x` 3");
    says(list.write(e, &[3]), "slot 0 names row 3 of 3");
    says(list.write(e, &[0; 5]), "5 rows for 4 slots");
    says(RowList::new(e, 0, 4), "there must be a slot and a row");
    let [a, b] = [4, 5].map(|n| e.tensor("list", &[n], DType::U32).unwrap());
    says(RowList::from_tensors([a.clone(), a, b]), "`slots by row` must be U32 [4], not U32 [5]");
}
