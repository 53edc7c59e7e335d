//! Distances on the ground, by the WGS 84 ellipsoid.

/// WGS 84 semi-major axis, metres.
const WGS84_A: f64 = 6_378_137.0;
/// WGS 84 flattening.
const WGS84_F: f64 = 1.0 / 298.257_223_563;

/// Radii of curvature of WGS 84 at a latitude (radians): in the meridian and in the prime vertical, metres.
pub(super) fn radii(lat: f64) -> (f64, f64) {
    let e2 = WGS84_F * (2.0 - WGS84_F);
    let w2 = 1.0 - e2 * lat.sin().powi(2);
    let normal = WGS84_A / w2.sqrt();
    (normal * (1.0 - e2) / w2, normal)
}

/// Geodesic distance in metres between two (longitude, latitude) points in degrees on WGS 84.
///
/// Vincenty's inverse formula (Survey Review 23(176), 1975), good to under a millimetre; for
/// almost antipodal points, where it does not converge, the great circle (haversine, within 0.6 %).
pub fn lonlat_distance_m(p: (f64, f64), q: (f64, f64)) -> f64 {
    let b = WGS84_A * (1.0 - WGS84_F);
    let (lat1, lat2) = (p.1.to_radians(), q.1.to_radians());
    let span = ((q.0 - p.0 + 540.0).rem_euclid(360.0) - 180.0).to_radians();
    let reduced = |lat: f64| ((1.0 - WGS84_F) * lat.tan()).atan().sin_cos();
    let ((s1, c1), (s2, c2)) = (reduced(lat1), reduced(lat2));
    let mut lambda = span;
    for _ in 0..100 {
        let (sl, cl) = lambda.sin_cos();
        let sin_sigma = (c2 * sl).hypot(c1 * s2 - s1 * c2 * cl);
        if sin_sigma == 0.0 {
            return 0.0;
        }
        let cos_sigma = s1 * s2 + c1 * c2 * cl;
        let sigma = sin_sigma.atan2(cos_sigma);
        let sin_alpha = c1 * c2 * sl / sin_sigma;
        let cos2_alpha = 1.0 - sin_alpha * sin_alpha;
        let cos_2m = if cos2_alpha > 1e-15 { cos_sigma - 2.0 * s1 * s2 / cos2_alpha } else { 0.0 };
        let c = WGS84_F / 16.0 * cos2_alpha * (4.0 + WGS84_F * (4.0 - 3.0 * cos2_alpha));
        let m = 2.0 * cos_2m * cos_2m - 1.0;
        let next = span + (1.0 - c) * WGS84_F * sin_alpha * (sigma + c * sin_sigma * (cos_2m + c * cos_sigma * m));
        let done = (next - lambda).abs() < 1e-13;
        lambda = next;
        if done {
            let u2 = cos2_alpha * (WGS84_A * WGS84_A - b * b) / (b * b);
            let big_a = 1.0 + u2 / 16384.0 * (4096.0 + u2 * (-768.0 + u2 * (320.0 - 175.0 * u2)));
            let big_b = u2 / 1024.0 * (256.0 + u2 * (-128.0 + u2 * (74.0 - 47.0 * u2)));
            let inner = cos_sigma * m - big_b / 6.0 * cos_2m * (4.0 * sin_sigma * sin_sigma - 3.0) * (4.0 * cos_2m * cos_2m - 3.0);
            let delta = big_b * sin_sigma * (cos_2m + big_b / 4.0 * inner);
            return b * big_a * (sigma - delta);
        }
    }
    let half = ((lat2 - lat1) / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (span / 2.0).sin().powi(2);
    2.0 * 6_371_008.8 * half.sqrt().min(1.0).asin()
}
