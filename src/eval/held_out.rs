//! Ground whose SAR image training is not shown: strips across each scene, for judging where the map is known and the SAR image new.

use serde::{Deserialize, Serialize};

/// Horizontal strips, two patches tall, evenly spread over a scene.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Side of a patch, map pixels: strips begin and end on its multiples.
    pub patch: u32,
    /// Share of the ground, above 0 and at most a half.
    pub share: f64,
}

/// Patches a strip is tall.
const TALL: f64 = 2.0;

impl HeldOut {
    /// Patches from one strip's top to that of the next.
    fn period(self) -> f64 {
        (TALL / self.share).round().max(TALL + 1.0)
    }

    /// How far a span of rows about `y` reaches into the strip that is nearest: its overlap with the strip, map pixels.
    fn overlap(self, y: f64, tall: f64) -> f64 {
        let side = f64::from(self.patch);
        let period = self.period() * side;
        let first = self.first();
        let k = ((y - first) / period).floor();
        let of = |k: f64| {
            let top = first + k * period;
            ((y + tall / 2.0).min(top + TALL * side) - (y - tall / 2.0).max(top)).max(0.0)
        };
        of(k - 1.0).max(of(k)).max(of(k + 1.0))
    }

    /// Height of a strip, map pixels.
    pub fn tall(self) -> f64 {
        TALL * f64::from(self.patch)
    }

    /// Map pixels from the top of a scene to the end of the first strip.
    pub fn first_end(self) -> f64 {
        self.first() + self.tall()
    }

    /// Map pixels between two strips.
    pub fn gap(self) -> f64 {
        (self.period() - TALL) * f64::from(self.patch)
    }

    fn first(self) -> f64 {
        ((self.period() - TALL) / 2.0).floor() * f64::from(self.patch)
    }

    /// Whether rows `tall` about `y` touch a strip, map pixels.
    pub fn touches(self, y: f64, tall: f64) -> bool {
        self.overlap(y, tall) > 0.0
    }

    /// Whether they lie wholly inside one.
    pub fn holds(self, y: f64, tall: f64) -> bool {
        self.overlap(y, tall) >= tall - 1e-9
    }
}

/// Ground that queries lie on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Ground {
    /// All of it.
    #[default]
    All,
    /// Wholly inside the strips that training held out.
    HeldOut(HeldOut),
    /// Wholly outside them.
    Shown(HeldOut),
}

impl Ground {
    /// Whether a patch `tall` about `y` lies on it, map pixels.
    pub fn holds(self, y: f64, tall: f64) -> bool {
        match self {
            Self::All => true,
            Self::HeldOut(strips) => strips.holds(y, tall),
            Self::Shown(strips) => !strips.touches(y, tall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_where_they_are_said_to_be() {
        let strips = HeldOut { patch: 200, share: 0.2 };
        // Ten patches from one to the next, the first from 800 to 1200.
        for k in [0.0, 1.0, 7.0] {
            let at = |y: f64| y + 2000.0 * k;
            assert!(!strips.touches(at(699.0), 200.0) && !strips.touches(at(1301.0), 200.0));
            assert!(strips.touches(at(701.0), 200.0) && strips.touches(at(1299.0), 200.0));
            assert!(!strips.holds(at(899.0), 200.0) && strips.holds(at(900.0), 200.0) && strips.holds(at(1100.0), 200.0));
            assert!(!strips.holds(at(1101.0), 200.0));
        }
        for (ground, inside) in
            [(Ground::All, [true; 3]), (Ground::HeldOut(strips), [false, false, true]), (Ground::Shown(strips), [true, false, false])]
        {
            assert_eq!([650.0, 750.0, 1000.0].map(|y| ground.holds(y, 200.0)), inside, "{ground:?}");
        }
        let held = (0..100_000).filter(|y| strips.holds(f64::from(*y) + 0.5, 1.0)).count();
        assert!((held as f64 / 1e5 - 0.2).abs() < 1e-3, "{held}");
    }

    #[test]
    fn half_of_the_ground_is_the_most() {
        let strips = HeldOut { patch: 10, share: 0.5 };
        assert_eq!((strips.period(), strips.gap(), strips.first_end()), (4.0, 20.0, 30.0));
        assert!(strips.touches(10.0 + 5.0, 10.0) && !strips.touches(5.0, 10.0));
    }
}
