//! TIFFs tag by tag, for kinds that no writer at hand makes.

/// Values of a tag.
#[derive(Clone)]
pub(super) enum Value {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Double(Vec<f64>),
    Text(String),
}

impl Value {
    fn kind(&self) -> u16 {
        match self {
            Self::Text(_) => 2,
            Self::Short(_) => 3,
            Self::Long(_) => 4,
            Self::Double(_) => 12,
        }
    }

    fn bytes(&self) -> (u32, Vec<u8>) {
        match self {
            Self::Text(t) => (t.len() as u32 + 1, [t.as_bytes(), &[0]].concat()),
            Self::Short(v) => (v.len() as u32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Long(v) => (v.len() as u32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Double(v) => (v.len() as u32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        }
    }
}

/// One image: strips without compression, each of which may be absent.
pub(super) struct Picture {
    pub(super) size: [u32; 2],
    pub(super) rows_per_strip: u32,
    pub(super) strips: Vec<Option<Vec<u8>>>,
    /// By tag; later ones win over the plain ones.
    pub(super) tags: Vec<(u16, Value)>,
}

impl Picture {
    /// Samples of a type of `bits` and TIFF format, `samples` a pixel side by side, in one strip.
    pub(super) fn new(size: [u32; 2], samples: u16, bits: u16, format: u16, data: Vec<u8>) -> Self {
        let tags = vec![
            (258, Value::Short(vec![bits; samples as usize])),
            (277, Value::Short(vec![samples])),
            (339, Value::Short(vec![format; samples as usize])),
        ];
        Self { size, rows_per_strip: size[1], strips: vec![Some(data)], tags }
    }

    /// Of 32-bit floats.
    pub(super) fn floats(size: [u32; 2], samples: u16, values: &[f32]) -> Self {
        Self::new(size, samples, 32, 3, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Of bytes.
    pub(super) fn bytes(size: [u32; 2], samples: u16, values: &[u8]) -> Self {
        Self::new(size, samples, 8, 1, values.to_vec())
    }

    /// Cut into strips of one row.
    pub(super) fn rows(mut self) -> Self {
        let all = self.strips.remove(0).unwrap();
        self.strips = all.chunks(all.len() / self.size[1] as usize).map(|r| Some(r.to_vec())).collect();
        self.rows_per_strip = 1;
        self
    }

    pub(super) fn with(mut self, id: u16, value: Value) -> Self {
        self.tags.push((id, value));
        self
    }

    /// With a place: 10 m pixels in EPSG:32611 from (500000, 3760000).
    pub(super) fn placed(self) -> Self {
        self.with(33550, Value::Double(vec![10.0, 10.0, 0.0]))
            .with(33922, Value::Double(vec![0.0, 0.0, 0.0, 500_000.0, 3_760_000.0, 0.0]))
            .with(34735, Value::Short(vec![1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611]))
    }
}

/// A little-endian TIFF of some images.
pub(super) fn tiff(pictures: &[Picture]) -> Vec<u8> {
    let mut out = b"II*\0\0\0\0\0".to_vec();
    let mut link = 4;
    for p in pictures {
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for strip in &p.strips {
            offsets.push(strip.as_ref().map_or(0, |_| out.len() as u32));
            counts.push(strip.as_ref().map_or(0, |s| s.len() as u32));
            out.extend(strip.iter().flatten());
            out.resize(out.len().next_multiple_of(2), 0);
        }
        let mut tags = std::collections::BTreeMap::from([
            (256, Value::Long(vec![p.size[0]])),
            (257, Value::Long(vec![p.size[1]])),
            (259, Value::Short(vec![1])),
            (262, Value::Short(vec![1])),
            (273, Value::Long(offsets)),
            (278, Value::Long(vec![p.rows_per_strip])),
            (279, Value::Long(counts)),
        ]);
        tags.extend(p.tags.iter().cloned());
        let mut entries = Vec::new();
        for (id, value) in &tags {
            let (count, bytes) = value.bytes();
            let mut field = bytes.clone();
            if bytes.len() > 4 {
                field = (out.len() as u32).to_le_bytes().to_vec();
                out.extend(&bytes);
                out.resize(out.len().next_multiple_of(2), 0);
            }
            field.resize(4, 0);
            entries.extend([&id.to_le_bytes()[..], &value.kind().to_le_bytes(), &count.to_le_bytes(), &field].concat());
        }
        let at = out.len() as u32;
        out[link..link + 4].copy_from_slice(&at.to_le_bytes());
        out.extend((tags.len() as u16).to_le_bytes());
        out.extend(entries);
        link = out.len();
        out.extend([0; 4]);
    }
    out
}
