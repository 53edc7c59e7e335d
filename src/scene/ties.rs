//! Ground control points: where pixels lie when only some of them are told, as in a raw Sentinel-1 product.

use super::error::Result;

/// A ground control point: a pixel position and its map coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tie {
    /// Pixels, corner convention.
    pub(super) px: [f64; 2],
    /// Coordinates in the file's system: easting and northing, or longitude and latitude.
    pub(super) map: [f64; 2],
}

/// Control points off a lattice at most: the spline's equations grow with the cube of their number.
const MOST: usize = 1500;

/// A surface through control points, from pixels to unit vectors across the ellipsoid.
///
/// The vectors are normals of the ellipsoid (n-vectors; Gade, Journal of Navigation 63(3), 2010), so neither a pole nor the antimeridian is
/// a place apart, and a straight line between two of them bends as the ground does. Points on a lattice of rows and columns are joined by the
/// lattice's own bilinear surface, others by a thin-plate spline (Duchon 1977), which passes through each.
#[derive(Debug, Clone)]
pub(super) struct TieSurface {
    shape: Shape,
    points: Vec<[f64; 2]>,
    normals: Vec<[f64; 3]>,
    /// Extent of the points in pixels: left, top, right, bottom.
    extent: [f64; 4],
}

#[derive(Debug, Clone)]
enum Shape {
    /// Columns, rows, and the points' numbers row by row.
    Lattice(Vec<f64>, Vec<f64>, Vec<usize>),
    /// Of each point, then constant and slopes; lengths are scaled by the extent.
    Spline(Vec<[f64; 3]>),
}

impl TieSurface {
    /// Through points given by pixel, longitude and latitude (degrees).
    ///
    /// # Errors
    /// Says why the points give no surface.
    pub(super) fn new(points: &[([f64; 2], (f64, f64))]) -> Result<Self, String> {
        let mut all: Vec<([f64; 2], [f64; 3])> = points.iter().map(|(p, ll)| (*p, normal(*ll))).collect();
        if all.iter().any(|(p, n)| !p.iter().chain(n).all(|v| v.is_finite())) {
            return Err("one of its ground control points is no number".into());
        }
        all.sort_by(|a, b| (a.0[1], a.0[0]).partial_cmp(&(b.0[1], b.0[0])).expect("finite"));
        all.dedup_by(|a, b| a.0 == b.0);
        let (points, normals): (Vec<[f64; 2]>, Vec<[f64; 3]>) = all.into_iter().unzip();
        let mut extent = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for p in &points {
            (0..2).for_each(|d| (extent[d], extent[d + 2]) = (extent[d].min(p[d]), extent[d + 2].max(p[d])));
        }
        let lattice = lattice(&points);
        let mut surface = Self { shape: Shape::Spline(Vec::new()), points, normals, extent };
        surface.shape = match lattice {
            Some(shape) => shape,
            None => surface.spline()?,
        };
        let signs = surface.points.iter().map(|p| surface.handedness(*p));
        if signs.clone().any(|s| !s.is_finite() || s == 0.0) {
            return Err("its ground control points lie on one line".into());
        }
        let right = signs.filter(|s| *s > 0.0).count();
        if right > 0 && right < surface.points.len() {
            return Err("its ground control points contradict each other: the surface through them folds over".into());
        }
        Ok(surface)
    }

    /// Longitude and latitude of a pixel position, degrees.
    pub(super) fn to_lonlat(&self, p: [f64; 2]) -> (f64, f64) {
        let [x, y, z] = self.at(p);
        (y.atan2(x).to_degrees(), z.atan2(x.hypot(y)).to_degrees())
    }

