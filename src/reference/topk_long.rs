//! Twin of `shaders/topk_long.wgsl`.

use super::topk::best;

/// A list of scores and ids, the best first, merged with scores whose ids count from `first_id` on: the k best of both.
pub fn merge(list: &[(f32, u32)], scores: &[f32], first_id: u32, k: usize) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = list.iter().copied().chain(scores.iter().copied().zip(first_id..)).collect();
    // Of equals the lower id is better: by their ids, the order of places is that of ids.
    all.sort_by_key(|(_, id)| *id);
    let scores: Vec<f32> = all.iter().map(|(s, _)| *s).collect();
    best(&scores, k).into_iter().map(|i| all[i as usize]).collect()
}
