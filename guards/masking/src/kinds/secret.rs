//! API keys known by their prefix, JWTs, private keys, and credentials known by the name they are assigned to.

use super::Span;
use crate::bytes::{
    at, before, contains_ignore_case, ends_with_ignore_case, skip_escape, starts_word, sub, word,
};
use crate::view::View;

/// The longest private key block that is one match.
pub const PEM_MAX: usize = 8_192;
const TOKEN_MAX: usize = 4_096;
const VALUE_MAX: usize = 256;
const USER_MAX: usize = 64;

/// What may follow a key's prefix.
#[derive(Clone, Copy)]
enum Body {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_` and `-`.
    Url,
    /// Capital letters and digits.
    Upper,
    /// Hex digits, lower case.
    Hex,
    /// As `Url`, with dots between parts.
    Dotted,
}

/// A documented key format: its prefix, what follows, and how many characters of it.
pub struct Format {
    /// The literal that begins it.
    pub prefix: &'static str,
    body: Body,
    min: usize,
    max: usize,
}

const fn format(prefix: &'static str, body: Body, min: usize, max: usize) -> Format {
    Format {
        prefix,
        body,
        min,
        max,
    }
}

/// Formats from the vendors' documentation.
pub const FORMATS: [Format; 46] = [
    format("sk-", Body::Url, 20, 256),
    format("sk_live_", Body::Alnum, 16, 128),
    format("sk_test_", Body::Alnum, 16, 128),
    format("rk_live_", Body::Alnum, 16, 128),
    format("rk_test_", Body::Alnum, 16, 128),
    format("whsec_", Body::Alnum, 24, 128),
    format("ghp_", Body::Alnum, 36, 255),
    format("gho_", Body::Alnum, 36, 255),
    format("ghu_", Body::Alnum, 36, 255),
    format("ghs_", Body::Alnum, 36, 255),
    format("ghr_", Body::Alnum, 36, 255),
    format("github_pat_", Body::Url, 60, 255),
    format("glpat-", Body::Url, 20, 128),
    format("gldt-", Body::Url, 20, 128),
    format("glrt-", Body::Url, 20, 128),
    format("AKIA", Body::Upper, 16, 16),
    format("ASIA", Body::Upper, 16, 16),
    format("AIza", Body::Url, 35, 35),
    format("ya29.", Body::Url, 30, 512),
    format("GOCSPX-", Body::Url, 28, 28),
    format("xoxb-", Body::Url, 20, 255),
    format("xoxp-", Body::Url, 20, 255),
    format("xoxa-", Body::Url, 20, 255),
    format("xoxs-", Body::Url, 20, 255),
    format("xapp-", Body::Url, 20, 255),
    format("hf_", Body::Alnum, 30, 64),
    format("npm_", Body::Alnum, 36, 36),
    format("pypi-", Body::Url, 50, 512),
    format("SG.", Body::Dotted, 60, 80),
    format("dop_v1_", Body::Hex, 64, 64),
    format("shpat_", Body::Hex, 32, 32),
    format("shpss_", Body::Hex, 32, 32),
    format("glsa_", Body::Url, 32, 64),
    format("lin_api_", Body::Alnum, 32, 64),
    format("figd_", Body::Url, 32, 64),
    format("sq0atp-", Body::Url, 22, 22),
    format("sq0csp-", Body::Url, 43, 43),
    format("tskey-", Body::Url, 20, 128),
    format("rdme_", Body::Alnum, 32, 80),
    format("dckr_pat_", Body::Url, 20, 64),
    format("gsk_", Body::Alnum, 40, 64),
    format("xai-", Body::Alnum, 60, 128),
    format("pplx-", Body::Alnum, 40, 64),
    format("r8_", Body::Alnum, 37, 37),
    format("hvs.", Body::Url, 24, 128),
    format("AGE-SECRET-KEY-1", Body::Upper, 58, 58),
];

/// The literal that begins a JSON Web Token (`{"` in base64url).
pub const JWT: &str = "eyJ";
/// The literal that begins a private key.
pub const PEM: &str = "-----BEGIN ";
/// What separates a URL's scheme from its credentials.
pub const URL: &str = "://";
/// HTTP authentication schemes.
pub const BEARER: &str = "bearer ";
/// As `BEARER`.
pub const BASIC: &str = "basic ";

/// How sure a name is that what it is assigned is secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// A password: any text.
    Password,
    /// A key: letters and digits.
    Key,
    /// A token: as a key, but commits, digests and UUIDs are often called so and open nothing.
    Token,
}

/// Names of credentials, in lower case.
pub const NAMES: [(&str, Strength); 30] = [
    ("password", Strength::Password),
    ("passwd", Strength::Password),
    ("passphrase", Strength::Password),
    ("pwd", Strength::Password),
    ("db_pass", Strength::Password),
    ("รหัสผ่าน", Strength::Password),
    ("密码", Strength::Password),
    ("contraseña", Strength::Password),
    ("passwort", Strength::Password),
    ("mot de passe", Strength::Password),
    ("secret", Strength::Key),
    ("secret_key", Strength::Key),
    ("secretkey", Strength::Key),
    ("secret-key", Strength::Key),
    ("secret_access_key", Strength::Key),
    ("client_secret", Strength::Key),
    ("clientsecret", Strength::Key),
    ("api_key", Strength::Key),
    ("api-key", Strength::Key),
    ("apikey", Strength::Key),
    ("api key", Strength::Key),
    ("access_key", Strength::Key),
    ("accountkey", Strength::Key),
    ("auth_key", Strength::Key),
    ("encryption_key", Strength::Key),
    ("signing_key", Strength::Key),
    ("private_key", Strength::Key),
    ("token", Strength::Token),
    ("authtoken", Strength::Token),
    ("credential", Strength::Token),
];

fn body_char(body: Body, b: u8) -> bool {
    match body {
        Body::Alnum => b.is_ascii_alphanumeric(),
        Body::Url => word(b) || b == b'-',
        Body::Upper => b.is_ascii_uppercase() || b.is_ascii_digit(),
        Body::Hex => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        Body::Dotted => word(b) || b == b'-' || b == b'.',
    }
}

/// The key of a known format at `i`.
pub fn find_key(view: &View, i: usize, format: &Format) -> Option<Span> {
    let text = view.text;
    let from = i + format.prefix.len();
    if sub(text, i, from) != format.prefix.as_bytes() || !starts_word(text, i) || before(text, i) == b'-' {
        return None;
    }
    let mut end = from;
    while end - from <= format.max && body_char(format.body, view.ahead(end, i)) {
        end += 1;
    }
    while matches!(before(text, end), b'-' | b'.') && end > from {
        end -= 1;
    }
    let body = sub(text, from, end);
    let fits = (format.min..=format.max).contains(&body.len()) && !word(at(text, end));
    (fits && random(body) && !placeholder(body)).then_some(Span { start: i, end })
}

/// The JSON Web Token at `i`: three parts, of which the second begins as the first does.
pub fn find_jwt(view: &View, i: usize) -> Option<Span> {
    let text = view.text;
    if sub(text, i, i + JWT.len()) != JWT.as_bytes() || !starts_word(text, i) {
        return None;
    }
    let part = |from: usize| {
        let mut j = from;
        while j - i <= TOKEN_MAX && body_char(Body::Url, view.ahead(j, i)) {
            j += 1;
        }
        (j - from >= 8).then_some(j)
    };
    let header = part(i)?;
    if view.ahead(header, i) != b'.' {
        return None;
    }
    let payload = part(header + 1)?;
    if sub(text, header + 1, header + 4) != b"eyJ" || view.ahead(payload, i) != b'.' {
        return None;
    }
    let end = part(payload + 1)?;
    (end - i <= TOKEN_MAX).then_some(Span { start: i, end })
}

/// The private key block at `i`.
pub fn find_pem(view: &View, i: usize) -> Option<Span> {
    let text = view.text;
    if sub(text, i, i + PEM.len()) != PEM.as_bytes() {
        return None;
    }
    let mut header = i + PEM.len();
    while header - i < 64
        && (view.ahead(header, i).is_ascii_uppercase() || matches!(at(text, header), b' ' | b'0'..=b'9'))
    {
        header += 1;
    }
    if !sub(text, i, header).ends_with(b"PRIVATE KEY") || sub(text, header, header + 5) != b"-----" {
        view.ahead(header + 4, i);
        return None;
    }
    // The body: base64 in lines, with real or escaped line ends, quotes and comment marks of source code around them.
    let mut j = header + 5;
    let mut last = j;
    while j - i < PEM_MAX {
        let b = view.ahead(j, i);
        if b == b'-' && sub(text, j, j + 9) == b"-----END " {
            let mut end = j + 9;
            while end - j < 64 && view.ahead(end, i) != b'-' {
                end += 1;
            }
            while end - j < 80 && view.ahead(end, i) == b'-' {
                end += 1;
            }
            return Some(Span { start: i, end });
        }
        match b {
            b if b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=') => last = j + 1,
            b'\r' | b'\n' | b' ' | b'\t' | b'\\' | b'"' | b'\'' | b'-' | b',' | b':' => {}
            _ => break,
        }
        j += 1;
    }
    // Cut off before its end line, as in a truncated log: the lines so far.
    (last > header + 64).then_some(Span { start: i, end: last })
}

/// The password in `scheme://user:password@host`, for the `://` at `i`.
pub fn find_url_password(view: &View, i: usize) -> Option<Span> {
    let user = i + URL.len();
    let mut colon = user;
    loop {
        match view.ahead(colon, colon) {
            b':' => break,
            b if colon - user >= USER_MAX || delimits_url(b) || b == b'@' => return None,
            _ => colon += 1,
        }
    }
    let start = colon + 1;
    let mut end = start;
    loop {
        match view.ahead(end, start) {
            b'@' => break,
            b if end - start >= VALUE_MAX || delimits_url(b) => return None,
            _ => end += 1,
        }
    }
    let value = sub(view.text, start, end);
    (value.len() >= 3 && !placeholder(value) && host_follows(view, end, start)).then_some(Span { start, end })
}

fn host_follows(view: &View, end: usize, start: usize) -> bool {
    let b = view.ahead(end + 1, start);
    b.is_ascii_alphanumeric() || b == b'['
}

fn delimits_url(b: u8) -> bool {
    b <= b' '
        || matches!(
            b,
            b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b')' | b'(' | b','
        )
}

/// The credentials after `Bearer ` or `Basic `, whose first byte is at `start`.
pub fn find_http(view: &View, start: usize, basic: bool) -> Option<Span> {
    let text = view.text;
    let scheme = if basic { BASIC.len() } else { BEARER.len() };
    let name = start.checked_sub(scheme)?;
    if !starts_word(text, name) {
        return None;
    }
    let mut end = start;
    while end - start <= TOKEN_MAX
        && (word(view.ahead(end, start)) || matches!(at(text, end), b'.' | b'~' | b'+' | b'/' | b'=' | b'-'))
    {
        end += 1;
    }
    while matches!(before(text, end), b'.' | b'-') && end > start {
        end -= 1;
    }
    let value = sub(text, start, end);
    let authorization = || {
        let head = sub(text, name.saturating_sub(24), name);
        contains_ignore_case(head, b"authorization")
    };
    let fits = if basic {
        value.len() >= 12 && authorization()
    } else {
        value.len() >= 16 && random(value)
    };
    (fits && value.len() <= TOKEN_MAX && !placeholder(value)).then_some(Span { start, end })
}

/// The value assigned to the credential name that ends at `i` and began at `name`.
pub fn find_assigned(view: &View, name: usize, i: usize, strength: Strength) -> Option<Span> {
    let text = view.text;
    // `max_token` is a credential's name, `tokens` and `password_hash` are not; CamelCase counts as a new word.
    let ascii = at(text, name).is_ascii();
    let camel = at(text, name).is_ascii_uppercase() || before(text, name) == b'_' || starts_word(text, name);
    let first = skip_escape(text, name, i);
    if ascii && !camel && first == name {
        return None;
    }
    let (start, quote) = assigned_value(view, i)?;
    let mut end = start;
    loop {
        let b = view.ahead(end, start);
        let stop = match quote {
            Some(q) => b == q || b == b'\n' || b == 0,
            None => {
                b <= b' '
                    || matches!(
                        b,
                        b'"' | b'\''
                            | b'`'
                            | b','
                            | b';'
                            | b'&'
                            | b'<'
                            | b'>'
                            | b'('
                            | b')'
                            | b'{'
                            | b'}'
                            | b'['
                            | b']'
                            | b'|'
                    )
            }
        };
        if stop {
            break;
        }
        end += 1;
        if end - start > VALUE_MAX {
            return None;
        }
    }
    if quote.is_some() && at(text, end) != quote.unwrap_or(0) {
        return None;
    }
    // The backslash of an escaped closing quote, and a sentence's last dot.
    while end > start
        && (before(text, end) == b'\\'
            || (quote.is_none() && matches!(before(text, end), b'.' | b':' | b'!' | b'?')))
    {
        end -= 1;
    }
    let value = sub(text, start, end);
    let called = quote.is_none() && matches!(at(text, end), b'(' | b'[' | b'{');
    (!called && secret(value, strength, quote.is_some())).then_some(Span { start, end })
}

// From a name to its value: `name = value`, `"name": "value"`, `name => 'value'`, `name is value`, `NAME=value`.
fn assigned_value(view: &View, i: usize) -> Option<(usize, Option<u8>)> {
    let text = view.text;
    let mut j = i;
    let limit = i + 24;
    let skip = |j: &mut usize, set: &[u8]| {
        while *j < limit && set.contains(&view.ahead(*j, *j)) && *j < text.len() {
            *j += 1;
        }
    };
    skip(&mut j, b"\\\"'`]");
    skip(&mut j, b" \t");
    // A type between a name and its value: `password: str = "..."`.
    let sign = j;
    skip(&mut j, b":=>");
    if j == sign {
        // `password is hunter2`
        if !(sub(text, sign, sign + 3).eq_ignore_ascii_case(b"is ")) {
            return None;
        }
        j = sign + 2;
    }
    if sub(text, sign, j) == b"==" || sub(text, sign, j) == b"===" || sub(text, sign, j) == b"::" {
        return None;
    }
    skip(&mut j, b" \t");
    for kind in ["str = ", "string = ", "String = ", "str=", "string="] {
        if sub(text, j, j + kind.len()) == kind.as_bytes() {
            j += kind.len();
        }
    }
    skip(&mut j, b"\\");
    let quote = view.ahead(j, j);
    Some(if matches!(quote, b'"' | b'\'' | b'`') {
        (j + 1, Some(quote))
    } else {
        (j, None)
    })
}

fn secret(value: &[u8], strength: Strength, quoted: bool) -> bool {
    if placeholder(value) || value.is_empty() {
        return false;
    }
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let digit = has(u8::is_ascii_digit);
    let letter = has(u8::is_ascii_alphabetic);
    let symbol = value
        .iter()
        .any(|b| b.is_ascii_punctuation() && !matches!(b, b'.' | b'_' | b'-' | b'/'));
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let spaces = value.iter().filter(|b| **b == b' ').count();
    match (strength, quoted) {
        (Strength::Password, true) => {
            let single = spaces == 0 && (symbol || mixed);
            value.len() >= 6 && spaces <= 6 && (digit || single)
        }
        (Strength::Password, false) => value.len() >= 6 && !code(value) && letter && (digit || symbol),
        (_, quoted) => {
            let long = match (quoted, strength) {
                (true, Strength::Key) => 8,
                (true, _) => 12,
                _ => 16,
            };
            let named = strength == Strength::Token && identifier(value);
            value.len() >= long && spaces == 0 && digit && letter && !code(value) && !named
        }
    }
}

// `self.settings.password1`, `config.get`, `$PASSWORD`: a reference, not a value.
fn code(value: &[u8]) -> bool {
    let dotted = value.contains(&b'.')
        && value.iter().all(|&b| word(b) || b == b'.')
        && !value.iter().any(u8::is_ascii_digit);
    dotted
        || value.starts_with(b"$")
        || value.starts_with(b"%s")
        || value.starts_with(b"%(")
        || value.starts_with(b"process.")
        || value.starts_with(b"os.")
        || value.starts_with(b"env.")
        || value.starts_with(b"settings.")
        || value.starts_with(b"http://")
        || value.starts_with(b"https://")
        || value.starts_with(b"/")
}

// UUIDs, commits and digests.
fn identifier(value: &[u8]) -> bool {
    let hex = value.iter().all(u8::is_ascii_hexdigit) && matches!(value.len(), 32 | 40);
    let uuid = value.len() == 36
        && value.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    let digest =
        value.starts_with(b"sha256:") || value.starts_with(b"sha512-") || value.starts_with(b"sha1:");
    uuid || hex || digest
}

// What documentation writes in the place of a secret.
fn placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"example",
        b"your",
        b"changeme",
        b"change-me",
        b"placeholder",
        b"redacted",
        b"dummy",
        b"insert",
        b"xxxx",
        b"****",
        b"....",
        b"<",
        b"${",
        b"{{",
    ];
    // A bit per byte value.
    let mut seen = [0_u64; 4];
    for &b in value {
        if let Some(word) = seen.get_mut(usize::from(b / 64)) {
            *word |= 1 << (b % 64);
        }
    }
    let distinct: u32 = seen.iter().map(|word| word.count_ones()).sum();
    let has = |b: u8| {
        seen.get(usize::from(b / 64))
            .is_some_and(|word| word >> (b % 64) & 1 == 1)
    };
    let begins = |b: u8| has(b) || has(b.to_ascii_uppercase());
    let fake = WORDS
        .iter()
        .any(|w| w.first().is_some_and(|&b| begins(b)) && contains_ignore_case(value, w));
    let name = [
        "password",
        "secret",
        "token",
        "pass",
        "null",
        "none",
        "undefined",
        "true",
        "false",
    ];
    fake || (distinct < 4 && value.len() > 4)
        || name.iter().any(|n| value.eq_ignore_ascii_case(n.as_bytes()))
        || (value.starts_with(b"[") && value.ends_with(b"]"))
        || ends_with_ignore_case(value, value.len(), b"_here")
}

// Digits and letters mixed, as in what a generator makes.
fn random(value: &[u8]) -> bool {
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let upper = value.iter().any(u8::is_ascii_uppercase);
    letters >= 2 && digits >= 1 && (upper || digits >= 3 || value.len() >= 40)
}
