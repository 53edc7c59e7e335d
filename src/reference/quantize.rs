//! Twin of `shaders/quantize.wgsl`.

/// A row as whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Values, -127 to 127.
    pub whole: Vec<i32>,
    /// What one of them stands for.
    pub scale: f64,
    /// Length of what is lost.
    pub error: f64,
    /// Length of what is kept.
    pub norm: f64,
}

/// A row of finite numbers, quantised.
pub fn quantize(v: &[f64]) -> Row {
    let most = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let scale = if most < 1e-30 { 1.0 } else { most / 127.0 };
    of(v, v.iter().map(|x| (x / scale).round_ties_even() as i32).collect(), scale)
}

/// The statistics of a row that was quantised as `whole`.
pub fn of(v: &[f64], whole: Vec<i32>, scale: f64) -> Row {
    let length = |f: &dyn Fn(f64, f64) -> f64| v.iter().zip(&whole).map(|(x, w)| f(*x, scale * f64::from(*w)).powi(2)).sum::<f64>().sqrt();
    Row { error: length(&|x, kept| x - kept), norm: length(&|_, kept| kept), whole, scale }
}

/// The most that the product of two quantised rows can be.
pub fn bound(a: &Row, b: &Row) -> f64 {
    let product: f64 = a.whole.iter().zip(&b.whole).map(|(x, y)| f64::from(x * y)).sum();
    a.scale * b.scale * product + a.norm * b.error + a.error * b.norm + a.error * b.error
}
