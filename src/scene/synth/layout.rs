//! Where things are: the plan of the city and its surroundings, in metres from the top-left corner.

use super::noise::{cos_sin, fbm, hash2, mix, noise, pick, smooth, unit};

/// Distance between district centres, metres.
const PITCH: f32 = 1150.0;
/// Step of the tabulated curves, metres.
const CURVE_STEP: f32 = 16.0;

/// What fills a district.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    OldTown,
    Core,
    Perimeter,
    Slabs,
    Suburb,
    Industry,
    Park,
    Village,
    Fields,
}

/// A Voronoi cell of the plan.
#[derive(Clone)]
pub(super) struct District {
    pub x: f32,
    pub y: f32,
    pub kind: Kind,
    pub hash: u32,
    pub cos: f32,
    pub sin: f32,
    /// Streets from a Voronoi diagram rather than a grid.
    pub organic: bool,
    /// How much of the global warp bends its streets.
    pub bend: f32,
    pub spacing: (f32, f32),
    /// How well its walls face the sensor, 0..1.
    pub align: f32,
    /// Closeness to a centre, 0..1.
    pub density: f32,
}

/// The border between two districts, where a road runs.
#[derive(Clone, Copy)]
pub(super) struct Border {
    pub distance: f32,
    pub hash: u32,
    /// Both sides are built.
    pub urban: bool,
    /// It runs across the river, not along it.
    pub bridges: bool,
}

impl Border {
    /// No border near.
    pub const NONE: Self = Self { distance: f32::INFINITY, hash: 0, urban: false, bridges: false };
}

/// A block of buildings or a parcel of land.
pub(super) struct Block {
    pub hash: u32,
    /// Distance to the axis of the nearest street.
    pub edge: f32,
    /// Position in the block's own frame.
    pub p: f32,
    pub q: f32,
}

/// A curve `v = f(u)` in a turned frame, tabulated.
pub(super) struct Curve {
    x: f32,
    y: f32,
    cos: f32,
    sin: f32,
    reach: f32,
    table: Vec<f32>,
}

impl Curve {
    fn new(x: f32, y: f32, turns: f32, size: f32, bends: &[(f32, f32)], stream: u32) -> Self {
        let (cos, sin) = cos_sin(turns);
        let reach = 1.5 * size + 200.0;
        let count = (2.0 * reach / CURVE_STEP) as usize + 2;
        let shape = |u: f32| -> f32 {
            let bend = |(k, &(amplitude, length)): (usize, &(f32, f32))| amplitude * noise(u / length, 0.5 + k as f32 * 7.0, stream);
            bends.iter().enumerate().map(bend).sum()
        };
        let table = (0..count).map(|i| shape(i as f32 * CURVE_STEP - reach)).collect();
        Self { x, y, cos, sin, reach, table }
    }

    /// `(along, signed distance)` of a point.
    #[inline]
    pub fn locate(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.x, y - self.y);
        let (u, v) = (dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin);
        let at = ((u + self.reach) / CURVE_STEP).clamp(0.0, (self.table.len() - 2) as f32);
        let i = at as usize;
        let rise = self.table[i + 1] - self.table[i];
        let f = self.table[i] + rise * (at - i as f32);
        let slope = rise / CURVE_STEP;
        (u, (v - f) / (1.0 + slope * slope).sqrt())
    }
}

/// A lake.
pub(super) struct Lake {
    pub x: f32,
    pub y: f32,
    pub radius: f32,
    pub flat: f32,
    pub hash: u32,
}

/// The plan.
pub(super) struct Layout {
    pub seed: u32,
    pub size: f32,
    districts: Vec<District>,
    across: i32,
    pub river: Curve,
    pub river_half: f32,
    pub stream: Curve,
    pub highways: Vec<Curve>,
    pub rail: Curve,
    pub coast: Curve,
    pub lakes: Vec<Lake>,
    pub centre: (f32, f32),
    pub radius: f32,
}

