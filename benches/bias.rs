use super::common::Bench;
use crate::Result;
use crate::kernels::bias::{Backward, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y, dy, dx) = (bench.tensor(&shape)?, bench.tensor(&shape)?, bench.tensor(&shape)?, bench.tensor(&shape)?);
        let c = &shape[3..];
        let (s, b, ds, db) = (bench.tensor(c)?, bench.tensor(c)?, bench.tensor(c)?, bench.tensor(c)?);
        bench.time(&format!("bias relu {name}"), |p| forward(p, &x, None, &b, true, &y))?;
        bench.time(&format!("scale bias relu {name}"), |p| forward(p, &x, Some(&s), &b, true, &y))?;
        let plain = Backward { x: None, y: Some(&y), scale: None, dy: &dy, dx: Some(&dx), dscale: None, dbias: &db, accumulate: false };
        bench.time(&format!("bias relu backward {name}"), |p| backward(p, &plain))?;
        let scaled = Backward { x: Some(&x), scale: Some(&s), dscale: Some(&ds), ..plain };
        bench.time(&format!("scale bias relu backward {name}"), |p| backward(p, &scaled))?;
    }
    Ok(())
}
