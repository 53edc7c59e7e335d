//! Dense cross-correlation of feature maps through the Fourier transform.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::fft::{self, Scratch};
use crate::kernels::spectrum;
use crate::reference as twin;

/// Each image a \[P, h, w, C\] at every place wholly inside each map b \[M, H, W, C\]: s \[P, H - h + 1, W - w + 1, M\], the sum over channels
/// and pixels u of a(u) b(u + (y, x)). H and W are powers of two from 16 to 4,096, C and M even.
#[derive(Debug, Clone, Copy)]
pub struct Correlate;

const NAME: &str = "correlate";

/// Extents of both inputs.
fn extents(inputs: &[&[usize]]) -> Result<([usize; 4], [usize; 4])> {
    let fail = |reason: String| Error::shape(NAME, reason);
    let &[a, b] = inputs else { return Err(fail(format!("takes images and maps, not {} inputs", inputs.len()))) };
    let (&[p, h, w, c], &[m, big_h, big_w, d]) = (a, b) else { return Err(fail(format!("{a:?} and {b:?} are not both [N, H, W, C]"))) };
    let [least, most] = fft::EXTENTS;
    if h == 0 || w == 0 || h > big_h || w > big_w || c != d {
        return Err(fail(format!("{a:?} does not lie inside {b:?}")));
    }
    if ![big_h, big_w].iter().all(|n| n.is_power_of_two() && (least..=most).contains(n)) {
        return Err(fail(format!("the extents of the maps {b:?} must be powers of two from {least} to {most}")));
    }
    if c % 2 != 0 || m % 2 != 0 {
        return Err(fail(format!("the transform takes channels in pairs: {c} channels and {m} maps must both be even")));
    }
    Ok(([p, h, w, c], [m, big_h, big_w, c]))
}

/// The maps' grid, scratch for all transforms on it, and the factor of an inverse.
fn tools(plan: &PlanBuilder<'_>, images: &Tensor, maps: &Tensor) -> Result<(Scratch, f32)> {
    let ([p, _, _, c], [m, h, w, _]) = extents(&[images.shape(), maps.shape()])?;
    Ok((Scratch::new(plan.engine(), [h, w], c.max(m), p.max(m))?, 1.0 / (h * w) as f32))
}

impl Op for Correlate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let ([p, h, w, _], [m, big_h, big_w, _]) = extents(inputs)?;
        Ok(vec![p, big_h - h + 1, big_w - w + 1, m])
    }

    /// Spectra: of the images (at last of their gradient), of the maps, of the product and its gradient, of the maps' gradient.
    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let Ok(([p, _, _, c], [m, h, w, _])) = extents(inputs) else { return Vec::new() };
        [(p, c), (m, c), (p, m), (m, c)].iter().map(|(n, c)| fft::half_shape(*n, [h, w], *c).to_vec()).collect()
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let shape = |i: usize| inputs[i].0.try_into().expect("four extents: the shape rule was asked first");
        twin::spectrum::correlate_images(inputs[0].1, shape(0), inputs[1].1, shape(1))
    }

    // No offset wholly inside wraps around, so the circular transform of the maps' own size will do.
    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let (scratch, inverse) = tools(plan, io.inputs[0], io.inputs[1])?;
        let [a, b, s, _] = io.saved else { return Err(Error::shape(NAME, "four spectra are missing")) };
        fft::forward_with(plan, &scratch, io.inputs[0], a, 1.0)?;
        fft::forward_with(plan, &scratch, io.inputs[1], b, 1.0)?;
        spectrum::correlate(plan, a, b, s)?;
        fft::inverse_with(plan, &scratch, s, io.output, inverse)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let (scratch, inverse) = tools(plan, io.inputs[0], io.inputs[1])?;
        let [a, b, s, other] = io.saved else { return Err(Error::shape(NAME, "four spectra are missing")) };
        if io.dx.iter().any(Option::is_some) {
            fft::forward_with(plan, &scratch, io.dy, s, 1.0)?;
        }
        if let Some(db) = &io.dx[1] {
            spectrum::gradient_b(plan, a, s, other)?;
            fft::inverse_with(plan, &scratch, other, db, inverse)?;
        }
        if let Some(da) = &io.dx[0] {
            // Nobody reads the spectrum of a any more.
            spectrum::gradient_a(plan, b, s, a)?;
            fft::inverse_with(plan, &scratch, a, da, inverse)?;
        }
        Ok(())
    }
}
