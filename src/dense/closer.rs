//! Coarse to fine: the best places of a search at one scale are searched again, at a finer one.

use super::build::build_at;
use super::features::DenseModel;
use super::layout::{Layout, even};
use super::matcher::Matcher;
use super::search::{Match, SearchConfig};
use super::store::DenseDatabase;
use crate::gpu::Engine;
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::{Image, PageCache, compose};
use crate::{Error, Result};
use std::sync::Arc;

/// How a closer look is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closer {
    /// Ground metres a feature pixel.
    pub metres: f64,
    /// Places looked at for each patch.
    pub places: usize,
    /// How far around each, pixels of the search before.
    pub reach: f64,
}

impl Closer {
    /// At half the scale of a database, its three best places, three pixels around.
    pub fn than(database: &DenseDatabase) -> Self {
        let m = &database.manifest;
        Self { metres: m.map.ground_m() * m.layout.step / 2.0, places: 3, reach: 3.0 }
    }

    /// Searches a patch again around its best peaks in `found`, and returns what the finer features say: peaks, their ranking, the noise of
    /// these windows, and as many offsets as the whole map has at that scale.
    ///
    /// `centre` is the patch's middle in the image of `cache`, `matrix` goes from map pixels to that image's, `side_px` is the patch's side in map
    /// pixels; `before` is what `found` was searched in.
    ///
    /// # Errors
    /// A scale that is no finer, reading, the device.
    pub fn look(
        &self,
        engine: &Engine,
        model: &DenseModel,
        map: &Arc<Image>,
        cache: &mut PageCache,
        before: &DenseDatabase,
        (centre, matrix): ([f64; 2], [[f64; 2]; 2]),
        side_px: f64,
        found: &Match,
    ) -> Result<Match> {
        let (info, coarse) = (&before.manifest.map, &before.manifest.layout);
        let exact = self.metres / info.ground_m();
        if !(exact.is_finite() && exact > 0.0 && exact < coarse.step) {
            return Err(Error::invalid(format!(
                "a closer look at {} m a feature pixel must be finer than the search before, at {:.1} m",
                self.metres,
                coarse.step * info.ground_m()
            )));
        }
        if found.peaks.is_empty() {
            return Ok(found.clone());
        }
        let side = even(side_px / exact);
        let margin = (self.reach * coarse.step / exact).ceil() as usize;
        let block = (side + 2 * margin).next_power_of_two().max(16);
        let layout = Layout { step: exact, side: block, query: block - 2 * margin };
        let corner = |p: f64| (p / exact - side as f64 / 2.0).round() as i32 - margin as i32;
        let mut origins: Vec<[i32; 2]> = found.peaks.iter().take(self.places).map(|p| p.map_px.map(corner)).collect();
        origins.dedup();
        let windows = build_at(engine, model, map, info, &layout, &origins, DenseDatabase::temporary(), |_, _| {})?;
        let matcher = Matcher::new(engine, &windows, model, u64::MAX)?;
        let config =
            SearchConfig { top: found.peaks.len().max(1), apart: (2.0 * coarse.step / exact).ceil() as usize, ..SearchConfig::default() };
        let record = PatchRecord::from_affine(0, centre, compose(matrix, [[exact, 0.0], [0.0, exact]]), side)?;
        let mut search = matcher.prepare(cache, side, sampler::taps_for(record.scale()), 1, config)?;
        let mut closer = search.run(cache, &[record], 1, |_, _| {})?.remove(0);
        closer.offsets = found.offsets * (coarse.step / exact).powi(2);
        Ok(closer)
    }
}
