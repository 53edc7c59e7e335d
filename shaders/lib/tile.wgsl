// A product's tiles in workgroup memory: 64 rows and 64 columns by 16 inner indices, for 256 invocations of 4 x 4 outputs.
const TILE = 64u;
const DEPTH = 16u;
const PITCH = 68u; // 64 and 4 more, so that columns do not meet in one bank
var<workgroup> tile_a: array<f32, 1088>;
var<workgroup> tile_b: array<f32, 1088>;
