//! Rasters of pixels at hand, for callers that have no file.

use super::chunk::{Chunk, Samples};
use super::error::{Error, Result};
use super::image_read::Whole;
use super::raster::{Raster, SampleType};
use super::source::{Header, Layout};
use std::path::Path;
use std::sync::Arc;

impl Raster {
    /// An image of one band, row by row from the top; NaN is no data. It has no georeference; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Error::Argument`] for values that do not fill the size, or a size of nothing.
    pub fn from_values(name: &str, width: u32, height: u32, values: Vec<f32>) -> Result<Self> {
        let size = [width, height];
        if values.len() as u64 != u64::from(width) * u64::from(height) || values.is_empty() {
            return Err(Error::argument("values", format!("{} of them are no image of {width}x{height} px", values.len())));
        }
        let chunk = Chunk { samples: Samples::F32(values), valid: None, width, height, samples_per_pixel: 1 };
        let header = Header::plain(size, 1, SampleType::F32, Layout::new(size, size));
        Self::from_source(Path::new(name), header, Arc::new(Whole(Arc::new(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_a_raster() {
        let raster = Raster::from_values("(array)", 3, 2, vec![1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]).unwrap();
        let window = raster.read_window(0, 0, 3, 2).unwrap();
        assert_eq!(window.valid, [1, 1, 1, 1, 0, 1]);
        assert_eq!((window.data[3], raster.geo()), (4.0, None));
        assert!(Raster::from_values("(array)", 3, 2, vec![1.0; 5]).is_err());
    }
}
