//! Whole jobs: training, indexing, searching databases of growing size.

use super::common::{Bench, noise, seconds};
use super::record::Case;
use crate::gpu::{self, DType, Engine, Precision, Tensor};
use crate::index::{Database, IndexConfig, LoadedModel, build};
use crate::kernels::topk::TopK;
use crate::nn::{Architecture, EncoderConfig, Head, Pooling, Sharing, Stage};
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, Image, SampleData, write_geotiff};
use crate::train::{Loss, TrainConfig, step_plan};
use crate::{Error, Result};
use half::f16;
use std::sync::Arc;
use std::time::Instant;

/// Keeps a job's rate.
fn rate(bench: &mut Bench<'_>, name: &str, items: usize, item: &str, mut all: Vec<f64>) {
    all.sort_by(f64::total_cmp);
    bench.add(Case::of(name, &all).rated(items, item));
}

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    train(bench)?;
    index(bench)?;
    // A processor would search 10,000,000 rows for minutes.
    let software = bench.engine.caps().software;
    [10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|n| !software || *n <= 1_000_000).try_for_each(|n| search(bench, n))
}

fn train(bench: &mut Bench<'_>) -> Result<()> {
    let resnet = EncoderConfig::new(Architecture::Resnet18, 128, Sharing::Separate, Head::pooled(Pooling::Gem, 256));
    let networks = [("", TrainConfig::default()), (", ResNet-18 at 128 px", TrainConfig { encoder: resnet, ..TrainConfig::default() })];
    // A processor takes half a minute for a step of the larger network.
    let networks = networks.into_iter().take(if bench.engine.caps().software { 1 } else { 2 });
    for (name, config) in networks {
        for (precision, how) in [(Precision::Full, ""), (Precision::Mixed, ", mixed")] {
            let plan = step_plan(bench.engine, &TrainConfig { precision, ..config.clone() })?;
            let name = format!("train: a step of {} pairs{name}{how}", config.batch);
            rate(bench, &name, config.batch, "pairs", seconds(bench.engine, &plan)?);
        }
    }
    pooled(bench)
}

/// The published system's small recipe (`studies/cmpc.toml`) beside what it replaces: maximum, batch-hard triplets and drop-out against mean and InfoNCE; in turn, since
/// their ratio is what counts.
fn pooled(bench: &mut Bench<'_>) -> Result<()> {
    let stage = |channels| Stage { channels, blocks: 1, stride: 2, dilation: 1 };
    let trunk = Architecture::Residual { stem: vec![16, 32], stages: vec![stage(48), stage(96)] };
    let step = |loss, pool, dropout| {
        let head = Head::Pooled { pool, dim: Some(512), norm: false, dropout };
        let encoder =
            EncoderConfig { last_stride: Some(1), repeat_band: true, ..EncoderConfig::new(trunk.clone(), 64, Sharing::Full, head) };
        let config = TrainConfig { encoder, loss, batch: 32, map_negatives: 8, similar: 0.0, ..TrainConfig::default() };
        step_plan(bench.engine, &config)
    };
    let plans = [
        ("mean and InfoNCE", step(Loss::Infonce, Pooling::Average, 0.0)?),
        ("maximum, batch-hard triplets and drop-out", step(Loss::Triplet, Pooling::Max, 0.5)?),
    ];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (times, (_, plan)) in times.iter_mut().zip(&plans) {
            times.extend(seconds(bench.engine, plan)?);
        }
    }
    for (times, (what, _)) in times.into_iter().zip(&plans) {
        rate(bench, &format!("train: a step of 32 pairs, pooled: {what}"), 32, "pairs", times);
    }
    Ok(())
}

fn index(bench: &mut Bench<'_>) -> Result<()> {
    let dir = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), format!("no folder can be made in it ({e})"), e))?;
    let path = dir.path().join("optical.tif");
    let size = 1200;
    let scene = generate(&SynthConfig { size, ..SynthConfig::default() });
    let geo = GeoTransform::new(scene.geotransform());
    write_geotiff(&path, size, size, 3, SampleData::U8(&scene.optical), geo.as_ref(), Some(EPSG), Some(0.0))?;
    let model = LoadedModel::load(None)?;
    let embedder = model.embedder(bench.engine, 64)?;
    let map = Arc::new(Image::map(&path)?);
    let mut cells = 0;
    let builds = (0..3).map(|i| {
        let start = Instant::now();
        let writer = Database::writer(&dir.path().join(format!("{i}.db")));
        cells = build(&embedder, &model, &map, &IndexConfig::default(), writer, |_, _| {})?.cells();
        Ok(start.elapsed().as_secs_f64())
    });
    let builds = builds.collect::<Result<_>>()?;
    rate(bench, &format!("index: {cells} cells of 49 views"), cells, "cells", builds);
    Ok(())
}

fn search(bench: &mut Bench<'_>, n: usize) -> Result<()> {
    let (e, d, k) = (bench.engine, 256, 10);
    // The same rows over and over: what is found does not count here.
    let block: Vec<f16> = noise(BLOCK * d).iter().map(|v| f16::from_f32(*v)).collect();
    let most = (e.caps().max_binding as usize / (d * 2) / BLOCK).max(1) * BLOCK;
    let part = |first: usize| Ok((first as u32, shard(e, &block, most.min(n - first), d)?));
    let shards: Vec<(u32, Tensor)> = (0..n).step_by(most).map(part).collect::<Result<_>>()?;
    for nq in [1, 64] {
        let q = e.upload_f32("q", &[nq, d], &noise(nq * d))?;
        let top = TopK::new(e, nq, k, most.min(n))?;
        bench.time_items(&format!("search: {nq} at a time, {n} x {d} f16, k={k}"), nq, "queries", |p| {
            top.begin(p)?;
            shards.iter().try_for_each(|(first, x)| top.add_shard(p, &q, x, *first, x.shape()[0]))
        })?;
    }
    Ok(())
}

/// Rows that are written at once.
const BLOCK: usize = 10_000;

/// A part of a database, filled with a block again and again.
fn shard(e: &Engine, block: &[f16], rows: usize, d: usize) -> gpu::Result<Tensor> {
    let x = e.tensor("rows", &[rows, d], DType::F16)?;
    for first in (0..rows).step_by(BLOCK) {
        let part = Tensor::from_buffer(x.buffer().clone(), (first * d * 2) as u64, &[BLOCK, d], DType::F16)?;
        e.write(&part, block)?;
    }
    Ok(x)
}
