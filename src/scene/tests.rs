//! Tests of the scene module.
