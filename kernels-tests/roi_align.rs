use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::roi_align::{self as kernel, NOWHERE, Regions, RoiAlign};
use echogrid::reference::roi_align::{self as twin, Region};

/// Regions in quarters of pixels, so that places and extents are exact at the scales that the tests use: small and large ones, some off the image,
/// some without an extent, some of no image or no map.
fn regions(n: usize, images: usize, maps: usize, field: f32, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let r = random(6 * n, seed);
    let quarter = |v: f32| (4.0 * v).round() / 4.0;
    let mut boxes = Vec::new();
    let mut places = Vec::new();
    for (i, r) in r.chunks(6).enumerate() {
        let side = [field, field / 4.0, 0.0, field / 20.0][i % 4];
        let [x, y, w, h] = [field * (r[0] + 0.6), field * (r[1] + 0.6), side * r[2].abs(), side * r[3].abs()].map(quarter);
        boxes.extend([x, y, x + w, y + h]);
        let of = |v: f32, n: usize| ((v + 1.0) / 2.0 * n as f32) as u32;
        places.extend(match i % 11 {
            7 => [NOWHERE, 0],
            9 => [0, maps as u32],
            _ => [of(r[4], images), of(r[5], maps)],
        });
    }
    (boxes, places)
}

fn host(boxes: &[f32], places: &[u32]) -> Vec<Region> {
    let one = |(b, p): (&[f32], &[u32])| ([0, 1, 2, 3].map(|i| f64::from(b[i])), p[0] as usize, p[1] as usize);
    boxes.chunks(4).zip(places.chunks(2)).map(one).collect()
}

struct Device {
    boxes: Tensor,
    places: Tensor,
}

impl Device {
    fn new(e: &Engine, boxes: &[f32], places: &[u32]) -> Self {
        let n = places.len() / 2;
        Self { boxes: up(e, &[n, 4], boxes), places: e.upload("places", &[n, 2], DType::U32, places).unwrap() }
    }

    fn regions(&self) -> Regions<'_> {
        Regions { boxes: &self.boxes, places: &self.places }
    }
}

/// Loads of one channel and of four, more groups of channels than an invocation takes, tiles whole and not.
const SHAPES: [&[[usize; 4]]; 4] =
    [&[[1, 1, 1, 1]], &[[2, 9, 7, 3]], &[[1, 16, 24, 8], [1, 8, 12, 8]], &[[2, 17, 13, 76], [2, 9, 7, 76], [2, 5, 4, 76]]];

