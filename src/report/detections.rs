//! What a detector found: each image with its boxes, and the surest of them by more pixels.
//!
//! One self-contained page in the manner of [`super::html`], without a script.

use std::path::Path;

use maud::{Markup, html};

use super::html::{DEFAULT_LIMIT_BYTES, document, frame_bytes, headed, picture_within, run};
use super::pictures::averaged;
use super::{Error, ReportMeta, Thumb, write_atomically};
use crate::Result;
use crate::detect::Detection;
use crate::scene::Image;

/// Longest side of the picture of an image, pixels; of more than [`FEW`] images half of it.
const SIDE: u32 = 1024;
const FEW: usize = 24;
/// Side of the picture of a box.
const CROP: u32 = 96;
/// Boxes of an image that are shown by more pixels, where its picture has less than this share of its pixels a side.
const CROPS: usize = 12;
const FINE: f64 = 0.7;
/// Shown about such a box, as a share of its longer side.
const ABOUT: f64 = 0.75;
/// Images shown at most; rows of the others stand in the table.
pub const SHOWN: usize = 200;
/// Images of at most this longest side share a row with others.
const SMALL: u32 = 800;
/// Bytes kept free for the words of a box, and for those of an image.
const WORDS: [usize; 2] = [220, 700];

/// An image that was searched.
#[derive(Debug, Clone)]
pub struct Searched<'a> {
    /// Its name.
    pub name: &'a str,
    /// Width and height, pixels.
    pub size: [u32; 2],
    /// What was found, pixels of the image, the surest first.
    pub boxes: &'a [Detection],
    /// The image, and its surest boxes; none of an image that is only counted.
    pub pictures: Option<BoxPictures>,
}

/// An image as it is shown.
#[derive(Debug, Clone)]
pub struct BoxPictures {
    /// All of it.
    pub whole: Thumb,
    /// The surest boxes by more pixels, in order.
    pub crops: Vec<Thumb>,
}

impl BoxPictures {
    /// Reads them; `images` are how many share the page.
    ///
    /// # Errors
    /// Reading.
    pub fn of(image: &Image, boxes: &[Detection], images: usize) -> Result<Self> {
        let longest = if images > FEW { SIDE / 2 } else { SIDE };
        let size = [image.raster.width(), image.raster.height()];
        let thumb = |from: [i64; 2], size: [u32; 2], longest: u32| -> Result<Thumb> {
            Ok(averaged(&mut |_, _| {}, image, from, size, longest)?.overlay([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])?.thumb)
        };
        let whole = thumb([0, 0], size, longest)?;
        let fine = f64::from(size[0].max(size[1])) * FINE <= f64::from(longest);
        let crop = |d: &Detection| {
            let side = ((1.0 + 2.0 * ABOUT) * d.bbox.width().max(d.bbox.height())).ceil().max(8.0);
            let from = d.bbox.center().map(|c| (c - side / 2.0).round() as i64);
            thumb(from, [side as u32; 2], CROP)
        };
        let crops = boxes.iter().take(if fine { 0 } else { CROPS }).map(crop).collect::<Result<_>>()?;
        Ok(Self { whole, crops })
    }
}

/// What goes into the page.
#[derive(Debug, Clone, Copy)]
pub struct DetectionPage<'a> {
    /// What was run; its title heads the page.
    pub meta: &'a ReportMeta,
    /// Names of the classes that boxes number.
    pub classes: &'a [String],
    /// The images, in the order shown.
    pub images: &'a [Searched<'a>],
    /// Bytes the page aims to stay under: pictures get coarser with their number.
    pub limit_bytes: usize,
}

