use crate::common::*;
use echogrid::gpu::{DType, PlanBuilder};
use echogrid::kernels::suppress::suppress;
use echogrid::reference::suppress as twin;

/// Exact: the op only compares and copies.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (nq, sizes) in [(1usize, vec![1usize]), (3, vec![1, 49, 2, 7]), (65, vec![5; 13]), (2, (1..64).collect::<Vec<_>>())] {
            let starts: Vec<usize> = std::iter::once(0)
                .chain(sizes.iter().scan(0, |s, n| {
                    *s += n;
                    Some(*s)
                }))
                .collect();
            let n = *starts.last().unwrap();
            // Coarse values: ties are frequent.
            let scores: Vec<f32> = random(nq * n, 1).iter().map(|v| (v * 4.0).round()).collect();
            let words: Vec<u32> = starts.iter().map(|s| *s as u32).collect();
            let (ts, tx) = (e.upload("starts", &[words.len()], DType::U32, &words).unwrap(), up(e, &[nq, n], &scores));
            let got = run_twice(e, &tx, |p| suppress(p, &ts, &tx, nq, n));
            let mut want = scores;
            twin::suppress(&starts, &mut want, n);
            assert_eq!(got, want);
        }
    }
}

#[test]
fn odd_floats_and_refusals() {
    let (e, _lock) = engine();
    let scores = [f32::NEG_INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40, f32::INFINITY, f32::NAN];
    let (ts, tx) = (e.upload("starts", &[4], DType::U32, &[0u32, 2, 4, 6]).unwrap(), up(e, &[1, 6], &scores));
    let got = run_twice(e, &tx, |p| suppress(p, &ts, &tx, 1, 6));
    assert_eq!(got[4], f32::INFINITY);
    assert_eq!(got[5], f32::NEG_INFINITY);
    let short = out(e, &[1, 5]);
    let err = suppress(&mut PlanBuilder::new(e), &ts, &short, 1, 6).unwrap_err();
    assert!(err.to_string().contains("1 x 6 scores"), "{err}");
}
