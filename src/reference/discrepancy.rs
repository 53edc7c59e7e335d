//! Twin of `shaders/discrepancy.wgsl`.

use crate::kernels::discrepancy::Measure;

/// f(g) and f'(g).
fn term(measure: Measure, g: f64) -> (f64, f64) {
    match measure {
        Measure::Mmd { bandwidths } => {
            let squared = if g >= 1.0 { 0.0 } else { 2.0 - 2.0 * g };
            bandwidths.iter().fold((0.0, 0.0), |(value, slope), s| {
                let each = (-squared / (2.0 * f64::from(*s).powi(2))).exp() / 5.0;
                (value + each, if g >= 1.0 { 0.0 } else { slope + each / f64::from(*s).powi(2) })
            })
        }
        Measure::Coral { .. } => (g * g, 2.0 * g),
    }
}

/// The measure of the products ab [n, m], aa [n, n] and bb [m, m], and its gradients in them.
///
/// # Panics
/// The measure refuses the sizes.
pub fn run(measure: Measure, n: usize, m: usize, products: [&[f64]; 3]) -> (f64, [Vec<f64>; 3]) {
    let weights = measure.weights(n, m).expect("sizes that the measure takes");
    let mut loss = 0.0;
    let gradients = [0, 1, 2].map(|k| {
        let each = products[k].iter().map(|g| term(measure, *g));
        loss += weights[k] * each.clone().map(|t| t.0).sum::<f64>();
        each.map(|t| weights[k] * t.1).collect()
    });
    (loss, gradients)
}
