//! The shader preprocessor and reflection.
//!
//! Directives stand alone on a line: `#import name` (a file of shaders/lib, once), `#include name` (the same, each time), `#if EXPR` / `#else` / `#endif`,
//! `#for i in A..B` / `#endfor` (unrolled; naga keeps loops rolled). `${EXPR}` in a line is replaced by its value, or by an
//! identifier that a variant defines. Expressions are integers, names, `+ - * / % ( )`, comparisons, `&&`, `||`, `!`.
//! Integer constants of a variant are injected as `const NAME = value;` at the top.

use super::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// One kernel family's shader: its stem and its text.
#[derive(Debug, Clone, Copy)]
pub struct ShaderSource {
    /// File stem under shaders/.
    pub stem: &'static str,
    /// The unprocessed text.
    pub text: &'static str,
}

/// Names a shader of shaders/ by its stem: `shader!("conv")`.
#[macro_export]
macro_rules! shader {
    ($stem:literal) => {
        $crate::gpu::ShaderSource { stem: $stem, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $stem, ".wgsl")) }
    };
}

macro_rules! lib {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/lib/", $name, ".wgsl")))),*] };
}

const LIB: &[(&str, &str)] = lib![
    "circle",
    "cooperative",
    "cooperative_begin",
    "cooperative_multiply",
    "cooperative_put",
    "eights",
    "factor",
    "fold",
    "keys",
    "lane_multiply",
    "lanes",
    "nan",
    "overlap",
    "pairs",
    "radix",
    "relax",
    "rng",
    "rows",
    "score_tile",
    "share",
    "tile",
    "tile_multiply",
    "tile_step"
];

/// The texts that shaders import.
pub(crate) fn library() -> impl Iterator<Item = &'static str> {
    LIB.iter().map(|(_, text)| *text)
}

/// The constants of one variant of a shader: integers, and identifiers (types, for instance).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    ints: BTreeMap<&'static str, i64>,
    idents: BTreeMap<&'static str, &'static str>,
}

impl Variant {
    /// No constants.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an integer constant.
    #[must_use]
    pub fn int(mut self, name: &'static str, value: impl Into<i64>) -> Self {
        self.ints.insert(name, value.into());
        self
    }

    /// With a switch: 1 or 0.
    #[must_use]
    pub fn flag(self, name: &'static str, on: bool) -> Self {
        self.int(name, i64::from(on))
    }

    /// With an identifier, for `${NAME}`.
    #[must_use]
    pub fn ident(mut self, name: &'static str, value: &'static str) -> Self {
        self.idents.insert(name, value);
        self
    }

    /// Whether an identifier is a type of 16-bit floats.
    pub(crate) fn has_f16(&self) -> bool {
        self.idents.values().any(|v| v.contains("f16"))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.ints.iter().map(|(k, v)| format!("{k}={v}")).chain(self.idents.iter().map(|(k, v)| format!("{k}={v}"))).collect();
        f.write_str(&parts.join(" "))
    }
}

/// Expands a shader for a variant into plain WGSL.
///
/// # Errors
/// An unknown import or name, an unbalanced directive, a malformed expression; with the line.
pub fn expand(source: &ShaderSource, variant: &Variant) -> Result<String> {
    let fail = |reason: String| Error::Shader { stem: source.stem.into(), variant: variant.to_string(), reason };
    let mut out = String::with_capacity(source.text.len() * 2);
    for (name, value) in &variant.ints {
        out.push_str(&format!("const {name} = {value};\n"));
    }
    let mut state = Expander { variant, imported: Vec::new() };
    // `enable` directives must come before every declaration.
    let (enables, text): (Vec<&str>, Vec<&str>) = source.text.lines().partition(|l| l.starts_with("enable "));
    let mut loops = Vec::new();
    state.block(&text, &mut loops, &mut out).map_err(fail)?;
    let enables: String = enables.iter().map(|l| format!("{l}\n")).collect();
    let cooperative = out.contains("coopLoad");
    let f16 = cooperative || variant.has_f16();
    let used = [(f16, "enable f16;\n"), (cooperative, "enable wgpu_cooperative_matrix;\n")];
    let used: String = used.iter().filter(|(on, _)| *on).map(|(_, line)| *line).collect();
    Ok(format!("{used}{enables}{out}"))
}

struct Expander<'v> {
    variant: &'v Variant,
    imported: Vec<String>,
}

