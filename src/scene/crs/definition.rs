//! A system by its parameters: what WKT, GeoTIFF keys and PROJ strings are read into, and the PROJ string that computes it.

use std::fmt::Write;

use super::methods::{self, Kind, Method};

/// How latitudes and longitudes of a datum become those of WGS 84.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shift {
    /// They are taken as they are: spheres, whose latitudes are those of the ellipsoid.
    Same,
    /// Helmert's seven parameters as position vector: metres, arc seconds, parts per million.
    Helmert([f64; 7]),
}

impl Shift {
    /// Whether another leads to the same place within a few metres.
    pub(super) fn is_near(self, other: Self) -> bool {
        match (self, other) {
            (Self::Helmert(a), Self::Helmert(b)) => {
                // Metres, then what turns or stretches the Earth's radius by about as much.
                let most = [2.0, 2.0, 2.0, 0.05, 0.05, 0.05, 0.3];
                a.iter().zip(b).zip(most).all(|((a, b), most)| (a - b).abs() < most)
            }
            _ => self == other,
        }
    }
}

/// A shift, and where it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tie {
    pub(super) shift: Shift,
    /// West, south, east and north of boxes, degrees; none: everywhere.
    pub(super) areas: Vec<[f64; 4]>,
}

impl From<Shift> for Tie {
    fn from(shift: Shift) -> Self {
        Self { shift, areas: Vec::new() }
    }
}

impl Tie {
    /// For datums that are WGS 84 within metres.
    pub(super) const NONE: Self = Self { shift: Shift::Helmert([0.0; 7]), areas: Vec::new() };

    /// Whether it holds at a place, degrees.
    pub(super) fn holds_at(&self, (lon, lat): (f64, f64)) -> bool {
        let between = |w: f64, e: f64| if w <= e { (w..=e).contains(&lon) } else { lon >= w || lon <= e };
        self.areas.is_empty() || self.areas.iter().any(|&[w, s, e, n]| between(w, e) && (s..=n).contains(&lat))
    }
}

/// An ellipsoid of revolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ellipsoid {
    /// Semi-major axis, metres.
    pub(super) a: f64,
    /// Inverse flattening; 0 for a sphere.
    pub(super) rf: f64,
}

impl Ellipsoid {
    /// From both semi-axes, metres; the flattening to the digits that the axes have.
    pub(super) fn from_axes(a: f64, b: f64) -> Self {
        Self { a, rf: if (a - b).abs() < 1e-6 { 0.0 } else { (a / (a - b) * 1e9).round() / 1e9 } }
    }

    pub(super) fn is_sphere(self) -> bool {
        self.rf == 0.0
    }

    /// Semi-minor axis, metres.
    pub(super) fn b(self) -> f64 {
        if self.is_sphere() { self.a } else { self.a * (1.0 - 1.0 / self.rf) }
    }

    /// Whether both axes agree within a metre.
    pub(super) fn is_near(self, other: Self) -> bool {
        (self.a - other.a).abs() < 1.0 && (self.b() - other.b()).abs() < 1.0
    }
}

/// A horizontal system.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// The projection; none for a geographic system.
    pub(super) method: Option<&'static Method>,
    /// Parameters by their PROJ keys: degrees, metres, factors.
    pub(super) values: Vec<(&'static str, f64)>,
    pub(super) ellipsoid: Ellipsoid,
    /// Prime meridian, degrees east of Greenwich.
    pub(super) meridian: f64,
    pub(super) tie: Tie,
    /// Metres of a map unit.
    pub(super) to_meter: f64,
    /// Degrees of a unit of longitude and latitude, for geographic systems.
    pub(super) to_degree: f64,
}

impl Definition {
    /// Value of a parameter, 0 (or 1 for a factor) where it was not given.
    pub(super) fn value(&self, proj: &str) -> f64 {
        let given = self.values.iter().find(|(k, _)| *k == proj).map(|(_, v)| *v);
        given.unwrap_or(if proj == "k_0" { 1.0 } else { 0.0 })
    }

    fn has(&self, proj: &str) -> bool {
        self.values.iter().any(|(k, _)| *k == proj)
    }

    fn set(&mut self, proj: &'static str, value: f64) {
        self.values.retain(|(k, _)| *k != proj);
        self.values.push((proj, value));
    }

    /// Puts the system on the sphere of its ellipsoid's surface: for methods that are defined on spheres.
    pub(super) fn spherical(&mut self) -> Result<(), String> {
        if self.ellipsoid.is_sphere() {
            return Ok(());
        }
        if !matches!(self.tie.shift, Shift::Same | Shift::Helmert([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])) {
            return Err("a projection of the sphere on an ellipsoid whose datum is shifted".into());
        }
        let f = 1.0 / self.ellipsoid.rf;
        let e = (f * (2.0 - f)).sqrt();
        let radius = self.ellipsoid.a * (0.5 * (1.0 + (1.0 - e * e) / e * e.atanh())).sqrt();
        (self.ellipsoid, self.tie.shift) = (Ellipsoid { a: radius, rf: 0.0 }, Shift::Same);
        Ok(())
    }

