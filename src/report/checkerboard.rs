//! Map and image in alternating squares: lines that run on from square to square show that both fit.

use super::{Error, Thumb};

/// Shown where neither has data.
const NO_DATA: u8 = 128;

/// Alternates two pictures of the same size, red, green, blue from 0 to 1 and above 0 where there is data, in `squares` squares along the longer
/// side; where the second has no data the first is shown.
///
/// # Errors
/// [`Error::Picture`] for a picture of no pixels.
pub fn checkerboard([width, height]: [usize; 2], map: &[[f32; 4]], image: &[[f32; 4]], squares: u32) -> Result<Thumb, Error> {
    let side = (width.max(height) as u32).div_ceil(squares).max(1) as usize;
    let mut rgb = Vec::with_capacity(3 * width * height);
    for i in 0..width * height {
        let (x, y) = (i % width, i / width);
        let [a, b] = [map, image].map(|p| p.get(i).copied().unwrap_or_default());
        let first = if (x / side + y / side) % 2 == 1 { b } else { a };
        let shown = [first, a, b].into_iter().find(|p| p[3] > 0.0);
        rgb.extend([0, 1, 2].map(|d| shown.map_or(NO_DATA, |p| (255.0 * p[d]).round() as u8)));
    }
    Thumb::new(width as u32, height as u32, rgb)
}

/// Up to three squares of `side` map pixels about points, spread over an area (left, top, width, height) and no two alike: left, top of each, and
/// the point.
pub fn parts(area: [u32; 4], side: u32, points: &[[f64; 2]]) -> Vec<([u32; 2], [f64; 2])> {
    let mut placed: Vec<([u32; 2], [f64; 2])> = Vec::new();
    for (fx, fy) in [(0.3, 0.3), (0.7, 0.35), (0.5, 0.7)] {
        let aim = [f64::from(area[0]) + fx * f64::from(area[2]), f64::from(area[1]) + fy * f64::from(area[3])];
        let far = |p: &&[f64; 2]| placed.iter().all(|(_, q)| (p[0] - q[0]).abs().max((p[1] - q[1]).abs()) > f64::from(side));
        let off = |p: &[f64; 2]| (p[0] - aim[0]).hypot(p[1] - aim[1]);
        let Some(p) = points.iter().filter(far).min_by(|a, b| off(a).total_cmp(&off(b))) else { continue };
        let corner = |d: usize| {
            let (from, room) = (f64::from(area[d]), f64::from(area[d + 2] - side));
            (p[d] - f64::from(side) / 2.0 - from).clamp(0.0, room) as u32 + area[d]
        };
        placed.push(([corner(0), corner(1)], *p));
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_alternate_and_gaps_show_the_map() {
        let (map, mut image) = (vec![[0.0, 0.0, 0.0, 1.0]; 16], vec![[1.0, 1.0, 1.0, 1.0]; 16]);
        image[2] = [0.0; 4];
        let thumb = checkerboard([4, 4], &map, &image, 2).unwrap();
        let at = |i: usize| thumb.rgb[3 * i];
        assert_eq!([at(0), at(1), at(2), at(3), at(8), at(10)], [0, 0, 0, 255, 255, 0]);
    }

    #[test]
    fn parts_lie_inside_and_apart() {
        let points = [[12.0, 21.0], [100.0, 40.0], [101.0, 41.0], [70.0, 110.0]];
        let found = parts([10, 20, 100, 100], 30, &points);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|([x, y], _)| (10..=80).contains(x) && (20..=90).contains(y)), "{found:?}");
        assert!(parts([10, 20, 100, 100], 30, &[]).is_empty());
    }
}
