//! How the outputs of a product or of a convolution are dealt to groups: the kernels among which a device's [`Tuning`](crate::gpu::Tuning) chooses.

use crate::gpu::{Caps, Precision, Variant};
use std::fmt;
use std::str::FromStr;

/// One way to deal them, the shorter programs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tiling {
    /// `side` x `side` outputs a group, whose operands go through workgroup memory; the loop over a tile's inner indices unrolled or not.
    Tiled {
        /// Outputs along either axis: 32, 64 or 128.
        side: usize,
        /// Whether that loop is unrolled.
        unrolled: bool,
    },
    /// `rows` rows by `columns` fours of columns a lane, a subgroup a group; operands are shared by subgroup broadcasts.
    Lanes {
        /// Rows a group.
        rows: usize,
        /// Fours of columns a lane.
        columns: usize,
    },
    /// One invocation an output: products where a tile would be mostly empty.
    Narrow,
    /// 64 x 64 outputs a group, whose operands go through workgroup memory as f16; subgroups multiply them by cooperative matrices. For
    /// [`Precision::Mixed`] alone.
    Cooperative,
}

/// What of a device's subgroups a tiling's constants hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subgroups {
    /// Lanes of each; 0 where they vary, or there are none.
    pub(super) lanes: usize,
    /// Side of the matrices that one multiplies; 0 where it does not.
    pub(super) side: usize,
}

impl Subgroups {
    pub(super) fn of(caps: &Caps) -> Self {
        Self { lanes: caps.lanes().unwrap_or(0), side: caps.cooperative as usize }
    }

    /// How a cooperative tile's matrices are dealt to its subgroups: subgroups side by side, then matrices of one, rows and columns.
    fn deal(self) -> Option<[usize; 3]> {
        let (subgroups, across) = (COOPERATIVE_THREADS.checked_div(self.lanes)?, COOPERATIVE.checked_div(self.side)?);
        // Halving one after the other: as many down as across, or half as many.
        let down = 1 << (subgroups.checked_ilog2()? / 2);
        let beside = subgroups / down;
        // What goes out at a time must leave room for the tiles in 16 KiB.
        (beside <= across && subgroups * self.side * self.side <= 1024).then(|| [beside, across / down, across / beside])
    }
}

/// Side and invocations of a cooperative tile.
const COOPERATIVE: usize = 64;
const COOPERATIVE_THREADS: usize = 128;

impl Tiling {
    /// What a device runs that nothing was measured on.
    pub const PLAIN: Self = Self::Tiled { side: 64, unrolled: false };

    /// Every tiling.
    pub const ALL: [Self; 13] = [
        Self::Tiled { side: 32, unrolled: false },
        Self::Tiled { side: 32, unrolled: true },
        Self::PLAIN,
        Self::Tiled { side: 64, unrolled: true },
        Self::Tiled { side: 128, unrolled: false },
        Self::Tiled { side: 128, unrolled: true },
        Self::Lanes { rows: 16, columns: 1 },
        Self::Lanes { rows: 16, columns: 2 },
        Self::Lanes { rows: 32, columns: 1 },
        Self::Lanes { rows: 32, columns: 2 },
        Self::Lanes { rows: 64, columns: 1 },
        Self::Narrow,
        Self::Cooperative,
    ];

    /// Every tiling with every kind of subgroups that it takes (one, where it takes none), for validation tests, in each precision; rounding
    /// is the same for all subgroups.
    pub(super) fn with_subgroups() -> Vec<(Self, Subgroups, Precision)> {
        let kinds = Caps::LANES.into_iter().flat_map(|l| [8, 16].map(|side| Subgroups { lanes: l as usize, side }));
        let mut all = Vec::new();
        for (tiling, s) in Self::ALL.into_iter().flat_map(|t| kinds.clone().map(move |s| (t, s))) {
            let common = s == Subgroups { lanes: 8, side: 8 };
            match tiling {
                Self::Cooperative => all.extend(tiling.takes(s, Precision::Mixed).then_some((tiling, s, Precision::Mixed))),
                Self::Lanes { .. } => all.extend((tiling.takes(s, Precision::Full) && s.side == 8).then_some((tiling, s, Precision::Full))),
                _ => all.extend(common.then_some((tiling, s, Precision::Full))),
            }
            if common && tiling != Self::Cooperative {
                all.push((tiling, s, Precision::Mixed));
            }
        }
        all
    }

