//! IP addresses of both versions, told apart from version numbers, section numbers, object identifiers and times.

use super::Span;
use crate::bytes::{at, before, ends_with_ignore_case, escape_letter, letters_before, sub, word};
use crate::view::View;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Words before a dotted number that say that it is no address.
const NOT_BEFORE: [&str; 17] = [
    "version", "ver", "release", "rev", "revision", "build", "section", "sec", "chapter", "clause", "figure",
    "fig", "table", "appendix", "firmware", "driver", "upgrade",
];

/// The address whose first digit is at `i`.
pub fn find_v4(view: &View, i: usize, exempt: bool) -> Option<Span> {
    let text = view.text;
    // Most numbers are no address: told before anything else.
    let mut first = i;
    while first - i < 4 && at(text, first).is_ascii_digit() {
        first += 1;
    }
    if first < text.len() && at(text, first) != b'.' {
        return None;
    }
    let prev = before(text, i);
    if (word(prev) && !escape_letter(text, i)) || matches!(prev, b'.' | b'^' | b'~') {
        return None;
    }
    // `name-1.2.3.4` is a package; `10.0.0.1-10.0.0.9` is a range.
    if prev == b'-' && before(text, i - 1).is_ascii_alphabetic() {
        return None;
    }
    let mut octets = [0_u8; 4];
    let mut j = i;
    for (n, octet) in octets.iter_mut().enumerate() {
        if n > 0 {
            if view.ahead(j, i) != b'.' {
                return None;
            }
            j += 1;
        }
        let from = j;
        while j - from < 4 && view.ahead(j, i).is_ascii_digit() {
            j += 1;
        }
        let digits = sub(text, from, j);
        if digits.is_empty() || digits.len() > 3 || (digits.len() > 1 && digits.starts_with(b"0")) {
            return None;
        }
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        *octet = u8::try_from(value).ok()?;
    }
    let next = view.ahead(j, i);
    if word(next) || (next == b'.' && word(view.ahead(j + 1, i))) {
        return None;
    }
    // `1.2.3.4-rc1` and `1.2.3.4+build` are versions.
    if matches!(next, b'-' | b'+') && view.ahead(j + 1, i).is_ascii_alphabetic() {
        return None;
    }
    if versioned(text, i, octets) || (exempt && example_v4(octets)) || mask(octets) {
        return None;
    }
    Some(Span { start: i, end: j })
}

fn versioned(text: &[u8], i: usize, octets: [u8; 4]) -> bool {
    // `Chrome/120.0.0.0`, but not `http://10.0.0.1` and `host/10.0.0.1`.
    if before(text, i) == b'/' && before(text, i - 1).is_ascii_alphabetic() && octets.ends_with(&[0]) {
        return true;
    }
    // `package@1.2.3.4`, but not `root@34.1.2.3`: parts of versions are small.
    if before(text, i) == b'@' && octets.iter().all(|&o| o < 34) {
        return true;
    }
    // `package==1.2.3.4`, `>=1.2.3.4`.
    if before(text, i) == b'=' && matches!(before(text, i - 1), b'=' | b'>' | b'<' | b'~' | b'!') {
        return true;
    }
    // `version: "1.2.3.4"`, `AssemblyVersion("1.0.0.0")`, `v. 1.2.3.4`.
    let mut j = i;
    while j > 0
        && i - j < 6
        && matches!(
            before(text, j),
            b' ' | b':' | b'=' | b'"' | b'\'' | b'(' | b'.' | b'\\'
        )
    {
        j -= 1;
    }
    let name = letters_before(text, j, 24);
    j < i
        && (name.eq_ignore_ascii_case(b"v")
            || NOT_BEFORE.iter().any(|w| name.eq_ignore_ascii_case(w.as_bytes()))
            || ends_with_ignore_case(name, name.len(), b"version"))
}

// Loopback, unspecified, broadcast and the documentation networks of RFC 5737.
fn example_v4(octets: [u8; 4]) -> bool {
    let ip = Ipv4Addr::from(octets);
    ip.is_loopback() || ip.is_unspecified() || ip.is_broadcast() || ip.is_documentation()
}

// Netmasks (255.255.255.0) and other numbers that are no host's address.
fn mask(octets: [u8; 4]) -> bool {
    matches!(octets, [255, ..]) || matches!(octets, [0, ..])
}

const V6_MAX: usize = 45;

fn v6_char(b: u8) -> bool {
    b.is_ascii_hexdigit() || b == b':'
}

/// The address around the first colon, at `i`.
pub fn find_v6(view: &View, i: usize, exempt: bool) -> Option<Span> {
    let text = view.text;
    // Cheap refusals first: a colon is common.
    let (prev, next) = (before(text, i), view.ahead(i + 1, i.saturating_sub(4)));
    if !v6_char(next) || !(prev.is_ascii_hexdigit() || next == b':') || prev == b':' {
        return None;
    }
    let mut start = i;
    while start > 0 && i - start < 5 && v6_char(before(text, start)) {
        start -= 1;
    }
    if sub(text, start, i).contains(&b':') {
        return None; // not the first colon
    }
    let prev = before(text, start);
    if i - start > 4 || word(prev) || matches!(prev, b'.' | b':' | b'-' | b'/') {
        return None;
    }
    let mut end = i;
    while end - start <= V6_MAX && v6_char(view.ahead(end, start)) {
        end += 1;
    }
    if at(text, end) == b'.' && sub(text, i, end).iter().filter(|&&b| b == b':').count() >= 2 {
        // An embedded IPv4 address.
        let mut j = end;
        while j - start <= V6_MAX && (view.ahead(j, start).is_ascii_digit() || at(text, j) == b'.') {
            j += 1;
        }
        while before(text, j) == b'.' {
            j -= 1;
        }
        if parse(text, start, j).is_some() {
            end = j;
        }
    }
    // A sentence's colon after the address.
    if before(text, end) == b':' && before(text, end - 1) != b':' {
        end -= 1;
    }
    if word(view.ahead(end, start)) {
        return None;
    }
    let ip = parse(text, start, end)?;
    let groups = || sub(text, start, end).split(|&b| b == b':');
    let longest = groups().map(<[u8]>::len).max().unwrap_or(0);
    let digit = sub(text, start, end).iter().any(u8::is_ascii_digit);
    let documentation = matches!(ip.segments(), [0x2001, 0xdb8, ..]);
    let local = ip.is_loopback() || ip.is_unspecified();
    // `a::b` is a path in some languages, and pairs of hex digits are a hardware address.
    let plain = digit && (longest >= 3 || groups().count() > 4) && !groups().all(|g| g.len() == 2);
    (plain && !local && !(exempt && documentation)).then_some(Span { start, end })
}

fn parse(text: &[u8], start: usize, end: usize) -> Option<Ipv6Addr> {
    core::str::from_utf8(sub(text, start, end)).ok()?.parse().ok()
}
