//! Errors come back as values: limits, wrong calls, devices that are not there or no more there.

use crate::common::*;
use echogrid::gpu::{AdapterChoice, Binding, Cost, DType, Engine, Error, Groups, PlanBuilder, Tensor, Variant, list_adapters};
use echogrid::kernels::{activation, activation::Activation, elementwise};

/// One dispatch of the activation kernel with whatever is given.
fn dispatch<P: bytemuck::Pod>(e: &Engine, bindings: &[Binding<'_>], params: &P, groups: Groups) -> Result<(), Error> {
    let variant = Variant::new().int("KIND", 0).flag("BACKWARD", false).ident("T", "f32");
    PlanBuilder::new(e).dispatch("probe", &activation::SHADER, &variant, bindings, params, groups, Cost::default())
}

#[test]
fn refuses_a_wrong_dispatch() {
    let (e, _lock) = engine();
    let (x, y) = (out(e, &[4]), out(e, &[4]));
    let good = [Binding::from(&x), (&y).into()];
    let one = Groups::Linear(1);
    dispatch(e, &good, &[4u32, 0], one).unwrap();
    let said = |r: Result<(), Error>, words: &[&str]| {
        let e = r.unwrap_err().to_string();
        words.iter().for_each(|w| assert!(e.contains(w), "`{w}` is not in: {e}"));
    };
    said(dispatch(e, &good[..1], &[4u32, 0], one), &["probe", "takes 2 bindings, 1 given"]);
    said(dispatch(e, &[good[0], good[1], good[0]], &[4u32, 0], one), &["takes 2 bindings, 3 given"]);
    said(dispatch(e, &good, &[4u32, 0, 0], one), &["`params`", "Uniform(8)", "given 12 bytes"]);
    said(dispatch(e, &[good[0], good[0]], &[4u32, 0], one), &["slots 0 and 1 share a buffer that is written"]);
    // The same buffer under two handles, as an app may hold it.
    let wrap = || Tensor::from_buffer(x.buffer().clone(), 0, &[4], DType::F32).unwrap();
    let (a, b) = (wrap(), wrap());
    said(dispatch(e, &[(&a).into(), (&b).into()], &[4u32, 0], one), &["share a buffer that is written"]);
    let max = u64::from(e.caps().max_groups);
    let over = Groups::Linear(max * max + 1);
    said(dispatch(e, &good, &[4u32, 0], over), &["number of workgroups", "limit of 65535", "smaller batch"]);
    said(dispatch(e, &good, &[4u32, 0], Groups::Grid(1, 65536, 1)), &["number of workgroups is 65536"]);
    let buffer = e.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let copy_only = Tensor::from_buffer(buffer.clone(), 0, &[4], DType::F32).unwrap();
    said(dispatch(e, &[(&copy_only).into(), good[1]], &[4u32, 0], one), &["probe: wgpu rejected the call", "STORAGE"]);
    let shape = Tensor::from_buffer(buffer, 8, &[4], DType::F32).unwrap_err().to_string();
    assert!(shape.contains("at offset 8 needs 24 bytes, the buffer holds 16"), "{shape}");
    // None of it is left behind for the next caller.
    e.check("after").unwrap();
}

#[test]
fn refuses_what_is_over_a_limit() {
    let ([_, e], _lock) = engines();
    assert_eq!(e.caps().max_binding, 128 << 20);
    let words = (128 << 18) + 1;
    let x = e.tensor("large", &[words], DType::F32).unwrap();
    let y = out(e, &[4]);
    let err = dispatch(e, &[(&x).into(), (&y).into()], &[4u32, 0], Groups::Linear(1)).unwrap_err();
    let Error::Limit { need, limit, .. } = &err else { panic!("{err}") };
    assert_eq!((*need, *limit), (4 * words as u64, 128 << 20));
    assert!(err.to_string().contains("probe: bytes of `x` [33554433]"), "{err}");
    let err = e.tensor("huge", &[1 << 40], DType::F32).unwrap_err().to_string();
    assert!(err.contains("huge: bytes of a buffer is 4398046511104, over this device's limit of") && err.contains("smaller"), "{err}");
    let err = e.tensor("endless", &[usize::MAX, 3], DType::F32).unwrap_err().to_string();
    assert!(err.contains("endless: bytes of a buffer"), "{err}");
}

#[test]
fn names_the_adapters_that_are_there() {
    let err = pollster::block_on(Engine::new(&AdapterChoice::Named("no such thing".into()))).unwrap_err();
    let text = err.to_string();
    assert!(matches!(err, Error::NoAdapter { .. }) && text.contains("no GPU adapter matching `no such thing`"), "{text}");
    for adapter in pollster::block_on(list_adapters()) {
        assert!(text.contains(&adapter.to_string()), "{text}");
    }
}

/// What a test provokes on the device's own handler is told once, by the next call, and then forgotten.
#[test]
fn tells_a_validation_error_once() {
    let (e, _lock) = engine();
    let t = up(e, &[2], &[1.0, 2.0]);
    let buffer = e.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("not readable"),
        size: 8,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let err = e.read::<f32>(&Tensor::from_buffer(buffer, 0, &[2], DType::F32).unwrap()).unwrap_err();
    assert!(matches!(err, Error::Validation { .. }) && err.to_string().contains("not readable"), "{err}");
    assert_eq!(e.read::<f32>(&t).unwrap(), [1.0, 2.0]);
}

/// A plain op with more than 65,535 groups.
#[test]
fn folds_many_groups() {
    let (engines, _lock) = engines();
    for e in engines {
        let n = 65_535 * 64 + 129;
        let x = random(n, 1);
        let (tx, ty, tz) = (up(e, &[n], &x), out(e, &[n]), out(e, &[n]));
        let y = run_twice(e, &ty, |p| activation::forward(p, Activation::Relu, &tx, &ty));
        assert!(x.iter().zip(&y).all(|(x, y)| *y == x.max(0.0)));
        let z = run_twice(e, &tz, |p| elementwise::add(p, &tx, &ty, false, &tz));
        assert!(x.iter().zip(&z).all(|(x, z)| *z == x + x.max(0.0)));
    }
}

/// A device of the app's own that goes away: every call returns an error or nothing; none panics or hangs.
#[test]
fn survives_a_lost_device() {
    let (_, _lock) = engine();
    let (device, queue) = foreign();
    let e = Engine::from_device(device.clone(), queue);
    let (x, y) = (up(&e, &[4], &[1.0, -1.0, 2.0, -2.0]), out(&e, &[4]));
    let plan = plan(&e, |p| activation::forward(p, Activation::Relu, &x, &y));
    plan.submit(&e).unwrap();
    assert_eq!(e.read::<f32>(&y).unwrap(), [1.0, 0.0, 2.0, 0.0]);
    let pending = {
        plan.submit(&e).unwrap();
        e.start_read(&y).unwrap()
    };
    device.destroy();
    let started = std::time::Instant::now();
    // What was under way may still come back whole.
    if let Ok(v) = pending.finish::<f32>(&e) {
        assert_eq!(v, [1.0, 0.0, 2.0, 0.0]);
    }
    let lost = |r: Result<(), Error>| {
        let err = r.unwrap_err();
        assert!(matches!(err, Error::Lost { .. }), "{err}");
        assert!(err.to_string().contains("the GPU device was lost during") && err.to_string().contains("--resume"), "{err}");
    };
    lost(plan.submit(&e));
    lost(e.read::<f32>(&y).map(|_| ()));
    lost(e.tensor("more", &[4], DType::F32).map(|_| ()));
    lost(e.write(&x, &[0.0f32; 4]));
    lost(e.wait("waiting"));
    assert!(activation::forward(&mut PlanBuilder::new(&e), Activation::Silu, &x, &y).is_err());
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