    /// The pixel position of a longitude and latitude (degrees); none where Newton's method finds none, as on the far side of the globe.
    pub(super) fn pixel_of(&self, lonlat: (f64, f64)) -> Option<[f64; 2]> {
        let goal = normal(lonlat);
        let nearest = self.normals.iter().enumerate().max_by(|a, b| dot(*a.1, goal).total_cmp(&dot(*b.1, goal)))?.0;
        let mut p = self.points[nearest];
        let span = (self.extent[2] - self.extent[0]).max(self.extent[3] - self.extent[1]);
        for _ in 0..60 {
            let ([u, v], miss) = (self.slopes(p), less(goal, self.at(p)));
            let (uu, uv, vv) = (dot(u, u), dot(u, v), dot(v, v));
            let det = uu * vv - uv * uv;
            let (a, b) = (dot(u, miss), dot(v, miss));
            let step = [(vv * a - uv * b) / det, (uu * b - uv * a) / det];
            let length = step[0].hypot(step[1]);
            if !length.is_finite() {
                return None;
            }
            // Not farther at once than the points reach.
            let part = if length > span { span / length } else { 1.0 };
            p = [0, 1].map(|d| p[d] + part * step[d]);
            if length < 1e-7 * span.max(1.0) {
                return (dot(self.at(p), goal) > 0.0).then_some(p);
            }
        }
        None
    }

    /// The unit vector at a position.
    fn at(&self, p: [f64; 2]) -> [f64; 3] {
        let v = match &self.shape {
            Shape::Lattice(xs, ys, order) => {
                let cell = |axis: &[f64], at: f64| {
                    let i = axis.partition_point(|v| *v <= at).clamp(1, axis.len() - 1) - 1;
                    (i, (at - axis[i]) / (axis[i + 1] - axis[i]))
                };
                let ((i, u), (j, v)) = (cell(xs, p[0]), cell(ys, p[1]));
                let n = |i: usize, j: usize| self.normals[order[j * xs.len() + i]];
                let (a, b, c, d) = (n(i, j), n(i + 1, j), n(i, j + 1), n(i + 1, j + 1));
                [0, 1, 2].map(|k| (1.0 - v) * ((1.0 - u) * a[k] + u * b[k]) + v * ((1.0 - u) * c[k] + u * d[k]))
            }
            Shape::Spline(weights) => {
                let q = self.scaled(p);
                let (knots, plane) = weights.split_at(self.points.len());
                let mut sum = [0, 1, 2].map(|k| plane[0][k] + plane[1][k] * q[0] + plane[2][k] * q[1]);
                for (at, w) in self.points.iter().zip(knots) {
                    let r = kernel(q, self.scaled(*at));
                    (0..3).for_each(|k| sum[k] += r * w[k]);
                }
                sum
            }
        };
        let length = dot(v, v).sqrt();
        v.map(|c| c / length)
    }

    /// Derivatives along x and y, a pixel.
    fn slopes(&self, p: [f64; 2]) -> [[f64; 3]; 2] {
        [0, 1].map(|d| {
            let h = 1e-3 * (self.extent[d + 2] - self.extent[d]).max(1.0);
            let (mut a, mut b) = (p, p);
            a[d] -= h;
            b[d] += h;
            less(self.at(b), self.at(a)).map(|v| v / (2.0 * h))
        })
    }

    /// Above 0 where x runs, seen from above, to the left of y: as in an image that is not mirrored y runs down, this is below 0 there.
    fn handedness(&self, p: [f64; 2]) -> f64 {
        let [u, v] = self.slopes(p);
        let n = self.at(p);
        let turn = dot(n, [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]);
        let size = (dot(u, u) * dot(v, v)).sqrt();
        if turn.abs() < 1e-6 * size { 0.0 } else { turn / size }
    }

    fn scaled(&self, p: [f64; 2]) -> [f64; 2] {
        let e = &self.extent;
        let size = (e[2] - e[0]).max(e[3] - e[1]).max(1e-9);
        [(p[0] - e[0]) / size, (p[1] - e[1]) / size]
    }

