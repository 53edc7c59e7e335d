//! Making a dense database: a map's blocks through features and transform, one after the other.

use super::domain::Statistics;
use super::features::DenseModel;
use super::layout::Layout;
use super::store::{DenseDatabase, DenseManifest, DenseWriter, KIND};
use crate::gpu::{DType, Engine, PlanBuilder, Readback};
use crate::kernels::fft;
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Image, MapInfo, PageCache, ValidityMask};
use crate::{Error, Result};
use half::f16;
use std::sync::Arc;

/// Transforms a map into a dense database. `progress(done, total)` counts blocks.
///
/// # Errors
/// A map without georeference or data, reading, the device, the file.
pub fn build(
    engine: &Engine,
    model: &DenseModel,
    map: &Arc<Image>,
    layout: &Layout,
    writer: DenseWriter,
    progress: impl FnMut(usize, usize),
) -> Result<DenseDatabase> {
    let mask = ValidityMask::new(&map.raster)?;
    let origins = layout.origins([map.raster.width(), map.raster.height()], &mask);
    if origins.is_empty() {
        return Err(Error::invalid(format!("{}: no pixel of it has data", map.raster.path().display())));
    }
    let statistics = Statistics::measure(map, layout.step)?;
    blocks(engine, model, map, &MapInfo::of(map)?, statistics, layout, &origins, writer, progress)
}

/// As [`build`], of the blocks with these upper left corners (feature pixels) alone: parts of a map that is too large to be searched
/// whole, or a finer look at some places. `info` is what [`MapInfo::of`] says of the map, which reads all of it. What the map looks like
/// is not measured: set the manifest's `statistics` where a warning is wanted.
///
/// # Errors
/// As [`build`].
pub fn build_at(
    engine: &Engine,
    model: &DenseModel,
    map: &Arc<Image>,
    info: &MapInfo,
    layout: &Layout,
    origins: &[[i32; 2]],
    writer: DenseWriter,
    progress: impl FnMut(usize, usize),
) -> Result<DenseDatabase> {
    blocks(engine, model, map, info, None, layout, origins, writer, progress)
}

fn blocks(
    engine: &Engine,
    model: &DenseModel,
    map: &Arc<Image>,
    info: &MapInfo,
    statistics: Option<Statistics>,
    layout: &Layout,
    origins: &[[i32; 2]],
    mut writer: DenseWriter,
    mut progress: impl FnMut(usize, usize),
) -> Result<DenseDatabase> {
    layout.check()?;
    let n = layout.side;
    let mut cache = PageCache::new(engine, vec![map.clone()], DEFAULT_PAGES)?;
    let extractor = model.extractor(engine, Modality::Map, 1, n)?;
    let spectra = engine.tensor("block spectra", &[1, n / 2 + 1, n, model.channels(), 2], DType::F16)?;
    let planes = engine.tensor("block planes", &[1, n / 2 + 1, n, 2, 2], DType::F16)?;
    let mut builder = PlanBuilder::new(engine);
    sampler::forward(
        &mut builder,
        cache.array(),
        cache.table(),
        &extractor.records,
        sampler::taps_for(layout.step),
        false,
        &extractor.patches,
    )?;
    let mut plan = builder.finish();
    plan.extend(extractor.plan.clone());
    let mut builder = PlanBuilder::new(engine);
    let scale = 1.0 / n as f32;
    let scratch = fft::Scratch::new(engine, [n, n], model.channels(), 1)?;
    fft::forward_with(&mut builder, &scratch, &extractor.features, &spectra, scale)?;
    fft::forward_with(&mut builder, &scratch, &extractor.planes, &planes, scale)?;
    plan.extend(builder.finish());
    writer.begin()?;
    let finish = |read: [Readback; 2], writer: &mut DenseWriter| -> Result<()> {
        let [a, b] = read;
        let (a, b): (Vec<f16>, Vec<f16>) = (a.finish(engine)?, b.finish(engine)?);
        writer.blocks(1, &a, &b)
    };
    let mut flight: Option<[Readback; 2]> = None;
    progress(0, origins.len());
    for (i, origin) in origins.iter().enumerate() {
        let centre = layout.to_map(origin.map(|v| f64::from(v) + n as f64 / 2.0));
        let record = PatchRecord::new(0, centre, layout.step, 0.0, false, extractor.input)?;
        cache.require(engine, &[record], extractor.input)?;
        engine.write(&extractor.records, &[record])?;
        plan.submit(engine)?;
        let next = [engine.start_read(&spectra)?, engine.start_read(&planes)?];
        if let Some(read) = flight.replace(next) {
            finish(read, &mut writer)?;
            progress(i, origins.len());
        }
    }
    flight.map_or(Ok(()), |read| finish(read, &mut writer))?;
    progress(origins.len(), origins.len());
    let manifest = DenseManifest {
        kind: KIND.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        features: model.name().into(),
        model: model.hash().into(),
        channels: model.channels(),
        layout: layout.clone(),
        map: info.clone(),
        adapter: engine.adapter().to_string(),
        statistics,
    };
    writer.finish(manifest, origins)
}