impl Layout {
    /// Draws the plan of a square scene of `size` metres.
    pub fn new(seed: u64, size: f32) -> Self {
        let seed = mix(seed as u32 ^ mix((seed >> 32) as u32 ^ 0x5eed));
        let radius = (0.40 * size).max(900.0);
        let draw = |k: u32| pick(seed, k);
        let centre = (size * (0.42 + 0.16 * draw(1)), size * (0.42 + 0.16 * draw(2)));
        let turn = draw(3);
        let (c, s) = cos_sin(turn + 0.22);
        let off = radius * (0.10 + 0.12 * draw(4));
        let bends = [(0.10 * size, 0.30 * size), (0.03 * size, 0.075 * size), (60.0, 420.0)];
        let river = Curve::new(centre.0 + c * off, centre.1 + s * off, turn, size, &bends, seed ^ 11);
        let stream_bends = [(0.08 * size, 0.2 * size), (220.0, 900.0), (50.0, 240.0)];
        let (sx, sy) = (size * (0.15 + 0.2 * draw(6)), size * (0.65 + 0.2 * draw(7)));
        let stream = Curve::new(sx, sy, turn + 0.25 + 0.1 * draw(5), size, &stream_bends, seed ^ 12);
        let road_bends = [(0.07 * size, 0.28 * size), (0.018 * size, 0.09 * size)];
        let highways = (0..3)
            .map(|k| {
                let (c, s) = cos_sin(turn + 0.07 + k as f32 / 6.0 + 0.25);
                let off = radius * (0.35 + 0.25 * draw(20 + k)) * if k % 2 == 0 { 1.0 } else { -1.0 };
                let at = (centre.0 + c * off, centre.1 + s * off);
                Curve::new(at.0, at.1, turn + 0.07 + k as f32 / 6.0, size, &road_bends, seed ^ (30 + k))
            })
            .collect();
        let rail_bends = [(0.09 * size, 0.22 * size), (0.02 * size, 0.10 * size)];
        let rail = Curve::new(centre.0, centre.1 - 0.12 * radius, turn + 0.36, size, &rail_bends, seed ^ 41);
        // The sea lies on the far side of a line across a corner.
        let (nx, ny) = (if draw(8) < 0.5 { 1.0 } else { -1.0 }, if draw(9) < 0.5 { 1.0 } else { -1.0 });
        let corner = (size * (0.5 + 0.30 * nx), size * (0.5 + 0.30 * ny));
        let normal = if nx * ny > 0.0 { 0.125 } else { 0.375 } + if ny < 0.0 { 0.5 } else { 0.0 };
        let coast_bends = [(0.06 * size, 0.22 * size), (0.02 * size, 0.06 * size), (70.0, 380.0)];
        let coast = Curve::new(corner.0, corner.1, normal - 0.25, size, &coast_bends, seed ^ 51);
        let lakes = (0..(3.0 + size / 4000.0) as u32)
            .map(|k| {
                let hash = hash2(k as i32, 77, seed);
                Lake {
                    x: size * pick(hash, 1),
                    y: size * pick(hash, 2),
                    radius: 90.0 + 420.0 * pick(hash, 3) * pick(hash, 3),
                    flat: 0.6 + 0.8 * pick(hash, 4),
                    hash,
                }
            })
            .collect();
        let mut layout = Self {
            seed,
            size,
            districts: Vec::new(),
            across: (size / PITCH) as i32 + 6,
            river,
            river_half: (45.0 + 40.0 * draw(10)).min(0.02 * size + 20.0),
            stream,
            highways,
            rail,
            coast,
            lakes,
            centre,
            radius,
        };
        let n = layout.across;
        layout.districts = (0..n * n).map(|i| layout.district(i % n - 3, i / n - 3)).collect();
        layout
    }