const ALIGNS: [RoiAlign; 5] = [
    RoiAlign { bins: 1, samples: Some(1) },
    RoiAlign { bins: 7, samples: Some(2) },
    RoiAlign { bins: 2, samples: Some(3) },
    RoiAlign { bins: 3, samples: None },
    RoiAlign { bins: 7, samples: None },
];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, (shapes, align)) in SHAPES.iter().flat_map(|s| ALIGNS.map(|a| (*s, a))).enumerate() {
            let [n, h, w, c] = shapes[0];
            let rows = [5, 70, 33][i % 3];
            let (boxes, places) = regions(rows, n, shapes.len(), 4.0 * h.max(w) as f32, i as u64);
            let device = Device::new(e, &boxes, &places);
            let host = host(&boxes, &places);
            let scales: Vec<f32> = (0..shapes.len()).map(|l| 0.25 / (1 << l) as f32).collect();
            let xs: Vec<Vec<f32>> = shapes.iter().map(|s| random(s.iter().product(), 50 + i as u64)).collect();
            let maps: Vec<Tensor> = xs.iter().zip(shapes).map(|(x, s)| up(e, s, x)).collect();
            let (shape, wide): ([usize; 4], Vec<Vec<f64>>) = ([rows, align.bins, align.bins, c], xs.iter().map(|x| f64s(x)).collect());
            let y = out(e, &shape);
            let from: Vec<(&Tensor, f32)> = maps.iter().zip(scales.iter().copied()).collect();
            let got = run_twice(e, &y, |p| kernel::forward(p, align, &from, &device.regions(), &y));
            let from: Vec<_> = wide.iter().zip(shapes).zip(&scales).map(|((x, s), k)| (x.as_slice(), *s, f64::from(*k))).collect();
            // Positions up to 60 are off by 60 eps, so weights by 120 eps of numbers up to 1, and sums of up to S x S samples by their roundings.
            let samples = align.samples.unwrap_or(h.max(w) + 1);
            let bound = (400 + samples * samples + 8) as f64 * EPS;
            close(&got, &twin::forward(align, &from, &host), bound, 0.0);
            let dy = random(shape.iter().product(), 90 + i as u64);
            let tdy = up(e, &shape, &dy);
            for level in 0..shapes.len() {
                let to: Vec<(Option<&Tensor>, f32)> =
                    (0..shapes.len()).map(|l| (Some(&maps[l]).filter(|_| l == level), scales[l])).collect();
                let got = run_twice(e, &maps[level], |p| kernel::backward(p, align, &device.regions(), &tdy, &to));
                let want = twin::backward(align, level, shapes[level], scales[level].into(), &host, &f64s(&dy));
                // A region's weights at a pixel sum to its bins' number at most: each is off as above.
                let largest = want.iter().fold(1.0f64, |a, v| a.max(v.abs()));
                let terms = (rows * align.bins * align.bins) as f64;
                close(&got, &want, (400.0 + terms.sqrt()) * EPS * largest.max(terms.sqrt()), 0.0);
            }
        }
    }
}

/// <dy, A x> = <A' dy, x> where regions lie one upon another and are more than a pass takes at once.
#[test]
fn adjoint_of_many_regions() {
    let (engines, _lock) = engines();
    for e in engines {
        for (align, rows) in [(ALIGNS[1], 2100), (RoiAlign { bins: 14, samples: Some(2) }, 700), (ALIGNS[4], 1100)] {
            // Some so small that all of their bins lie within one pixel.
            let (mut boxes, mut places) = regions(rows, 1, 1, 100.0, 3);
            boxes.chunks_mut(4).skip(1).step_by(2).for_each(|b| b.copy_from_slice(&[41.25, 38.5, 42.25, 39.5]));
            places.chunks_mut(2).for_each(|p| p.copy_from_slice(&[0, 0]));
            let device = Device::new(e, &boxes, &places);
            let (xs, ys) = ([1, 24, 26, 8], [rows, align.bins, align.bins, 8]);
            let (x, dy) = (random(xs.iter().product(), 4), random(ys.iter().product(), 5));
            let (tx, tdy, y, dx) = (up(e, &xs, &x), up(e, &ys, &dy), out(e, &ys), out(e, &xs));
            let got = run_twice(e, &y, |p| kernel::forward(p, align, &[(&tx, 0.25)], &device.regions(), &y));
            let back = run_twice(e, &dx, |p| kernel::backward(p, align, &device.regions(), &tdy, &[(Some(&dx), 0.25)]));
            let want = twin::backward(align, 0, xs, 0.25, &host(&boxes, &places), &f64s(&dy));
            let largest = want.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            let terms = (rows * align.bins * align.bins) as f64;
            close(&back, &want, (400.0 + terms.sqrt()) * EPS * largest.max(terms.sqrt()), 0.0);
            let both = [dot(&got, &dy), dot(&back, &x)];
            let size = dot(&got, &got).sqrt() * dot(&dy, &dy).sqrt();
            assert!((both[0] - both[1]).abs() < 1e-5 * size, "{both:?}");
        }
    }
}

