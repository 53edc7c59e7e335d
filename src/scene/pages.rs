//! Scene pages on the device: pixels enter the GPU once, standardised, and stay while there is room.

use super::{Bands, Error, OpenOptions, Radiometry, Raster, Result, SarUnit, Standardisation};
use crate::gpu::{Engine, PAGE, PageArray, PageTable, cut_page};
use crate::kernels::sampler::PatchRecord;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A raster and how its values are standardised: what the sampler reads.
#[derive(Debug)]
pub struct Image {
    /// The file.
    pub raster: Raster,
    /// Its robust statistics.
    pub standardisation: Standardisation,
}

impl Image {
    /// Opens an optical map and measures its statistics.
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn map(path: &Path) -> Result<Self> {
        Self::open_map(&[path.into()], OpenOptions::default())
    }

    /// Opens a map of one or more files ([`OpenOptions::open_map`]); its colours are read.
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn open_map(paths: &[PathBuf], mut options: OpenOptions) -> Result<Self> {
        if options.bands == Bands::All {
            options.bands = Bands::Colours;
        }
        Self::of_map(options.open_map(paths)?)
    }

    /// Of a raster that is open: a map.
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn of_map(raster: Raster) -> Result<Self> {
        let standardisation = Standardisation::measure(&raster, Radiometry::Optical)?;
        Ok(Self { raster, standardisation })
    }

    /// Opens a SAR image (its unit given or guessed) and measures its statistics.
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn sar(path: &Path, unit: Option<SarUnit>) -> Result<Self> {
        Self::open_sar(path, unit, OpenOptions::default())
    }

    /// The same with a band or a no-data value that was chosen; else the first band is read, or that of a polarisation
    /// ([`Bands::Polarisation`]).
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn open_sar(path: &Path, unit: Option<SarUnit>, mut options: OpenOptions) -> Result<Self> {
        if options.bands == Bands::All {
            options.bands = Bands::Polarisation;
        }
        Self::of_sar(options.open(path)?, unit)
    }

    /// Of a raster that is open: a SAR image, its unit given or guessed.
    ///
    /// # Errors
    /// Reading, or no valid pixel.
    pub fn of_sar(raster: Raster, unit: Option<SarUnit>) -> Result<Self> {
        let radiometry = Radiometry::sar(&raster, unit)?;
        let standardisation = Standardisation::measure(&raster, radiometry)?;
        Ok(Self { raster, standardisation })
    }

    /// Whether it is SAR: then one band, in decibels.
    pub fn is_sar(&self) -> bool {
        matches!(self.standardisation.radiometry, Radiometry::Sar { .. })
    }

    /// Decibels per standardised unit of a SAR image's band.
    pub fn db_scale(&self) -> f32 {
        self.standardisation.scale[0]
    }

    /// One page as the sampler wants it, or none where nothing is valid. A map of fewer than three bands repeats its last. A SAR image
    /// has one band alone.
    fn page(&self, page: [u32; 2]) -> Result<Option<Vec<half::f16>>> {
        let side = PAGE as u32;
        let (x0, y0) = (page[0] * side, page[1] * side);
        if !self.raster.stored(i64::from(x0), i64::from(y0), side, side) {
            return Ok(None);
        }
        let window = self.raster.read_window(i64::from(x0), i64::from(y0), side, side)?;
        if window.valid.iter().all(|v| *v == 0) {
            return Ok(None);
        }
        let values = self.standardisation.apply(&window);
        let bands = window.bands as usize;
        let sar = self.is_sar();
        let pick = |b: usize| if sar && b > 0 { None } else { Some(b.min(bands - 1)) };
        let pick = [pick(0), pick(1), pick(2)];
        // The window is the page: cut_page sees an image of one page.
        Ok(Some(cut_page([side, side], [0, 0], |x, y| {
            let p = (y * side + x) as usize;
            let band = |b: Option<usize>| b.map_or(0.0, |b| values[p * bands + b]);
            [band(pick[0]), band(pick[1]), band(pick[2]), f32::from(window.valid[p])]
        })))
    }
}

/// Image and page.
type PageKey = (u32, [u32; 2]);

/// Pages of some images in a texture array; the least recently used make room.
#[derive(Debug)]
pub struct PageCache {
    images: Vec<Arc<Image>>,
    array: PageArray,
    table: PageTable,
    /// What each layer holds (image, page), and when it was last asked for.
    layers: Vec<(Option<PageKey>, u64)>,
    /// Pages known to hold nothing.
    empty: BTreeSet<PageKey>,
    clock: u64,
}

/// Pages kept by default: 384 MiB on the device.
pub const DEFAULT_PAGES: u32 = 192;

impl PageCache {
    /// Room for `pages` pages (at most what the images have, and what the device carries).
    ///
    /// # Errors
    /// Device limits or memory.
    pub fn new(engine: &Engine, images: Vec<Arc<Image>>, pages: u32) -> Result<Self> {
        let sizes: Vec<[u32; 2]> = images.iter().map(|i| [i.raster.width(), i.raster.height()]).collect();
        let across = |s: u32| u64::from(s.div_ceil(PAGE as u32));
        let all: u64 = sizes.iter().map(|[w, h]| across(*w) * across(*h)).sum();
        let layers = u64::from(pages.min(engine.caps().max_texture_layers)).min(all).max(1) as u32;
        let array = PageArray::new(engine, layers)?;
        let table = PageTable::new(engine, &array, &sizes)?;
        Ok(Self { images, array, table, layers: vec![(None, 0); layers as usize], empty: BTreeSet::new(), clock: 0 })
    }

