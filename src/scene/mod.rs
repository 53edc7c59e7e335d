//! Scenes: rasters, georeference, grid.

pub mod synth;
