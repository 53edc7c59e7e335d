//! The measurements that choose kernels: what is wrong must not be chosen, however fast.

use crate::common::*;
use echogrid::gpu::{Error, Precision, Tuning};
use echogrid::kernels::conv::{Conv, Pass, Way, pass_by};
use echogrid::kernels::elementwise::{fill, scaled_copy};
use echogrid::kernels::matmul::{Op, matmul};
use echogrid::kernels::tiling::Tiling;
use echogrid::tune::{Append, Entrant, Problem, entrants, measure};

const PROBLEM: Problem = Problem::Product { m: 96, n: 64, k: 64, a: Op::Plain, b: Op::Plain };

fn planted<'a>(name: &str, append: Append<'a>) -> Entrant<'a> {
    Entrant { name: name.into(), append }
}

#[test]
fn a_wrong_kernel_is_rejected() {
    let (e, _lock) = engine();
    let mut all = entrants();
    let right = all.len();
    all.push(planted("zeros", Box::new(|plan, _, [_, _, c]| fill(plan, 0.0, c))));
    all.push(planted("writes nothing", Box::new(|_, _, _| Ok(()))));
    all.push(planted("does not compile", Box::new(|_, _, _| Err(Error::Validation { op: "matmul".into(), reason: "no".into() }))));
    // Right where it is held against the twin, wrong on the problem that is timed.
    all.push(planted(
        "right when small",
        Box::new(|plan, problem, [a, b, c]| match problem == &PROBLEM {
            true => fill(plan, 0.0, c),
            false => matmul(plan, a, Op::Plain, b, Op::Plain, c),
        }),
    ));
    // A tenth of a per cent off.
    all.push(planted(
        "nearly",
        Box::new(|plan, _, [a, b, c]| {
            let scratch = plan.engine().tensor("exact", c.shape(), c.dtype())?;
            matmul(plan, a, Op::Plain, b, Op::Plain, &scratch)?;
            scaled_copy(plan, &scratch, 1.001, c)
        }),
    ));
    let (measured, rejected) = measure(e, &PROBLEM, Precision::Full, &all).unwrap();
    let names: Vec<&str> = rejected.iter().map(|r| r.kernel.as_str()).collect();
    assert_eq!(names, ["zeros", "writes nothing", "does not compile", "right when small", "nearly"], "{rejected:?}");
    assert!(rejected[0].reason.contains("off its twin"), "{rejected:?}");
    assert!(rejected[1].reason.contains("off its twin by inf"), "{rejected:?}");
    assert!(rejected[3].reason.contains("at [96, 64, 64]"), "{rejected:?}");
    assert!(measured.seconds.keys().all(|k| k.parse::<Tiling>().is_ok()), "{measured:?}");
    assert!(measured.seconds.len() <= right && measured.seconds.contains_key("tiled-64"), "{measured:?}");
    let tuning = Tuning { measured: vec![measured.clone()] };
    let chosen: Tiling = tuning.choose(PROBLEM.family(), &PROBLEM.sizes().unwrap(), |_| true).unwrap();
    assert!(measured.seconds[&chosen.to_string()] <= 1.2 * measured.ranking()[0].1, "{chosen} of {measured:?}");
}

/// Under mixed precision a convolution's images are stored as networks hand them on, and what is wrong shows there too.
#[test]
fn a_wrong_kernel_is_rejected_under_mixed_precision() {
    let (e, _lock) = engine();
    for pass in [Pass::Forward, Pass::Input, Pass::Weights] {
        let problem = Problem::Convolution { pass, conv: Conv::square(3, 1, 1), x: [2, 12, 10, 8], co: 12 };
        let mut all = entrants();
        all.push(planted("writes nothing", Box::new(|_, _, _| Ok(()))));
        all.push(planted(
            "nearly",
            Box::new(move |plan, problem, [a, b, c]| {
                let Problem::Convolution { conv, .. } = problem else { unreachable!("a convolution was asked") };
                let scratch = plan.engine().tensor("exact", c.shape(), c.dtype())?;
                pass_by(plan, Way::Direct(Tiling::PLAIN), pass, conv, [a, b, &scratch])?;
                scaled_copy(plan, &scratch, 1.004, c)
            }),
        ));
        let (measured, rejected) = measure(e, &problem, Precision::Mixed, &all).unwrap();
        let names: Vec<&str> = rejected.iter().map(|r| r.kernel.as_str()).collect();
        assert_eq!(names, ["writes nothing", "nearly"], "{rejected:?}");
        assert!(measured.seconds.contains_key("tiled-64") && !measured.seconds.contains_key("winograd"), "{measured:?}");
        assert!(measured.family.ends_with(", mixed"), "{measured:?}");
    }
}
