//! Features of regions.

use super::{Backward, Forward, Halves, Host, Keeps, Op, image, nothing};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::roi_align::{self, Regions};
use crate::reference as twin;

/// Regions resampled from the levels of a pyramid: maps [N, H, W, C], as many as there are scales, the regions' boxes [R, 4] and an input of 2 R
/// indices, the image and the number of the map of each, to [R, P, P, C] (see [`roi_align::forward`]). Boxes take a gradient of 0.
#[derive(Debug, Clone)]
pub struct RoiAlign {
    /// Bins and samples.
    pub align: roi_align::RoiAlign,
    /// The scale of each map: 1/16 for one with a pixel for 16 x 16 of the image.
    pub scales: Vec<f32>,
}

impl RoiAlign {
    fn regions<'a>(&self, inputs: &[&'a Tensor]) -> Regions<'a> {
        Regions { boxes: inputs[self.scales.len()], places: inputs[self.scales.len() + 1] }
    }
}

impl Op for RoiAlign {
    fn name(&self) -> &'static str {
        "roi align"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let maps = self.scales.len();
        let fits = |c: usize| inputs[..maps].iter().all(|s| s.len() == 4 && s[0] == inputs[0][0] && s[3] == c);
        match (inputs.first(), inputs.get(maps..)) {
            (Some([_, _, _, c]), Some([[r, 4], [places]])) if maps > 0 && fits(*c) && *places == 2 * r => {
                let bins = self.align.bins;
                Ok(vec![*r, bins, bins, *c])
            }
            _ => Err(Error::shape("roi align", format!("{inputs:?}, expected {maps} maps [N, H, W, C], boxes [R, 4] and 2 R indices"))),
        }
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        // The regions; of the maps nothing is read, but inputs are kept or not as one.
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let maps: Vec<(&Tensor, f32)> = io.inputs.iter().copied().zip(self.scales.iter().copied()).collect();
        roi_align::forward(plan, self.align, &maps, &self.regions(io.inputs), io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let maps: Vec<_> = inputs.iter().zip(&self.scales).map(|((shape, x), s)| (*x, image(shape), f64::from(*s))).collect();
        let (boxes, places) = (inputs[maps.len()].1, inputs[maps.len() + 1].1);
        let region = |(b, p): (&[f64], &[f64])| ([b[0], b[1], b[2], b[3]], p[0] as usize, p[1] as usize);
        twin::roi_align::forward(self.align, &maps, &boxes.chunks(4).zip(places.chunks(2)).map(region).collect::<Vec<_>>())
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let dx: Vec<_> = io.dx.iter().map(Option::as_ref).zip(self.scales.iter().copied()).collect();
        roi_align::backward(plan, self.align, &self.regions(io.inputs), io.dy, &dx)?;
        nothing(plan, io.dx[self.scales.len()].as_ref())
    }
}
