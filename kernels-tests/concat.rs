use crate::common::*;
use echogrid::gpu::{PlanBuilder, Tensor};
use echogrid::kernels::concat as kernel;
use echogrid::reference::concat as twin;

/// Forward puts the parts side by side; backward gives them back, which is also the adjoint test of a permutation.
#[test]
fn equals_its_twin_and_backward_takes_apart() {
    let (engines, _lock) = engines();
    for e in engines {
        for (rows, parts) in [([1, 1, 1], vec![1, 1]), ([2, 7, 5], vec![4, 8, 64]), ([1, 9, 7], vec![3, 64, 1]), ([3, 5, 13], vec![63, 65])]
        {
            let (r, c): (usize, usize) = (rows.iter().product(), parts.iter().sum());
            let shape = |c: usize| [rows[0], rows[1], rows[2], c];
            let data: Vec<Vec<f32>> = parts.iter().enumerate().map(|(i, p)| random(r * p, i as u64)).collect();
            let inputs: Vec<Tensor> = data.iter().zip(&parts).map(|(d, p)| up(e, &shape(*p), d)).collect();
            let y = out(e, &shape(c));
            let got = run_twice(e, &y, |p| kernel::forward(p, &inputs.iter().collect::<Vec<_>>(), &y));
            let mut want = vec![0.0; r * c];
            let mut at = 0;
            for (d, p) in data.iter().zip(&parts) {
                twin::copy_channels(&f64s(d), *p, 0, &mut want, c, at, *p);
                at += p;
            }
            close(&got, &want, 0.0, 0.0);
            let grads: Vec<Tensor> = parts.iter().map(|p| out(e, &shape(*p))).collect();
            plan(e, |p| kernel::backward(p, &y, &grads.iter().collect::<Vec<_>>())).submit(e).unwrap();
            for (g, d) in grads.iter().zip(&data) {
                assert_eq!(&e.read::<f32>(g).unwrap(), d);
            }
        }
    }
}

#[test]
fn copies_slices_and_leaves_the_rest() {
    let (engines, _lock) = engines();
    for e in engines {
        for (cs, from, cd, to, n) in [(8, 4, 12, 8, 4), (7, 2, 5, 1, 3), (64, 0, 8, 4, 4), (65, 64, 1, 0, 1), (8, 1, 8, 0, 4)] {
            let x = random(129 * cs, 5);
            let (tx, ty) = (up(e, &[129, cs], &x), out(e, &[129, cd]));
            let mut want = vec![-777.0; 129 * cd];
            twin::copy_channels(&f64s(&x), cs, from, &mut want, cd, to, n);
            close(&run_twice(e, &ty, |p| kernel::copy_channels(p, &tx, from, &ty, to, n)), &want, 0.0, 0.0);
        }
    }
}

/// NaN, infinities and denormals are bits like others.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let x = [f32::NAN, f32::INFINITY, 1e-40, -0.0];
    let (tx, ty) = (up(e, &[1, 4], &x), out(e, &[1, 5]));
    let y = run_twice(e, &ty, |p| kernel::copy_channels(p, &tx, 0, &ty, 1, 4));
    assert!(y[1..].iter().zip(&x).all(|(a, b)| a.to_bits() == b.to_bits()), "{y:?}");
}

#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 + 1;
    let x = random(n, 6);
    let (tx, ty) = (up(e, &[1, n], &x), out(e, &[1, n]));
    assert!(run_twice(e, &ty, |p| kernel::copy_channels(p, &tx, 0, &ty, 0, n)) == x);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let err = kernel::copy_channels(&mut p, &out(e, &[2, 4]), 2, &out(e, &[2, 4]), 0, 3).unwrap_err();
    assert!(err.to_string().contains("3 channels from 2 of [2, 4]"), "{err}");
    let err = kernel::forward(&mut p, &[&out(e, &[2, 4])], &out(e, &[2, 5])).unwrap_err();
    assert!(err.to_string().contains("parts of 4 channels"), "{err}");
    let err = kernel::forward(&mut p, &[&out(e, &[3, 4])], &out(e, &[2, 4])).unwrap_err();
    assert!(err.to_string().contains("all extents but the last"), "{err}");
}

#[test]
fn stored_as_f16() {
    let (a, b) = (halves(3 * 7 * 8, 1), halves(3 * 7 * 5, 2));
    for count in [4, 5] {
        let (a, b) = ((&[3, 7, 8][..], &a[..]), (&[3, 7, count][..], &b[..21 * count]));
        stored_either_way(&[a, b], &[3, 7, 8 + count], None, |p, t, y| kernel::forward(p, &[&t[0], &t[1]], y));
    }
}
