//! Strict JSON in one pass over the bytes, without building a tree.
//!
//! Why not `serde_json`: a guard needs what it does not tell, namely where in the body a value stands (so that one
//! value is replaced and the rest goes on byte for byte), whether a key is there twice (two readers may then see
//! two different requests), and all that at the cost of a look at each byte. What is accepted is what `serde_json`
//! accepts (property tests compare the two), less duplicate keys and nesting beyond [`MAX_DEPTH`].

use memchr::memchr2;
use std::borrow::Cow;
use std::ops::Range;

/// Objects and arrays within each other; the same bound as `serde_json`'s.
pub const MAX_DEPTH: usize = 127;
/// What most bodies stay below, so that one allocation does.
const USUAL_DEPTH: usize = 8;
const USUAL_KEYS: usize = 16;

/// Why a body is refused, in words that help who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub reason: &'static str,
    /// The byte at which it was noticed.
    pub at: usize,
}

/// A string as it stands in the body: what is between the quotes, still escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Str<'a> {
    raw: &'a [u8],
    start: usize,
    escaped: bool,
}

impl<'a> Str<'a> {
    const EMPTY: Str<'static> = Str {
        raw: b"",
        start: 0,
        escaped: false,
    };

    /// The bytes between the quotes, escapes as they are. Valid UTF-8.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is a backslash in it.
    pub fn escaped(&self) -> bool {
        self.escaped
    }

    /// Where the bytes between the quotes stand in the body.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// The text, escapes decoded; half of a surrogate pair becomes U+FFFD.
    pub fn text(&self) -> Cow<'a, str> {
        let raw = String::from_utf8_lossy(self.raw);
        if self.escaped {
            Cow::Owned(unescape(&raw))
        } else {
            raw
        }
    }

    /// Whether no reader, however lax, sees another key in it: no escape, no capital, nothing beyond ASCII.
    pub fn plain_key(&self) -> bool {
        !self.escaped
            && self
                .raw
                .iter()
                .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    }

    /// Whether the decoded text is `other`.
    pub fn is(&self, other: &str) -> bool {
        if self.escaped {
            self.text() == other
        } else {
            self.raw == other.as_bytes()
        }
    }
}

/// A value, given when it is complete; a container when it opens and when it closes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A string.
    String(Str<'a>),
    /// A number as written.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// `{` or `[` was read.
    Open,
    /// `}` or `]` was read.
    Close,
}

/// One container around the value being read.
#[derive(Debug, Clone)]
struct Frame<'a> {
    array: bool,
    key: Str<'a>,
    index: usize,
    start: usize,
    hashes: usize,
}

/// Where a value stands: the keys and indexes from the root to it.
#[derive(Debug, Clone, Default)]
pub struct Path<'a> {
    frames: Vec<Frame<'a>>,
}

impl<'a> Path<'a> {
    /// How many containers are around the value; 0 for the root.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The key at a level (1 is the outermost), none in an array.
    pub fn key(&self, level: usize) -> Option<Str<'a>> {
        let frame = self.frames.get(level.checked_sub(1)?)?;
        (!frame.array).then_some(frame.key)
    }

    /// The nearest key: the value's own, or that of the array it is in.
    pub fn nearest_key(&self) -> Option<Str<'a>> {
        self.frames
            .iter()
            .rev()
            .find(|frame| !frame.array)
            .map(|frame| frame.key)
    }

    /// Where the container at a level begins in the body: its identity. (1 is the outermost)
    pub fn container(&self, level: usize) -> Option<usize> {
        self.frames.get(level.checked_sub(1)?).map(|frame| frame.start)
    }

    /// The position in the array at a level, none in an object.
    pub fn index(&self, level: usize) -> Option<usize> {
        let frame = self.frames.get(level.checked_sub(1)?)?;
        frame.array.then_some(frame.index)
    }

    /// Whether these are the steps from the root; `"[]"` is any element of an array.
    pub fn is(&self, steps: &[&str]) -> bool {
        self.frames.len() == steps.len() && self.starts(steps)
    }

    /// Whether the way from the root begins with these steps.
    pub fn starts(&self, steps: &[&str]) -> bool {
        self.frames.len() >= steps.len()
            && self.frames.iter().zip(steps).all(|(frame, step)| {
                if frame.array {
                    *step == "[]"
                } else {
                    *step != "[]" && frame.key.is(step)
                }
            })
    }
}

