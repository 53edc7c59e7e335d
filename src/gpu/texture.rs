//! Scene pages: the pixels that the sampler reads, in one texture array, and the table that says which page lies where.

use super::{DType, Engine, Error, Result, Tensor};
use half::f16;

/// Side of a page in pixels.
pub const PAGE: usize = 512;

/// A texture array of square rgba16float pages ([`PAGE`] px), read with `textureLoad` alone: no feature is needed.
///
/// Channels 0 to 2 hold standardised bands (a missing band is 0), channel 3 is 1 where the pixel is valid and 0 where there
/// is no data, in particular beyond the edge of the image. A no-data pixel holds 0 in every channel; kernels rely on both
/// ([`cut_page`] sees to them).
#[derive(Debug)]
pub struct PageArray {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    layers: u32,
}

impl PageArray {
    /// Bytes of device memory a page takes.
    pub const PAGE_BYTES: u64 = (PAGE * PAGE * 8) as u64;

    /// Room for `layers` pages, all of them no data.
    ///
    /// # Errors
    /// No layer, more layers than the device carries (256 at the default limits), out of memory.
    pub fn new(engine: &Engine, layers: u32) -> Result<Self> {
        let max = engine.caps().max_texture_layers;
        if layers == 0 {
            return Err(Error::shape("page array", "no layer asked for"));
        }
        if layers > max {
            return Err(Error::Limit {
                op: "page array".into(),
                what: "the number of resident pages".into(),
                need: layers.into(),
                limit: max.into(),
                advice: format!(
                    "keep at most {max} pages of {PAGE} px resident and stream the others, or read the scenes at a coarser scale"
                ),
            });
        }
        // OpenGL would take one layer for a plain texture, and multiples of six for cubes: one more lies unused.
        let unused = u32::from(engine.adapter().backend == "gl" && (layers == 1 || layers.is_multiple_of(6)));
        let (texture, view) = engine.scoped("page array", u64::from(layers) * Self::PAGE_BYTES, || {
            let texture = engine.device().create_texture(&wgpu::TextureDescriptor {
                label: Some("pages"),
                size: wgpu::Extent3d { width: PAGE as u32, height: PAGE as u32, depth_or_array_layers: layers + unused },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba16Float,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let view = texture.create_view(&wgpu::TextureViewDescriptor {
                label: Some("pages"),
                dimension: Some(wgpu::TextureViewDimension::D2Array),
                ..Default::default()
            });
            (texture, view)
        })?;
        Ok(Self { texture, view, layers })
    }

    /// Number of layers.
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// The view to bind as `texture_2d_array<f32>`.
    pub fn view(&self) -> &wgpu::TextureView {
        &self.view
    }

    /// Overwrites one page, rows of four channels; it takes effect before work submitted later.
    ///
    /// # Errors
    /// No such layer, or not [`PAGE`] x [`PAGE`] x 4 values.
    pub fn write_page(&self, engine: &Engine, layer: u32, texels: &[f16]) -> Result<()> {
        if layer >= self.layers {
            return Err(Error::shape("write page", format!("layer {layer} of an array of {}", self.layers)));
        }
        if texels.len() != PAGE * PAGE * 4 {
            return Err(Error::shape("write page", format!("{} values for a page of {PAGE} x {PAGE} x 4", texels.len())));
        }
        engine.queue().write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &self.texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: 0, z: layer },
                aspect: wgpu::TextureAspect::All,
            },
            bytemuck::cast_slice(texels),
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(PAGE as u32 * 8), rows_per_image: Some(PAGE as u32) },
            wgpu::Extent3d { width: PAGE as u32, height: PAGE as u32, depth_or_array_layers: 1 },
        );
        engine.check("write page")
    }
}

/// Cuts page (`page[0]`, `page[1]`) out of an image of `size` = [width, height] pixels; `texel(x, y)` gives a pixel of the image.
/// What lies outside the image, and every pixel whose channel 3 is 0, becomes no data.
pub fn cut_page(size: [u32; 2], page: [u32; 2], mut texel: impl FnMut(u32, u32) -> [f32; 4]) -> Vec<f16> {
    let mut out = vec![f16::ZERO; PAGE * PAGE * 4];
    for (row, line) in out.chunks_exact_mut(PAGE * 4).enumerate() {
        let y = page[1] * PAGE as u32 + row as u32;
        for (column, to) in line.chunks_exact_mut(4).enumerate() {
            let x = page[0] * PAGE as u32 + column as u32;
            if x < size[0] && y < size[1] {
                let v = texel(x, y);
                if v[3] > 0.0 {
                    to.copy_from_slice(&[f16::from_f32(v[0]), f16::from_f32(v[1]), f16::from_f32(v[2]), f16::ONE]);
                }
            }
        }
    }
    out
}

