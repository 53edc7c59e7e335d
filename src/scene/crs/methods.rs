//! The map projections that are computed, with their names in PROJ strings, in WKT and in GeoTIFF keys.
//!
//! One table serves every way in and out. Names of WKT are kept as [`plain`] makes them: small letters and digits alone.

/// What a parameter measures, which says how its value is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Degrees in PROJ, the base system's angular unit elsewhere.
    Angle,
    /// Metres in PROJ, the system's linear unit elsewhere.
    Length,
    /// A factor of scale; 1 where it is not given.
    Scale,
}

/// A parameter of a method.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Key of PROJ strings.
    pub(super) proj: &'static str,
    pub(super) kind: Kind,
    /// GeoTIFF keys under which it is looked for; the first is written.
    pub(super) keys: &'static [u16],
    /// Plain names in WKT.
    pub(super) names: &'static [&'static str],
    /// EPSG's codes of the parameter.
    pub(super) epsg: &'static [u32],
}

/// A method of projection.
#[derive(Debug)]
pub(super) struct Method {
    /// `+proj=` of PROJ strings.
    pub(super) proj: &'static str,
    /// Further fixed words of the PROJ string.
    pub(super) flags: &'static str,
    /// GeoTIFF's coordinate transformation code (key 3075), 0: none.
    pub(super) geotiff: u16,
    /// EPSG's codes of the method.
    pub(super) epsg: &'static [u32],
    /// Plain names in WKT.
    pub(super) names: &'static [&'static str],
    /// Name and parameters of an ESRI WKT, for methods without a GeoTIFF code; empty: none.
    pub(super) esri: &'static str,
    pub(super) parameters: &'static [&'static Parameter],
}

/// A name's letters and digits in small letters, so that `Standard_Parallel_1` and `Standard parallel 1` are the same.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The method of a name or code of WKT; the code wins.
pub(super) fn by_wkt(name: &str, epsg: Option<u32>) -> Option<&'static Method> {
    let name = plain(name);
    let coded = epsg.and_then(|code| METHODS.iter().find(|m| m.epsg.contains(&code)));
    coded.or_else(|| METHODS.iter().find(|m| m.names.contains(&name.as_str())))
}

/// The method of a GeoTIFF coordinate transformation code.
pub(super) fn by_geotiff(code: u16) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.geotiff == code && code != 0)
}

/// The method of a PROJ name and the words that stand beside it.
pub(super) fn by_proj(name: &str, words: &[&str]) -> Option<&'static Method> {
    let fits = |m: &&Method| m.proj == name && m.flags.split_whitespace().all(|w| words.contains(&w));
    // The one with most words, so that `+proj=tmerc +axis=wsu` is not plain `tmerc`; the first of those with as many.
    METHODS.iter().rev().filter(fits).max_by_key(|m| m.flags.len())
}

macro_rules! parameter {
    ($name:ident, $proj:literal, $kind:ident, $keys:expr, $names:expr, $epsg:expr) => {
        const $name: &Parameter = &Parameter { proj: $proj, kind: Kind::$kind, keys: &$keys, names: &$names, epsg: &$epsg };
    };
}

const LATITUDES: &[&str] = &[
    "latitudeoforigin",
    "latitudeofcenter",
    "latitudeofcentre",
    "latitudeofnaturalorigin",
    "latitudeoffalseorigin",
    "latitudeofprojectioncentre",
    "latitudeoftopocentricorigin",
    "centralparallel",
];
const LONGITUDES: &[&str] = &[
    "centralmeridian",
    "longitudeoforigin",
    "longitudeofcenter",
    "longitudeofcentre",
    "longitudeofnaturalorigin",
    "longitudeoffalseorigin",
    "longitudeofprojectioncentre",
    "straightverticallongitudefrompole",
];
const FIRST_PARALLEL: &[&str] = &["standardparallel1", "latitudeof1ststandardparallel", "latitudeofstandardparallel"];

const fn list(proj: &'static str, kind: Kind, keys: &'static [u16], names: &'static [&'static str], epsg: &'static [u32]) -> Parameter {
    Parameter { proj, kind, keys, names, epsg }
}