impl Expander<'_> {
    fn block(&mut self, lines: &[&str], loops: &mut Vec<(String, i64)>, out: &mut String) -> Result<(), String> {
        let mut i = 0;
        while i < lines.len() {
            let line = lines[i];
            let directive = line.trim_start();
            let at = |e: String| format!("`{}`: {e}", directive.trim_end());
            let import = directive.strip_prefix("#import ");
            if let Some(name) = import.or(directive.strip_prefix("#include ")) {
                let name = name.trim();
                if import.is_none() || !self.imported.iter().any(|n| n == name) {
                    let (_, text) = LIB.iter().find(|(n, _)| *n == name).ok_or_else(|| at("no such file in shaders/lib".into()))?;
                    self.imported.push(name.into());
                    let text: Vec<&str> = text.lines().collect();
                    self.block(&text, loops, out)?;
                }
                i += 1;
            } else if let Some(cond) = directive.strip_prefix("#if ") {
                let (els, end) = matching(lines, i, "#if ", "#endif").map_err(at)?;
                let yes = self.eval(cond, loops).map_err(at)? != 0;
                let (from, to) = match (yes, els) {
                    (true, e) => (i + 1, e.unwrap_or(end)),
                    (false, Some(e)) => (e + 1, end),
                    (false, None) => (end, end),
                };
                self.block(&lines[from..to], loops, out)?;
                i = end + 1;
            } else if let Some(head) = directive.strip_prefix("#for ") {
                let (_, end) = matching(lines, i, "#for ", "#endfor").map_err(at)?;
                let (name, range) = head.split_once(" in ").ok_or_else(|| at("expected `#for i in A..B`".into()))?;
                let (a, b) = range.split_once("..").ok_or_else(|| at("expected `A..B`".into()))?;
                let (a, b) = (self.eval(a, loops).map_err(at)?, self.eval(b, loops).map_err(at)?);
                for v in a..b {
                    loops.push((name.trim().into(), v));
                    self.block(&lines[i + 1..end], loops, out)?;
                    loops.pop();
                }
                i = end + 1;
            } else if directive.starts_with('#') {
                return Err(at("unknown or unbalanced directive".into()));
            } else {
                self.substitute(line, loops, out).map_err(at)?;
                out.push('\n');
                i += 1;
            }
        }
        Ok(())
    }

    fn substitute(&self, line: &str, loops: &[(String, i64)], out: &mut String) -> Result<(), String> {
        let mut rest = line;
        while let Some(p) = rest.find("${") {
            out.push_str(&rest[..p]);
            let len = rest[p..].find('}').ok_or("`${` without `}`")?;
            let expr = rest[p + 2..p + len].trim();
            if let Some(ident) = self.variant.idents.get(expr) {
                out.push_str(ident);
            } else {
                out.push_str(&self.eval(expr, loops)?.to_string());
            }
            rest = &rest[p + len + 1..];
        }
        out.push_str(rest);
        Ok(())
    }

    fn eval(&self, expr: &str, loops: &[(String, i64)]) -> Result<i64, String> {
        let lookup = |name: &str| {
            loops
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| *v)
                .or_else(|| self.variant.ints.get(name).copied())
                .ok_or(format!("`{name}` is not defined"))
        };
        let mut p = Parser { text: expr.as_bytes(), at: 0, lookup: &lookup };
        let v = p.binary(0)?;
        p.space();
        if p.at < p.text.len() { Err(format!("cannot read `{}`", &expr[p.at..])) } else { Ok(v) }
    }
}

fn matching(lines: &[&str], start: usize, open: &str, close: &str) -> Result<(Option<usize>, usize), String> {
    let (mut depth, mut els) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(start) {
        let l = line.trim();
        if line.trim_start().starts_with(open) {
            depth += 1;
        } else if l == close {
            depth -= 1;
            if depth == 0 {
                return Ok((els, i));
            }
        } else if l == "#else" && depth == 1 && open == "#if " {
            els = Some(i);
        }
    }
    Err(format!("no `{close}`"))
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    lookup: &'a dyn Fn(&str) -> Result<i64, String>,
}

