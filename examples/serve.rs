//! An actor that serves queries of several threads on one engine.
//!
//! One thread owns the engine and the database; others send it a query with a channel for the answer. What has arrived by the time it looks is
//! searched together, so that many clients cost little more than one. Run with `cargo run --release --example serve`.

use echogrid::gpu::{AdapterChoice, DType, Engine, Plan, PlanBuilder, Tensor};
use echogrid::kernels::topk::TopK;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const ROWS: usize = 50_000;
const DIM: usize = 64;
const K: usize = 5;
/// Queries searched together at most.
const BATCH: usize = 8;
const CLIENTS: usize = 4;
const EACH: usize = 50;

/// Row and cosine, best first.
type Answer = Vec<(u32, f32)>;

/// A query and where its answer goes.
struct Request {
    query: Vec<f32>,
    reply: Sender<Answer>,
}

/// What the actor's thread owns.
struct Actor {
    engine: Engine,
    queries: Tensor,
    top: TopK,
    search: Plan,
}

impl Actor {
    fn new(rows: &[f32]) -> echogrid::Result<Self> {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None)))?;
        let x = engine.upload("rows", &[ROWS, DIM], DType::F32, rows)?;
        let queries = engine.tensor("queries", &[BATCH, DIM], DType::F32)?;
        let top = TopK::new(&engine, BATCH, K, ROWS)?;
        let mut plan = PlanBuilder::new(&engine);
        top.begin(&mut plan)?;
        top.add_shard(&mut plan, &queries, &x, 0, ROWS)?;
        let search = plan.finish();
        Ok(Self { engine, queries, top, search })
    }

    /// Until the last client is gone. Returns the number of searches.
    fn run(&self, inbox: &Receiver<Request>) -> echogrid::Result<usize> {
        let mut searches = 0;
        while let Ok(first) = inbox.recv() {
            let mut batch = vec![first];
            batch.extend(inbox.try_iter().take(BATCH - 1));
            let vectors: Vec<f32> = batch.iter().flat_map(|r| r.query.iter().copied()).collect();
            self.engine.write_front(&self.queries, &vectors)?;
            self.search.submit(&self.engine)?;
            let (ids, scores): (Vec<u32>, Vec<f32>) = (self.engine.read(self.top.ids())?, self.engine.read(self.top.scores())?);
            for ((request, ids), scores) in batch.iter().zip(ids.chunks(K)).zip(scores.chunks(K)) {
                // A client that has gone wants no answer.
                let _ = request.reply.send(ids.iter().copied().zip(scores.iter().copied()).collect());
            }
            searches += 1;
        }
        Ok(searches)
    }
}

/// Numbers in -1..1, the same every time.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    (0..).map(move |i: u64| {
        let mut z = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z ^ (z >> 27)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

fn unit(mut v: Vec<f32>) -> Vec<f32> {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.iter_mut().for_each(|x| *x /= length);
    v
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<f32> = (0..ROWS as u64).flat_map(|r| unit(noise(r).take(DIM).collect())).collect();
    let (outbox, inbox) = channel::<Request>();
    let begun = std::time::Instant::now();
    let (searches, wrong) = thread::scope(|scope| -> Result<_, Box<dyn std::error::Error>> {
        let all = &rows;
        let actor = scope.spawn(move || Actor::new(all)?.run(&inbox));
        let client = |name: usize| {
            let (outbox, rows) = (outbox.clone(), &rows);
            move || -> usize {
                let ask = |i: usize| {
                    // A row with some noise on it: the row itself must come back.
                    let row = (name * 7919 + i * 613) % ROWS;
                    let of = &rows[row * DIM..][..DIM];
                    let query = unit(of.iter().zip(noise(1 << 20 | i as u64)).map(|(v, n)| v + 0.05 * n).collect());
                    let (reply, answer) = channel();
                    // Where the actor has ended with an error, nothing comes back.
                    let sent = outbox.send(Request { query, reply }).is_ok();
                    sent && answer.recv().is_ok_and(|a| a.first().is_some_and(|(id, _)| *id as usize == row))
                };
                (0..EACH).filter(|i| !ask(*i)).count()
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|name| scope.spawn(client(name))).collect();
        drop(outbox);
        let wrong: usize = clients.into_iter().map(|c| c.join().map_err(|_| "a client panicked")).sum::<Result<usize, _>>()?;
        let searches = actor.join().map_err(|_| "the actor panicked")??;
        Ok((searches, wrong))
    })?;
    let asked = CLIENTS * EACH;
    println!("{asked} queries of {CLIENTS} threads in {searches} searches, {:.2} s, {wrong} wrong", begun.elapsed().as_secs_f64());
    if wrong == 0 { Ok(()) } else { Err("some answers are wrong".into()) }
}
