//! Axis-parallel boxes in pixels.

use serde::{Deserialize, Serialize};

/// An axis-parallel box, pixels: (0, 0) is the upper left corner of the upper left pixel, x to the right and y down, so a box about pixel (i, j) alone
/// is (i, j) to (i + 1, j + 1).
///
/// It is kept as COCO writes it, corner and size, because `x + w - x` is not `w` in floating point: areas and overlaps are those of
/// pycocotools to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct BBox {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

impl BBox {
    /// From the upper left corner, width and height.
    pub fn from_xywh([x, y, w, h]: [f64; 4]) -> Self {
        Self { x, y, w, h }
    }

    /// From the upper left and the lower right corner: x0, y0, x1, y1.
    pub fn from_corners([x0, y0, x1, y1]: [f64; 4]) -> Self {
        Self { x: x0, y: y0, w: x1 - x0, h: y1 - y0 }
    }

    /// Upper left corner, width and height.
    pub fn xywh(&self) -> [f64; 4] {
        [self.x, self.y, self.w, self.h]
    }

    /// Upper left and lower right corner: x0, y0, x1, y1.
    pub fn corners(&self) -> [f64; 4] {
        [self.x, self.y, self.x + self.w, self.y + self.h]
    }

    /// Left edge.
    pub fn x0(&self) -> f64 {
        self.x
    }

    /// Upper edge.
    pub fn y0(&self) -> f64 {
        self.y
    }

    /// Right edge.
    pub fn x1(&self) -> f64 {
        self.x + self.w
    }

    /// Lower edge.
    pub fn y1(&self) -> f64 {
        self.y + self.h
    }

    /// Width.
    pub fn width(&self) -> f64 {
        self.w
    }

    /// Height.
    pub fn height(&self) -> f64 {
        self.h
    }

    /// Width times height, square pixels.
    pub fn area(&self) -> f64 {
        self.w * self.h
    }

    /// The middle.
    pub fn center(&self) -> [f64; 2] {
        [self.x + self.w / 2.0, self.y + self.h / 2.0]
    }

    /// Whether all of it are numbers and it has an area.
    pub fn is_sound(&self) -> bool {
        self.xywh().iter().chain(&self.corners()).all(|v| v.is_finite()) && self.w > 0.0 && self.h > 0.0
    }

    /// Area that two boxes share, square pixels.
    pub fn intersection(&self, other: &Self) -> f64 {
        let w = self.x1().min(other.x1()) - self.x.max(other.x);
        let h = self.y1().min(other.y1()) - self.y.max(other.y);
        if w > 0.0 && h > 0.0 { w * h } else { 0.0 }
    }

    /// Intersection over union, in 0..=1; 0 for boxes that do not meet.
    pub fn iou(&self, other: &Self) -> f64 {
        match self.intersection(other) {
            0.0 => 0.0,
            shared => shared / (self.area() + other.area() - shared),
        }
    }

    /// Share of this box that lies in the other, in 0..=1: what COCO takes for the overlap of a detection with a crowd.
    pub fn share_in(&self, other: &Self) -> f64 {
        match self.intersection(other) {
            0.0 => 0.0,
            shared => shared / self.area(),
        }
    }

    /// Intersection over the smaller of the two areas, in 0..=1: near 1 where one is a part of the other.
    pub fn over_smaller(&self, other: &Self) -> f64 {
        match self.intersection(other) {
            0.0 => 0.0,
            shared => shared / self.area().min(other.area()),
        }
    }

    /// The part of it inside of an image of so many pixels; `None` where that has no area. A box that lies inside comes back as it is, bit by bit.
    #[must_use]
    pub fn clip(&self, [width, height]: [f64; 2]) -> Option<Self> {
        let [x0, y0, x1, y1] = self.corners();
        // Before the corners are moved: the greater of NaN and 0 is 0.
        if !self.is_sound() || x0 >= 0.0 && y0 >= 0.0 && x1 <= width && y1 <= height {
            return self.is_sound().then_some(*self);
        }
        let clipped = Self::from_corners([x0.max(0.0), y0.max(0.0), x1.min(width), y1.min(height)]);
        clipped.is_sound().then_some(clipped)
    }

    /// The same box in coordinates that begin at (-dx, -dy).
    #[must_use]
    pub fn shifted(&self, [dx, dy]: [f64; 2]) -> Self {
        Self { x: self.x + dx, y: self.y + dy, ..*self }
    }
}

impl From<[f64; 4]> for BBox {
    fn from(xywh: [f64; 4]) -> Self {
        Self::from_xywh(xywh)
    }
}

impl From<BBox> for [f64; 4] {
    fn from(bbox: BBox) -> Self {
        bbox.xywh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners(c: [f64; 4]) -> BBox {
        BBox::from_corners(c)
    }

    #[test]
    fn overlaps_are_those_of_the_hand() {
        let (a, b) = (corners([0.0, 0.0, 4.0, 4.0]), corners([2.0, 1.0, 6.0, 3.0]));
        assert_eq!((a.intersection(&b), a.iou(&b), b.iou(&a)), (4.0, 4.0 / 20.0, 4.0 / 20.0));
        assert_eq!((a.share_in(&b), b.share_in(&a), a.over_smaller(&b)), (0.25, 0.5, 0.5));
        assert_eq!(a.iou(&a), 1.0);
        // Boxes that touch share nothing.
        for other in [[4.0, 0.0, 8.0, 4.0], [0.0, 4.0, 4.0, 8.0], [9.0, 9.0, 10.0, 10.0]] {
            assert_eq!((a.iou(&corners(other)), a.over_smaller(&corners(other))), (0.0, 0.0));
        }
        assert_eq!((b.area(), b.center(), b.xywh()), (8.0, [4.0, 2.0], [2.0, 1.0, 4.0, 2.0]));
        assert_eq!(b.shifted([1.0, -1.0]), corners([3.0, 0.0, 7.0, 2.0]));
    }

    #[test]
    fn what_lies_inside_is_not_changed_and_what_lies_outside_is_nothing() {
        let inside = BBox::from_xywh([0.1, 0.2, 0.7, 0.1]);
        assert_eq!(inside.clip([10.0, 10.0]), Some(inside));
        assert_eq!(corners([-1.0, 2.0, 12.0, 5.0]).clip([10.0, 4.0]), Some(corners([0.0, 2.0, 10.0, 4.0])));
        for outside in [[10.0, 0.0, 12.0, 4.0], [-3.0, 0.0, 0.0, 4.0], [1.0, 1.0, 1.0, 3.0], [1.0, f64::NAN, 2.0, 3.0]] {
            assert_eq!(corners(outside).clip([10.0, 10.0]), None, "{outside:?}");
        }
    }

    #[test]
    fn sizes_stay_as_they_were_written() {
        let b = BBox::from_xywh([0.3, 0.3, 32.0, 32.0]);
        assert_eq!(b.area(), 1024.0);
        assert_ne!(b.x1() - b.x0(), 32.0, "the reason for keeping sizes");
        assert_eq!(serde_json::from_str::<BBox>(&serde_json::to_string(&b).unwrap()).unwrap(), b);
    }

    #[test]
    fn unsound_boxes_are_told() {
        let bad = [
            [0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0, -1.0],
            [f64::NAN, 0.0, 1.0, 1.0],
            [0.0, 0.0, f64::INFINITY, 1.0],
            [1e308, 0.0, 1.7e308, 1.0],
        ];
        assert!(bad.iter().all(|b| !BBox::from_xywh(*b).is_sound()));
        assert!(BBox::from_xywh([-5.0, 0.0, 1e-9, 1.0]).is_sound());
    }
}
