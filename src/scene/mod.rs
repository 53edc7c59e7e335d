//! Scenes: rasters, georeference, grid.
