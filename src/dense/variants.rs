//! Ways an image may lie: turns and scales that are tried of each patch.

use crate::Result;
use crate::kernels::sampler::PatchRecord;
use crate::scene::compose;
use serde::{Deserialize, Serialize};

/// How far a patch's corner may lie from where the nearest rotation or scale that is tried puts it, feature pixels.
const CORNER_PX: f64 = 1.5;

/// How an image lies on a map against what its frame says.
///
/// The one convention of all options, reports and files: the image is turned by `rotation_deg` **clockwise on the map**, and its pixels are
/// `scale` **times as large on the ground** as claimed. A place that the frame puts m map pixels beside another lies
/// `scale` R(`rotation_deg`) m beside it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Degrees clockwise.
    pub rotation_deg: f64,
    /// Factor of the ground size of a pixel.
    pub scale: f64,
}

impl Default for Variant {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl Variant {
    /// As the frame says.
    pub const PLAIN: Self = Self { rotation_deg: 0.0, scale: 1.0 };

    /// A turn and a scale.
    pub fn new(rotation_deg: f64, scale: f64) -> Self {
        Self { rotation_deg, scale }
    }

    /// From offsets on the map as the frame puts them to those where they lie.
    pub fn to_map(self) -> [[f64; 2]; 2] {
        // y points down: this turns clockwise.
        let (sin, cos) = self.rotation_deg.to_radians().sin_cos();
        [[cos * self.scale, -sin * self.scale], [sin * self.scale, cos * self.scale]]
    }

    /// The way back: what comes behind a frame's matrix (from the map to the image) to cut a patch as it lies.
    pub fn from_map(self) -> [[f64; 2]; 2] {
        Self::new(-self.rotation_deg, 1.0 / self.scale).to_map()
    }

    /// This turn and scale, and another one on top.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        let rotation_deg = (self.rotation_deg + other.rotation_deg + 180.0).rem_euclid(360.0) - 180.0;
        Self { rotation_deg, scale: self.scale * other.scale }
    }

    /// Difference of the turns, degrees, 0 to 180.
    pub fn turn_between(self, other: Self) -> f64 {
        let d = (self.rotation_deg - other.rotation_deg).rem_euclid(360.0);
        d.min(360.0 - d)
    }
}

/// Values from -`range` to `range`, 0 among them, so close that a corner of a patch of `side` feature pixels lies at most
/// 1.5 of them from where the nearest of these puts it: rotations in radians, or scales less 1.
pub fn spread(range: f64, side: usize) -> Vec<f64> {
    let corner = side as f64 / std::f64::consts::SQRT_2;
    let n = (range.abs() * corner / (2.0 * CORNER_PX) - 1e-9).ceil().max(0.0) as i32;
    (-n..=n).map(|i| if n == 0 { 0.0 } else { range.abs() * f64::from(i) / f64::from(n) }).collect()
}

/// Rotations of up to `degrees` and scales of up to `share` off, both ways, for patches of `side` feature pixels, close enough that no corner
/// is missed ([`spread`]): every rotation with every scale, the plain one first.
pub fn variants_around(middle: Variant, degrees: f64, share: f64, side: usize) -> Vec<Variant> {
    let turns = spread(degrees.to_radians(), side).into_iter().map(f64::to_degrees);
    // A whole circle closes: its last turn is its first.
    let turns: Vec<f64> = turns.filter(|d| *d > -180.0 + 1e-9).collect();
    let scales = spread(share, side);
    let mut all: Vec<(f64, Variant)> = Vec::with_capacity(turns.len() * scales.len());
    for d in &turns {
        for s in &scales {
            all.push((d.abs() + s.abs(), Variant::new(middle.rotation_deg + d, middle.scale * (1.0 + s))));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|v| v.1).collect()
}

/// Records that cut a patch out in each variant.
pub(crate) fn variant_records(centre: [f64; 2], matrix: [[f64; 2]; 2], variants: &[Variant], side: usize) -> Result<Vec<PatchRecord>> {
    let one = |v: &Variant| Ok(PatchRecord::from_affine(0, centre, compose(matrix, v.from_map()), side)?);
    variants.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_near_what_is_tried() {
        assert_eq!(spread(0.0, 100), [0.0]);
        for (range, side) in [(0.05, 120), (0.3, 12), (std::f64::consts::PI, 40), (1e-4, 60)] {
            let all = spread(range, side);
            assert!(all.contains(&0.0) && (all[0] + range).abs() < 1e-12 && (all[all.len() - 1] - range).abs() < 1e-12, "{all:?}");
            let corner = side as f64 / 2f64.sqrt();
            assert!(all.windows(2).all(|w| (w[1] - w[0]) / 2.0 * corner <= CORNER_PX + 1e-9), "{all:?}");
        }
    }

    #[test]
    fn the_sign_of_a_turn_is_clockwise_on_the_map() {
        // An image whose right edge is said to point east; turned by 90 degrees clockwise it points south: y down.
        let v = Variant::new(90.0, 1.2);
        let [x, y] = v.to_map().map(|row| row[0] * 10.0 + row[1] * 0.0);
        assert!(x.abs() < 1e-9 && (y - 12.0).abs() < 1e-9, "{x} {y}");
        let back = compose(v.from_map(), v.to_map());
        assert!((back[0][0] - 1.0).abs() < 1e-12 && back[0][1].abs() < 1e-12, "{back:?}");
        assert!((Variant::new(-175.0, 1.0).turn_between(Variant::new(175.0, 1.0)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_whole_circle_has_no_turn_twice() {
        let all = variants_around(Variant::PLAIN, 180.0, 0.0, 40);
        assert_eq!(all[0], Variant::PLAIN);
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a.turn_between(*b) > 1.0), "{a:?}");
        }
    }
}
