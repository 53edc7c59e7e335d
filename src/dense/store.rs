//! The dense database: the spectra of a map's blocks, mapped from disk.
//!
//! Tensors: `spectra` F16 [B, N/2+1, N, C, 2] of the features, `planes` F16 [B, N/2+1, N, 2, 2] of their energy and validity, both
//! scaled by 1/N; `origins` I32 [B, 2], upper left corners in feature pixels.

use super::domain::Statistics;
use super::layout::Layout;
use crate::atomic::{AtomicFile, advice, spool};
use crate::container::{self, stream};
use crate::scene::MapInfo;
use crate::{Error, Result};
use half::f16;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a dense database says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DenseManifest {
    /// `dense database`.
    pub kind: String,
    /// Version of echogrid that wrote it.
    pub version: String,
    /// Name of the features.
    pub features: String,
    /// Hash of the features' parameters.
    pub model: String,
    /// Channels of the features.
    pub channels: usize,
    /// Blocks.
    pub layout: Layout,
    /// The map.
    #[serde(flatten)]
    pub map: MapInfo,
    /// Adapter it was made on.
    pub adapter: String,
    /// What the map looks like at the features' scale; unknown in files of older versions and where no window of the map is without gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
}

/// The kind in a dense database's manifest.
pub(super) const KIND: &str = "dense database";

/// A dense database, mapped from its file.
#[derive(Debug)]
pub struct DenseDatabase {
    /// The manifest.
    pub manifest: DenseManifest,
    /// Where it lies; `(memory)` for one that was not stored.
    pub path: PathBuf,
    /// Upper left corners of the blocks, feature pixels.
    pub origins: Vec<[i32; 2]>,
    mapped: Mmap,
    spectra: Range<usize>,
    planes: Range<usize>,
}

impl DenseDatabase {
    /// Maps a dense database file.
    ///
    /// # Errors
    /// Not there, not a dense database, cut short, tensors that do not fit each other.
    pub fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path)
            .map_err(|e| Error::io(path, format!("cannot be opened ({e}); make one with `echogrid index --method dense`"), e))?;
        Self::map(path, &file)
    }

    /// Whether a file is a dense database, by its manifest.
    pub fn is_one(path: &Path) -> bool {
        std::fs::File::open(path).is_ok_and(|file| {
            // SAFETY: as in `map`.
            unsafe { Mmap::map(&file) }.is_ok_and(|m| manifest(&m).is_ok_and(|m| m.kind == KIND))
        })
    }

    fn map(path: &Path, file: &std::fs::File) -> Result<Self> {
        let bad = |reason: &dyn std::fmt::Display| Error::Index {
            path: path.into(),
            reason: format!("{reason}; make the database anew with `echogrid index --method dense`"),
        };
        // SAFETY: the file is only read; one that another process cuts short while it is mapped ends this process, as with
        // any mapped file.
        let mapped = unsafe { Mmap::map(file) }.map_err(|e| Error::io(path, format!("cannot be mapped ({e})"), e))?;
        let manifest = manifest(&mapped).map_err(|e| bad(&e))?;
        manifest.layout.check().map_err(|e| bad(&e))?;
        let tensors = SafeTensors::deserialize(&mapped).map_err(|e| bad(&format!("cut short, or not a database ({e})")))?;
        let find = |name: &str, dtype: Dtype| match tensors.tensor(name) {
            Ok(t) if t.dtype() == dtype => Ok(t),
            Ok(t) => Err(bad(&format!("tensor `{name}` is {:?} {:?}", t.dtype(), t.shape()))),
            Err(_) => Err(bad(&format!("tensor `{name}` is missing"))),
        };
        let (spectra, planes, origins) = (find("spectra", Dtype::F16)?, find("planes", Dtype::F16)?, find("origins", Dtype::I32)?);
        let blocks = origins.shape().first().copied().unwrap_or(0);
        let n = manifest.layout.side;
        let fits = spectra.shape() == [blocks, n / 2 + 1, n, manifest.channels, 2]
            && planes.shape() == [blocks, n / 2 + 1, n, 2, 2]
            && origins.shape() == [blocks, 2]
            && blocks > 0
            && manifest.channels > 0
            && manifest.channels.is_multiple_of(2);
        if !fits {
            return Err(bad(&format!("spectra {:?}, planes {:?} and blocks do not fit each other", spectra.shape(), planes.shape())));
        }
        let number = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let corners = origins.data().chunks_exact(8).map(|b| [number(&b[..4]), number(&b[4..])]).collect();
        let span = |t: &TensorView<'_>| {
            let start = t.data().as_ptr() as usize - mapped.as_ptr() as usize;
            start..start + t.data().len()
        };
        let (spectra, planes) = (span(&spectra), span(&planes));
        Ok(Self { manifest, path: path.into(), origins: corners, mapped, spectra, planes })
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Never: a database has at least one block.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Whether the best score of every tile of the map may be kept for so many patches: of all together at most 384 MiB.
    pub fn room_for_surfaces(&self, patches: usize) -> bool {
        // 12 bytes each.
        const MOST: usize = 32 << 20;
        let each = self.manifest.layout.offsets().div_ceil(crate::kernels::peaks::TILE).pow(2) * self.len();
        each.saturating_mul(patches) <= MOST
    }

    /// Complex values of a plane of a block's spectrum: (N/2 + 1) N.
    pub fn frequencies(&self) -> usize {
        let n = self.manifest.layout.side;
        (n / 2 + 1) * n
    }

    /// Bytes of the spectra of some blocks' features, f16 pairs.
    pub fn spectra(&self, blocks: Range<usize>) -> &[u8] {
        self.part(&self.spectra, blocks)
    }

    /// Bytes of the spectra of some blocks' energy and validity, f16 pairs.
    pub fn planes(&self, blocks: Range<usize>) -> &[u8] {
        self.part(&self.planes, blocks)
    }

    fn part(&self, all: &Range<usize>, blocks: Range<usize>) -> &[u8] {
        let one = all.len() / self.len();
        &self.mapped[all.clone()][blocks.start * one..blocks.end * one]
    }

    /// Refuses features other than those of the spectra.
    ///
    /// # Errors
    /// The hashes differ; the message names both.
    pub fn check_model(&self, features: &str, hash: &str) -> Result<()> {
        if self.manifest.model == hash {
            return Ok(());
        }
        let short = |h: &str| h.get(..12).unwrap_or(h).to_string();
        Err(Error::Index {
            path: self.path.clone(),
            reason: format!(
                "was made with {} features ({}), not with {features} ones ({}); give those with --features or --dense-model, or make the database anew",
                self.manifest.features,
                short(&self.manifest.model),
                short(hash)
            ),
        })
    }
}