    fn district(&self, ix: i32, iy: i32) -> District {
        let hash = hash2(ix, iy, self.seed ^ 0xd157);
        let x = (ix as f32 + 0.5 + 0.85 * (pick(hash, 1) - 0.5)) * PITCH;
        let y = (iy as f32 + 0.5 + 0.85 * (pick(hash, 2) - 0.5)) * PITCH;
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let r = (dx * dx + dy * dy).sqrt();
        let mut density = 1.0 - r / self.radius + 0.20 * fbm(x / 3300.0, y / 3300.0, 2, self.seed ^ 61);
        for k in 0..3u32 {
            let h = mix(self.seed ^ (600 + k));
            let (tx, ty) = (self.size * pick(h, 1), self.size * pick(h, 2));
            let r = ((x - tx) * (x - tx) + (y - ty) * (y - ty)).sqrt();
            density = density.max(0.62 - r / (0.32 * self.radius));
        }
        let density = density.clamp(0.0, 1.0);
        let (_, shore) = self.coast.locate(x, y);
        let port = shore.abs() < 750.0 && density > 0.06;
        let draw = pick(hash, 3);
        let kind = if port && draw < 0.8 {
            Kind::Industry
        } else if r < 700.0 {
            Kind::OldTown
        } else if density > 0.72 {
            [Kind::Core, Kind::Core, Kind::Perimeter, Kind::OldTown, Kind::Park][(draw * 4.5) as usize]
        } else if density > 0.46 {
            match draw {
                d if d < 0.10 => Kind::Park,
                d if d < 0.19 => Kind::Industry,
                d if d < 0.55 => Kind::Perimeter,
                d if d < 0.78 => Kind::Slabs,
                _ => Kind::Suburb,
            }
        } else if density > 0.17 {
            match draw {
                d if d < 0.10 => Kind::Park,
                d if d < 0.24 => Kind::Industry,
                d if d < 0.40 => Kind::Slabs,
                d if d < 0.88 => Kind::Suburb,
                _ => Kind::Fields,
            }
        } else if draw < 0.10 {
            Kind::Village
        } else {
            Kind::Fields
        };
        // Neighbouring districts share one of a few grid directions, turned slowly over the city.
        let base = 0.06 * noise(x / 6000.0, y / 6000.0, self.seed ^ 62);
        let turn = match (pick(hash, 4) * 4.0) as u32 {
            0 | 1 => base,
            2 => base + 0.25 * pick(hash, 5),
            _ => pick(hash, 5),
        };
        let (cos, sin) = cos_sin(turn);
        let (c4, _) = cos_sin(4.0 * turn);
        let facing = 0.5 + 0.5 * c4;
        let a = pick(hash, 6);
        let b = pick(hash, 7);
        let organic_share = match kind {
            Kind::OldTown | Kind::Park => 1.0,
            Kind::Village => 0.7,
            Kind::Suburb => 0.35,
            Kind::Fields => 0.25,
            Kind::Perimeter => 0.15,
            _ => 0.0,
        };
        let spacing = match kind {
            Kind::OldTown => (85.0 + 25.0 * a, 85.0),
            Kind::Core => (110.0 + 70.0 * a, 90.0 + 50.0 * b),
            Kind::Perimeter => (100.0 + 90.0 * a, 75.0 + 40.0 * b),
            Kind::Slabs => (220.0 + 130.0 * a, 170.0 + 90.0 * b),
            Kind::Suburb => (130.0 + 140.0 * a, 62.0 + 25.0 * b),
            Kind::Village => (110.0 + 40.0 * a, 80.0 + 20.0 * b),
            Kind::Industry => (250.0 + 190.0 * a, 180.0 + 120.0 * b),
            Kind::Park => (210.0 + 160.0 * a, 240.0),
            Kind::Fields => (190.0 + 330.0 * a * a, 110.0 + 230.0 * b * b),
        };
        District {
            x,
            y,
            kind,
            hash,
            cos,
            sin,
            organic: pick(hash, 8) < organic_share,
            bend: [0.12, 0.3, 1.0][(pick(hash, 9) * 3.0) as usize],
            spacing,
            align: facing * facing * facing * facing,
            density,
        }
    }

    /// The district of a point and the nearest border.
    #[inline]
    pub fn locate(&self, x: f32, y: f32) -> (&District, Border) {
        let n = self.across;
        let ix = ((x / PITCH).floor() as i32 + 3).clamp(1, n - 2);
        let iy = ((y / PITCH).floor() as i32 + 3).clamp(1, n - 2);
        let at = |k: i32| &self.districts[((iy + k / 3 - 1) * n + ix + k % 3 - 1) as usize];
        let far = |d: &District| (d.x - x) * (d.x - x) + (d.y - y) * (d.y - y);
        let (mut own, mut best) = (0, f32::INFINITY);
        for k in 0..9 {
            let d = far(at(k));
            if d < best {
                (own, best) = (k, d);
            }
        }
        let mine = at(own);
        let (mut edge, mut other) = (f32::INFINITY, mine);
        for k in 0..9 {
            if k != own {
                let d = at(k);
                let (dx, dy) = (d.x - mine.x, d.y - mine.y);
                let gap = (far(d) - best) / (2.0 * (dx * dx + dy * dy).sqrt());
                if gap < edge {
                    (edge, other) = (gap, d);
                }
            }
        }
        let urban = |d: &District| d.kind != Kind::Fields;
        let (dx, dy) = (other.x - mine.x, other.y - mine.y);
        let across = (dx * self.river.cos + dy * self.river.sin).abs();
        let border = Border {
            distance: edge,
            hash: mix(mine.hash.wrapping_add(other.hash)),
            urban: urban(mine) && urban(other),
            bridges: across > 0.75 * (dx * dx + dy * dy).sqrt(),
        };
        (mine, border)
    }
}

