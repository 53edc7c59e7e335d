//! Where queries lie: on the grid itself (aligned), or anywhere (arbitrary), there in strips as well.

use super::held_out::Ground;
use crate::index::Database;
use crate::kernels::sampler::PatchRecord;
use crate::random::Random;
use crate::refine::Strip;
use crate::scene::{ScenePair, compose};
use crate::{Error, Result};

/// Where queries lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// On the cells of the grid.
    Aligned,
    /// Anywhere on the map.
    Arbitrary,
}

/// A query with its true place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query {
    /// Centre, map pixels.
    pub map_px: [f64; 2],
    /// What cuts its patch out of the SAR image.
    pub record: PatchRecord,
}

/// A query's SAR patch has data in at least this share of its pixels.
const QUERY_VALID: f64 = 0.99;

/// How queries are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Where they lie.
    pub protocol: Protocol,
    /// How many at most.
    pub count: usize,
    /// How many lie a cell apart along a random heading; 1 for queries by themselves.
    pub strip: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// The ground they must lie on.
    pub ground: Ground,
}

impl Draw {
    /// Queries by themselves, anywhere.
    pub fn new(protocol: Protocol, count: usize, seed: u64) -> Self {
        Self { protocol, count, strip: 1, seed, ground: Ground::All }
    }
}

/// Draws queries: every cell of the database (at most `count`, a random subset of more), or `count` random places. A query's
/// SAR patch must have data in 99 % of its pixels, and a cell of the database must lie within half a cell of it.
///
/// # Errors
/// No place fulfils that.
pub fn queries(pair: &ScenePair, database: &Database, protocol: Protocol, count: usize, input: usize, seed: u64) -> Result<Vec<Query>> {
    Ok(draw(pair, database, input, &Draw::new(protocol, count, seed))?.0)
}

/// Draws queries as [`queries`] does, in whole strips, `count` queries in all at most: the `strip` queries of one lie a cell apart from a
/// random place along a random heading, and each fulfils what a query must. With a strip of 1 these are the queries of [`queries`].
///
/// # Errors
/// Strips of nothing, of more than `count`, or of several under [`Protocol::Aligned`]; no place for any.
pub fn draw(pair: &ScenePair, database: &Database, input: usize, draw: &Draw) -> Result<(Vec<Query>, Vec<Strip>)> {
    let Draw { protocol, count, strip, seed, ground } = *draw;
    if strip == 0 || strip > count {
        return Err(Error::invalid(format!("{count} queries make no strip of {strip}: take more queries, or strips of 1 or more of them")));
    }
    if strip > 1 && protocol == Protocol::Aligned {
        return Err(Error::invalid("strips lie askew to the grid, aligned queries on it: take the arbitrary protocol, or strips of 1"));
    }
    let side = f64::from(database.manifest.grid.cell);
    if let Ground::HeldOut(strips) = ground
        && side > strips.tall()
    {
        return Err(Error::invalid(format!(
            "patches of {side:.0} map pixels do not fit into the strips that training held out, {:.0} map pixels tall: take smaller cells",
            strips.tall()
        )));
    }
    let make = |p: [f64; 2]| -> Result<Option<Query>> {
        if !ground.holds(p[1], side) || pair.sar_share(p, side)? < QUERY_VALID {
            return Ok(None);
        }
        let scale = side / input as f64;
        let matrix = compose(pair.link().jacobian(p)?, [[scale, 0.0], [0.0, scale]]);
        Ok(Some(Query { map_px: p, record: PatchRecord::from_affine(0, pair.link().apply(p)?, matrix, input)? }))
    };
    let mut random = Random::new(seed, 1);
    let mut out: Vec<Query> = Vec::new();
    match protocol {
        Protocol::Aligned => {
            let mut cells = database.cell_px.clone();
            let subset = cells.len() > count;
            for i in 0..cells.len() {
                if out.len() == count {
                    break;
                }
                if subset {
                    let j = i + random.below(cells.len() - i);
                    cells.swap(i, j);
                }
                out.extend(make(cells[i])?);
            }
        }
        Protocol::Arbitrary => {
            let size = [database.manifest.map.width, database.manifest.map.height].map(f64::from);
            let near = Nearby::new(database);
            let wanted = count / strip * strip;
            // Most of a mosaic may be empty: a thousand tries for each query before giving up.
            for tried in 0..wanted.saturating_mul(1000) {
                if out.len() == wanted || out.is_empty() && tried > super::dense::MAX_TRIES {
                    break;
                }
                let first = size.map(|s| random.range(side / 2.0, s - side / 2.0));
                // A single query has no heading: its random numbers are those of its place alone.
                let heading = if strip == 1 { 0.0 } else { random.range(0.0, std::f64::consts::TAU) };
                let places = along(first, heading, side, strip);
                let inside = |p: &[f64; 2]| p.iter().zip(size).all(|(p, s)| (side / 2.0..=s - side / 2.0).contains(p));
                if !places.iter().all(|p| inside(p) && near.any_right(*p)) {
                    continue;
                }
                let start = out.len();
                for p in places {
                    match make(p)? {
                        Some(query) => out.push(query),
                        None => {
                            out.truncate(start);
                            break;
                        }
                    }
                }
            }
        }
    }
    if out.is_empty() {
        let (sar, long) = (pair.sar.raster.path().display(), side * strip as f64);
        let on = match ground {
            Ground::All => "",
            Ground::HeldOut(_) => ", on the ground that training held out,",
            Ground::Shown(_) => ", outside the ground that training held out,",
        };
        return Err(Error::invalid(match strip {
            1 => format!(
                "no place on the map{on} has a cell of the index and a SAR patch of {side:.0} map pixels with data: do {sar} and the index overlap?"
            ),
            _ => format!(
                "no strip of {strip} SAR patches, {long:.0} map pixels long,{} was found whose patches all have data and a cell of the index: take shorter strips, smaller cells, or check that {sar} and the index overlap",
                on.trim_start_matches(',')
            ),
        }));
    }
    let offset = |from: &Query, to: &Query| {
        let [a, b] = [from, to].map(|q| database.metres(q.map_px));
        [b[0] - a[0], b[1] - a[1]]
    };
    let strips = (0..out.len() / strip)
        .map(|i| {
            let queries = i * strip..(i + 1) * strip;
            let offsets_m = out[queries.clone()].iter().map(|q| offset(&out[queries.start], q)).collect();
            Strip { queries, offsets_m }
        })
        .collect();
    Ok((out, strips))
}

