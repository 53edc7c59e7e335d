//! Units and prime meridians by their EPSG codes.

/// EPSG code and metres of linear units.
const LINEAR: [(u32, f64); 26] = [
    (9001, 1.0),
    (9002, 0.3048),
    (9003, 1200.0 / 3937.0),
    (9005, 0.304_797_265_4),
    (9014, 1.8288),
    (9030, 1852.0),
    (9031, 1.000_013_596_5),
    (9033, 20.116_840_233_680_47),
    (9034, 0.201_168_402_336_804_7),
    (9035, 1_609.347_218_694_437),
    (9036, 1000.0),
    (9037, 0.914_391_796_2),
    (9038, 20.116_619_497_6),
    (9039, 0.201_166_194_976),
    (9040, 0.914_398_414_616_029),
    (9041, 0.304_799_471_538_676),
    (9042, 20.116_765_121_552_63),
    (9043, 0.201_167_651_215_526),
    (9080, 0.304_799_510_248_147),
    (9084, 0.914_398_530_744_441),
    (9093, 1_609.344),
    (9094, 0.304_799_710_181_509),
    (9096, 0.9144),
    (9097, 20.1168),
    (9098, 0.201_168),
    (1025, 0.001),
];

/// EPSG code and degrees of angular units.
const ANGULAR: [(u32, f64); 7] =
    [(9101, 180.0 / std::f64::consts::PI), (9102, 1.0), (9122, 1.0), (9103, 1.0 / 60.0), (9104, 1.0 / 3600.0), (9105, 0.9), (9106, 0.9)];

/// EPSG code and degrees east of Greenwich of prime meridians.
const MERIDIANS: [(u32, f64); 13] = [
    (8901, 0.0),
    (8902, -9.131_906_111_111),
    (8903, 2.337_229_166_667),
    (8904, -74.080_916_666_667),
    (8905, -3.687_938_888_889),
    (8906, 12.452_333_333_333),
    (8907, 7.439_583_333_333),
    (8908, 106.807_719_444_444),
    (8909, -17.666_666_666_667),
    (8910, 4.367_975),
    (8911, 18.058_277_777_778),
    (8912, 23.716_337_5),
    (8913, 10.722_916_666_667),
];

fn find(table: &[(u32, f64)], code: u32) -> Option<f64> {
    table.iter().find(|(c, _)| *c == code).map(|(_, v)| *v)
}

/// Metres of a linear unit.
pub(super) fn linear(code: u32) -> Option<f64> {
    find(&LINEAR, code)
}

/// Degrees of an angular unit.
pub(super) fn angular(code: u32) -> Option<f64> {
    find(&ANGULAR, code)
}

/// Degrees east of Greenwich of a prime meridian.
pub(super) fn meridian(code: u32) -> Option<f64> {
    find(&MERIDIANS, code)
}

/// The code of a linear unit of so many metres.
pub(super) fn linear_code(metres: f64) -> Option<u32> {
    LINEAR.iter().find(|(_, v)| (v / metres - 1.0).abs() < 1e-10).map(|(c, _)| *c)
}
