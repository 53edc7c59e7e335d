// Counter-based generator: PCG output permutation over a mixed counter (Jarzynski and Olano, "Hash Functions for GPU
// Rendering", JCGT 9(3), 2020: pcg3d). The same (x, y, z) gives the same bits on any machine.
fn pcg3d(p: vec3<u32>) -> vec3<u32> {
    var v = p * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    return v;
}

// Uniform in [0, 1): the upper 24 bits, exact in f32.
fn unit_float(bits: u32) -> f32 {
    return f32(bits >> 8u) * (1.0 / 16777216.0);
}