const LAT_0: &Parameter = &list("lat_0", Kind::Angle, &[3081, 3089, 3085], LATITUDES, &[8801, 8811, 8821]);
const LON_0: &Parameter = &list("lon_0", Kind::Angle, &[3080, 3088, 3084, 3095], LONGITUDES, &[8802, 8812, 8822]);
/// Centres of projection, for the methods whose keys GeoTIFF calls so.
const LAT_C: &Parameter = &list("lat_0", Kind::Angle, &[3089, 3081, 3085], LATITUDES, &[8801, 8811, 8821]);
const LON_C: &Parameter = &list("lon_0", Kind::Angle, &[3088, 3080, 3084, 3095], LONGITUDES, &[8802, 8812, 8822]);
/// False origins, for the conic with two parallels.
const LAT_F: &Parameter = &list("lat_0", Kind::Angle, &[3085, 3081, 3089], LATITUDES, &[8801, 8811, 8821]);
const LON_F: &Parameter = &list("lon_0", Kind::Angle, &[3084, 3080, 3088], LONGITUDES, &[8802, 8812, 8822]);
const LON_POLE: &Parameter = &list("lon_0", Kind::Angle, &[3095, 3080, 3088], LONGITUDES, &[8802, 8833]);
const LONC: &Parameter = &list("lonc", Kind::Angle, &[3088, 3080], LONGITUDES, &[8812, 8802]);
const LAT_1: &Parameter = &list("lat_1", Kind::Angle, &[3078], FIRST_PARALLEL, &[8823]);
/// The latitude of true scale that WKT1 and GeoTIFF call the origin's.
const LAT_TS_POLE: &Parameter = &list(
    "lat_ts",
    Kind::Angle,
    &[3081, 3089],
    &["latitudeoforigin", "standardparallel1", "latitudeofstandardparallel", "latitudeofnaturalorigin"],
    &[8832, 8801],
);
const LAT_TS: &Parameter = &list("lat_ts", Kind::Angle, &[3078], FIRST_PARALLEL, &[8823]);
parameter!(LAT_2, "lat_2", Angle, [3079], ["standardparallel2", "latitudeof2ndstandardparallel"], [8824]);
parameter!(
    X_0,
    "x_0",
    Length,
    [3082, 3090, 3086],
    ["falseeasting", "eastingatfalseorigin", "eastingatprojectioncentre"],
    [8806, 8816, 8826]
);
parameter!(
    Y_0,
    "y_0",
    Length,
    [3083, 3091, 3087],
    ["falsenorthing", "northingatfalseorigin", "northingatprojectioncentre"],
    [8807, 8817, 8827]
);
parameter!(
    X_F,
    "x_0",
    Length,
    [3086, 3082, 3090],
    ["falseeasting", "eastingatfalseorigin", "eastingatprojectioncentre"],
    [8806, 8816, 8826]
);
parameter!(
    Y_F,
    "y_0",
    Length,
    [3087, 3083, 3091],
    ["falsenorthing", "northingatfalseorigin", "northingatprojectioncentre"],
    [8807, 8817, 8827]
);
parameter!(
    K_0,
    "k_0",
    Scale,
    [3092, 3093],
    ["scalefactor", "scalefactoratnaturalorigin", "scalefactoratprojectioncentre", "scalefactoroninitialline"],
    [8805, 8815]
);
parameter!(
    K_C,
    "k_0",
    Scale,
    [3093, 3092],
    [
        "scalefactor",
        "scalefactoratnaturalorigin",
        "scalefactoratprojectioncentre",
        "scalefactoronthepseudostandardparallel",
        "scalefactoroninitialline",
        "scalefactoratprojectioncenter",
        "scalefactoronpseudostandardparallel"
    ],
    [8815, 8805, 8819]
);
parameter!(ALPHA, "alpha", Angle, [3094], ["azimuth", "azimuthofinitialline", "azimuthatprojectioncentre"], [8813]);
parameter!(GAMMA, "gamma", Angle, [3096], ["rectifiedgridangle", "anglefromrectifiedtoskewgrid"], [8814]);

macro_rules! methods {
    ($($proj:literal, $flags:literal, $geotiff:literal, $epsg:expr, $names:expr, $esri:literal, $parameters:expr;)*) => {
        /// All methods.
        pub(super) const METHODS: &[Method] = &[$(Method {
            proj: $proj, flags: $flags, geotiff: $geotiff, epsg: &$epsg, names: &$names, esri: $esri, parameters: &$parameters,
        }),*];
    };
}