    /// Puts parameters into the form in which they are computed, and says what cannot be computed as it stands.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        let finite = self.values.iter().all(|(_, v)| v.is_finite()) && self.meridian.abs() <= 360.0;
        let e = self.ellipsoid;
        if !(finite && e.a > 1.0 && e.a < 1e9 && (e.rf == 0.0 || e.rf > 1.1)) {
            return Err("a parameter or the ellipsoid makes no sense".into());
        }
        let unit = |v: f64| v.is_finite() && v > 0.0;
        if !unit(self.to_meter) || !unit(self.to_degree) {
            return Err("the unit of its coordinates makes no sense".into());
        }
        if self.method.is_some() && (self.to_degree - 1.0).abs() > 1e-9 {
            self.to_degree = 1.0;
        }
        let Some(method) = self.method else { return Ok(self) };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let origin = self.value("lat_0");
        match method.proj {
            "lcc" => {
                if !self.has("lat_1") {
                    self.set("lat_1", origin);
                }
                let (first, second) = (self.value("lat_1"), self.value("lat_2"));
                if !self.has("lat_0") && !self.has("lat_2") {
                    self.set("lat_0", first);
                }
                // One parallel, which is the latitude of origin, or two.
                if (!self.has("lat_2") || near(first, second)) && near(first, self.value("lat_0")) {
                    self.values.retain(|(k, _)| *k != "lat_2");
                    self.method = methods::by_geotiff(9);
                } else if !self.has("lat_2") {
                    self.set("lat_2", first);
                }
            }
            "stere" if method.flags == "+pole" => {
                let ts = self.value("lat_ts");
                if ts == 0.0 || ts.abs() > 90.0 + 1e-9 {
                    return Err(format!("the latitude of true scale of its polar stereographic projection, {ts}, makes no sense"));
                }
                if !near(ts.abs(), 90.0) && !near(self.value("k_0"), 1.0) {
                    return Err("its polar stereographic projection has both a scale factor and a standard parallel".into());
                }
            }
            "merc" | "webmerc" if origin != 0.0 => return Err(format!("a Mercator projection with the latitude of origin {origin}")),
            "merc" if self.value("lat_ts") != 0.0 && !near(self.value("k_0"), 1.0) => {
                return Err("its Mercator projection has both a scale factor and a standard parallel".into());
            }
            "merc" | "webmerc" => self.values.retain(|(k, _)| *k != "lat_0"),
            "tmerc" if method.flags == "+axis=wsu" && (self.value("x_0") != 0.0 || self.value("y_0") != 0.0) => {
                return Err("the axes of a south orientated transverse Mercator with a false origin".into());
            }
            "omerc"
                if near(self.value("alpha"), 90.0) && method.geotiff == 9815 && (!self.has("gamma") || near(self.value("gamma"), 90.0)) =>
            {
                // PROJ's own form of the Swiss grids.
                self.method = methods::by_proj("somerc", &[]);
                let lon = self.value("lonc");
                self.values.retain(|(k, _)| !matches!(*k, "alpha" | "gamma" | "lonc"));
                self.set("lon_0", lon);
            }
            "omerc" if !self.has("gamma") => {
                let alpha = self.value("alpha");
                self.set("gamma", alpha);
            }
            // Computed on a sphere of the ellipsoid's surface, whatever the ellipsoid, as PROJ does.
            "mill" => self.spherical()?,
            "krovak" => {
                let (lat, lon, k) = (self.value("lat_0"), self.value("lon_0") + self.meridian, self.value("k_0"));
                let bessel = e.is_near(Ellipsoid { a: 6_377_397.155, rf: 299.152_812_8 });
                if !bessel || (lat - 49.5).abs() > 1e-6 || (lon - 24.833_333_333).abs() > 1e-5 || !near(k, 0.9999) {
                    return Err("a Krovak projection of other parameters than the Czech and Slovak ones".into());
                }
            }
            _ => {}
        }
        Ok(self)
    }

    /// The PROJ string, which reads back to the same system. `+to_degree` is a word of our own, for grads.
    pub(super) fn proj_string(&self) -> String {
        let mut out = format!("+proj={}", self.method.map_or("longlat", |m| m.proj));
        // Writing to a string does not fail.
        let mut word = |args: std::fmt::Arguments<'_>| _ = write!(out, " {args}");
        if let Some(method) = self.method {
            let pole = method.flags == "+pole";
            if pole {
                word(format_args!("+lat_0={}", 90f64.copysign(self.value("lat_ts"))));
            } else if !method.flags.is_empty() {
                word(format_args!("{}", method.flags));
            }
            for p in method.parameters {
                let at_pole = pole && (self.value("lat_ts").abs() - 90.0).abs() < 1e-9;
                // A Mercator projection's parallel of true scale, even if the equator, would win over its factor.
                let unused = (p.proj == "lat_ts" && (at_pole || self.value("lat_ts") == 0.0)) || (p.proj == "lat_2" && !self.has("lat_2"));
                if !unused && (p.kind != Kind::Scale || self.value(p.proj) != 1.0) {
                    word(format_args!("+{}={}", p.proj, self.value(p.proj)));
                }
            }
        }
        if self.ellipsoid.is_sphere() {
            word(format_args!("+R={}", self.ellipsoid.a));
        } else {
            word(format_args!("+a={} +rf={}", self.ellipsoid.a, self.ellipsoid.rf));
        }
        match self.tie.shift {
            Shift::Helmert(s) => {
                let s = s.map(|v| v.to_string()).join(",");
                word(format_args!("+towgs84={s}"));
            }
            Shift::Same => word(format_args!("+nadgrids=@null")),
        }
        if self.meridian != 0.0 {
            word(format_args!("+pm={}", self.meridian));
        }
        if self.method.is_some() && self.to_meter != 1.0 {
            word(format_args!("+to_meter={}", self.to_meter));
        }
        if self.method.is_none() && self.to_degree != 1.0 {
            word(format_args!("+to_degree={}", self.to_degree));
        }
        word(format_args!("+no_defs"));
        out
    }
}
