//! A byte-bounded cache of decoded chunks that forgets the least recently used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::chunk::Chunk;

/// Decoded chunks by index, at most `limit` bytes of them.
pub(super) struct ChunkCache {
    limit: usize,
    bytes: usize,
    clock: u64,
    chunks: HashMap<u64, (u64, Arc<Chunk>)>,
    by_age: BTreeMap<u64, u64>,
}

impl ChunkCache {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, chunks: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// Bytes of decoded pixels held now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
    }

    pub(super) fn get(&mut self, index: u64) -> Option<Arc<Chunk>> {
        let (age, chunk) = self.chunks.get_mut(&index)?;
        self.clock += 1;
        self.by_age.remove(age);
        *age = self.clock;
        self.by_age.insert(self.clock, index);
        Some(chunk.clone())
    }

    /// Keeps a chunk, unless it alone is larger than the limit.
    pub(super) fn insert(&mut self, index: u64, chunk: Arc<Chunk>) {
        let bytes = chunk.bytes();
        if bytes > self.limit {
            return;
        }
        self.clock += 1;
        self.bytes += bytes;
        if let Some((age, old)) = self.chunks.insert(index, (self.clock, chunk)) {
            self.by_age.remove(&age);
            self.bytes -= old.bytes();
        }
        self.by_age.insert(self.clock, index);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.limit {
            let Some((_, index)) = self.by_age.pop_first() else {
                break;
            };
            if let Some((_, chunk)) = self.chunks.remove(&index) {
                self.bytes -= chunk.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::chunk::Samples;

    fn chunk(bytes: usize) -> Arc<Chunk> {
        Arc::new(Chunk { samples: Samples::U8(vec![0; bytes]), valid: None, width: bytes as u32, height: 1, samples_per_pixel: 1 })
    }

    #[test]
    fn forgets_the_least_recently_used_and_stays_in_bounds() {
        let mut cache = ChunkCache::new(10);
        cache.insert(1, chunk(4));
        cache.insert(2, chunk(4));
        assert!(cache.get(1).is_some());
        cache.insert(3, chunk(4));
        assert!(cache.get(2).is_none());
        assert!(cache.get(1).is_some() && cache.get(3).is_some());
        cache.insert(1, chunk(2));
        assert_eq!(cache.bytes(), 6);
        cache.insert(4, chunk(11));
        assert!(cache.get(4).is_none());
        cache.set_limit(0);
        assert_eq!(cache.bytes(), 0);
    }
}