methods! {
    "tmerc", "", 1, [9807, 9824], ["transversemercator", "gausskruger", "transversemercatorcomplex"], "", [LAT_0, LON_0, K_0, X_0, Y_0];
    "tmerc", "+axis=wsu", 27, [9808], ["transversemercatorsouthorientated", "transversemercatorsouthoriented"], "",
        [LAT_0, LON_0, K_0, X_0, Y_0];
    "lcc", "", 8, [9802], ["lambertconformalconic2sp", "lambertconformalconic", "lambertconicconformal2sp"], "",
        [LAT_F, LON_F, LAT_1, LAT_2, X_F, Y_F, K_0];
    "lcc", "", 9, [9801], ["lambertconformalconic1sp", "lambertconicconformal1sp"], "", [LAT_0, LON_0, LAT_1, K_0, X_0, Y_0];
    "laea", "", 10, [9820, 1027], ["lambertazimuthalequalarea", "lambertazimuthalequalareaspherical"], "", [LAT_C, LON_C, X_0, Y_0];
    "aea", "", 11, [9822], ["albersconicequalarea", "albersequalarea", "albers"], "", [LAT_0, LON_0, LAT_1, LAT_2, X_0, Y_0];
    "aeqd", "", 12, [1125, 9832], ["azimuthalequidistant", "modifiedazimuthalequidistant"], "", [LAT_C, LON_C, X_0, Y_0];
    "eqdc", "", 13, [1119], ["equidistantconic"], "", [LAT_C, LON_C, LAT_1, LAT_2, X_0, Y_0];
    "stere", "", 14, [], ["stereographic"], "", [LAT_C, LON_C, K_0, X_0, Y_0];
    "stere", "+pole", 15, [9810, 9829],
        ["polarstereographic", "polarstereographicvarianta", "polarstereographicvariantb", "stereographicnorthpole", "stereographicsouthpole"],
        "", [LAT_TS_POLE, LON_POLE, K_0, X_0, Y_0];
    "sterea", "", 16, [9809], ["obliquestereographic", "doublestereographic"], "", [LAT_0, LON_0, K_0, X_0, Y_0];
    "merc", "", 7, [9804, 9805], ["mercator1sp", "mercatorvarianta", "mercator2sp", "mercatorvariantb", "mercator"], "",
        [LAT_0, LON_0, LAT_TS, K_0, X_0, Y_0];
    "webmerc", "", 0, [1024], ["popularvisualisationpseudomercator", "mercatorauxiliarysphere"], "Mercator_Auxiliary_Sphere",
        [LAT_0, LON_0, X_0, Y_0];
    "eqc", "", 17, [1028, 1029, 9823, 9842], ["equirectangular", "equidistantcylindrical", "platecarree", "equidistantcylindricalspherical"], "",
        [LAT_C, LON_C, LAT_TS, X_0, Y_0];
    "cass", "", 18, [9806], ["cassinisoldner", "cassini"], "", [LAT_0, LON_0, X_0, Y_0];
    "gnom", "", 19, [], ["gnomonic"], "", [LAT_C, LON_C, X_0, Y_0];
    "mill", "", 20, [], ["millercylindrical"], "", [LON_C, X_0, Y_0];
    "ortho", "", 21, [9840], ["orthographic"], "", [LAT_C, LON_C, X_0, Y_0];
    "poly", "", 22, [9818], ["polyconic", "americanpolyconic"], "", [LAT_0, LON_0, X_0, Y_0];
    "robin", "", 23, [], ["robinson"], "", [LON_C, X_0, Y_0];
    "sinu", "", 24, [], ["sinusoidal"], "", [LON_C, X_0, Y_0];
    "cea", "", 28, [9835, 9834], ["cylindricalequalarea", "lambertcylindricalequalarea", "lambertcylindricalequalareaspherical", "behrmann"], "", [LON_0, LAT_TS, X_0, Y_0];
    "omerc", "+no_uoff", 3, [9812], ["hotineobliquemercator", "hotineobliquemercatorvarianta", "rectifiedskeworthomorphicnaturalorigin", "hotineobliquemercatorazimuthnaturalorigin"],
        "", [LAT_C, LONC, ALPHA, GAMMA, K_C, X_0, Y_0];
    "omerc", "", 9815, [9815], ["hotineobliquemercatorazimuthcenter", "hotineobliquemercatorvariantb", "obliquemercator", "rectifiedskeworthomorphiccenter"],
        "", [LAT_C, LONC, ALPHA, GAMMA, K_C, X_0, Y_0];
    "somerc", "", 0, [], ["swissobliquecylindrical"], "Hotine_Oblique_Mercator_Azimuth_Center", [LAT_C, LON_C, K_C, X_0, Y_0];
    "moll", "", 0, [], ["mollweide"], "Mollweide", [LON_0, X_0, Y_0];
    "eqearth", "", 0, [1078], ["equalearth"], "Equal_Earth", [LON_0, X_0, Y_0];
    "krovak", "", 0, [1041], ["krovaknorthorientated"], "Krovak", [LAT_C, LON_C, K_C, X_0, Y_0];
}
