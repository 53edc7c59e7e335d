//! How the outputs of a product or of a convolution are dealt to groups: the kernels among which a device's [`Tuning`](crate::gpu::Tuning) chooses.

use crate::gpu::{Caps, Variant};
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
}

impl Tiling {
    /// What a device runs that nothing was measured on.
    pub const PLAIN: Self = Self::Tiled { side: 64, unrolled: false };

    /// Every tiling.
    pub const ALL: [Self; 12] = [
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
    ];

    /// Every tiling with every width of subgroups that it takes (one, where it takes none), for validation tests.
    pub(super) fn with_lanes() -> impl Iterator<Item = (Self, usize)> {
        Self::ALL.into_iter().flat_map(|t| {
            let widths = Caps::LANES.into_iter().map(|l| l as usize).filter(move |lanes| match t {
                Self::Lanes { .. } => t.takes(*lanes),
                _ => *lanes == 8,
            });
            widths.map(move |lanes| (t, lanes))
        })
    }

    /// Whether a device has what it needs.
    pub(super) fn runs_on(self, caps: &Caps) -> bool {
        match self {
            Self::Lanes { .. } => caps.lanes().is_some_and(|lanes| self.takes(lanes)),
            Self::Tiled { .. } | Self::Narrow => true,
        }
    }

    /// Whether subgroups of `lanes` share its rows out evenly.
    fn takes(self, lanes: usize) -> bool {
        matches!(self, Self::Lanes { rows, .. } if rows.is_multiple_of(lanes))
    }

    /// Outputs each invocation of a tile owns, along either axis.
    fn per(side: usize) -> usize {
        if side == 128 { 8 } else { 4 }
    }

    /// Groups for [rows, columns] outputs, with subgroups of `lanes`.
    pub(super) fn groups(self, [rows, columns]: [usize; 2], lanes: usize) -> usize {
        match self {
            Self::Tiled { side, .. } => rows.div_ceil(side) * columns.div_ceil(side),
            Self::Lanes { rows: r, columns: c } => rows.div_ceil(r) * columns.div_ceil(4 * lanes * c),
            Self::Narrow => (rows * columns).div_ceil(64),
        }
    }

    /// Its constants, with KIND as `matmul` and `conv` number them.
    pub(super) fn variant(self, v: Variant, lanes: usize) -> Variant {
        let kind = match self {
            Self::Tiled { .. } => 0,
            Self::Lanes { .. } => 1,
            Self::Narrow => 2,
        };
        self.constants(v.int("KIND", kind), lanes)
    }

    /// The constants of its tile or its lanes.
    pub(super) fn constants(self, v: Variant, lanes: usize) -> Variant {
        let i = |v: usize| v as i64;
        match self {
            Self::Tiled { side, unrolled } => v
                .int("TILE", i(side))
                // So that the tiles fit into 16 KiB.
                .int("DEPTH", if side == 128 { 8 } else { 16 })
                .int("PER", i(Self::per(side)))
                .int("THREADS", i((side / Self::per(side)).pow(2)))
                .flag("UNROLL", unrolled),
            Self::Lanes { rows, columns } => v.int("LANES", i(lanes)).int("ROWS", i(rows)).int("COLUMNS", i(columns)),
            Self::Narrow => v,
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
}
