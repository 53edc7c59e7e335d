//! The patches of a step, cut on the device out of pages that are all resident, or brought in for the step.

use crate::gpu::{DType, Engine, PAGE, PlanBuilder, Tensor};
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::{Image, PageCache, ScenePair, ValidityMask};
use crate::{Error, Result};
use std::sync::Arc;

/// Pages of a modality that are on the device at once, at most: 2 GiB. Of scenes that have more, a step's are brought in before it.
const MOST_PAGES: u32 = 1024;

/// The pages of one modality's images, all on the device where it has the room.
pub(super) fn pages<'s>(
    engine: &Engine,
    scenes: &'s [ScenePair],
    pick: fn(&'s ScenePair) -> (&'s Arc<Image>, &'s ValidityMask),
) -> Result<PageCache> {
    let with_data: u32 = scenes.iter().map(|s| pages_with_data(pick(s).0, pick(s).1)).sum();
    let room = MOST_PAGES.min(engine.caps().max_texture_layers);
    let mut cache = PageCache::new(engine, scenes.iter().map(|s| pick(s).0.clone()).collect(), with_data.min(room))?;
    if with_data <= room {
        cache.require_all(engine)?;
    }
    Ok(cache)
}

/// The patches of a scene's image as an index cuts them, read back: [n, side, side, 4], `chunk` cut at once.
pub(super) fn plain_patches(
    engine: &Engine,
    scene: &ScenePair,
    pick: fn(&ScenePair) -> (&Arc<Image>, &ValidityMask),
    patches: &[PatchRecord],
    side: usize,
    chunk: usize,
) -> Result<Vec<f32>> {
    let mut cache = pages(engine, std::slice::from_ref(scene), pick)?;
    let records = sampler::records(engine, chunk)?;
    let cut = engine.tensor("patches", &[chunk, side, side, 4], DType::F32)?;
    let mut builder = PlanBuilder::new(engine);
    let taps = sampler::taps_for(patches.first().map_or(1.0, PatchRecord::scale));
    sampler::forward(&mut builder, cache.array(), cache.table(), &records, taps, false, &cut)?;
    let plan = builder.finish();
    let mut all = Vec::with_capacity(patches.len() * side * side * 4);
    for part in patches.chunks(chunk) {
        let mut padded = part.to_vec();
        padded.resize(chunk, PatchRecord::empty());
        cache.require(engine, part, side)?;
        engine.write(&records, &padded)?;
        plan.submit(engine)?;
        all.extend_from_slice(&engine.read::<f32>(&cut)?[..part.len() * side * side * 4]);
    }
    Ok(all)
}

fn pages_with_data(image: &Image, mask: &ValidityMask) -> u32 {
    let side = PAGE as f64;
    let across = |size: u32| size.div_ceil(PAGE as u32);
    let pages =
        (0..across(image.raster.height())).flat_map(|y| (0..across(image.raster.width())).map(move |x| (f64::from(x), f64::from(y))));
    pages.filter(|(x, y)| mask.share(x * side, y * side, side, side) > 0.0).count() as u32
}

/// Appends the cutting of patch pairs out of some scenes: by records of places into inputs of a network, of the map and of the SAR image,
/// at `scale` map pixels a network pixel. Returns the pages of the maps and of the SAR images, which must hold those of the records.
pub(super) fn pair_sampling(
    plan: &mut PlanBuilder<'_>,
    scenes: &[ScenePair],
    scale: f64,
    map: (&Tensor, &Tensor),
    sar: (&Tensor, &Tensor),
) -> Result<[PageCache; 2]> {
    let map_cache = pages(plan.engine(), scenes, |s| (&s.map, &s.map_mask))?;
    let sar_cache = pages(plan.engine(), scenes, |s| (&s.sar, &s.sar_mask))?;
    let coarsest = scenes.iter().try_fold(0.0f64, |most, s| Ok::<_, Error>(most.max(sar_scale(s, scale)?)))?;
    for (cache, scale, (records, input)) in [(&map_cache, scale, map), (&sar_cache, coarsest, sar)] {
        sampler::forward(plan, cache.array(), cache.table(), records, sampler::taps_for(scale), true, input)?;
    }
    Ok([map_cache, sar_cache])
}

/// SAR pixels to a pixel of a grid that has `scale` map pixels to a pixel, in the middle of the scene.
pub(super) fn sar_scale(scene: &ScenePair, scale: f64) -> Result<f64> {
    let middle = [f64::from(scene.map.raster.width()) / 2.0, f64::from(scene.map.raster.height()) / 2.0];
    let [a, b] = scene.link().jacobian(middle)?;
    Ok(scale * (a[0] * b[1] - a[1] * b[0]).abs().sqrt())
}