/// What wants to know of the values.
pub trait Visitor {
    /// A key of an object was read; the path ends with it.
    fn key(&mut self, _path: &Path<'_>, _key: Str<'_>) {}
    /// A value was read; the span is all of it in the body, quotes and brackets included (at [`Value::Open`], the
    /// bracket).
    fn value(&mut self, path: &Path<'_>, value: Value<'_>, span: Range<usize>);
}

impl<F: FnMut(&Path<'_>, Value<'_>, Range<usize>)> Visitor for F {
    fn value(&mut self, path: &Path<'_>, value: Value<'_>, span: Range<usize>) {
        self(path, value, span);
    }
}

/// Reads a whole body.
///
/// # Errors
/// When it is not exactly one JSON text in UTF-8, or says one thing twice.
pub fn scan(body: &[u8], visitor: &mut impl Visitor) -> Result<(), Malformed> {
    let text = utf8(body);
    let mut scanner = Scanner {
        body: text,
        at: 0,
        controls: text.iter().fold(false, |any, &byte| any | (byte < 0x20)),
        path: Path {
            frames: Vec::with_capacity(USUAL_DEPTH),
        },
        hashes: Vec::with_capacity(USUAL_KEYS),
    };
    if text.starts_with(b"\xEF\xBB\xBF") {
        return scanner.fail("it begins with a byte order mark");
    }
    let read = scanner.document(visitor);
    if text.len() < body.len() && (read.is_ok() || scanner.at == text.len()) {
        return scanner.fail("it is not valid UTF-8");
    }
    read
}

/// A body's beginning as far as it is UTF-8: nearly always all of it. An answer may be cut within a character.
fn utf8(body: &[u8]) -> &[u8] {
    match simdutf8::basic::from_utf8(body) {
        Ok(text) => text.as_bytes(),
        Err(_) => {
            let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
            body.get(..valid).unwrap_or_default()
        }
    }
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
    /// Whether there is a control character anywhere, so that strings have to be searched for one.
    controls: bool,
    path: Path<'a>,
    /// Hashes of the keys of all open objects, one after another.
    hashes: Vec<u64>,
}