    /// The texture array.
    pub fn array(&self) -> &PageArray {
        &self.array
    }

    /// The page table.
    pub fn table(&self) -> &PageTable {
        &self.table
    }

    /// Pages that a patch of `side` output pixels may touch.
    fn pages_of(&self, record: &PatchRecord, side: usize) -> Vec<(u32, [u32; 2])> {
        if record.image as usize >= self.images.len() {
            return Vec::new();
        }
        // From the centre to the corners of what is filled, pixels.
        let [left, top, right, bottom] = record.filled(side as u32).map(|v| 2 * i64::from(v) - side as i64);
        let reach = |a: i32, b: i32| {
            let ends = [left, right].into_iter().flat_map(|x| [top, bottom].map(|y| (i64::from(a) * x + i64::from(b) * y) >> 17));
            ends.fold([i64::MAX, i64::MIN], |[low, high], v| [low.min(v), high.max(v)])
        };
        let [px, py] = self.table.pages(record.image);
        let span = |centre: i32, [low, high]: [i64; 2], pages: u32| {
            let page = |v: i64| v.div_euclid(PAGE as i64).clamp(0, i64::from(pages) - 1) as u32;
            page(i64::from(centre) + low - 2)..=page(i64::from(centre) + high + 2)
        };
        let xs = span(record.x, reach(record.affine[0], record.affine[1]), px);
        let ys = span(record.y, reach(record.affine[2], record.affine[3]), py);
        ys.flat_map(|y| xs.clone().map(move |x| (record.image, [x, y]))).collect()
    }

    /// How many of `records`, from the first, can be sampled together: their pages must all be resident at once.
    pub fn fitting(&self, records: &[PatchRecord], side: usize) -> usize {
        let mut pages = BTreeSet::new();
        for (i, record) in records.iter().enumerate() {
            pages.extend(self.pages_of(record, side).into_iter().filter(|p| !self.empty.contains(p)));
            if pages.len() > self.layers.len() {
                return i;
            }
        }
        records.len()
    }

    /// Makes the pages of `records` resident. Takes effect before work submitted later.
    ///
    /// # Errors
    /// Reading; more pages than there is room for.
    pub fn require(&mut self, engine: &Engine, records: &[PatchRecord], side: usize) -> Result<()> {
        let pages: BTreeSet<_> = records.iter().flat_map(|r| self.pages_of(r, side)).collect();
        self.load(engine, &pages)
    }

    /// Makes every page of every image resident.
    ///
    /// # Errors
    /// Reading; more pages with data than there is room for.
    pub fn require_all(&mut self, engine: &Engine) -> Result<()> {
        let mut pages = BTreeSet::new();
        for image in 0..self.images.len() as u32 {
            let [px, py] = self.table.pages(image);
            pages.extend((0..py).flat_map(|y| (0..px).map(move |x| (image, [x, y]))));
        }
        self.load(engine, &pages)
    }

    fn load(&mut self, engine: &Engine, pages: &BTreeSet<(u32, [u32; 2])>) -> Result<()> {
        let loaded = self.fill(engine, pages);
        // Also after a failure: the device's table must know which pages had to go.
        self.table.flush(engine)?;
        loaded
    }

    fn fill(&mut self, engine: &Engine, pages: &BTreeSet<(u32, [u32; 2])>) -> Result<()> {
        self.clock += 1;
        for layer in &mut self.layers {
            if layer.0.is_some_and(|p| pages.contains(&p)) {
                layer.1 = self.clock;
            }
        }
        let resident: BTreeSet<_> = self.layers.iter().filter_map(|l| l.0).collect();
        let missing: Vec<_> = pages.iter().filter(|p| !resident.contains(p) && !self.empty.contains(p)).copied().collect();
        // Few at a time: a decoded page takes 5 MiB on the host.
        for chunk in missing.chunks(16) {
            let decoded: Vec<_> = chunk.par_iter().map(|(image, page)| self.images[*image as usize].page(*page)).collect();
            for (key, texels) in chunk.iter().zip(decoded) {
                let Some(texels) = texels? else {
                    self.empty.insert(*key);
                    continue;
                };
                let (slot, oldest) =
                    self.layers.iter().enumerate().min_by_key(|(_, l)| l.1).map(|(i, l)| (i, *l)).expect("at least one layer");
                if oldest.1 == self.clock {
                    return Err(Error::TooManyPages { pages: pages.len(), room: self.layers.len() });
                }
                if let Some((image, page)) = oldest.0 {
                    self.table.set(image, page, None)?;
                }
                self.array.write_page(engine, slot as u32, &texels)?;
                self.table.set(key.0, key.1, Some(slot as u32))?;
                self.layers[slot] = (Some(*key), self.clock);
            }
        }
        Ok(())
    }
}