    fn spline(&self) -> Result<Shape, String> {
        let n = self.points.len();
        if n < 3 {
            return Err(format!("its {n} ground control points are too few: three at least make a surface"));
        }
        if n > MOST {
            return Err(format!("its {n} ground control points lie on no lattice, and are more than the {MOST} of a spline"));
        }
        let q: Vec<[f64; 2]> = self.points.iter().map(|p| self.scaled(*p)).collect();
        let m = n + 3;
        let mut matrix = vec![0.0; m * m];
        for i in 0..n {
            for j in 0..n {
                matrix[i * m + j] = kernel(q[i], q[j]);
            }
            for (j, v) in [1.0, q[i][0], q[i][1]].into_iter().enumerate() {
                matrix[i * m + n + j] = v;
                matrix[(n + j) * m + i] = v;
            }
        }
        let mut right: Vec<[f64; 3]> = self.normals.clone();
        right.resize(m, [0.0; 3]);
        solve(&mut matrix, &mut right).ok_or("its ground control points lie on one line")?;
        Ok(Shape::Spline(right))
    }
}

/// The lattice that the points, sorted by rows, lie on, if they fill one.
fn lattice(points: &[[f64; 2]]) -> Option<Shape> {
    let axis = |d: usize| {
        let mut all: Vec<f64> = points.iter().map(|p| p[d]).collect();
        all.sort_by(f64::total_cmp);
        all.dedup_by(|a, b| (*a - *b).abs() < 1e-3);
        all
    };
    let (xs, ys) = (axis(0), axis(1));
    if xs.len() < 2 || ys.len() < 2 || xs.len() * ys.len() != points.len() {
        return None;
    }
    let nearest = |axis: &[f64], v: f64| axis.iter().position(|a| (a - v).abs() < 2e-3);
    let mut order = vec![usize::MAX; points.len()];
    for (i, p) in points.iter().enumerate() {
        order[nearest(&ys, p[1])? * xs.len() + nearest(&xs, p[0])?] = i;
    }
    (!order.contains(&usize::MAX)).then_some(Shape::Lattice(xs, ys, order))
}

/// r^2 ln r^2.
fn kernel(a: [f64; 2], b: [f64; 2]) -> f64 {
    let r2 = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    if r2 > 0.0 { r2 * r2.ln() } else { 0.0 }
}

/// Solves in place by elimination with the largest pivot of each column; none where the matrix is singular.
fn solve(matrix: &mut [f64], right: &mut [[f64; 3]]) -> Option<()> {
    let n = right.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|a, b| matrix[a * n + i].abs().total_cmp(&matrix[b * n + i].abs()))?;
        if matrix[pivot * n + i].abs() < 1e-12 {
            return None;
        }
        if pivot != i {
            (0..n).for_each(|k| matrix.swap(i * n + k, pivot * n + k));
            right.swap(i, pivot);
        }
        for row in i + 1..n {
            let f = matrix[row * n + i] / matrix[i * n + i];
            if f != 0.0 {
                let (above, below) = matrix.split_at_mut(row * n);
                below[i..n].iter_mut().zip(&above[i * n + i..i * n + n]).for_each(|(b, a)| *b -= f * a);
                let from = right[i];
                (0..3).for_each(|k| right[row][k] -= f * from[k]);
            }
        }
    }
    for i in (0..n).rev() {
        right[i] = [0, 1, 2].map(|k| {
            let known: f64 = (i + 1..n).map(|j| matrix[i * n + j] * right[j][k]).sum();
            (right[i][k] - known) / matrix[i * n + i]
        });
    }
    Some(())
}

/// The normal of the ellipsoid at a longitude and latitude in degrees.
fn normal((lon, lat): (f64, f64)) -> [f64; 3] {
    let ((a, b), (c, d)) = (lon.to_radians().sin_cos(), lat.to_radians().sin_cos());
    [d * b, d * a, c]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn less(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|k| a[k] - b[k])
}

#[cfg(test)]
mod tests {
    use super::super::lonlat_distance_m;
    use super::*;