impl<'a> Scanner<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, Malformed> {
        Err(Malformed { reason, at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn document(&mut self, visitor: &mut impl Visitor) -> Result<(), Malformed> {
        self.space();
        let mut closed = self.value(visitor)?;
        loop {
            if closed {
                let Some(frame) = self.path.frames.last_mut() else { break };
                frame.index += 1;
                closed = self.next(visitor)?;
            } else {
                closed = self.first(visitor)?;
            }
        }
        self.space();
        if self.at == self.body.len() {
            Ok(())
        } else {
            self.fail("there is something after its end")
        }
    }

    /// The first member of the container just opened, or its end. True when a value was completed.
    fn first(&mut self, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        self.space();
        let array = self.path.frames.last().is_some_and(|frame| frame.array);
        match (array, self.peek()) {
            (true, Some(b']')) | (false, Some(b'}')) => self.close(visitor),
            (true, _) => self.value(visitor),
            (false, _) => self.member(visitor),
        }
    }

    /// What follows a member: another one, or the end of the container.
    fn next(&mut self, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        self.space();
        let array = self.path.frames.last().is_some_and(|frame| frame.array);
        match (array, self.peek()) {
            (_, Some(b',')) => {
                self.at += 1;
                self.space();
                if array {
                    self.value(visitor)
                } else {
                    self.member(visitor)
                }
            }
            (true, Some(b']')) | (false, Some(b'}')) => self.close(visitor),
            (_, None) => self.fail("it ends too early"),
            _ => self.fail("a comma or an end is missing"),
        }
    }

    fn member(&mut self, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        if self.peek() != Some(b'"') {
            return self.fail("a key in double quotes is missing");
        }
        let key = self.string()?;
        let top = self.path.frames.len() == 1;
        self.hashes.push(if top { folded_hash(&key) } else { hash(&key) });
        if let Some(frame) = self.path.frames.last_mut() {
            frame.key = key;
        }
        visitor.key(&self.path, key);
        self.space();
        if self.peek() != Some(b':') {
            return self.fail("a colon is missing");
        }
        self.at += 1;
        self.space();
        self.value(visitor)
    }

    /// Reads a value; false when it was only opened.
    fn value(&mut self, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'{') => return self.open(false, visitor),
            Some(b'[') => return self.open(true, visitor),
            Some(b't') => self.word(b"true", Value::Bool(true))?,
            Some(b'f') => self.word(b"false", Value::Bool(false))?,
            Some(b'n') => self.word(b"null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            None => return self.fail("it ends too early"),
            _ => return self.fail("a value is missing"),
        };
        visitor.value(&self.path, value, start..self.at);
        Ok(true)
    }

    fn open(&mut self, array: bool, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        if self.path.frames.len() >= MAX_DEPTH {
            return self.fail("it is nested too deeply");
        }
        visitor.value(&self.path, Value::Open, self.at..self.at + 1);
        let frame = Frame {
            array,
            key: Str::EMPTY,
            index: 0,
            start: self.at,
            hashes: self.hashes.len(),
        };
        self.path.frames.push(frame);
        self.at += 1;
        Ok(false)
    }

    fn close(&mut self, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
        self.at += 1;
        let Some(frame) = self.path.frames.pop() else {
            return self.fail("it closes what was not opened");
        };
        if !frame.array {
            let keys = self.hashes.get_mut(frame.hashes..).unwrap_or_default();
            if twice(keys) {
                return self.fail("an object has the same key twice");
            }
            self.hashes.truncate(frame.hashes);
        }
        visitor.value(&self.path, Value::Close, frame.start..self.at);
        Ok(true)
    }

    fn word(&mut self, word: &[u8], value: Value<'a>) -> Result<Value<'a>, Malformed> {
        if self.body.get(self.at..self.at + word.len()) != Some(word) {
            return self.fail("a value is misspelt");
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from {
            return self.fail("a number lacks digits");
        }
        Ok(())
    }

    fn number(&mut self) -> Result<&'a [u8], Malformed> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.body.get(from..self.at).unwrap_or_default())
    }

    fn string(&mut self) -> Result<Str<'a>, Malformed> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.body.get(self.at..).unwrap_or_default();
            let length = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if self.controls {
                if let Some(control) = rest.iter().take(length).position(|&byte| byte < 0x20) {
                    self.at += control;
                    return self.fail("a string has a control character that is not escaped");
                }
            }
            self.at += length;
            match self.peek() {
                Some(b'"') => break,
                Some(_) => {
                    escaped = true;
                    self.escape()?;
                }
                None => return self.fail("a string does not end"),
            }
        }
        let raw = self.body.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Str { raw, start, escaped })
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.body.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return self.fail("a \\u escape lacks its four digits");
                }
                self.at += 6;
            }
            _ => return self.fail("a string has an unknown escape"),
        }
        Ok(())
    }
}

