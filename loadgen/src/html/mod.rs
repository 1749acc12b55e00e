//! Reports as one HTML file: no script, no network, light and dark, fit for paper.

pub mod axis;
pub mod chart;
pub mod page;
mod plots;
mod tables;

/// Text as HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
