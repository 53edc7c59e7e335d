//! Boxes and regions against torchvision's values, which `benches/peers/boxes.py --values` writes. They are not part of the project: `ECHOGRID_TORCHVISION`
//! names the file; without it the tests say that they skipped.

use crate::common::*;
use echogrid::gpu::{DType, Engine, Tensor};
use echogrid::kernels::box_match::{self, Match, Matched, Truth};
use echogrid::kernels::nms::{self, Nms};
use echogrid::kernels::roi_align::{self, Regions, RoiAlign};
use echogrid::kernels::upsample;
use safetensors::{Dtype, SafeTensors};

struct Values(Vec<u8>);

impl Values {
    fn open() -> Option<Self> {
        let Some(path) = std::env::var_os("ECHOGRID_TORCHVISION") else {
            eprintln!("SKIPPED: ECHOGRID_TORCHVISION names no file of benches/peers/boxes.py");
            return None;
        };
        Some(Self(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))))
    }

    /// Shape and 32-bit words.
    fn words(&self, name: &str, dtype: Dtype) -> (Vec<usize>, Vec<u32>) {
        let all = SafeTensors::deserialize(&self.0).unwrap();
        let t = all.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(t.dtype(), dtype, "{name}");
        (t.shape().to_vec(), t.data().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn ints(&self, name: &str) -> Vec<u32> {
        self.words(name, Dtype::I32).1
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, words) = self.words(name, Dtype::F32);
        (shape, words.into_iter().map(f32::from_bits).collect())
    }

    fn up(&self, e: &Engine, name: &str) -> Tensor {
        let (shape, v) = self.floats(name);
        up(e, &shape, &v)
    }

    fn up_ints(&self, e: &Engine, name: &str, shape: &[usize]) -> Tensor {
        e.upload("ints", shape, DType::U32, &self.ints(name)).unwrap()
    }
}

#[test]
fn suppression() {
    let Some(v) = Values::open() else { return };
    let (engines, _lock) = engines();
    for e in engines {
        let (scores, config) = (v.floats("nms.scores").1, Nms { iou: 0.5, score: f32::NEG_INFINITY });
        let n = scores.len();
        let (boxes, scores) = (up(e, &[1, n, 4], &v.floats("nms.boxes").1), up(e, &[1, n], &scores));
        let one = e.upload("groups", &[1, n], DType::U32, &vec![0u32; n]).unwrap();
        for (groups, want) in [(one, "nms.kept"), (v.up_ints(e, "nms.groups", &[1, n]), "nms.kept_by_group")] {
            let (kept, count) = (e.tensor("kept", &[1, n], DType::U32).unwrap(), e.tensor("count", &[1], DType::U32).unwrap());
            plan(e, |p| nms::nms(p, config, &boxes, &scores, &groups, &kept, &count)).submit(e).unwrap();
            let (kept, count, want) = (e.read::<u32>(&kept).unwrap(), e.read::<u32>(&count).unwrap()[0] as usize, v.ints(want));
            println!("{n} boxes: {count} kept, {} by torchvision", want.len());
            assert!(kept[..count] == want);
        }
    }
}

