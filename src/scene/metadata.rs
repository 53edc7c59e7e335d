//! What GDAL writes about bands: the XML of its TIFF tag, and of `.aux.xml` files.

use super::source::Header;

/// Items of GDAL's metadata that say something of bands, by sample.
#[derive(Debug, Default, PartialEq)]
pub(super) struct GdalMetadata {
    /// Descriptions.
    pub(super) names: Vec<(u32, String)>,
    /// The samples that are alpha.
    pub(super) alpha: Vec<u32>,
    /// The samples that are said to be something else.
    pub(super) not_alpha: Vec<u32>,
    /// The samples that are red, green and blue.
    pub(super) colours: [Option<u32>; 3],
}

impl GdalMetadata {
    /// From the text of the tag GDAL_METADATA; what does not parse says nothing.
    pub(super) fn parse(xml: &str) -> Self {
        let mut found = Self::default();
        let Ok(document) = roxmltree::Document::parse(xml.trim_matches(['\0', ' ', '\n'])) else {
            return found;
        };
        for item in document.descendants().filter(|n| n.has_tag_name("Item")) {
            let Some(sample) = item.attribute("sample").and_then(|s| s.parse().ok()) else { continue };
            let text = item.text().unwrap_or_default().trim();
            match item.attribute("role") {
                Some("description") => found.names.push((sample, text.to_string())),
                Some("colorinterp") => found.colour(sample, text),
                _ => {}
            }
        }
        found
    }

    /// Notes what colour a sample is said to be.
    pub(super) fn colour(&mut self, sample: u32, text: &str) {
        if text.eq_ignore_ascii_case("alpha") {
            return self.alpha.push(sample);
        }
        self.not_alpha.push(sample);
        if let Some(c) = ["red", "green", "blue"].iter().position(|c| text.eq_ignore_ascii_case(c)) {
            self.colours[c] = Some(sample);
        }
    }

    /// Puts it into a header.
    pub(super) fn apply(self, header: &mut Header) {
        for (sample, name) in self.names {
            if let Some(to) = header.names.get_mut(sample as usize).filter(|_| !name.is_empty()) {
                *to = Some(name);
            }
        }
        let known = |c: usize| self.colours[c].filter(|s| *s < header.samples);
        if self.colours != [None; 3] {
            // Named anew, what was a colour may be another one.
            header.colours = [0, 1, 2].map(known);
        }
        if header.alpha.is_some_and(|a| self.not_alpha.contains(&a)) {
            header.alpha = None;
        }
        header.alpha = self.alpha.into_iter().find(|a| *a < header.samples).or(header.alpha);
        if header.samples == 1 {
            // All there is of an image is not its mask.
            header.alpha = None;
        }
    }
}