impl Parser<'_> {
    const LEVELS: &'static [&'static [&'static str]] =
        &[&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

    fn space(&mut self) {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        let Some(ops) = Self::LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        'next: loop {
            self.space();
            for op in *ops {
                if self.text[self.at..].starts_with(op.as_bytes()) {
                    self.at += op.len();
                    let right = self.binary(level + 1)?;
                    left = match *op {
                        "||" => i64::from(left != 0 || right != 0),
                        "&&" => i64::from(left != 0 && right != 0),
                        "==" => i64::from(left == right),
                        "!=" => i64::from(left != right),
                        "<=" => i64::from(left <= right),
                        ">=" => i64::from(left >= right),
                        "<" => i64::from(left < right),
                        ">" => i64::from(left > right),
                        "+" => left + right,
                        "-" => left - right,
                        "*" => left * right,
                        "/" => left.checked_div(right).ok_or("division by zero")?,
                        _ => left.checked_rem(right).ok_or("division by zero")?,
                    };
                    continue 'next;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.space();
        match self.text.get(self.at) {
            Some(b'!') => {
                self.at += 1;
                Ok(i64::from(self.unary()? == 0))
            }
            Some(b'-') => {
                self.at += 1;
                Ok(-self.unary()?)
            }
            Some(b'(') => {
                self.at += 1;
                let v = self.binary(0)?;
                self.space();
                if self.text.get(self.at) != Some(&b')') {
                    return Err("expected `)`".into());
                }
                self.at += 1;
                Ok(v)
            }
            Some(c) if c.is_ascii_alphanumeric() || *c == b'_' => {
                let start = self.at;
                while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
                    self.at += 1;
                }
                let word = std::str::from_utf8(&self.text[start..self.at]).expect("ASCII");
                word.parse().or_else(|_| (self.lookup)(word))
            }
            _ => Err("expected a number or a name".into()),
        }
    }
}

/// How a binding of a shader is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
    /// `var<uniform>`, with its size in bytes.
    Uniform(u32),
    /// `texture_2d_array<f32>`
    TextureArray,
}

/// What reflection tells of an expanded shader.
#[derive(Debug)]
pub struct Reflection {
    /// The parsed module.
    pub module: naga::Module,
    /// Bindings of group 0 in order: name and kind.
    pub bindings: Vec<(String, BindingKind)>,
    /// `@workgroup_size` of `main`.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
}

/// Parses an expanded shader and lists its bindings.
///
/// # Errors
/// WGSL errors with the place; a binding that is not in group 0 or not dense.
pub fn reflect(stem: &str, variant: &str, wgsl: &str) -> Result<Reflection> {
    let fail = |reason: String| Error::Shader { stem: stem.into(), variant: variant.into(), reason };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| fail(e.emit_to_string(wgsl)))?;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| fail(e.to_string()))?;
    let mut found = BTreeMap::new();
    let mut workgroup_bytes = 0;
    for (_, var) in module.global_variables.iter() {
        if var.space == naga::AddressSpace::WorkGroup {
            workgroup_bytes += layouter[var.ty].size.next_multiple_of(16);
        }
        let Some(binding) = &var.binding else { continue };
        if binding.group != 0 {
            return Err(fail(format!("binding `{}` is not in @group(0)", var.name.as_deref().unwrap_or("?"))));
        }
        let kind = match var.space {
            naga::AddressSpace::Uniform => BindingKind::Uniform(layouter[var.ty].size),
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => BindingKind::ReadWrite,
            naga::AddressSpace::Storage { .. } => BindingKind::Read,
            naga::AddressSpace::Handle => BindingKind::TextureArray,
            other => return Err(fail(format!("address space {other:?} is not supported"))),
        };
        found.insert(binding.binding, (var.name.clone().unwrap_or_default(), kind));
    }
    if found.keys().copied().ne(0..found.len() as u32) {
        return Err(fail("bindings are not numbered 0, 1, 2, ...".into()));
    }
    let entry = module.entry_points.iter().find(|e| e.name == "main").ok_or_else(|| fail("no entry point `main`".into()))?;
    let workgroup_size = entry.workgroup_size;
    Ok(Reflection { bindings: found.into_values().collect(), workgroup_size, workgroup_bytes, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &'static str, v: &Variant) -> Result<String> {
        expand(&ShaderSource { stem: "t", text }, v)
    }

    #[test]
    fn unrolls_and_chooses() {
        let v = Variant::new().int("N", 2).flag("ON", true).ident("T", "f32");
        let got = run("#if ON && N == 2\n#for i in 0..N\nlet a${i} = ${T}(${i*4 + 1});\n#endfor\n#else\nno\n#endif", &v).unwrap();
        assert_eq!(got, "const N = 2;\nconst ON = 1;\nlet a0 = f32(1);\nlet a1 = f32(5);\n");
    }

    #[test]
    fn refuses_with_the_line() {
        for (text, word) in [
            ("#if X\n#endif", "`X` is not defined"),
            ("#for i in 0..2\n", "#endfor"),
            ("#import nope", "shaders/lib"),
            ("a ${1+}", "expected a number"),
        ] {
            let e = run(text, &Variant::new()).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    }
}
