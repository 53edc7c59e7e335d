//! Safetensors files that are larger than memory.

use safetensors::tensor::TensorView;
use std::io::{BufWriter, Write};

/// Writes safetensors without holding them in memory: the length of the header, the header, then the tensors, the widest
/// values first so that each lies on a multiple of its width.
pub(crate) fn stream(file: &std::fs::File, manifest: &str, mut views: Vec<(&str, TensorView<'_>)>) -> std::io::Result<()> {
    views.sort_by_key(|(_, v)| std::cmp::Reverse(v.dtype().bitsize()));
    let mut header = serde_json::json!({ "__metadata__": { "echogrid": manifest } });
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
