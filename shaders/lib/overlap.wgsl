// Areas of boxes (x0, y0, x1, y1) and what two have in common; a box whose ends are the wrong way round is empty.
// A product goes through `params.ones`, 0xffffffff, so that no compiler makes one operation of it and the sum behind it: two dispatches that
// compare the same boxes find the same bits.
fn rounded(product: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(product) & params.ones);
}

fn area_of(a: vec4<f32>) -> f32 {
    let d = max(a.zw - a.xy, vec2<f32>(0.0));
    return rounded(d.x * d.y);
}

fn common_area(a: vec4<f32>, b: vec4<f32>) -> f32 {
    let d = max(min(a.zw, b.zw) - max(a.xy, b.xy), vec2<f32>(0.0));
    return rounded(d.x * d.y);
}
