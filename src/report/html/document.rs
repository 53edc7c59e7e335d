//! What is around any page: head, security policy, style, script, what was run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::super::ReportMeta;

/// A grid cell hit by radar waves.
const LOGO: &str = r#"<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"><path d="M3 9h12M3 15h12M3 21h12M3 9v12M9 9v12M15 9v12"/><path d="M14 5a5 5 0 0 1 5 5M14 1.5a8.500 8.500 0 0 1 8.500 8.500" stroke="var(--accent)"/></svg>"#;

const CSS: &str = concat!(include_str!("page.css"), include_str!("map.css"), include_str!("rows.css"));

/// Zoom, pan and the slider of maps. Pages are whole without it.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// Bytes of a page without its contents, and some to spare.
pub(in crate::report) fn frame_bytes() -> usize {
    CSS.len() + SCRIPT.len() + 8192
}

/// The only script that a page's policy lets run, by its hash.
pub(super) fn script_source() -> String {
    format!("'sha256-{}'", BASE64.encode(Sha256::digest(SCRIPT.as_bytes())))
}

/// A whole page around its contents; `map` says whether it has one, which the script serves.
pub(in crate::report) fn document(meta: &ReportMeta, body: &Markup, map: bool) -> String {
    let mut policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'".to_string();
    if map {
        policy += &format!("; script-src {}", script_source());
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (meta.title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    (body)
                    footer {
                        "echogrid " (meta.version)
                        @if !meta.adapter.is_empty() { " on " (meta.adapter) }
                        @if !meta.date.is_empty() { ", " (meta.date) }
                    }
                }
                @if map { script { (PreEscaped(SCRIPT)) } }
            }
        }
    };
    page.into_string()
}

/// The head of any page: title and a sentence.
pub(in crate::report) fn headed(meta: &ReportMeta, lead: &Markup) -> Markup {
    html! {
        header {
            div.brand { (PreEscaped(LOGO)) span { "echogrid" } }
            h1 { (meta.title) }
            p.lead { (lead) }
        }
    }
}

/// What was run, and how.
pub(in crate::report) fn run(meta: &ReportMeta) -> Markup {
    let version = if meta.version.is_empty() { String::new() } else { format!("echogrid {}", meta.version) };
    let named = [
        ("Map", &meta.map),
        ("SAR image", &meta.sar),
        ("Model", &meta.model),
        ("Adapter", &meta.adapter),
        ("Made", &meta.date),
        ("By", &version),
    ];
    let rows = named.into_iter().map(|(n, v)| (n, v.as_str())).filter(|(_, v)| !v.is_empty());
    let rows = rows.chain(meta.rows.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    html! {
        section {
            h2 { "Run" }
            dl.run { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } }
            @if !meta.command.is_empty() { pre.command { code { (meta.command) } } }
        }
    }
}