impl<'a> DetectionPage<'a> {
    /// A page of the usual size at most.
    #[must_use]
    pub fn new(meta: &'a ReportMeta, classes: &'a [String], images: &'a [Searched<'a>]) -> Self {
        Self { meta, classes, images, limit_bytes: DEFAULT_LIMIT_BYTES }
    }

    /// The page as HTML text.
    ///
    /// # Errors
    /// [`Error::Picture`] when a picture's pixels do not fill its size.
    pub fn render(&self) -> std::result::Result<String, Error> {
        let boxes: usize = self.images.iter().map(|i| i.boxes.len()).sum();
        let outlined: usize = self.images.iter().filter(|i| i.pictures.is_some()).map(|i| i.boxes.len()).sum();
        let shown = || self.images.iter().filter_map(|i| i.pictures.as_ref());
        // A whole image's picture counts as eight of a box.
        let pictures: usize = shown().map(|p| 8 + p.crops.len()).sum();
        let words = frame_bytes() + WORDS[0] * outlined + WORDS[1] * self.images.len();
        let share = (self.limit_bytes.saturating_sub(words) / pictures.max(1)).max(1200);
        let parts: Vec<Markup> = (1..).zip(self.images).map(|(n, i)| self.image(n, i, share)).collect::<std::result::Result<_, _>>()?;
        let left = self.images.len() - shown().count();
        let with = self.images.iter().filter(|i| !i.boxes.is_empty()).count();
        let body = html! {
            (headed(self.meta, &html! {
                strong { (boxes) @if boxes == 1 { " box" } @else { " boxes" } }
                " in " (with) " of " (self.images.len()) @if self.images.len() == 1 { " image." } @else { " images." }
            }))
            p.note {
                "Boxes are brighter the surer they are; each says its class and score where the pointer rests on it. Scores are the detector's own: of two boxes the one with the higher is the likelier one, but 0.8 is no chance of 80 %."
                @if left > 0 { " " (left) " images are counted and not shown." }
            }
            section.scenes { @for part in &parts { (part) } }
            (run(self.meta))
        };
        Ok(document(self.meta, &body, false))
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`DetectionPage::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> std::result::Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }

    fn image(&self, number: usize, image: &Searched<'_>, bytes: usize) -> std::result::Result<Markup, Error> {
        let [width, height] = image.size;
        let picture = match &image.pictures {
            None => html! {},
            Some(pictures) => {
                let (address, _) = picture_within(&pictures.whole, SIDE, 8 * bytes, image.name)?;
                html! {
                    svg.scene viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ (image.name) " with its boxes" } {
                        image href=(address) width=(width) height=(height) preserveAspectRatio="none" {}
                        @for d in image.boxes.iter().rev() { (self.outline(d)) }
                    }
                }
            }
        };
        let crops = image.pictures.iter().flat_map(|p| &p.crops).zip(image.boxes).map(|(thumb, d)| {
            let what = self.said(d);
            let (address, [w, h]) = picture_within(thumb, CROP, bytes, &what)?;
            Ok(html! { figure.crop { img src=(address) width=(w) height=(h) alt=(what) decoding="async"; figcaption { (what) } } })
        });
        let crops = crops.collect::<std::result::Result<Vec<Markup>, Error>>()?;
        Ok(html! {
            article.q.searched.spans[width.max(height) > SMALL] id={ "i" (number) } {
                h3 { (image.name) " " span.badge { (image.boxes.len()) @if image.boxes.len() == 1 { " box" } @else { " boxes" } } }
                (picture)
                @if !crops.is_empty() { div.row tabindex="0" role="group" aria-label={ "Surest boxes of " (image.name) } { @for c in &crops { (c) } } }
            }
        })
    }

    fn said(&self, d: &Detection) -> String {
        format!("{} {:.2}", self.classes.get(d.category).map_or("?", String::as_str), d.score)
    }

    fn outline(&self, d: &Detection) -> Markup {
        let [x, y, w, h] = d.bbox.xywh().map(|v| (v * 10.0).round() / 10.0);
        let opacity = format!("{:.2}", 0.35 + 0.65 * d.score.clamp(0.0, 1.0));
        html! {
            g opacity=(opacity) {
                rect.under x=(x) y=(y) width=(w) height=(h) {}
                rect x=(x) y=(y) width=(w) height=(h) { title { (self.said(d)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::BBox;

    #[test]
    fn a_page_shows_boxes_where_they_are_and_escapes_names() {
        let boxes = [
            Detection { bbox: BBox::from_xywh([10.04, 20.0, 30.0, 5.0]), score: 0.91, category: 0 },
            Detection { bbox: BBox::from_xywh([1.0, 2.0, 3.0, 4.0]), score: 0.4, category: 0 },
        ];
        let thumb = |side: u32| Thumb::new(side, side, vec![90; (3 * side * side) as usize]).unwrap();
        let pictures = BoxPictures { whole: thumb(64), crops: vec![thumb(16)] };
        let images = [
            Searched { name: "a<b>.tif", size: [2000, 1000], boxes: &boxes, pictures: Some(pictures) },
            Searched { name: "empty.tif", size: [64, 64], boxes: &[], pictures: None },
        ];
        let meta = ReportMeta { title: "Ships".into(), ..ReportMeta::default() };
        let page = DetectionPage::new(&meta, &["ship".to_string()], &images).render().unwrap();
        assert!(page.contains("<strong>2 boxes</strong> in 1 of 2 images."), "{page}");
        assert!(page.contains("a&lt;b&gt;.tif") && !page.contains("a<b>.tif"));
        assert!(page.contains(r#"viewBox="0 0 2000 1000""#) && page.contains(r#"x="10" y="20" width="30" height="5""#), "{page}");
        assert!(page.contains("<title>ship 0.91</title>") && page.matches("data:image/").count() == 2);
        assert!(page.contains("1 images are counted and not shown") || page.contains("counted and not shown"));
        assert!(!page.contains("<script"));
    }
}
