//! eval

pub mod metrics;