fn manifest(mapped: &[u8]) -> std::result::Result<DenseManifest, String> {
    let text = container::manifest(mapped).map_err(|e| format!("not a database, or cut short ({e})"))?;
    serde_json::from_str(&text.ok_or("no echogrid manifest in it")?).map_err(|e| format!("not a dense database's manifest ({e})"))
}

/// Writes a dense database block by block; the file appears whole or not at all.
#[derive(Debug)]
pub struct DenseWriter {
    path: Option<PathBuf>,
    spools: Option<[BufWriter<std::fs::File>; 2]>,
    blocks: usize,
}

impl DenseDatabase {
    /// A writer to a file.
    pub fn writer(path: &Path) -> DenseWriter {
        DenseWriter { path: Some(path.into()), spools: None, blocks: 0 }
    }

    /// A writer to a temporary file, which goes with the database.
    pub fn temporary() -> DenseWriter {
        DenseWriter { path: None, spools: None, blocks: 0 }
    }
}

impl DenseWriter {
    fn fail(&self, e: std::io::Error) -> Error {
        let (path, advice) = match &self.path {
            Some(path) => (path.clone(), advice(path, &e)),
            None => ("(temporary file)".into(), format!("check that {} is writable and has room", std::env::temp_dir().display())),
        };
        Error::io(path, format!("cannot be written ({e}); {advice}"), e)
    }

    /// Opens the spools beside the file to come.
    pub(super) fn begin(&mut self) -> Result<()> {
        let open = || {
            let spool = || spool(self.path.as_deref()).map(BufWriter::new);
            Ok::<_, std::io::Error>([spool()?, spool()?])
        };
        self.spools = Some(open().map_err(|e| self.fail(e))?);
        Ok(())
    }

    /// Appends the spectra of `blocks` blocks.
    pub(super) fn blocks(&mut self, blocks: usize, spectra: &[f16], planes: &[f16]) -> Result<()> {
        let [a, b] = self.spools.as_mut().expect("begin() was called");
        let result = a.write_all(bytemuck::cast_slice(spectra)).and_then(|()| b.write_all(bytemuck::cast_slice(planes)));
        self.blocks += blocks;
        result.map_err(|e| self.fail(e))
    }

    /// Writes the file and maps it.
    pub(super) fn finish(mut self, manifest: DenseManifest, origins: &[[i32; 2]]) -> Result<DenseDatabase> {
        let [a, b] = self.spools.take().expect("begin() was called");
        let map = |spool: BufWriter<std::fs::File>| -> Result<Mmap> {
            let file = spool.into_inner().map_err(|e| self.fail(e.into_error()))?;
            // SAFETY: the file has no name, so nobody else can change it.
            unsafe { Mmap::map(&file) }.map_err(|e| self.fail(e))
        };
        let (spectra, planes) = (map(a)?, map(b)?);
        let corners: Vec<u8> = origins.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        let (n, blocks) = (manifest.layout.side, self.blocks);
        let views = [
            ("origins", Dtype::I32, vec![blocks, 2], &corners[..]),
            ("spectra", Dtype::F16, vec![blocks, n / 2 + 1, n, manifest.channels, 2], &spectra[..]),
            ("planes", Dtype::F16, vec![blocks, n / 2 + 1, n, 2, 2], &planes[..]),
        ];
        let views = views
            .into_iter()
            .map(|(name, dtype, shape, data)| {
                Ok((name, TensorView::new(dtype, shape, data).map_err(|e| self.fail(std::io::Error::other(e)))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let json = serde_json::to_string(&manifest).map_err(|e| self.fail(e.into()))?;
        let Some(path) = self.path.clone() else {
            let file = tempfile::tempfile().map_err(|e| self.fail(e))?;
            stream(&file, &json, views).map_err(|e| self.fail(e))?;
            return DenseDatabase::map(Path::new("(memory)"), &file);
        };
        let file = AtomicFile::create(&path).map_err(|e| self.fail(e))?;
        stream(file.file(), &json, views).map_err(|e| self.fail(e))?;
        let file = file.commit().map_err(|e| self.fail(e))?;
        DenseDatabase::map(&path, &file)
    }
}
