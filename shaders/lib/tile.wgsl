// A product's tiles in workgroup memory: TILE rows and columns by DEPTH inner indices, for THREADS invocations of PER x PER outputs. Those lie
// in fours: four q of an invocation's are rows 4 ty + q TILE PER / 4 ... of the tile, so that neighbours read neighbouring words.
#import factor
const PITCH = ${TILE + 4}u; // 4 more, so that columns do not meet in one bank
var<workgroup> tile_a: array<f32, ${DEPTH * (TILE + 4)}>;
var<workgroup> tile_b: array<f32, ${DEPTH * (TILE + 4)}>;

fn tile_value(v: f32) -> f32 {
    return factor(v);
}
