//! A GeoTIFF of the untouched image with its control points. Of a TIFF each byte is kept: a directory is added that says another place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::ControlPoints;
use crate::atomic::AtomicFile;
use crate::scene::cog::{PlaceValue, place};
use crate::scene::error::{Error, Result};
use crate::scene::raster::Raster;
use crate::scene::tiff_ifd::TiffBytes;
use crate::scene::write::{GeoTiff, write_geotiff_rows};

/// Tags that say where pixels lie.
const PLACES: [u16; 6] = [33550, 33922, 34264, 34735, 34736, 34737];

pub(super) fn write(path: &Path, points: &ControlPoints, image: &Raster) -> Result<Vec<String>> {
    let crs = points.named_crs(path)?;
    let keys = crs.geo_keys()?;
    let ties: Vec<([f64; 2], [f64; 2])> = points.enabled().map(|p| (p.sar_px, p.map_xy)).collect();
    let header =
        GeoTiff { width: image.width(), height: image.height(), bands: image.bands(), crs: Some(crs), ties: &ties, ..GeoTiff::default() };
    let mut head = [0; 4];
    let mut source = File::open(image.path()).map_err(|e| Error::read(image.path(), e))?;
    source.read_exact(&mut head).map_err(|e| Error::read(image.path(), e))?;
    if !matches!(&head, b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+") {
        // PNG and JPEG: the samples, which these hold in 8 or 16 bits.
        if image.sample_type().bytes() > 2 {
            return Err(Error::argument(
                path.display().to_string(),
                "only a TIFF, PNG or JPEG is copied with its points; write a .vrt instead",
            ));
        }
        write_geotiff_rows(path, &header, image.sample_type(), &mut |y, rows, out: &mut Vec<f32>| {
            out.extend(image.read_window(0, i64::from(y), image.width(), rows)?.data);
            Ok(())
        })?;
        return Ok(Vec::new());
    }
    let bytes = TiffBytes::open(image.path())?;
    let (pointer, mut entries, next) = bytes.main_entries()?;
    entries.retain(|e| !PLACES.contains(&bytes.u16(&e[..2])));
    let failed = |e| Error::write(path, e);
    let file = AtomicFile::create(path).map_err(failed)?;
    source.seek(SeekFrom::Start(0)).map_err(|e| Error::read(image.path(), e))?;
    let mut out = file.file();
    let mut at = std::io::copy(&mut source, &mut out).map_err(failed)?;
    let (wide, big) = (bytes.word(), bytes.word() == 8);
    let mut append = |value: &[u8]| -> std::io::Result<u64> {
        // On a whole word.
        let gap = at.next_multiple_of(8) - at;
        out.write_all(&vec![0; gap as usize])?;
        out.write_all(value)?;
        at += gap + value.len() as u64;
        Ok(at - value.len() as u64)
    };
    for (tag, value) in place(&header, Some(&keys)) {
        let (kind, count, value) = match value {
            PlaceValue::Doubles(v) => (12u16, v.len(), v.iter().flat_map(|v| bytes.ordered(&v.to_be_bytes())).collect::<Vec<u8>>()),
            PlaceValue::Shorts(v) => (3, v.len(), v.iter().flat_map(|v| bytes.ordered(&v.to_be_bytes())).collect()),
            PlaceValue::Text(v) => (2, v.len() + 1, v.bytes().chain([0]).collect()),
        };
        let mut entry = [bytes.ordered(&tag.to_be_bytes()), bytes.ordered(&kind.to_be_bytes()), bytes.offset_bytes(count as u64)].concat();
        if value.len() as u64 <= wide {
            entry.extend(&value);
            entry.resize(entry.len() + wide as usize - value.len(), 0);
        } else {
            entry.extend(bytes.offset_bytes(append(&value).map_err(failed)?));
        }
        entries.push(entry);
    }
    entries.sort_by_key(|e| bytes.u16(&e[..2]));
    let count = entries.len();
    let head = if big { bytes.ordered(&(count as u64).to_be_bytes()) } else { bytes.ordered(&(count as u16).to_be_bytes()) };
    let directory = append(&[head, entries.concat(), bytes.offset_bytes(next)].concat()).map_err(failed)?;
    if !big && at > u64::from(u32::MAX) {
        return Err(Error::argument(
            path.display().to_string(),
            "the image fills the 4 GiB of a TIFF, and its points find no room; write a .vrt instead",
        ));
    }
    let patch = |at: u64, value: &[u8]| -> std::io::Result<()> {
        let mut out = file.file();
        out.seek(SeekFrom::Start(at))?;
        out.write_all(value)
    };
    patch(pointer, &bytes.offset_bytes(directory)).map_err(failed)?;
    // What a Cloud Optimized GeoTIFF says of its order no longer holds.
    const ORDERED: &[u8] = b"KNOWN_INCOMPATIBLE_EDITION=NO\n ";
    let start = bytes.read(0, bytes.len.min(512), "the header")?;
    if let Some(found) = start.windows(ORDERED.len()).position(|w| w == ORDERED) {
        patch(found as u64, b"KNOWN_INCOMPATIBLE_EDITION=YES\n").map_err(failed)?;
    }
    file.commit().map_err(failed)?;
    Ok(Vec::new())
}
