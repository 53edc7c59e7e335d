//! Images of any shape before a square network, and boxes there and back.

use super::boxes::BBox;

/// Scales an image to fit a square, its shape kept, and puts it in the middle; what is left is padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Pixels of the square for one of the image.
    pub scale: f64,
    /// Padding left of and above the image, pixels of the square; the same lies right of and below it.
    pub pad: [f64; 2],
    /// Side of the square, pixels.
    pub side: u32,
}

impl Letterbox {
    /// For an image of so many pixels, width and height above 0.
    pub fn new(size: [u32; 2], side: u32) -> Self {
        let [width, height] = size.map(f64::from);
        let scale = f64::from(side) / width.max(height);
        let pad = [width, height].map(|v| (f64::from(side) - v * scale) / 2.0);
        Self { scale, pad, side }
    }

    /// A box of the image in pixels of the square.
    #[must_use]
    pub fn apply(&self, bbox: &BBox) -> BBox {
        let [x, y, w, h] = bbox.xywh();
        BBox::from_xywh([x * self.scale + self.pad[0], y * self.scale + self.pad[1], w * self.scale, h * self.scale])
    }

    /// A box of the square in pixels of the image; it may reach into what was padding.
    #[must_use]
    pub fn back(&self, bbox: &BBox) -> BBox {
        let [x, y, w, h] = bbox.xywh();
        BBox::from_xywh([(x - self.pad[0]) / self.scale, (y - self.pad[1]) / self.scale, w / self.scale, h / self.scale])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn close(a: &BBox, b: &BBox, by: f64) {
        assert!(a.xywh().iter().zip(b.xywh()).all(|(a, b)| (a - b).abs() <= by), "{a:?} {b:?}");
    }

    #[test]
    fn an_image_fills_the_longer_side_and_lies_in_the_middle() {
        let wide = Letterbox::new([500, 250], 416);
        let whole = wide.apply(&BBox::from_xywh([0.0, 0.0, 500.0, 250.0]));
        close(&whole, &BBox::from_xywh([0.0, 104.0, 416.0, 208.0]), 1e-9);
        let tall = Letterbox::new([10, 20], 100);
        assert_eq!((tall.scale, tall.pad), (5.0, [25.0, 0.0]));
        assert_eq!(tall.apply(&BBox::from_xywh([1.0, 2.0, 3.0, 4.0])).xywh(), [30.0, 10.0, 15.0, 20.0]);
    }

    #[test]
    fn boxes_come_back_to_round_off() {
        let mut random = Random::new(4, 0);
        for _ in 0..2000 {
            let size = [0; 2].map(|_| 1 + random.below(5000) as u32);
            let b = BBox::from_xywh([0; 4].map(|_| random.range(0.0, 3000.0)));
            let letterbox = Letterbox::new(size, 32 * (1 + random.below(40) as u32));
            // Padding is at most the square's side; a rounding of it is that share of an image's pixel, divided by the scale.
            let by = 8.0 * f64::EPSILON * (3000.0 + f64::from(letterbox.side) / letterbox.scale);
            close(&letterbox.back(&letterbox.apply(&b)), &b, by);
        }
    }
}
