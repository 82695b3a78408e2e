//! Walks a JSON document without building it: every string, number and key with its place, so that an edit changes
//! its own bytes and no other.

use memchr::memchr2;

/// Deeper documents are refused.
pub const DEPTH_MAX: usize = 128;

/// Not JSON (RFC 8259), or nested too deep. Holds the offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub usize);

/// One step of the way to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'d> {
    /// A member's name, as written.
    Key(&'d [u8]),
    /// An element's number.
    Index(usize),
}

/// What a leaf is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// The content of a string, without quotes.
    String,
    /// A number.
    Number,
    /// The content of a member's name.
    Key,
}

/// What the API makes of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Text that the model reads or writes.
    Text,
    /// JSON inside a string: a tool call's arguments.
    Arguments,
    /// Steers the API (`model`, `role`, ids): never text.
    Protocol,
}

/// A string, number or key.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// What it is.
    pub shape: Shape,
    /// What it is for.
    pub role: Role,
    /// True inside an object whose members people choose (`metadata`, a tool's input): its numbers and names are text.
    pub free: bool,
    /// First byte of the content.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// Members that steer the API. Everything that is not named here is text.
const PROTOCOL: [&[u8]; 30] = [
    b"model",
    b"role",
    b"type",
    b"id",
    b"object",
    b"tool_call_id",
    b"tool_use_id",
    b"call_id",
    b"item_id",
    b"previous_response_id",
    b"response_id",
    b"encoding_format",
    b"detail",
    b"media_type",
    b"finish_reason",
    b"stop_reason",
    b"status",
    b"format",
    b"effort",
    b"service_tier",
    b"signature",
    b"thought_signature",
    b"encrypted_content",
    b"file_id",
    b"system_fingerprint",
    b"obfuscation",
    b"truncation",
    b"native_finish_reason",
    b"container",
    b"ttl",
];
/// Members whose text is JSON.
const ARGUMENTS: [&[u8]; 2] = [b"arguments", b"partial_json"];
/// Objects whose members people choose.
const FREE: [&[u8]; 7] = [
    b"metadata",
    b"input",
    b"parameters",
    b"input_schema",
    b"schema",
    b"arguments",
    b"properties",
];