    /// A swath of 250 km across the antimeridian at 60 degrees north, columns run west: a sphere's geometry will do.
    fn swath(p: [f64; 2]) -> (f64, f64) {
        let (heading, start) = ((-168f64).to_radians(), (-179.2f64, 61.0f64));
        let along = |(lon, lat): (f64, f64), bearing: f64, d: f64| {
            let (lat, d) = (lat.to_radians(), d / 6_371_000.0);
            let to = (lat.sin() * d.cos() + lat.cos() * d.sin() * bearing.cos()).asin();
            let east = (bearing.sin() * d.sin() * lat.cos()).atan2(d.cos() - lat.sin() * to.sin());
            ((lon.to_radians() + east).to_degrees(), to.to_degrees())
        };
        along(along(start, heading, p[1] * 10.0), heading + 90f64.to_radians(), p[0] * 10.0)
    }

    fn far(surface: &TieSurface, p: [f64; 2]) -> f64 {
        lonlat_distance_m(surface.to_lonlat(p), swath(p))
    }

    #[test]
    fn a_lattice_follows_the_swath_and_back() {
        let points: Vec<_> = (0..10).flat_map(|j| (0..21).map(move |i| [f64::from(i) * 1250.0, f64::from(j) * 1850.0])).collect();
        let ties: Vec<_> = points.iter().map(|p| (*p, swath(*p))).collect();
        let surface = TieSurface::new(&ties).unwrap();
        assert!(matches!(surface.shape, Shape::Lattice(..)));
        for p in [[0.0, 0.0], [13_111.0, 7_777.0], [24_999.0, 16_000.0], [-50.0, 300.0]] {
            assert!(far(&surface, p) < 12.0, "{p:?}: {} m", far(&surface, p));
            let back = surface.pixel_of(surface.to_lonlat(p)).unwrap();
            assert!((back[0] - p[0]).abs() < 1e-3 && (back[1] - p[1]).abs() < 1e-3, "{back:?} for {p:?}");
        }
        // One affine transform through the corners is off by kilometres: the reason for all this.
        let corners = [[0.0, 0.0], [25_000.0, 0.0], [0.0, 16_650.0]].map(|p| (p, swath(p)));
        assert!(far(&TieSurface::new(&corners).unwrap(), [25_000.0, 16_650.0]) > 1000.0);
    }

    #[test]
    fn scattered_points_are_joined_by_a_spline_through_each() {
        let mut seed = 5u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed >> 8) / f64::from(1 << 24)
        };
        let points: Vec<_> = (0..60).map(|_| [next() * 25_000.0, next() * 16_000.0]).collect();
        let ties: Vec<_> = points.iter().map(|p| (*p, swath(*p))).collect();
        let surface = TieSurface::new(&ties).unwrap();
        assert!(matches!(surface.shape, Shape::Spline(..)));
        assert!(points.iter().all(|p| far(&surface, *p) < 0.1));
        assert!(far(&surface, [12_000.0, 8_000.0]) < 20.0, "{}", far(&surface, [12_000.0, 8_000.0]));
        let back = surface.pixel_of(swath([9_000.0, 5_000.0])).unwrap();
        assert!((back[0] - 9_000.0).abs() < 3.0 && (back[1] - 5_000.0).abs() < 3.0, "{back:?}");
    }

    #[test]
    fn points_that_make_no_surface_say_why() {
        let error = |p: &[([f64; 2], (f64, f64))]| TieSurface::new(p).unwrap_err();
        assert!(error(&[([0.0, 0.0], (1.0, 1.0)), ([9.0, 0.0], (2.0, 1.0))]).contains("too few"));
        let line: Vec<_> = (0..5).map(|i| ([f64::from(i), f64::from(i)], (f64::from(i), 2.0))).collect();
        assert!(error(&line).contains("one line"));
        let mut folded: Vec<_> = [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]].map(|p| (p, (p[0], -p[1]))).to_vec();
        folded[3].1 = (-9.0, 9.0);
        assert!(error(&folded).contains("fold"));
        assert!(error(&[([0.0, 0.0], (f64::NAN, 1.0))]).contains("no number"));
    }
}
