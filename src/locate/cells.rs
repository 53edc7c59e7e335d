//! Locating around the best cells of an index: for maps too large to be transformed whole.

use super::correlate::{self, Cells};
use super::fix::Places;
use super::options::{Method, Options};
use super::query::Query;
use super::retrieval;
use super::whole::Located;
use crate::dense::{DenseDatabase, DenseModel, Hint, Layout, Matcher, Statistics, Variant, build_at};
use crate::index::RESIDENT_BYTES;
use crate::scene::{Image, Mirrored};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// What the images of a search share.
pub(super) struct Context<'c> {
    pub(super) cells: retrieval::Context<'c>,
    pub(super) model: &'c DenseModel,
    pub(super) map: &'c Arc<Image>,
    pub(super) options: &'c Options,
    pub(super) places: &'c Places,
    /// What the map looks like.
    pub(super) statistics: Option<Statistics>,
}

impl Context<'_> {
    /// Finds an image's cells, makes a dense database of these, and correlates its patches with that. `range` is how far it may be turned
    /// (degrees) and scaled (share) either way. `progress(done, total)` counts patches and blocks together.
    pub(super) fn locate(
        &self,
        query: &Query,
        image: Arc<Image>,
        range: [f64; 2],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Located> {
        let engine = self.cells.embedder.engine();
        let info = &self.cells.database.manifest.map;
        let job = self.cells.job(query, image.clone())?;
        let work = job.work();
        let looked = self.cells.look_up(&job, &mut |done, _| progress(done, 3 * work))?;
        let index = &self.cells.database;
        let hints: HashMap<[u64; 2], Vec<Hint>> = looked
            .patches
            .iter()
            .zip(&looked.hits)
            .map(|(p, hits)| (p.sar_px.map(f64::to_bits), hits.iter().take(self.options.cells).map(|h| Hint::new(index, h)).collect()))
            .collect();
        let size = [info.width, info.height].map(f64::from);
        let mut boxes: Vec<[f64; 4]> = hints.values().flat_map(|h| h.iter().map(|h| h.within)).collect();
        boxes.iter_mut().for_each(|b| (0..4).for_each(|i| b[i] = b[i].clamp(0.0, size[i % 2])));
        boxes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        boxes.dedup();
        let patch = self.options.patch.unwrap_or(index.manifest.grid.cell);
        let layout = Layout::new(info, self.options.feature_m.unwrap_or(self.model.metres()), f64::from(patch), self.options.block)?;
        let (layout, origins) = match self.options.block {
            0 => layout.covering(&boxes)?,
            _ => layout.covering_with(layout.side, &boxes)?,
        };
        let start = Instant::now();
        let total = origins.len();
        let mut database = build_at(engine, self.model, self.map, info, &layout, &origins, DenseDatabase::temporary(), |done, _| {
            progress(work + done * work / total.max(1), 3 * work);
        })?;
        database.manifest.statistics = self.statistics;
        let transform_s = start.elapsed().as_secs_f64();
        let matcher = Matcher::new(engine, &database, self.model, RESIDENT_BYTES)?;
        let mut options = self.options.clone();
        options.patch = Some(patch);
        let context = correlate::Context {
            database: &database,
            options: &options,
            places: self.places,
            calibration: self.model.calibration(),
            map: Some(self.map),
            method: Method::Both,
        };
        // The cells were found for one way the image may lie.
        let mirrored = match looked.frame.oriented {
            true => query.mirrored,
            false if looked.frame.flipped => Mirrored::Yes,
            false => Mirrored::No,
        };
        let job = context.job(query, image, Variant::PLAIN, range, mirrored)?;
        let cells = Cells { hints, weight: self.options.index_credit };
        let located =
            context.locate(&matcher, vec![job], Some(&cells), &mut |done, total| progress(2 * work + done * work / total.max(1), 3 * work));
        let mut located = located.into_iter().next().unwrap_or_else(|| Err(Error::invalid("no image")))?;
        located.seconds.extend(looked.seconds().iter().map(|(name, s)| (name.clone(), *s)));
        located.seconds.insert("transform".into(), transform_s);
        Ok(located)
    }
}