/// Places `step` apart along a heading (0 to the right, a quarter turn down), from the first.
fn along(first: [f64; 2], heading: f64, step: f64, count: usize) -> Vec<[f64; 2]> {
    let (sin, cos) = heading.sin_cos();
    (0..count).map(|i| i as f64 * step).map(|d| [first[0] + d * cos, first[1] + d * sin]).collect()
}

/// Cells binned by place.
struct Nearby<'d> {
    database: &'d Database,
    bins: std::collections::HashMap<(i64, i64), Vec<u32>>,
}

impl<'d> Nearby<'d> {
    fn new(database: &'d Database) -> Self {
        let side = f64::from(database.manifest.grid.cell);
        let mut bins: std::collections::HashMap<_, Vec<u32>> = std::collections::HashMap::new();
        for (i, p) in database.cell_px.iter().enumerate() {
            bins.entry(((p[0] / side) as i64, (p[1] / side) as i64)).or_default().push(i as u32);
        }
        Self { database, bins }
    }

    fn any_right(&self, p: [f64; 2]) -> bool {
        let side = f64::from(self.database.manifest.grid.cell);
        let (x, y) = ((p[0] / side) as i64, (p[1] / side) as i64);
        (y - 1..=y + 1)
            .any(|y| (x - 1..=x + 1).any(|x| self.bins.get(&(x, y)).is_some_and(|b| b.iter().any(|c| self.database.cell_holds(*c, p)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_runs_along_its_heading() {
        assert_eq!(along([3.0, 4.0], 0.0, 200.0, 3), [[3.0, 4.0], [203.0, 4.0], [403.0, 4.0]]);
        let down = along([3.0, 4.0], std::f64::consts::FRAC_PI_2, 10.0, 2);
        assert!((down[1][0] - 3.0).abs() < 1e-9 && (down[1][1] - 14.0).abs() < 1e-9, "{down:?}");
    }
}
