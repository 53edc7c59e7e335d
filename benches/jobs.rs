//! Whole jobs: training, indexing, searching databases of growing size.

use crate::common::{noise, seconds};
use crate::record::{self, Case};
use echogrid::gpu::{DType, Engine, PlanBuilder, Result, Tensor};
use echogrid::index::{Database, IndexConfig, LoadedModel, build};
use echogrid::kernels::topk::TopK;
use echogrid::scene::synth::{EPSG, SynthConfig, generate};
use echogrid::scene::{GeoTransform, Image, SampleData, write_geotiff};
use echogrid::train::{TrainConfig, profile_step};
use half::f16;
use std::sync::Arc;
use std::time::Instant;

/// Keeps and prints a rate; `all` is sorted.
fn rate(name: &str, items: usize, item: &str, all: &[f64]) {
    let mut case = Case::of(name, all);
    let per_s = items as f64 / case.median_s;
    case.rate = Some((per_s, format!("{item} a second")));
    println!("{name:<48} {:>9.3} ms  {per_s:>10.1} {item} a second  (of {} runs)", case.median_s * 1e3, case.runs);
    record::add(case);
}

pub fn run(e: &Engine) {
    let config = TrainConfig::default();
    let mut steps: Vec<f64> = (0..5).map(|_| profile_step(e, &config, 1).unwrap().iter().map(|op| op.seconds).sum()).collect();
    steps.sort_by(f64::total_cmp);
    rate(&format!("train: a step of {} pairs", config.batch), config.batch, "pairs", &steps);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optical.tif");
    let size = 1200;
    let scene = generate(&SynthConfig { size, ..SynthConfig::default() });
    let geo = GeoTransform::new(scene.geotransform());
    write_geotiff(&path, size, size, 3, SampleData::U8(&scene.optical), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    let model = LoadedModel::load(None).unwrap();
    let embedder = model.embedder(e, 64).unwrap();
    let map = Arc::new(Image::map(&path).unwrap());
    let mut cells = 0;
    let mut builds: Vec<f64> = (0..3)
        .map(|i| {
            let start = Instant::now();
            let writer = Database::writer(&dir.path().join(format!("{i}.db")));
            cells = build(&embedder, &model, &map, &IndexConfig::default(), writer, |_, _| {}).unwrap().cells();
            start.elapsed().as_secs_f64()
        })
        .collect();
    builds.sort_by(f64::total_cmp);
    rate(&format!("index: {cells} cells of 49 views"), cells, "cells", &builds);

    let (d, k) = (256, 10);
    // The same rows over and over: what is found does not count here.
    let block: Vec<f16> = noise(BLOCK * d).iter().map(|v| f16::from_f32(*v)).collect();
    // A processor would search 10,000,000 rows for minutes.
    for n in [10_000usize, 100_000, 1_000_000, 10_000_000].into_iter().filter(|n| !e.caps().software || *n <= 1_000_000) {
        let most = (e.caps().max_binding as usize / (d * 2) / BLOCK).max(1) * BLOCK;
        let part = |first: usize| Ok((first as u32, shard(e, &block, most.min(n - first), d)?));
        let shards: Result<Vec<(u32, Tensor)>> = (0..n).step_by(most).map(part).collect();
        let Ok(shards) = shards else { return println!("search: no memory for {n} rows") };
        for nq in [1, 64] {
            let q = e.upload_f32("q", &[nq, d], &noise(nq * d)).unwrap();
            let top = TopK::new(e, nq, k, most.min(n)).unwrap();
            let mut plan = PlanBuilder::new(e);
            top.begin(&mut plan).unwrap();
            shards.iter().try_for_each(|(first, x)| top.add_shard(&mut plan, &q, x, *first, x.shape()[0])).unwrap();
            rate(&format!("search: {nq} at a time, {n} x {d} f16, k={k}"), nq, "queries", &seconds(e, &plan.finish()));
        }
    }
}

/// Rows that are written at once.
const BLOCK: usize = 10_000;

/// A part of a database, filled with a block again and again.
fn shard(e: &Engine, block: &[f16], rows: usize, d: usize) -> Result<Tensor> {
    let x = e.tensor("rows", &[rows, d], DType::F16)?;
    for first in (0..rows).step_by(BLOCK) {
        let part = Tensor::from_buffer(x.buffer().clone(), (first * d * 2) as u64, &[BLOCK, d], DType::F16)?;
        e.write(&part, block)?;
    }
    Ok(x)
}
