//! A dense database on the device, in shards that one dispatch goes over.

use super::features::DenseModel;
use super::store::DenseDatabase;
use crate::gpu::{DType, Engine, Tensor};
use crate::{Error, Result};
use std::ops::Range;

/// Bytes of a shard's spectra at most.
const SHARD_BYTES: usize = 96 << 20;

/// Blocks that are searched in one dispatch.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) blocks: Range<usize>,
    /// Their spectra and planes, where they stay on the device.
    pub(super) resident: Option<[Tensor; 2]>,
}

/// A dense database ready to be searched.
#[derive(Debug)]
pub struct Matcher<'d> {
    engine: &'d Engine,
    database: &'d DenseDatabase,
    model: &'d DenseModel,
    pub(super) shards: Vec<Shard>,
    /// Blocks a shard; the last is filled up with blocks without data.
    pub(super) width: usize,
}

impl<'d> Matcher<'d> {
    /// Uploads the spectra, if they take at most `resident_bytes`; else each search streams them.
    ///
    /// # Errors
    /// A database of other features; device memory.
    pub fn new(engine: &'d Engine, database: &'d DenseDatabase, model: &'d DenseModel, resident_bytes: u64) -> Result<Self> {
        Self::among(engine, database, model, resident_bytes, |_| true)
    }

    /// The same, of those blocks alone that are to be kept: a search then takes their share of the time, and says nothing of the others.
    ///
    /// # Errors
    /// As [`new`](Self::new); no block that is kept.
    pub fn among(
        engine: &'d Engine,
        database: &'d DenseDatabase,
        model: &'d DenseModel,
        resident_bytes: u64,
        keep: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        database.check_model(model.name(), model.hash())?;
        let mut runs: Vec<Range<usize>> = Vec::new();
        for block in (0..database.len()).filter(|b| keep(*b)) {
            match runs.last_mut().filter(|r| r.end == block) {
                Some(run) => run.end += 1,
                None => runs.push(block..block + 1),
            }
        }
        let longest = runs.iter().map(Range::len).max().ok_or_else(|| Error::invalid("no part of the map is to be searched"))?;
        let block = database.spectra(0..1).len();
        let most = (SHARD_BYTES.min(engine.caps().max_binding as usize) / block).max(2);
        let width = (most / 2 * 2).min(longest.next_multiple_of(2));
        let total = runs.iter().map(Range::len).sum::<usize>() * (block + database.planes(0..1).len());
        let total = total as u64;
        let mut shards = Vec::new();
        for blocks in runs.into_iter().flat_map(|r| r.clone().step_by(width).map(move |start| start..(start + width).min(r.end))) {
            let resident = match total <= resident_bytes {
                true => {
                    let shard = room(engine, database, width)?;
                    fill(engine, database, &blocks, &shard)?;
                    Some(shard)
                }
                false => None,
            };
            shards.push(Shard { blocks, resident });
        }
        Ok(Self { engine, database, model, shards, width })
    }

    /// The database.
    pub fn database(&self) -> &'d DenseDatabase {
        self.database
    }

    /// The features.
    pub fn model(&self) -> &'d DenseModel {
        self.model
    }

    /// The engine.
    pub fn engine(&self) -> &'d Engine {
        self.engine
    }
}

/// Room on the device for the spectra and planes of `width` blocks.
pub(super) fn room(engine: &Engine, database: &DenseDatabase, width: usize) -> Result<[Tensor; 2]> {
    let n = database.manifest.layout.side;
    let tensor = |name, channels| engine.tensor(name, &[width, n / 2 + 1, n, channels, 2], DType::F16);
    Ok([tensor("map spectra", database.manifest.channels)?, tensor("map planes", 2)?])
}

/// Writes some blocks to the front of a room.
pub(super) fn fill(engine: &Engine, database: &DenseDatabase, blocks: &Range<usize>, shard: &[Tensor; 2]) -> Result<()> {
    // What lies beyond the last block keeps what it held: its norm says that it has no data.
    engine.write_front(&shard[0], database.spectra(blocks.clone()))?;
    engine.write_front(&shard[1], database.planes(blocks.clone()))?;
    Ok(())
}
