//! What the built-in reader refuses, through the system's GDAL (feature `gdal`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gdal::raster::{ColorInterpretation, GdalDataType, GdalType};
use gdal::{Dataset, Metadata};

use super::chunk::{Chunk, Samples};
use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::GeoTransform;
use super::raster::SampleType;
use super::source::{Claim, Header, Layout, Reader, Source};
use super::ties::Tie;

/// Samples of a chunk, about, where the file's own blocks are rows.
const CHUNK_SAMPLES: usize = 512 * 512;
/// Edges between which the file's own blocks are taken as chunks, px.
const EDGES: std::ops::RangeInclusive<usize> = 64..=4096;

/// A raster that GDAL opens. A dataset is for one thread at a time, so there are as many as threads that read.
pub(super) struct GdalImage {
    path: PathBuf,
    layout: Layout,
    size: [u32; 2],
    kind: SampleType,
    /// Whether a mask says where there is data.
    masked: bool,
    idle: Mutex<Vec<Dataset>>,
}

/// GDAL's name of a file: addresses are read through its network layer.
fn name(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    match text.starts_with("https://") || text.starts_with("http://") {
        true => format!("/vsicurl/{text}").into(),
        false => path.into(),
    }
}

/// Opens a raster through GDAL.
///
/// # Errors
/// What GDAL says; complex numbers, palettes and 64-bit whole numbers.
pub(super) fn open(path: &Path) -> Result<(GdalImage, Header)> {
    let failed = |e: gdal::errors::GdalError| Error::Gdal { path: path.into(), detail: e.to_string() };
    let dataset = Dataset::open(name(path)).map_err(failed)?;
    let (width, height) = dataset.raster_size();
    let samples = dataset.raster_count();
    if samples == 0 {
        let parts = dataset.metadata_domain("SUBDATASETS").unwrap_or_default();
        let names: Vec<&str> = parts.iter().filter_map(|p| p.split_once("_NAME=").map(|(_, n)| n)).collect();
        let advice = match names.is_empty() {
            true => "give an image".to_string(),
            false => format!("give one of its parts: {}", names.join(", ")),
        };
        return Err(Error::unsupported(path, "a file without bands of its own", advice));
    }
    let size = [width, height].map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let first = dataset.rasterband(1).map_err(failed)?;
    let kind = sample_type(path, &dataset, samples)?;
    // Of one bit GDAL makes black and white a palette.
    if first.color_table().is_some_and(|t| t.entry_count() > 2) {
        return Err(Error::unsupported(path, "a colour palette", "expand it: gdal_translate -expand rgb IN OUT.tif"));
    }
    let (bw, bh) = first.block_size();
    let (chunk_width, chunk_height) = match EDGES.contains(&bw) && EDGES.contains(&bh) {
        true => (bw.min(width), bh.min(height)),
        // Rows; whole blocks of them, unless a block is much of the image.
        false if bw >= width => {
            let rows = (CHUNK_SAMPLES / width).max(1);
            let whole = rows.next_multiple_of(bh.max(1));
            (width, if whole <= 8 * rows { whole } else { rows }.min(height))
        }
        false => (512.min(width), 512.min(height)),
    };
    // A sample a chunk: bands that are not wanted are not read.
    let layout = Layout { planes: samples as u32, ..Layout::new(size, [chunk_width as u32, chunk_height as u32]) };
    let mut header = Header::plain(size, samples as u32, kind, layout);
    header.reader = Reader::Gdal;
    let flags = first.mask_flags().map_err(failed)?;
    let masked = flags.is_per_dataset() && !flags.is_alpha();
    header.masked = masked;
    for i in 0..samples {
        let band = dataset.rasterband(i + 1).map_err(failed)?;
        if !masked {
            header.nodata_of[i] = band.no_data_value();
        }
        header.names[i] = band.description().ok().filter(|d| !d.is_empty());
        match band.color_interpretation() {
            ColorInterpretation::AlphaBand if samples > 1 && header.alpha.is_none() => header.alpha = Some(i as u32),
            ColorInterpretation::RedBand => header.colours[0] = Some(i as u32),
            ColorInterpretation::GreenBand => header.colours[1] = Some(i as u32),
            ColorInterpretation::BlueBand => header.colours[2] = Some(i as u32),
            _ => {}
        }
    }
    header.claim = claim(&dataset);
    let image = GdalImage { path: path.into(), layout, size, kind, masked, idle: Mutex::new(vec![dataset]) };
    Ok((image, header))
}

