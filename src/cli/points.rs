//! Sets of points from files of arrays, for `echogrid transport`.

use crate::{Error, Result};
use half::{bf16, f16};
use npyz::{DType, NpyFile, Order};
use safetensors::tensor::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// Points in rows.
pub(super) struct Points {
    pub(super) n: usize,
    pub(super) d: usize,
    pub(super) values: Vec<f32>,
}

/// A two-dimensional array of finite numbers.
pub(super) fn read(given: &Path) -> Result<Points> {
    let (path, name) = split(given);
    let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e})")))?;
    let (shape, values) = match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy(&path, &bytes)?,
        Some("safetensors") => tensor(&path, &bytes, name.as_deref())?,
        _ => return Err(Error::file(&path, "is neither a .npy nor a .safetensors file: save the array as one of them")),
    };
    let &[n, d] = shape.as_slice() else {
        return Err(Error::file(&path, format!("holds an array {shape:?}; two dimensions are needed, a point a row: reshape it")));
    };
    if n == 0 || d == 0 {
        return Err(Error::file(&path, format!("holds no points (an array {shape:?})")));
    }
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        let (row, column) = (i / d, i % d);
        return Err(Error::file(&path, format!("holds {} in row {row}, column {column}: remove such points", values[i])));
    }
    Ok(Points { n, d, values })
}

/// A path, and the name of a tensor in it after a colon.
fn split(given: &Path) -> (PathBuf, Option<String>) {
    match given.to_str().and_then(|s| s.rsplit_once(".safetensors:")) {
        Some((stem, name)) if !given.exists() => (PathBuf::from(format!("{stem}.safetensors")), Some(name.into())),
        _ => (given.into(), None),
    }
}

fn npy(path: &Path, bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
    let broken = |e: std::io::Error| Error::file(path, format!("is no .npy file, or cut short ({e})"));
    let file = NpyFile::new(bytes).map_err(broken)?;
    let shape: Vec<usize> = file.shape().iter().map(|v| *v as usize).collect();
    let order = file.order();
    let dtype = match file.dtype() {
        DType::Plain(t) => t.to_string(),
        _ => "a structure".into(),
    };
    // The header may promise more than there is.
    if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > bytes.len()) {
        return Err(Error::file(path, format!("is cut short: an array {shape:?} in {} bytes", bytes.len())));
    }
    let values: Vec<f32> = match dtype.as_bytes() {
        [_, b'f', b'4'] => file.into_vec::<f32>().map_err(broken)?,
        [_, b'f', b'8'] => file.into_vec::<f64>().map_err(broken)?.into_iter().map(|v| v as f32).collect(),
        _ => return Err(Error::file(path, format!("holds {dtype}, not 32- or 64-bit floats: save it with .astype(\"float32\")"))),
    };
    match (order, shape.as_slice()) {
        (Order::Fortran, &[n, d]) => {
            let rows = (0..n).flat_map(|i| (0..d).map(move |c| c * n + i)).map(|at| values[at]).collect();
            Ok((shape, rows))
        }
        _ => Ok((shape, values)),
    }
}

fn tensor(path: &Path, bytes: &[u8], name: Option<&str>) -> Result<(Vec<usize>, Vec<f32>)> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::file(path, format!("is no safetensors file, or cut short ({e})")))?;
    let names = || file.names().into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let view = match name {
        Some(name) => file.tensor(name).map_err(|_| Error::file(path, format!("holds no tensor `{name}`, but {}", names())))?,
        None => {
            let mut matrices = file.tensors().into_iter().filter(|(_, t)| t.shape().len() == 2);
            match (matrices.next(), matrices.next()) {
                (Some((_, t)), None) => t,
                (None, _) => return Err(Error::file(path, format!("holds no two-dimensional tensor, but {}", names()))),
                _ => return Err(Error::file(path, format!("holds several tensors, name one as {}:NAME: {}", path.display(), names()))),
            }
        }
    };
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect(),
        Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")) as f32).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32()).collect(),
        other => return Err(Error::file(path, format!("holds {other:?}, not F16, BF16, F32 or F64"))),
    };
    Ok((view.shape().to_vec(), values))
}
