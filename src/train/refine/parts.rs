//! Parts of a map that a strip is looked for in.

use crate::random::Random;

/// Which of the `cells` (centres, `side` long) belong to a part of about `share` of the map: a rectangle like the map's, somewhere around
/// the strip's places with a cell's length to spare, so that no right cell is left out.
pub(super) fn around(cells: &[[f64; 2]], side: f64, places: &[[f64; 2]], share: f64, random: &mut Random) -> Vec<bool> {
    let bounds = |points: &[[f64; 2]], d: usize| {
        points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p[d]), high.max(p[d])))
    };
    let [x, y] = [0, 1].map(|d| {
        // As if the cells filled the map's rectangle.
        let (low, high) = bounds(cells, d);
        let width = (high - low + side) * share.sqrt();
        let (low, high) = bounds(places, d);
        let (low, high) = (low - side, high + side);
        let start = low - random.range(0.0, 1.0) * (width - (high - low)).max(0.0);
        start..=start + width.max(high - low)
    });
    cells.iter().map(|c| x.contains(&c[0]) && y.contains(&c[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_what_is_right_and_about_its_share() {
        let cells: Vec<[f64; 2]> = (0..40 * 30).map(|i| [f64::from(i % 40) * 10.0, f64::from(i / 40) * 10.0]).collect();
        let mut random = Random::new(1, 1);
        for i in 0..200 {
            let share = 0.1 + 0.9 * random.unit();
            let first = [random.range(0.0, 350.0), random.range(0.0, 290.0)];
            let places = [first, [first[0] + 40.0, first[1]]];
            let part = around(&cells, 10.0, &places, share, &mut random);
            let right = |c: &[f64; 2]| places.iter().any(|p| (p[0] - c[0]).abs() <= 5.0 && (p[1] - c[1]).abs() <= 5.0);
            assert!(cells.iter().zip(&part).all(|(c, inside)| *inside || !right(c)), "part {i}");
            // Part of it may lie off the map; two rows and columns are the rectangle's borders.
            let most = (share.sqrt() * 40.0 + 2.0) * (share.sqrt() * 30.0 + 2.0);
            assert!(part.iter().filter(|inside| **inside).count() as f64 <= most, "part {i}");
        }
    }
}