/// Walks `doc`, calling `visit` for every leaf in order with the way to it. `free`: the whole document is one whose
/// members people choose.
pub fn walk<'d>(
    doc: &'d [u8],
    free: bool,
    visit: &mut impl FnMut(Leaf, &[Step<'d>]),
) -> Result<(), Malformed> {
    let mut walker = Walker {
        doc,
        i: 0,
        controls: doc.iter().fold(false, |any, &b| any | (b < b' ')),
        path: Vec::with_capacity(16),
        visit,
    };
    walker.space();
    walker.value(Role::Text, free)?;
    walker.space();
    if walker.i == doc.len() {
        Ok(())
    } else {
        walker.fail()
    }
}

struct Walker<'d, 'v, V> {
    doc: &'d [u8],
    i: usize,
    // Whether there is a control character anywhere, so that strings have to be searched for one.
    controls: bool,
    path: Vec<Step<'d>>,
    visit: &'v mut V,
}

impl<'d, V: FnMut(Leaf, &[Step<'d>])> Walker<'d, '_, V> {
    fn fail<T>(&self) -> Result<T, Malformed> {
        Err(Malformed(self.i))
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.doc.get(self.i).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.i += 1;
        }
    }

    fn value(&mut self, role: Role, free: bool) -> Result<(), Malformed> {
        match self.peek() {
            b'"' => {
                let (start, end) = self.string()?;
                self.leaf(Shape::String, role, free, start, end);
                Ok(())
            }
            b'{' => self.object(free),
            b'[' => self.array(role, free),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => {
                let start = self.i;
                self.number()?;
                self.leaf(Shape::Number, role, free, start, self.i);
                Ok(())
            }
        }
    }

    fn leaf(&mut self, shape: Shape, role: Role, free: bool, start: usize, end: usize) {
        (self.visit)(
            Leaf {
                shape,
                role,
                free,
                start,
                end,
            },
            &self.path,
        );
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if self.doc.get(self.i..self.i + word.len()) == Some(word) {
            self.i += word.len();
            return Ok(());
        }
        self.fail()
    }

    fn object(&mut self, free: bool) -> Result<(), Malformed> {
        self.enter()?;
        self.space();
        if self.peek() == b'}' {
            self.i += 1;
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return self.fail();
            }
            let (start, end) = self.string()?;
            let key = self.doc.get(start..end).unwrap_or(&[]);
            self.space();
            if self.peek() != b':' {
                return self.fail();
            }
            self.i += 1;
            self.space();
            if free {
                self.leaf(Shape::Key, Role::Text, true, start, end);
            }
            self.path.push(Step::Key(key));
            let (role, free) = if free {
                (Role::Text, true)
            } else {
                member(key, self.peek())
            };
            self.value(role, free)?;
            self.path.pop();
            self.space();
            match self.peek() {
                b',' => {
                    self.i += 1;
                    self.space();
                }
                b'}' => {
                    self.i += 1;
                    return Ok(());
                }
                _ => return self.fail(),
            }
        }
    }

    fn array(&mut self, role: Role, free: bool) -> Result<(), Malformed> {
        self.enter()?;
        self.space();
        if self.peek() == b']' {
            self.i += 1;
            return Ok(());
        }
        let mut n = 0;
        loop {
            self.path.push(Step::Index(n));
            self.value(role, free)?;
            self.path.pop();
            n += 1;
            self.space();
            match self.peek() {
                b',' => {
                    self.i += 1;
                    self.space();
                }
                b']' => {
                    self.i += 1;
                    return Ok(());
                }
                _ => return self.fail(),
            }
        }
    }

    fn enter(&mut self) -> Result<(), Malformed> {
        if self.path.len() >= DEPTH_MAX {
            return self.fail();
        }
        self.i += 1;
        Ok(())
    }

    // The content of the string at the cursor, which ends after its closing quote.
    fn string(&mut self) -> Result<(usize, usize), Malformed> {
        let start = self.i + 1;
        let mut i = start;
        loop {
            let rest = self.doc.get(i..).unwrap_or(&[]);
            let Some(skip) = memchr2(b'"', b'\\', rest) else {
                return self.fail();
            };
            if self.controls && rest.iter().take(skip).any(|&b| b < b' ') {
                return Err(Malformed(i));
            }
            i += skip;
            match self.doc.get(i) {
                Some(b'"') => {
                    self.i = i + 1;
                    return Ok((start, i));
                }
                Some(b'\\') => i = self.escape(i)?,
                _ => return Err(Malformed(i)),
            }
        }
    }

    fn escape(&self, i: usize) -> Result<usize, Malformed> {
        match self.doc.get(i + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(i + 2),
            Some(b'u')
                if self
                    .doc
                    .get(i + 2..i + 6)
                    .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) =>
            {
                Ok(i + 6)
            }
            _ => Err(Malformed(i)),
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == b'-' {
            self.i += 1;
        }
        match self.peek() {
            b'0' => self.i += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return self.fail(),
        }
        if self.peek() == b'.' {
            self.i += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.i += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.i += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.peek().is_ascii_digit() {
            return self.fail();
        }
        while self.peek().is_ascii_digit() {
            self.i += 1;
        }
        Ok(())
    }
}

// What the member `key` is, whose value begins with `first`.
fn member(key: &[u8], first: u8) -> (Role, bool) {
    match first {
        b'{' => (Role::Text, FREE.contains(&key)),
        b'"' if PROTOCOL.contains(&key) => (Role::Protocol, false),
        b'"' if ARGUMENTS.contains(&key) => (Role::Arguments, false),
        _ => (Role::Text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(doc: &str) -> Result<Vec<(String, Role, bool)>, Malformed> {
        let mut all = Vec::new();
        walk(doc.as_bytes(), false, &mut |leaf, _| {
            let text = doc.get(leaf.start..leaf.end).unwrap_or("?").to_owned();
            all.push((text, leaf.role, leaf.free));
        })?;
        Ok(all)
    }

    #[test]
    fn every_text_is_met_and_the_protocol_is_not() {
        let doc = r#" {"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi \"x\""}]},
            {"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}],"metadata":{"id":"1","k":2}} "#;
        let all = leaves(doc).unwrap_or_default();
        let text: Vec<&str> = all
            .iter()
            .filter(|l| l.1 != Role::Protocol)
            .map(|l| l.0.as_str())
            .collect();
        assert_eq!(text, [r#"hi \"x\""#, "f", "{}", "id", "1", "k", "2"]);
        assert!(all.contains(&("{}".to_owned(), Role::Arguments, false)));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for doc in [
            "",
            "{",
            "{\"a\":1,}",
            "[1 2]",
            "\"\\x\"",
            "\"\n\"",
            "01",
            "1.",
            "nul",
            "{}x",
            "{'a':1}",
            "\"\\u12g4\"",
        ] {
            assert!(leaves(doc).is_err(), "{doc}");
        }
        assert!(leaves(&"[".repeat(DEPTH_MAX + 1)).is_err());
        for doc in ["{}", "[]", "-0.5e+3", "\"\\u00e9\"", "[true,false,null]"] {
            assert!(leaves(doc).is_ok(), "{doc}");
        }
    }
}
