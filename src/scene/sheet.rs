//! Images without a place of their own, laid side by side as one raster.

use std::path::PathBuf;
use std::sync::Arc;

use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::{GeoTransform, Georeference};
use super::mosaic::{Mosaic, Piece};
use super::open::OpenOptions;
use super::raster::Raster;
use super::source::Header;

/// A plane that touches the ellipsoid where no land is: a metre of it is a metre on the ground, to 5e-4 within 200 km of the origin.
const LOCAL: &str = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs";

/// An image of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laid {
    /// The file.
    pub path: PathBuf,
    /// Its upper left corner, px of the sheet.
    pub at: [u32; 2],
    /// Its width and height, px.
    pub size: [u32; 2],
}

/// Opens images as one raster: [`OpenOptions::open_sheet`].
pub(super) fn open(images: &[Laid], size: [u32; 2], pixel_m: f64, options: &OpenOptions) -> Result<Raster> {
    let first = images.first().ok_or_else(|| Error::argument("sheet", "no image is named"))?;
    let half = size.map(|s| f64::from(s) / 2.0 * pixel_m);
    let geo = GeoTransform::north_up(-half[0], half[1], pixel_m, pixel_m)
        .ok_or_else(|| Error::argument("pixel size", format!("{pixel_m} m make no sense; give metres above 0")))?;
    let crs = Crs::from_text(LOCAL)?;
    let told = options.open(&first.path)?;
    let piece = |laid: &Laid| {
        let [left, top] = laid.at.map(i64::from);
        let [right, bottom] = [0, 1].map(|d| i64::from(laid.at[d]) + i64::from(laid.size[d]));
        Piece { path: laid.path.clone(), area: [left, top, right, bottom], place: None }
    };
    let place = Georeference::affine(geo, crs.clone(), size);
    let source = Mosaic::new(images.iter().map(piece).collect(), size, place, told.bands(), options)?;
    let mut header = Header::plain(size, told.bands(), told.sample_type(), source.layout());
    header.names = told.band_names().into_iter().map(|(_, name)| name.map(Into::into)).collect();
    header.reader = told.reader();
    header.warnings = told.warnings().to_vec();
    header.claim.affine = Some(geo);
    header.claim.crs = Some(Ok(crs));
    let mut raster = Raster::from_source(&first.path, header, Arc::new(source))?;
    let no_data = (vec![told.no_data_words()], told.has_unnamed_fill());
    raster.set_pieces(images.iter().map(|laid| laid.path.clone()).collect(), no_data);
    Ok(raster)
}

#[cfg(test)]
mod tests {
    use super::super::{SampleData, write_geotiff};
    use super::*;

    #[test]
    fn images_lie_where_they_are_laid_and_nothing_lies_between() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [[40u32, 30u32], [20, 50]];
        let laid: Vec<Laid> = (0u8..)
            .zip(sizes)
            .map(|(i, size)| {
                let path = dir.path().join(format!("{i}.tif"));
                let pixels: Vec<u8> = (0..size[0] * size[1]).map(|p| 100 * i + 1 + (p % 97) as u8).collect();
                write_geotiff(&path, size[0], size[1], 1, SampleData::U8(&pixels), None, None, None).unwrap();
                Laid { path, at: [u32::from(i) * 600, 8 * u32::from(i)], size }
            })
            .collect();
        let raster = OpenOptions::default().open_sheet(&laid, [620, 58], 2.5).unwrap();
        let window = raster.read_window(0, 0, 620, 58).unwrap();
        for y in 0..58 {
            for x in 0..620 {
                let own = laid.iter().zip(0u8..).find(|(l, _)| (0..2).all(|d| [x, y][d] >= l.at[d] && [x, y][d] < l.at[d] + l.size[d]));
                let want = own.map(|(l, i)| 100.0 * f32::from(i) + 1.0 + (((y - l.at[1]) * l.size[0] + x - l.at[0]) % 97) as f32);
                let p = (y * 620 + x) as usize;
                assert_eq!((window.valid[p] != 0).then_some(window.data[p]), want, "({x}, {y})");
            }
        }
        let (x, y) = raster.ground_pixel_size().unwrap();
        assert!((x - 2.5).abs() < 1e-4 && (y - 2.5).abs() < 1e-4, "{x} {y}");
        assert_eq!(raster.pieces().len(), 2);
    }

    #[test]
    fn a_sheet_of_nothing_and_pixels_of_no_size_are_refused() {
        let open = |images: &[Laid], pixel_m| OpenOptions::default().open_sheet(images, [9, 9], pixel_m).unwrap_err().to_string();
        assert!(open(&[], 1.0).contains("no image"));
        let one = [Laid { path: "a.png".into(), at: [0, 0], size: [9, 9] }];
        assert!(open(&one, 0.0).contains("above 0") && open(&one, f64::NAN).contains("above 0"));
        assert!(open(&one, 1.0).contains("a.png"));
    }
}