/// By hand: a region of 2 x 2 px on a ramp is the ramp at the centres of its quarters; beyond the border the border is repeated, and a pixel beyond
/// that there is nothing.
#[test]
fn lies_where_it_should() {
    let (e, _lock) = engine();
    let ramp: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
    let x = up(e, &[1, 8, 8, 1], &ramp);
    let align = RoiAlign { bins: 2, samples: Some(1) };
    let boxes = [[2.0, 2.0, 4.0, 4.0], [-1.0, 3.0, 1.0, 5.0], [8.0, 3.0, 12.0, 5.0], [3.0, 3.0, 3.0, 3.0]].concat();
    let device = Device::new(e, &boxes, &[0; 8]);
    let y = out(e, &[4, 2, 2, 1]);
    let got = run_twice(e, &y, |p| kernel::forward(p, align, &[(&x, 1.0)], &device.regions(), &y));
    // Centres of pixels are at halves: x = 2.5 is pixel 2.
    assert_eq!(got, [2.0, 3.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.5, 2.5, 2.5, 2.5]);
    let device = Device::new(e, &[8.0, 3.0, 9.0, 5.0], &[0; 2]);
    let y = out(e, &[1, 2, 2, 1]);
    let got = run_twice(e, &y, |p| kernel::forward(p, align, &[(&x, 1.0)], &device.regions(), &y));
    assert_eq!(got, [7.0, 0.0, 7.0, 0.0]);
}

#[test]
fn stored_as_f16() {
    for (shape, align) in [([2, 9, 7, 3], ALIGNS[1]), ([1, 16, 24, 8], ALIGNS[3])] {
        let (boxes, places) = regions(40, shape[0], 1, 60.0, 6);
        let large = [40, align.bins, align.bins, shape[3]];
        let (x, dy) = (halves(shape.iter().product(), 1), halves(large.iter().product(), 2));
        stored_either_way(&[(&shape, &x)], &large, None, |p, t, y| {
            kernel::forward(p, align, &[(&t[0], 0.25)], &Device::new(p.engine(), &boxes, &places).regions(), y)
        });
        stored_either_way(&[(&large, &dy)], &shape, None, |p, t, dx| {
            kernel::backward(p, align, &Device::new(p.engine(), &boxes, &places).regions(), &t[0], &[(Some(dx), 0.25)])
        });
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let device = Device::new(e, &[0.0; 12], &[0; 6]);
    let (x, y) = (out(e, &[1, 4, 4, 2]), out(e, &[3, 7, 7, 2]));
    let align = ALIGNS[1];
    let words = e.upload("places", &[5], DType::U32, &[0u32; 5]).unwrap();
    says(
        kernel::forward(&mut p, align, &[(&x, 1.0)], &Regions { places: &words, ..device.regions() }, &y),
        "`places` must be 6 of U32, not U32 [5]",
    );
    says(kernel::forward(&mut p, align, &[(&x, 1.0)], &Regions { boxes: &x, ..device.regions() }, &y), "`boxes` must be [R, 4]");
    says(kernel::forward(&mut p, align, &[(&x, 1.0)], &device.regions(), &x), "`y` must be F32 [3, 7, 7, 2]");
    says(kernel::forward(&mut p, align, &[(&x, 1.0), (&x, 0.0)], &device.regions(), &y), "at scale 0: 2 channels and a scale above 0");
    says(kernel::forward(&mut p, align, &[], &device.regions(), &y), "3 regions of 0 maps");
    let none = RoiAlign { samples: Some(0), ..align };
    says(kernel::backward(&mut p, none, &device.regions(), &y, &[(Some(&x), 1.0)]), "samples up to 256");
    if e.caps().software {
        let (large, y) = (out(e, &[1, 520, 520, 1]), out(e, &[3, 1, 1, 1]));
        let adaptive = RoiAlign { bins: 1, samples: None };
        says(kernel::forward(&mut p, adaptive, &[(&large, 1.0)], &device.regions(), &y), "samples of a bin on a map of 520 x 520");
        let (many, y) = (RoiAlign { bins: 70, ..align }, out(e, &[3, 70, 70, 2]));
        says(kernel::backward(&mut p, many, &device.regions(), &y, &[(Some(&x), 1.0)]), "bins of 32 regions at a pixel");
    }
}
