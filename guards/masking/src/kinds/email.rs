//! E-mail addresses.

use super::Span;
use crate::bytes::{at, before, escape_letter, skip_escape, sub};
use crate::view::View;

/// RFC 5321, 4.5.3.1: the longest local part and domain.
pub const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

/// File and unit suffixes that are not top-level domains but follow an `@` in names such as `logo@2x.png`.
const NOT_DOMAINS: [&str; 32] = [
    "png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "css", "js", "ts", "tsx", "jsx", "json", "html",
    "class", "java", "go", "lock", "txt", "xml", "log", "yaml", "yml", "toml", "service", "socket", "timer",
    "target", "slice", "mount", "scope", "tgz",
];

/// Domains kept for documentation and tests (RFC 2606, RFC 6761).
const EXAMPLE_DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
const EXAMPLE_SUFFIXES: [&str; 4] = ["example", "invalid", "test", "localhost"];

pub fn local_char(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-')
}

/// The address around the `@` at `i`.
pub fn find(view: &View, i: usize, exempt: bool) -> Option<Span> {
    let text = view.text;
    let mut start = i;
    while start > 0 && local_char(before(text, start)) {
        start -= 1;
        if i - start > LOCAL_MAX {
            return None;
        }
    }
    start = skip_escape(text, start, i);
    while start < i && !(at(text, start).is_ascii_alphanumeric() || at(text, start) == b'_') {
        start += 1;
    }
    if start == i || before(text, i) == b'.' || (before(text, start) == b'/' && at(text, start) == b'_') {
        return None;
    }
    let end = domain(view, i + 1, start)?;
    let host = sub(text, i + 1, end);
    // `git@host:path` and `git@host/path` are addresses of repositories.
    if sub(text, start, i) == b"git" && matches!(view.ahead(end, start), b':' | b'/') {
        return None;
    }
    if exempt && example(host) {
        return None;
    }
    Some(Span { start, end })
}

// The end of the longest host name at `from` whose last label is alphabetic.
fn domain(view: &View, from: usize, start: usize) -> Option<usize> {
    let mut i = from;
    let mut label = from;
    let mut best = None;
    loop {
        let b = view.ahead(i, start);
        if b.is_ascii_alphanumeric() || (b == b'-' && i > label) {
            i += 1;
            if i - label > 63 || i - from > DOMAIN_MAX {
                return None;
            }
            continue;
        }
        // A label has ended, at `i`.
        let name = sub(view.text, label, i);
        if name.is_empty() || name.ends_with(b"-") {
            break;
        }
        if label > from && top_level(name) {
            best = Some(i);
        }
        if b != b'.' {
            // `user@host.domain_name` or `@` again: not an address.
            if matches!(b, b'_' | b'@') {
                return None;
            }
            break;
        }
        i += 1;
        label = i;
    }
    best
}

fn top_level(label: &[u8]) -> bool {
    (2..=24).contains(&label.len())
        && (label.iter().all(u8::is_ascii_alphabetic) || label.starts_with(b"xn--"))
        && !NOT_DOMAINS
            .iter()
            .any(|s| label.eq_ignore_ascii_case(s.as_bytes()))
}

fn example(host: &[u8]) -> bool {
    let ends = |name: &str| {
        let n = host.len();
        crate::bytes::ends_with_ignore_case(host, n, name.as_bytes())
            && (n == name.len() || at(host, n - name.len() - 1) == b'.')
    };
    EXAMPLE_DOMAINS.iter().any(|d| ends(d)) || EXAMPLE_SUFFIXES.iter().any(|d| ends(d))
}

/// Where a value could begin that the next bytes complete: the run of local-part characters at the end.
pub fn tail(text: &[u8]) -> usize {
    let mut start = text.len();
    while start > 0 && local_char(before(text, start)) {
        start -= 1;
        if text.len() - start > LOCAL_MAX + 6 {
            return text.len();
        }
    }
    if start < text.len() && escape_letter(text, start + 1) {
        start += 1;
    }
    // `(` opens a phone number.
    if before(text, start) == b'(' {
        start -= 1;
    }
    start
}
