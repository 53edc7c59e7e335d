// Scores as order-preserving u32 keys: greater score, greater key; NaN 0, below all numbers; -0 as 0. All sorting is by (key, id), which no two
// entries share but empty ones (key 0, id EMPTY, the last of all), so that the result is one.
const EMPTY = 0xffffffffu;

// Greater score, greater key; NaN 0. Bits alone: no float comparison that a device could flush or optimise.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let ordered = select(bits | 0x80000000u, ~bits, bits > 0x7fffffffu);
    return select(select(ordered, 0x80000000u, magnitude == 0u), 0u, magnitude > 0x7f800000u);
}

fn bits_of(key: u32, id: u32) -> u32 {
    let number = select(~key, key & 0x7fffffffu, key > 0x7fffffffu);
    return select(number, select(0x7fc00000u, 0xff800000u, id == EMPTY), key == 0u);
}

fn better(a_key: u32, a_id: u32, b_key: u32, b_id: u32) -> bool {
    return a_key > b_key || (a_key == b_key && a_id < b_id);
}
