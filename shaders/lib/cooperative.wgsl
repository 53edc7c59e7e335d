// A product's tiles in workgroup memory as f16, for matrices of SIDE x SIDE that a subgroup of LANES multiplies as one: TILE rows and columns by
// DEPTH inner indices. Of the tile's outputs each of THREADS / LANES subgroups, ACROSS of them side by side, owns BLOCK_ROWS x BLOCK_COLUMNS
// matrices; they go out through `stage`, a matrix of each subgroup at a time.
const PITCH = ${TILE + 8}u; // 8 more: rows begin at multiples of 16 bytes, and do not meet in one bank
var<workgroup> tile_a: array<f16, ${DEPTH * (TILE + 8)}>;
var<workgroup> tile_b: array<f16, ${DEPTH * (TILE + 8)}>;
var<workgroup> stage: array<f32, ${THREADS / LANES * SIDE * SIDE}>;

// As lib/factor has it.
fn tile_value(v: f32) -> f16 {
    return select(f16(v), f16(0.0), abs(v) < 6.103515625e-5);
}
