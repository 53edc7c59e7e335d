//! A contact sheet: pairs of pictures in rows, with a few words below each.

use super::chart::{INK, SOFT, draw_under, heading};
use super::hand::{escape, hex};
use crate::report::html::picture_within;
use crate::report::{Error, Thumb};
use std::fmt::Write as _;

/// Side of a picture, and pixels between two of a pair.
const SIDE: u32 = 132;
const NARROW: u32 = 4;
/// Pixels about a pair, of the heading and of a line of text.
const MARGIN: u32 = 16;
const HEAD: u32 = 64;
const LINE: u32 = 16;
/// Bytes of a picture at most, about.
const BYTES: usize = 24 << 10;
/// Pairs in a row.
const ACROSS: usize = 4;

/// Two pictures of the same ground, and what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// The pictures, shown as squares.
    pub pictures: [Thumb; 2],
    /// Words below; the first line stands out.
    pub lines: Vec<String>,
}

/// Pairs of pictures with words below each, as SVG that holds the pictures itself.
///
/// # Errors
/// [`Error::Picture`] for a picture whose pixels do not fill it.
pub fn contact_sheet(title: &str, line: &str, contacts: &[Contact]) -> Result<String, Error> {
    let said = contacts.iter().map(|c| c.lines.len()).max().unwrap_or(0) as u32;
    let cell = [2 * SIDE + NARROW + MARGIN, SIDE + MARGIN + said * LINE + LINE / 2];
    let rows = contacts.len().div_ceil(ACROSS) as u32;
    let size = (ACROSS as u32 * cell[0] + MARGIN, HEAD + rows * cell[1] + MARGIN);
    draw_under(size, |root| {
        heading(root, title, line, &[])?;
        let mut over = String::new();
        for (i, contact) in contacts.iter().enumerate() {
            let (x, y) = (MARGIN + (i % ACROSS) as u32 * cell[0], HEAD + (i / ACROSS) as u32 * cell[1]);
            for (k, thumb) in (0..).zip(&contact.pictures) {
                let (address, _) = picture_within(thumb, 2 * SIDE, BYTES, "a crop")?;
                let x = x + k * (SIDE + NARROW);
                let _ = write!(over, r#"<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" href="{address}"/>"#);
            }
            for (k, text) in (0..).zip(&contact.lines) {
                let (weight, color) = if k == 0 { ("bold", hex(INK)) } else { ("normal", hex(SOFT)) };
                let y = y + SIDE + LINE + k * LINE;
                let _ =
                    write!(over, r#"<text x="{x}" y="{y}" font-size="12" font-weight="{weight}" fill="{color}">{}</text>"#, escape(text));
            }
        }
        Ok(over)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_holds_its_pictures_and_escapes_words() {
        let thumb = |v: u8| Thumb::new(8, 8, vec![v; 192]).unwrap();
        let contact = |i: u8| Contact { pictures: [thumb(i), thumb(200)], lines: vec!["texture <0.1".into(), format!("at {i}")] };
        let all: Vec<Contact> = (0..6).map(contact).collect();
        let svg = contact_sheet("Left out", "six", &all).unwrap();
        assert_eq!((svg.matches("<image ").count(), svg.matches("texture &lt;0.1").count()), (12, 6));
        assert!(svg.contains("data:image/") && svg.contains(">at 5<") && svg.contains("Left out"));
        // The second row lies below the first.
        let rows: std::collections::BTreeSet<&str> =
            svg.split("<image ").skip(1).map(|s| s.split("y=\"").nth(1).unwrap().split('"').next().unwrap()).collect();
        assert_eq!(rows.len(), 2);
    }
}