/// Whether a hash is there twice. Equal hashes of different keys are taken for the same key: 64 bits do not meet
/// by chance, and who makes them meet on purpose refuses only himself.
fn twice(hashes: &mut [u64]) -> bool {
    if hashes.len() > 8 {
        hashes.sort_unstable();
        return hashes.windows(2).any(|pair| pair.first() == pair.last());
    }
    let mut rest: &[u64] = hashes;
    while let Some((first, tail)) = rest.split_first() {
        if tail.contains(first) {
            return true;
        }
        rest = tail;
    }
    false
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

fn hash(key: &Str<'_>) -> u64 {
    if key.escaped {
        key.text().bytes().fold(FNV_OFFSET, fnv)
    } else {
        key.raw.iter().copied().fold(FNV_OFFSET, fnv)
    }
}

/// Keys of the outermost object are compared as the laxest reader does (Go's `encoding/json` takes `Model` for `model`).
fn folded_hash(key: &Str<'_>) -> u64 {
    if key.plain_key() {
        return hash(key);
    }
    fold_key(&key.text()).bytes().fold(FNV_OFFSET, fnv)
}

/// A key as the laxest reader sees it.
pub fn fold_key(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Decodes the escapes of a string that [`scan`] has accepted.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for piece in Chars::new(raw.as_bytes()) {
        match piece {
            Piece::Plain(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
            Piece::Escaped(c) => out.push(c),
        }
    }
    out
}

/// A run of bytes as they are, or one decoded character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes without a backslash.
    Plain(&'a [u8]),
    /// What an escape stands for.
    Escaped(char),
}

/// Goes through a string that [`scan`] has accepted, escape by escape, without copying.
#[derive(Debug, Clone)]
pub struct Chars<'a> {
    rest: &'a [u8],
}

impl<'a> Chars<'a> {
    /// Over what is between the quotes.
    pub fn new(raw: &'a [u8]) -> Self {
        Chars { rest: raw }
    }

    /// What was not gone through yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn unit(&self) -> Option<u32> {
        let digits = self.rest.get(2..6).filter(|_| self.rest.starts_with(b"\\u"))?;
        digits.iter().try_fold(0, |value, digit| {
            Some(value * 16 + char::from(*digit).to_digit(16)?)
        })
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn unicode(&mut self) -> char {
        let first = self.unit().unwrap_or(0xFFFD);
        self.skip(6);
        if (0xD800..0xDC00).contains(&first) {
            if let Some(second) = self.unit().filter(|unit| (0xDC00..0xE000).contains(unit)) {
                self.skip(6);
                return char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
            }
        }
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

impl<'a> Iterator for Chars<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.first() != Some(&b'\\') {
            let length = self
                .rest
                .iter()
                .position(|byte| *byte == b'\\')
                .unwrap_or(self.rest.len());
            let (plain, rest) = self.rest.split_at_checked(length)?;
            self.rest = rest;
            return (!plain.is_empty()).then_some(Piece::Plain(plain));
        }
        let c = match self.rest.get(1)? {
            b'u' => return Some(Piece::Escaped(self.unicode())),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            other => char::from(*other),
        };
        self.skip(2);
        Some(Piece::Escaped(c))
    }
}

/// Appends a text as it stands in a JSON string, quotes not included.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Replacements of stretches of a body; the rest stays byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Edits {
    /// Puts bytes in a stretch's place; an empty stretch inserts.
    pub fn replace(&mut self, span: Range<usize>, bytes: impl Into<Vec<u8>>) {
        self.edits.push((span, bytes.into()));
    }

    /// Puts a text, escaped, between the quotes of a string.
    pub fn replace_text(&mut self, span: Range<usize>, text: &str) {
        let mut bytes = Vec::with_capacity(text.len());
        escape_into(text, &mut bytes);
        self.edits.push((span, bytes));
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The body's beginning up to the last edit's end, edited: `(end, bytes)` to put in place of `body[..end]`.
    pub fn head(mut self, body: &[u8]) -> (usize, Vec<u8>) {
        self.edits.sort_by_key(|(span, _)| span.start);
        let mut out = Vec::with_capacity(body.len() + 64);
        let mut at = 0;
        for (span, bytes) in &self.edits {
            out.extend_from_slice(body.get(at..span.start).unwrap_or_default());
            out.extend_from_slice(bytes);
            at = at.max(span.end);
        }
        (at, out)
    }

    /// The whole body, edited.
    pub fn apply(self, body: &[u8]) -> Vec<u8> {
        let (end, mut out) = self.head(body);
        out.extend_from_slice(body.get(end..).unwrap_or_default());
        out
    }
}