/// Distance to the jittered lines before and after `u`, and the number of the strip between them.
#[inline]
fn strip(u: f32, spacing: f32, stream: u32) -> (i32, f32, f32) {
    let cell = (u / spacing).floor() as i32;
    let line = |k: i32| (k as f32 + 0.6 * (unit(hash2(k, 0, stream)) - 0.5) + 0.5) * spacing;
    let middle = line(cell);
    if u < middle { (cell, u - line(cell - 1), middle - u) } else { (cell + 1, u - middle, line(cell + 1) - u) }
}

/// The block of a district that holds a (warped) point.
#[inline]
pub(super) fn block(d: &District, x: f32, y: f32) -> Block {
    let (dx, dy) = (x - d.x, y - d.y);
    let (u, v) = (dx * d.cos + dy * d.sin, dy * d.cos - dx * d.sin);
    if d.organic {
        let s = d.spacing.0;
        let (gu, gv) = (u / s, v / s);
        let (iu, iv) = (gu.floor() as i32, gv.floor() as i32);
        let mut sites = [(0.0f32, 0.0f32, 0u32, 0.0f32); 9];
        let (mut own, mut best) = (0, f32::INFINITY);
        for k in 0..9 {
            let (cu, cv) = (iu + k % 3 - 1, iv + k / 3 - 1);
            let h = hash2(cu, cv, d.hash);
            let jitter = |bits: u32| 0.5 + 0.75 * ((bits & 0xffff) as f32 / 65536.0 - 0.5);
            let (su, sv) = (cu as f32 + jitter(h), cv as f32 + jitter(h >> 16));
            let far = (su - gu) * (su - gu) + (sv - gv) * (sv - gv);
            sites[k as usize] = (su, sv, h, far);
            if far < best {
                (own, best) = (k as usize, far);
            }
        }
        let mine = sites[own];
        let mut edge = f32::INFINITY;
        for (k, other) in sites.iter().enumerate() {
            if k != own {
                let (ex, ey) = (other.0 - mine.0, other.1 - mine.1);
                edge = edge.min((other.3 - best) / (2.0 * (ex * ex + ey * ey).sqrt()));
            }
        }
        let (pu, pv) = ((gu - mine.0) * s, (gv - mine.1) * s);
        let (c, sn) = [(1.0, 0.0), (0.924, 0.383), (0.707, 0.707), (0.383, 0.924)][(mine.2 >> 30) as usize];
        return Block { hash: mix(mine.2), edge: edge * s, p: pu * c + pv * sn + 600.0, q: pv * c - pu * sn + 600.0 };
    }
    // Rows first; in some districts, and in all fields, each row has cross streets of its own.
    let (row, q, q_after) = strip(v, d.spacing.1, d.hash ^ 1);
    let staggered = d.kind == Kind::Fields || d.kind == Kind::Suburb || d.hash & 0x300 == 0;
    let across = if staggered { d.hash ^ mix(row as u32 ^ 0x51) } else { d.hash ^ 2 };
    let (column, p, p_after) = strip(u, d.spacing.0, across);
    let edge = p.min(p_after).min(q).min(q_after);
    Block { hash: hash2(column, row, d.hash ^ 3), edge, p, q }
}

/// 0 in the open country, 1 in a wood.
#[inline]
pub(super) fn woodland(layout: &Layout, x: f32, y: f32) -> f32 {
    smooth(0.10, 0.16, fbm(x / 2100.0, y / 2100.0, 4, layout.seed ^ 71))
}