fn sample_type(path: &Path, dataset: &Dataset, samples: usize) -> Result<SampleType> {
    let of = |i: usize| dataset.rasterband(i + 1).map(|b| b.band_type());
    let kind = of(0).ok();
    if (1..samples).any(|i| of(i).ok() != kind) {
        return Err(Error::unsupported(
            path,
            "bands of unlike sample types",
            "write the bands with one type: gdal_translate -ot Float32 IN OUT.tif",
        ));
    }
    Ok(match kind {
        Some(GdalDataType::UInt8) => SampleType::U8,
        Some(GdalDataType::UInt16) => SampleType::U16,
        Some(GdalDataType::Int16) => SampleType::I16,
        Some(GdalDataType::UInt32) => SampleType::U32,
        Some(GdalDataType::Int32) => SampleType::I32,
        Some(GdalDataType::Float32) => SampleType::F32,
        Some(GdalDataType::Float64) => SampleType::F64,
        _ => {
            return Err(Error::unsupported(
                path,
                "a sample type of complex numbers or 64-bit integers",
                "of complex SAR data take the detected (GRD, amplitude or intensity) product, or write the magnitude; of others gdal_translate -ot Float32 IN OUT.tif",
            ));
        }
    })
}

/// Where GDAL says that the pixels lie.
fn claim(dataset: &Dataset) -> Claim {
    let mut claim = Claim { affine: dataset.geo_transform().ok().and_then(GeoTransform::new), ..Claim::default() };
    let ties = dataset.gcps();
    if claim.affine.is_none() {
        claim.ties = ties.iter().map(|g| Tie { px: [g.pixel(), g.line()], map: [g.x(), g.y()] }).collect();
    }
    let system = if claim.ties.is_empty() { dataset.spatial_ref().ok() } else { dataset.gcp_spatial_ref() };
    claim.crs = system.map(|s| Crs::from_gdal(&s).map_err(|e| e.to_string()));
    claim.rpc = dataset.metadata_domain("RPC").is_some_and(|m| !m.is_empty());
    claim
}

impl GdalImage {
    /// Runs work on a dataset of this thread's own for the while.
    fn with<R>(&self, work: impl FnOnce(&Dataset) -> gdal::errors::Result<R>) -> Result<R> {
        let failed = |e: gdal::errors::GdalError| Error::Gdal { path: self.path.clone(), detail: e.to_string() };
        let idle = || self.idle.lock().unwrap_or_else(|e| e.into_inner());
        let taken = idle().pop();
        let dataset = taken.map_or_else(|| Dataset::open(name(&self.path)), Ok).map_err(failed)?;
        let out = work(&dataset).map_err(failed);
        idle().push(dataset);
        out
    }
}

impl Source for GdalImage {
    fn decode(&self, index: u64) -> Result<Arc<Chunk>> {
        let (plane, row, column) = self.layout.place(index);
        let (x, y) = (column * self.layout.chunk_width, row * self.layout.chunk_height);
        let (w, h) = (self.layout.chunk_width.min(self.size[0] - x), self.layout.chunk_height.min(self.size[1] - y));
        let window = ((x as isize, y as isize), (w as usize, h as usize));
        fn read<T: Copy + GdalType>(
            band: &gdal::raster::RasterBand<'_>,
            (at, size): ((isize, isize), (usize, usize)),
        ) -> gdal::errors::Result<Vec<T>> {
            band.read_as::<T>(at, size, size, None).map(|b| b.into_shape_and_vec().1)
        }
        let (samples, valid) = self.with(|dataset| {
            let band = dataset.rasterband(plane as usize + 1)?;
            let samples = match self.kind {
                SampleType::U8 => Samples::U8(read(&band, window)?),
                SampleType::U16 => Samples::U16(read(&band, window)?),
                SampleType::I16 => Samples::I16(read(&band, window)?),
                SampleType::U32 => Samples::U32(read(&band, window)?),
                SampleType::I32 => Samples::I32(read(&band, window)?),
                SampleType::F64 => Samples::F64(read(&band, window)?),
                SampleType::F32 | SampleType::F16 | SampleType::I8 => Samples::F32(read(&band, window)?),
            };
            let mask = || -> gdal::errors::Result<Vec<u8>> {
                let mut mask: Vec<u8> = read(&band.open_mask_band()?, window)?;
                mask.iter_mut().for_each(|m| *m = u8::from(*m != 0));
                Ok(mask)
            };
            Ok((samples, self.masked.then(mask).transpose()?))
        })?;
        // The edge of the image cuts its last chunks short.
        Ok(Arc::new(Chunk { samples, valid, width: w, height: h, samples_per_pixel: 1 }))
    }
}
