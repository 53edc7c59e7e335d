// A linear group or invocation number from a dispatch folded into two dimensions (65,535 a dimension).
fn fold_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}