    /// Whether a device has what it needs.
    pub(super) fn runs_on(self, caps: &Caps, precision: Precision) -> bool {
        self.takes(Subgroups::of(caps), precision)
    }

    /// Whether such subgroups share its outputs out evenly.
    fn takes(self, s: Subgroups, precision: Precision) -> bool {
        match self {
            Self::Lanes { rows, .. } => s.lanes > 0 && rows.is_multiple_of(s.lanes),
            Self::Tiled { .. } | Self::Narrow => true,
            Self::Cooperative => precision == Precision::Mixed && s.deal().is_some(),
        }
    }

    /// Outputs each invocation of a tile owns, along either axis.
    fn per(side: usize) -> usize {
        if side == 128 { 8 } else { 4 }
    }

    /// Groups for [rows, columns] outputs.
    pub(super) fn groups(self, [rows, columns]: [usize; 2], s: Subgroups) -> usize {
        match self {
            Self::Tiled { side, .. } => rows.div_ceil(side) * columns.div_ceil(side),
            Self::Cooperative => rows.div_ceil(COOPERATIVE) * columns.div_ceil(COOPERATIVE),
            Self::Lanes { rows: r, columns: c } => rows.div_ceil(r) * columns.div_ceil(4 * s.lanes * c),
            Self::Narrow => (rows * columns).div_ceil(64),
        }
    }

    /// Its constants, with KIND as `matmul` and `conv` number them.
    pub(super) fn variant(self, v: Variant, s: Subgroups, precision: Precision) -> Variant {
        let kind = match self {
            Self::Tiled { .. } => 0,
            Self::Lanes { .. } => 1,
            Self::Narrow => 2,
            Self::Cooperative => 3,
        };
        self.constants(v.int("KIND", kind).flag("HALF", precision == Precision::Mixed), s)
    }

    /// The constants of its tile or its lanes.
    pub(super) fn constants(self, v: Variant, s: Subgroups) -> Variant {
        let i = |v: usize| v as i64;
        match self {
            Self::Tiled { side, unrolled } => v
                .int("TILE", i(side))
                // So that the tiles fit into 16 KiB.
                .int("DEPTH", if side == 128 { 8 } else { 16 })
                .int("PER", i(Self::per(side)))
                .int("THREADS", i((side / Self::per(side)).pow(2)))
                .flag("UNROLL", unrolled),
            Self::Lanes { rows, columns } => v.int("LANES", i(s.lanes)).int("ROWS", i(rows)).int("COLUMNS", i(columns)),
            Self::Narrow => v,
            Self::Cooperative => {
                let [across, rows, columns] = s.deal().expect("takes() was asked");
                v.int("TILE", i(COOPERATIVE))
                    .int("DEPTH", 32)
                    .int("THREADS", i(COOPERATIVE_THREADS))
                    .int("LANES", i(s.lanes))
                    .int("SIDE", i(s.side))
                    .int("ACROSS", i(across))
                    .int("BLOCK_ROWS", i(rows))
                    .int("BLOCK_COLUMNS", i(columns))
            }
        }
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiled { side, unrolled: false } => write!(f, "tiled-{side}"),
            Self::Tiled { side, unrolled: true } => write!(f, "tiled-{side}-unrolled"),
            Self::Lanes { rows, columns } => write!(f, "lanes-{rows}x{columns}"),
            Self::Narrow => f.write_str("narrow"),
            Self::Cooperative => f.write_str("cooperative"),
        }
    }
}

impl FromStr for Tiling {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|t| t.to_string() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for t in Tiling::ALL {
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!("lanes-9x9".parse::<Tiling>(), Err(()));
    }

    #[test]
    fn a_cooperative_tile_is_dealt_out_whole() {
        for s in Caps::LANES.into_iter().flat_map(|l| [8, 16].map(|side| Subgroups { lanes: l as usize, side })) {
            let Some([across, rows, columns]) = s.deal() else {
                assert!(s.lanes == 4 || s.lanes < 32 && s.side == 16, "{s:?}");
                continue;
            };
            let subgroups = COOPERATIVE_THREADS / s.lanes;
            assert_eq!(subgroups % across, 0);
            assert_eq!([subgroups / across * rows * s.side, across * columns * s.side], [COOPERATIVE; 2], "{s:?}");
        }
        assert_eq!(Subgroups { lanes: 32, side: 16 }.deal(), Some([2, 2, 2]));
        assert_eq!(Subgroups { lanes: 0, side: 16 }.deal(), None);
        assert_eq!(Subgroups { lanes: 32, side: 0 }.deal(), None);
    }
}
