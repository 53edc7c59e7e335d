//! What every reader of pixels delivers: a header, and chunks by number.

use std::sync::Arc;

use super::chunk::Chunk;
use super::crs::Crs;
use super::error::Result;
use super::georef::GeoTransform;
use super::raster::SampleType;
use super::ties::Tie;

/// Something that holds pixels in chunks: a TIFF, a decoded PNG, a mosaic of rasters.
pub(super) trait Source: Send + Sync {
    /// Decodes a chunk, whole as the layout says (a strip at the lower edge may be shorter).
    fn decode(&self, index: u64) -> Result<Arc<Chunk>>;

    /// Bytes of pixels that it holds decoded, whatever is read.
    fn resident(&self) -> usize {
        0
    }

    /// Whether no chunk holds anything.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether the chunk holds anything: false where it is known to be absent.
    fn stored(&self, _index: u64) -> bool {
        true
    }
}

/// Geometry of a source's chunks: `planes` times `down` times `across` of them, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) chunk_width: u32,
    pub(super) chunk_height: u32,
    pub(super) across: u32,
    pub(super) down: u32,
    /// Chunks that hold one sample each, per position; 1 where samples lie side by side.
    pub(super) planes: u32,
}

impl Layout {
    /// Chunks of a size over an image, samples side by side.
    pub(super) fn new(size: [u32; 2], chunk: [u32; 2]) -> Self {
        let (chunk_width, chunk_height) = (chunk[0], chunk[1]);
        Self { chunk_width, chunk_height, across: size[0].div_ceil(chunk_width), down: size[1].div_ceil(chunk_height), planes: 1 }
    }

    pub(super) fn index(&self, plane: u32, row: u32, column: u32) -> u64 {
        (u64::from(plane) * u64::from(self.down) + u64::from(row)) * u64::from(self.across) + u64::from(column)
    }

    /// (plane, row, column) of a chunk.
    pub(super) fn place(&self, index: u64) -> (u32, u32, u32) {
        let per_plane = u64::from(self.across) * u64::from(self.down);
        let within = index % per_plane;
        ((index / per_plane) as u32, (within / u64::from(self.across)) as u32, (within % u64::from(self.across)) as u32)
    }

    pub(super) fn chunks(&self) -> u64 {
        u64::from(self.planes) * u64::from(self.down) * u64::from(self.across)
    }
}

/// Who read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The readers built in.
    BuiltIn,
    /// GDAL (feature `gdal`).
    Gdal,
}

impl Reader {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Gdal => "GDAL",
        }
    }
}

/// Where a file says that its pixels lie.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim {
    pub(super) affine: Option<GeoTransform>,
    /// Ground control points, in `crs`.
    pub(super) ties: Vec<Tie>,
    /// The system, or why the one that is named cannot be used.
    pub(super) crs: Option<std::result::Result<Crs, String>>,
    /// Only rational polynomial coefficients.
    pub(super) rpc: bool,
}

impl Claim {
    /// What the other says, where it says something that can be used: it wins. Also, whether they differ.
    pub(super) fn overruled_by(self, other: Claim) -> (Claim, bool) {
        let placed = other.affine.is_some() || !other.ties.is_empty();
        let own = self.affine.is_some() || !self.ties.is_empty();
        let moved = placed && own && (self.affine != other.affine || self.ties != other.ties);
        let renamed = matches!((&self.crs, &other.crs), (Some(Ok(a)), Some(Ok(b))) if a != b);
        let (affine, ties) = if placed { (other.affine, other.ties) } else { (self.affine, self.ties) };
        let crs = match (self.crs, other.crs) {
            (Some(Ok(own)), Some(Err(_)) | None) => Some(Ok(own)),
            (own, other) => other.or(own),
        };
        (Claim { affine, ties, crs, rpc: self.rpc || other.rpc }, moved || renamed)
    }
}

/// What is known of an image before its pixels are read.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Samples a pixel, alpha included.
    pub(super) samples: u32,
    pub(super) sample_type: SampleType,
    pub(super) layout: Layout,
    /// The sample that is alpha.
    pub(super) alpha: Option<u32>,
    /// Whether chunks say where there is data, by a mask of the file.
    pub(super) masked: bool,
    /// Descriptions by sample.
    pub(super) names: Vec<Option<String>>,
    /// The samples that are said to be red, green and blue.
    pub(super) colours: [Option<u32>; 3],
    /// The value that marks no data in the bands that are read.
    pub(super) nodata: Option<f64>,
    /// Values of single samples, where they have their own.
    pub(super) nodata_of: Vec<Option<f64>>,
    pub(super) claim: Claim,
    pub(super) warnings: Vec<String>,
    pub(super) reader: Reader,
}

impl Header {
    /// Of an image without anything said beside its pixels.
    pub(super) fn plain(size: [u32; 2], samples: u32, sample_type: SampleType, layout: Layout) -> Self {
        Self {
            width: size[0],
            height: size[1],
            samples,
            sample_type,
            layout,
            alpha: None,
            masked: false,
            names: vec![None; samples as usize],
            colours: [None; 3],
            nodata: None,
            nodata_of: vec![None; samples as usize],
            claim: Claim::default(),
            warnings: Vec::new(),
            reader: Reader::BuiltIn,
        }
    }
}