#[test]
fn matching() {
    let Some(v) = Values::open() else { return };
    let (engines, _lock) = engines();
    for e in engines {
        let (anchors, boxes) = (v.up(e, "match.anchors"), v.up(e, "match.boxes"));
        let (n, slots) = (anchors.shape()[0], boxes.shape()[0]);
        let starts = e.upload("starts", &[2], DType::U32, &[0, slots as u32]).unwrap();
        let ignored = e.upload("ignored", &[slots], DType::U32, &vec![0u32; slots]).unwrap();
        let make = |dtype| e.tensor("matched", &[1, n], dtype).unwrap();
        let (rows, overlaps, labels) = (make(DType::U32), make(DType::F32), make(DType::U32));
        let truth = Truth { boxes: &boxes, starts: &starts, ignored: &ignored };
        let to = Matched { rows: &rows, overlaps: &overlaps, labels: &labels };
        for (low_quality, want) in [(None, "match.labels"), (Some(0.0), "match.labels_low_quality")] {
            let by = Match { high: 0.7, low: 0.3, low_quality, cover: 1.0 };
            plan(e, |p| box_match::assign(p, by, &anchors, &truth, &to)).submit(e).unwrap();
            assert!(e.read::<u32>(&labels).unwrap() == v.ints(want), "{want}");
            close(&e.read(&overlaps).unwrap(), &f64s(&v.floats("match.best").1), 0.0, 4.0 * EPS);
            // Where an anchor has no box, torchvision names the first, as we do.
            assert!(e.read::<u32>(&rows).unwrap() == v.ints("match.rows"));
        }
        let (shape, iou) = v.floats("match.iou");
        let few = up(e, &[shape[1], 4], &v.floats("match.anchors").1[..4 * shape[1]]);
        let all = out(e, &shape);
        close(&run_twice(e, &all, |p| box_match::overlaps(p, &boxes, &few, &all)), &f64s(&iou), 0.0, 4.0 * EPS);
    }
}

#[test]
fn regions() {
    let Some(v) = Values::open() else { return };
    let (engines, _lock) = engines();
    for e in engines {
        let boxes = v.up(e, "roi.boxes");
        let rows = boxes.shape()[0];
        let places = v.up_ints(e, "roi.places", &[rows, 2]);
        let of = Regions { boxes: &boxes, places: &places };
        let maps: Vec<Tensor> = (0..4).map(|i| v.up(e, &format!("roi.x{i}"))).collect();
        let maps: Vec<(&Tensor, f32)> = maps.iter().zip([1.0 / 4.0, 1.0 / 8.0, 1.0 / 16.0, 1.0 / 32.0]).collect();
        for (name, samples) in [("two", Some(2)), ("adaptive", None)] {
            let align = RoiAlign { bins: 7, samples };
            let (shape, want) = v.floats(&format!("roi.{name}.y"));
            let y = out(e, &shape);
            let got = run_twice(e, &y, |p| roi_align::forward(p, align, &maps, &of, &y));
            // Both round: places of up to 256 pixels to 256 eps, so weights of numbers up to 5 to some thousand eps.
            close(&got, &f64s(&want), 1e-3, 0.0);
            let off = got.iter().zip(&want).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / got.len() as f64;
            assert!(off < 5e-6, "{name}: off by {off} in the mean");
            let dy = v.up(e, &format!("roi.{name}.dy"));
            for level in 0..4 {
                let (shape, want) = v.floats(&format!("roi.{name}.dx{level}"));
                let dx = out(e, &shape);
                let to: Vec<(Option<&Tensor>, f32)> = (0..4).map(|l| (Some(&dx).filter(|_| l == level), maps[l].1)).collect();
                let got = run_twice(e, &dx, |p| roi_align::backward(p, align, &of, &dy, &to));
                let rms = (dot(&want, &want) / want.len() as f64).sqrt();
                let worst = got.iter().zip(&want).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                println!("{name}, map {level}: gradient off by {worst:.1e}, its mean square's root {rms:.1e}");
                assert!(rms > 1e-3 && worst < 1e-3 * rms.max(1.0));
            }
        }
    }
}

#[test]
fn resized() {
    let Some(v) = Values::open() else { return };
    let (e, _lock) = engine();
    let (x, dy) = (v.up(e, "resize.x"), v.up(e, "resize.dy"));
    let (y, dx) = (out(e, dy.shape()), out(e, x.shape()));
    close(&run_twice(e, &y, |p| upsample::resize(p, &x, &y)), &f64s(&v.floats("resize.y").1), 0.0, 0.0);
    close(&run_twice(e, &dx, |p| upsample::resize_backward(p, &dy, &dx)), &f64s(&v.floats("resize.dx").1), 100.0 * EPS, 0.0);
}
