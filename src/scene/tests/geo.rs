//! Transforms, coordinate systems and grids.

use super::*;

#[test]
fn geotransform_and_point_rasters() {
    let g = GeoTransform::new([100.0, 3.0, 1.0, 200.0, 0.5, -4.0]).unwrap();
    let (x, y) = g.pixel_to_map(12.25, -7.5);
    let (px, py) = g.map_to_pixel(x, y);
    assert!((px - 12.25).abs() < 1e-12 && (py + 7.5).abs() < 1e-12);
    assert_eq!(g.pixel_size(), (3f64.hypot(0.5), 1f64.hypot(4.0)));
    assert_eq!(g.offset(2.0, 3.0).pixel_to_map(0.5, 0.5), g.pixel_to_map(2.5, 3.5));
    assert!(GeoTransform::new([0.0; 6]).is_none());
    assert!(GeoTransform::new([f64::NAN, 1.0, 0.0, 0.0, 0.0, 1.0]).is_none());
    let text = serde_json::to_string(&g).unwrap();
    assert_eq!(serde_json::from_str::<GeoTransform>(&text).unwrap(), g);
    assert!(serde_json::from_str::<GeoTransform>("[0,0,0,0,0,0]").is_err());

    let area = georef::from_tags(&[10.0, 10.0, 0.0], &[0.0, 0.0, 0.0, 50.0, 90.0, 0.0], &[], false).unwrap();
    assert_eq!(area.pixel_to_map(0.0, 0.0), (50.0, 90.0));
    let point = georef::from_tags(&[10.0, 10.0, 0.0], &[0.0, 0.0, 0.0, 50.0, 90.0, 0.0], &[], true).unwrap();
    assert_eq!(point.pixel_to_map(0.5, 0.5), (50.0, 90.0));
    // Ground control points alone are no affine transform.
    assert!(georef::from_tags(&[], &[0.0; 24], &[], false).is_none());
    // A scale of 0 says nothing, and a matrix stands in; a negative one is read as GDAL does.
    let matrix = [1.0, 0.0, 0.0, 7.0, 0.0, -1.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let by_matrix = georef::from_tags(&[0.0, 0.0, 0.0], &[0.0; 6], &matrix, false).unwrap();
    assert_eq!(by_matrix.coefficients(), [7.0, 1.0, 0.0, 9.0, 0.0, -1.0]);
    let negative = georef::from_tags(&[10.0, -10.0, 0.0], &[0.0, 0.0, 0.0, 50.0, 90.0, 0.0], &[], false).unwrap();
    assert!(negative.is_north_up());
}

#[test]
fn coordinate_systems() {
    // Reference values by pyproj 3 (PROJ 9).
    for (code, x, y) in PROJ_REFERENCE {
        let crs = Crs::from_epsg(code).unwrap();
        let (lon, lat) = (-117.5, 34.25);
        let got = crs.from_lonlat(lon, lat).unwrap();
        let tolerance = if crs.is_geographic() { 1e-9 } else { 1e-3 };
        assert!((got.0 - x).abs() < tolerance && (got.1 - y).abs() < tolerance, "{crs:?}: {got:?} for {x}, {y}");
        let back = crs.to_lonlat(got.0, got.1).unwrap();
        assert!((back.0 - lon).abs() < 1e-9 && (back.1 - lat).abs() < 1e-9, "{crs:?}: {back:?}");
        // The scale at the point is that of the distance of two points near it.
        let h = if crs.is_geographic() { 1e-3 } else { 50.0 };
        let (mx, my) = crs.meters_per_unit_at(x, y).unwrap();
        let dx = crs.ground_distance_m((x - h, y), (x + h, y)).unwrap() / (2.0 * h);
        let dy = crs.ground_distance_m((x, y - h), (x, y + h)).unwrap() / (2.0 * h);
        assert!((mx / dx - 1.0).abs() < 1e-5 && (my / dy - 1.0).abs() < 1e-5, "{crs:?}: {mx} {dx} {my} {dy}");
    }
    let mercator = Crs::from_epsg(3395).unwrap();
    assert_eq!(mercator.name(), "WGS 84 / World Mercator");
    assert!(!mercator.is_geographic() && Crs::from_epsg(4326).unwrap().is_geographic());
    let utm = Crs::from_epsg(32611).unwrap();
    let (x, y) = mercator.reproject(&utm, PROJ_REFERENCE[1].1, PROJ_REFERENCE[1].2).unwrap();
    assert!((x - PROJ_REFERENCE[2].1).abs() < 1e-3 && (y - PROJ_REFERENCE[2].2).abs() < 1e-3);

    // Los Angeles to New York, and almost antipodal points; pyproj.Geod(ellps="WGS84").
    let (far, want) = FAR;
    assert!((lonlat_distance_m((-118.25, 34.05), far) - want).abs() < 0.01);
    assert!((lonlat_distance_m((0.0, 0.0), (179.7, 0.5)) / 19_944_127.0 - 1.0).abs() < 0.01);
    assert_eq!(lonlat_distance_m((5.0, 5.0), (5.0, 5.0)), 0.0);
    let date_line = lonlat_distance_m((179.999, 0.0), (-179.999, 0.0));
    assert!((date_line - 222.639).abs() < 0.01, "{date_line}");

    for code in [0, 99, 70_000, 4978] {
        let message = Crs::from_epsg(code).unwrap_err().to_string();
        assert!(message.contains(&format!("EPSG:{code}")) && message.contains("gdalwarp"), "{message}");
    }
    let message = utm.from_lonlat(f64::NAN, 0.0).unwrap_err().to_string();
    assert!(message.contains("EPSG:32611") && message.contains("check the georeference"), "{message}");
    assert!(mercator.from_lonlat(0.0, 90.0).is_err());
}

const PROJ_REFERENCE: [(u32, f64, f64); 7] = [
    (4326, -117.5, 34.25),
    (3395, -13080040.168209644, 4038373.0531165535),
    (32611, 453961.5755822567, 3789989.1050100825),
    (3857, -13080040.168209644, 4062420.520415545),
    (2229, 6712764.147145693, 1913737.6419637077),
    (3310, 230203.959865791, -415397.31847724505),
    (26911, 453961.57558201737, 3789989.1049057855),
];
const FAR: ((f64, f64), f64) = ((-74.0, 40.7), 3945651.629558118);

#[test]
fn grid_cells() {
    let dir = folder();
    let path = dir.path().join("grid.tif");
    let (w, h) = (53u32, 31u32);
    // No data: the columns 20..30 of the upper ten rows, and one pixel at (41, 15).
    let data: Vec<u8> =
        (0..w * h).map(|p| (p % w, p / w)).map(|(x, y)| u8::from(!(((20..30).contains(&x) && y < 10) || (x, y) == (41, 15)))).collect();
    let geo = GeoTransform::north_up(-13_100_000.0, 4_000_000.0, 10.0, 10.0).unwrap();
    write_geotiff(&path, w, h, 1, SampleData::U8(&data), Some(&geo), Some(3395), Some(0.0)).unwrap();
    let raster = Raster::open(&path).unwrap();
    let grid = Grid::new(w, h, 10, 10).unwrap();
    assert_eq!((grid.rows, grid.columns, grid.len(), grid.cells().count()), (3, 5, 15, 15));
    let cells = grid.valid_cells(&raster, 0.0).unwrap();
    assert_eq!(cells.len(), 13);
    let cells = grid.valid_cells(&raster, DEFAULT_MAX_MISSING).unwrap();
    assert_eq!(cells.len(), 14);
    assert!(cells.iter().all(|c| (c.row, c.col) != (0, 2)));
    let one = cells.iter().find(|c| (c.row, c.col) == (1, 4)).unwrap();
    assert_eq!((one.x0, one.y0, one.missing, one.centre_px), (40, 10, 0.01, (45.0, 15.0)));
    assert_eq!(one.centre_map, Some((-13_099_550.0, 3_999_850.0)));
    let lonlat = raster.crs().unwrap().to_lonlat(-13_099_550.0, 3_999_850.0).unwrap();
    assert_eq!(one.centre_lonlat, Some(lonlat));

    // Overlapping cells, against counting pixel by pixel.
    let grid = Grid::new(w, h, 12, 5).unwrap();
    let kept = grid.valid_cells(&raster, 0.05).unwrap();
    let expected: Vec<_> = grid
        .cells()
        .filter(|&(_, _, x0, y0)| {
            let pixels = (y0..y0 + 12).flat_map(|y| (x0..x0 + 12).map(move |x| (y * w + x) as usize));
            pixels.filter(|&p| data[p] == 0).count() as f32 / 144.0 <= 0.05
        })
        .map(|(row, col, ..)| (row, col))
        .collect();
    assert_eq!(kept.iter().map(|c| (c.row, c.col)).collect::<Vec<_>>(), expected);

    let message = Grid::new(53, 31, 32, 32).unwrap_err().to_string();
    assert!(message.contains("53x31 px is smaller than one cell of 32 px"), "{message}");
    assert!(Grid::new(53, 31, 0, 1).unwrap_err().to_string().contains("above 0"));
    let message = Grid::new(60, 60, 10, 10).unwrap().valid_cells(&raster, 0.0).unwrap_err().to_string();
    assert!(message.contains("grid.tif has 53x31"), "{message}");
}