/// Which page of which image lies in which layer, on the host and on the device.
///
/// Words: for each image `[pages across, pages down, first]`, then for each image its pages row by row from word `first`:
/// layer + 1, or 0 for a page that is not resident or has no data. Its size depends on the images alone, so plans stay valid
/// while pages come and go.
#[derive(Debug)]
pub struct PageTable {
    words: Vec<u32>,
    sizes: Vec<[u32; 2]>,
    layers: u32,
    tensor: Tensor,
    /// Entries changed since the last flush.
    changed: bool,
}

impl PageTable {
    /// Largest side of an image in pixels.
    pub const MAX_SIDE: u32 = 1 << 24;

    /// A table of pages of `array` for images of the given [width, height], no page resident.
    ///
    /// # Errors
    /// No image, an empty image or one over 2^24 px a side, a table over the device's binding limit.
    pub fn new(engine: &Engine, array: &PageArray, sizes: &[[u32; 2]]) -> Result<Self> {
        if sizes.is_empty() {
            return Err(Error::shape("page table", "no image"));
        }
        let mut words = Vec::with_capacity(sizes.len() * 3);
        let mut next = sizes.len() as u64 * 3;
        for (i, size) in sizes.iter().enumerate() {
            if size.iter().any(|s| !(1..=Self::MAX_SIDE).contains(s)) {
                return Err(Error::shape(
                    "page table",
                    format!("image {i} has {} x {} px, expected 1 to {}", size[0], size[1], Self::MAX_SIDE),
                ));
            }
            let [x, y] = page_counts(*size);
            words.extend([x, y, next as u32]);
            next += u64::from(x) * u64::from(y);
            if next * 4 > engine.caps().max_binding {
                return Err(Error::Limit {
                    op: "page table".into(),
                    what: format!("bytes of the table of {} images", sizes.len()),
                    need: next * 4,
                    limit: engine.caps().max_binding,
                    advice: "open fewer scenes at once, or at a coarser scale".into(),
                });
            }
        }
        words.resize(next as usize, 0);
        let tensor = engine.upload("page table", &[words.len()], DType::U32, &words)?;
        Ok(Self { words, sizes: sizes.to_vec(), layers: array.layers, tensor, changed: false })
    }

    /// Number of images.
    pub fn images(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// Layers of the page array it is for.
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// [width, height] of an image.
    ///
    /// # Panics
    /// No such image.
    pub fn size(&self, image: u32) -> [u32; 2] {
        self.sizes[image as usize]
    }

    /// Pages of an image across and down.
    ///
    /// # Panics
    /// No such image.
    pub fn pages(&self, image: u32) -> [u32; 2] {
        page_counts(self.size(image))
    }

    /// Says where a page lies from now on: a layer, or nowhere. Takes effect on the device with [`PageTable::flush`].
    ///
    /// # Errors
    /// No such image, page or layer.
    pub fn set(&mut self, image: u32, page: [u32; 2], layer: Option<u32>) -> Result<()> {
        let at = self.entry(image, page)?;
        if let Some(layer) = layer.filter(|l| *l >= self.layers) {
            return Err(Error::shape("page table", format!("layer {layer} of an array of {}", self.layers)));
        }
        self.words[at] = layer.map_or(0, |l| l + 1);
        self.changed = true;
        Ok(())
    }

    /// Where a page lies.
    ///
    /// # Errors
    /// No such image or page.
    pub fn get(&self, image: u32, page: [u32; 2]) -> Result<Option<u32>> {
        Ok(self.words[self.entry(image, page)?].checked_sub(1))
    }

    fn entry(&self, image: u32, page: [u32; 2]) -> Result<usize> {
        if image >= self.images() {
            return Err(Error::shape("page table", format!("image {image} of {}", self.images())));
        }
        let [x, y] = self.pages(image);
        if page[0] >= x || page[1] >= y {
            return Err(Error::shape("page table", format!("page {page:?} of image {image}, which has {x} x {y}")));
        }
        Ok(self.words[image as usize * 3 + 2] as usize + page[1] as usize * x as usize + page[0] as usize)
    }

    /// Copies the table to the device if it changed; it takes effect before work submitted later.
    ///
    /// # Errors
    /// What the device reported.
    pub fn flush(&mut self, engine: &Engine) -> Result<()> {
        if self.changed {
            engine.write(&self.tensor, &self.words)?;
            self.changed = false;
        }
        Ok(())
    }

    /// The table on the device, as of the last flush.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

fn page_counts(size: [u32; 2]) -> [u32; 2] {
    size.map(|s| s.div_ceil(PAGE as u32))
}
