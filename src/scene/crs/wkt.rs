//! Well-known text as a tree: keywords with texts, numbers and further keywords in brackets.
//!
//! Written here because the ready-made parser of the `proj4rs` authors (`proj4wkt` 0.1.1) drops prime meridians, the units of
//! WKT2 and the codes of projected systems, and knows no `BOUNDCRS`.

/// A keyword and what stands in its brackets.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// In capitals.
    pub(super) keyword: String,
    /// Quoted texts and bare words (such as `north`), in order.
    pub(super) texts: Vec<String>,
    pub(super) numbers: Vec<f64>,
    pub(super) children: Vec<Node>,
}

/// Brackets within brackets, at most: real ones have about eight.
const MOST_DEPTH: usize = 40;
/// Bytes of a text, at most.
const MOST_BYTES: usize = 1 << 20;

/// The tree of a text, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.len() > MOST_BYTES {
        return Err("its WKT is longer than a megabyte".into());
    }
    let mut reader = Reader { rest: text.trim_matches(ignorable) };
    let node = reader.node(0)?;
    match reader.skip() {
        None => Ok(node),
        Some(c) => Err(format!("its WKT goes on with `{c}` after its end")),
    }
}

/// Blanks, and what tools leave around a text.
pub(super) fn ignorable(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\0')
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The next character that is no blank.
    fn skip(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches(ignorable);
        self.rest.chars().next()
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-'))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.into()
    }

    /// A quoted text; two quotes stand for one.
    fn quoted(&mut self) -> Result<String, String> {
        let mut out = String::new();
        loop {
            let end = self.rest[1..].find('"').ok_or("a quoted text of its WKT has no end")? + 1;
            out += &self.rest[1..end];
            self.rest = &self.rest[end + 1..];
            if !self.rest.starts_with('"') {
                return Ok(out);
            }
            out.push('"');
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, String> {
        self.skip();
        let keyword = self.word();
        if depth > MOST_DEPTH {
            return Err("the brackets of its WKT are too deep".into());
        }
        if keyword.is_empty() || !matches!(self.skip(), Some('[' | '(')) {
            return Err("its text is neither EPSG:nnnn, nor a PROJ string, nor WKT".into());
        }
        self.body(keyword, depth)
    }

    /// What stands in brackets, of which the first is next.
    fn body(&mut self, keyword: String, depth: usize) -> Result<Node, String> {
        if depth > MOST_DEPTH {
            return Err("the brackets of its WKT are too deep".into());
        }
        let mut node = Node { keyword: keyword.to_ascii_uppercase(), ..Node::default() };
        self.rest = &self.rest[1..];
        loop {
            match self.skip() {
                Some('"') => node.texts.push(self.quoted()?),
                Some(']' | ')') => {}
                Some(_) => {
                    let word = self.word();
                    if word.is_empty() {
                        return Err(format!("its WKT has a misplaced `{}`", self.rest.chars().next().unwrap_or(' ')));
                    }
                    if matches!(self.skip(), Some('[' | '(')) {
                        node.children.push(self.body(word, depth + 1)?);
                    } else if let Ok(value) = word.parse() {
                        node.numbers.push(value);
                    } else {
                        node.texts.push(word);
                    }
                }
                None => return Err("its WKT ends before its brackets do".into()),
            }
            match self.skip() {
                Some(',') => self.rest = &self.rest[1..],
                Some(']' | ')') => {
                    self.rest = &self.rest[1..];
                    return Ok(node);
                }
                _ => return Err("its WKT lacks a comma or a bracket".into()),
            }
        }
    }
}

impl Node {
    /// The first child of one of the keywords.
    pub(super) fn child(&self, keywords: &[&str]) -> Option<&Node> {
        self.children.iter().find(|c| keywords.contains(&c.keyword.as_str()))
    }

    /// All children of a keyword.
    pub(super) fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |c| c.keyword == keyword)
    }

    /// Its first text: the name.
    pub(super) fn name(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }

    /// Its own EPSG code, not that of a part.
    pub(super) fn epsg(&self) -> Option<u32> {
        let own = self.children.iter().filter(|c| matches!(c.keyword.as_str(), "AUTHORITY" | "ID"));
        own.filter(|c| c.name().eq_ignore_ascii_case("EPSG")).find_map(|c| {
            let text = c.texts.get(1).and_then(|t| t.trim().parse().ok());
            text.or_else(|| c.numbers.first().map(|n| *n as u32))
        })
    }
}
