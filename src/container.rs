//! What all files of ours have in common: safetensors with a manifest in JSON.

use safetensors::SafeTensorError;
use safetensors::tensor::{SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::io::{BufWriter, Write};

/// The key of the manifest.
pub(crate) const MANIFEST: &str = "echogrid";

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The manifest of a file's bytes; none in a safetensors file of somebody else's.
pub(crate) fn manifest(bytes: &[u8]) -> Result<Option<String>, SafeTensorError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().as_ref().and_then(|m| m.get(MANIFEST).cloned()))
}

/// Writes safetensors without holding them in memory: the length of the header, the header, then the tensors, the widest
/// values first so that each lies on a multiple of its width.
pub(crate) fn stream(file: &std::fs::File, manifest: &str, mut views: Vec<(&str, TensorView<'_>)>) -> std::io::Result<()> {
    views.sort_by_key(|(_, v)| std::cmp::Reverse(v.dtype().bitsize()));
    let mut header = serde_json::json!({ "__metadata__": { MANIFEST: manifest } });
    let mut offset = 0;
    for (name, view) in &views {
        let end = offset + view.data().len();
        header[*name] = serde_json::json!({ "dtype": view.dtype(), "shape": view.shape(), "data_offsets": [offset, end] });
        offset = end;
    }
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = BufWriter::new(file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    views.iter().try_for_each(|(_, view)| out.write_all(view.data()))?;
    out.flush()
}
