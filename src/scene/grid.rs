//! The grid of map cells: where they lie and which of them hold enough data.

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::raster::Raster;

/// Share of missing pixels up to which a cell is kept, unless told otherwise.
pub const DEFAULT_MAX_MISSING: f32 = 0.01;

/// Columns read at a time while pixels are counted.
const SEGMENT: u32 = 2048;

/// Square cells of `cell` px every `stride` px, from the upper left corner; only whole cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Map width, px.
    pub width: u32,
    /// Map height, px.
    pub height: u32,
    /// Cell edge, px.
    pub cell: u32,
    /// Distance between the corners of neighbouring cells, px.
    pub stride: u32,
    /// Rows of cells.
    pub rows: u32,
    /// Columns of cells.
    pub columns: u32,
}

/// One cell of a grid over a raster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Row in the grid, from the top.
    pub row: u32,
    /// Column in the grid, from the left.
    pub col: u32,
    /// Left edge, px.
    pub x0: u32,
    /// Upper edge, px.
    pub y0: u32,
    /// Share of pixels without data, 0..=1.
    pub missing: f32,
    /// Centre in pixels (corner convention: pixel (0, 0) has its centre at 0.5, 0.5).
    pub centre_px: (f64, f64),
    /// Centre in map coordinates, where the raster has a geotransform.
    pub centre_map: Option<(f64, f64)>,
    /// Centre as WGS 84 longitude and latitude in degrees, where the raster's system is known.
    pub centre_lonlat: Option<(f64, f64)>,
}

impl Grid {
    /// Lays cells over a map of `width` x `height` px.
    ///
    /// # Errors
    /// [`Error::Argument`] for a cell or stride of 0, [`Error::TooSmall`] for a map smaller than a cell.
    pub fn new(width: u32, height: u32, cell: u32, stride: u32) -> Result<Self> {
        if cell == 0 || stride == 0 {
            return Err(Error::argument("grid", format!("cell {cell} px and stride {stride} px must both be above 0")));
        }
        if width < cell || height < cell {
            return Err(Error::TooSmall { width, height, cell });
        }
        let (rows, columns) = ((height - cell) / stride + 1, (width - cell) / stride + 1);
        Ok(Self { width, height, cell, stride, rows, columns })
    }

    /// Number of cells, with data or not.
    pub fn len(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Never: a grid has at least one cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Upper left pixel (x0, y0) of the cell at (`row`, `col`).
    pub fn corner(&self, row: u32, col: u32) -> (u32, u32) {
        (col * self.stride, row * self.stride)
    }

    /// Upper left pixel of every cell as (row, col, x0, y0), row by row.
    pub fn cells(&self) -> impl Iterator<Item = (u32, u32, u32, u32)> {
        let grid = *self;
        (0..grid.rows).flat_map(move |row| {
            (0..grid.columns).map(move |col| {
                let (x0, y0) = grid.corner(row, col);
                (row, col, x0, y0)
            })
        })
    }

    /// The cells whose share of missing pixels is at most `max_missing`
    /// ([`DEFAULT_MAX_MISSING`] is the shipped rule), row by row.
    ///
    /// Streams over the raster by rows of cells; memory is that of the raster's cache, a strip of
    /// 2048 columns and the cells kept.
    ///
    /// # Errors
    /// [`Error::Argument`] where the raster's size is not the grid's; errors of reading; an
    /// [`Error::Projection`] for a cell whose centre has no longitude and latitude.
    pub fn valid_cells(&self, raster: &Raster, max_missing: f32) -> Result<Vec<Cell>> {
        if (raster.width(), raster.height()) != (self.width, self.height) {
            return Err(Error::argument(
                "grid",
                format!(
                    "it was laid over {}x{} px, but {} has {}x{}; lay one over this raster",
                    self.width,
                    self.height,
                    raster.path().display(),
                    raster.width(),
                    raster.height()
                ),
            ));
        }
        let mut kept = Vec::new();
        let used = (self.columns - 1) * self.stride + self.cell;
        for row in 0..self.rows {
            let y0 = row * self.stride;
            if max_missing < 1.0 && !raster.stored(0, i64::from(y0), used, self.cell) {
                continue;
            }
            // missing[x]: pixels without data in the columns left of x.
            let mut missing = Vec::with_capacity(used as usize + 1);
            missing.push(0u64);
            for x in (0..used).step_by(SEGMENT as usize) {
                let width = SEGMENT.min(used - x);
                let window = raster.read_window(i64::from(x), i64::from(y0), width, self.cell)?;
                let mut column = vec![0u64; width as usize];
                for line in window.valid.chunks_exact(width as usize) {
                    for (c, &v) in column.iter_mut().zip(line) {
                        *c += u64::from(v == 0);
                    }
                }
                let mut sum = *missing.last().unwrap_or(&0);
                missing.extend(column.into_iter().map(|c| {
                    sum += c;
                    sum
                }));
            }
            for col in 0..self.columns {
                let x0 = col * self.stride;
                let count = missing[(x0 + self.cell) as usize] - missing[x0 as usize];
                let share = count as f32 / (self.cell as f32 * self.cell as f32);
                if share <= max_missing {
                    kept.push(self.cell(raster, row, col, share)?);
                }
            }
        }
        Ok(kept)
    }

    fn cell(&self, raster: &Raster, row: u32, col: u32, missing: f32) -> Result<Cell> {
        let (x0, y0) = self.corner(row, col);
        let half = f64::from(self.cell) / 2.0;
        let centre_px = (f64::from(x0) + half, f64::from(y0) + half);
        let centre_map = raster.geo().map(|g| g.pixel_to_map(centre_px.0, centre_px.1));
        let centre_lonlat = match (centre_map, raster.crs()) {
            (Some((x, y)), Some(crs)) => Some(crs.to_lonlat(x, y)?),
            _ => None,
        };
        Ok(Cell { row, col, x0, y0, missing, centre_px, centre_map, centre_lonlat })
    }
}
