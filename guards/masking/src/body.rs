//! A whole JSON body: every text in it is masked, every other byte stays.

use crate::bytes::sub;
use crate::fold::{self, Decode, Mapped};
use crate::json::{walk, Leaf, Malformed, Role, Shape};
use crate::session::{Edit, Masker};

// Shorter numbers are none that a rule finds.
const NUMBER_MIN: usize = 7;
// Longer text of the base64 alphabet alone is an image or a file, not prose.
const BASE64_MIN: usize = 256;

/// What changes in a body: `bytes` in the place of its first `end` bytes. What comes after the last match is not copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes of the body are replaced.
    pub end: usize,
    /// By these.
    pub bytes: Vec<u8>,
}

impl Head {
    /// The whole body, changed.
    pub fn whole(mut self, doc: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(sub(doc, self.end, doc.len()));
        self.bytes
    }
}

/// Masks the body. `None`: nothing to change. `masker.session` says whether a rule refuses it.
///
/// # Errors
/// When it is not JSON.
pub fn mask(masker: &mut Masker, doc: &[u8], buffers: &mut Buffers) -> Result<Option<Head>, Malformed> {
    let mut edits = Vec::new();
    walk(doc, false, &mut |leaf, _| {
        leaf_edits(masker, doc, leaf, buffers, &mut edits)
    })?;
    Ok(edits.last().map(|last| last.end).map(|end| Head {
        end,
        bytes: apply(sub(doc, 0, end), &edits),
    }))
}

/// Memory that is used again from text to text.
#[derive(Default, Debug)]
pub struct Buffers {
    outer: Mapped,
    inner: Mapped,
}

/// Appends the edits for one leaf, escaped for where it stands.
pub fn leaf_edits(masker: &mut Masker, doc: &[u8], leaf: Leaf, buffers: &mut Buffers, edits: &mut Vec<Edit>) {
    let raw = sub(doc, leaf.start, leaf.end);
    match (leaf.role, leaf.shape) {
        (Role::Protocol, _) => {}
        (_, Shape::Number) => {
            if leaf.free {
                number(masker, raw, leaf.start, 0, buffers, edits);
            }
        }
        (Role::Arguments, Shape::String) => arguments(masker, raw, leaf.start, buffers, edits),
        (_, Shape::String | Shape::Key) => {
            if opaque(raw) {
                return;
            }
            for edit in masker.edits(raw, Decode::UnescapeAndFold, &mut buffers.inner) {
                let (start, end) = (leaf.start + edit.start, leaf.start + edit.end);
                edits.push(Edit {
                    start,
                    end,
                    text: escaped(&edit.text, 1),
                });
            }
        }
    }
}

// JSON inside a string: its own strings are the texts, and what is put in is escaped twice.
fn arguments(masker: &mut Masker, raw: &[u8], base: usize, buffers: &mut Buffers, edits: &mut Vec<Edit>) {
    let mut outer = core::mem::take(&mut buffers.outer);
    let decoded = fold::decode(raw, Decode::Unescape, &mut outer);
    let inner = if decoded { outer.text.as_slice() } else { raw };
    let mut found = Vec::new();
    let walked = walk(inner, true, &mut |leaf, _| {
        let text = sub(inner, leaf.start, leaf.end);
        if leaf.shape == Shape::Number {
            number(masker, text, leaf.start, 1, buffers, &mut found);
            return;
        }
        for edit in masker.edits(text, Decode::UnescapeAndFold, &mut buffers.inner) {
            let (start, end) = (leaf.start + edit.start, leaf.start + edit.end);
            found.push(Edit {
                start,
                end,
                text: escaped(&edit.text, 2),
            });
        }
    });
    if walked.is_err() {
        // Not JSON after all: a text with escapes in it.
        found.clear();
        for edit in masker.edits(inner, Decode::UnescapeAndFold, &mut buffers.inner) {
            found.push(Edit {
                text: escaped(&edit.text, 2),
                ..edit
            });
        }
    }
    for edit in found {
        let place = |i: usize| base + if decoded { outer.source(i) } else { i };
        edits.push(Edit {
            start: place(edit.start),
            end: place(edit.end),
            text: edit.text,
        });
    }
    buffers.outer = outer;
}

// A number that is, as a whole, a value: what stands for it is a string.
fn number(
    masker: &mut Masker,
    raw: &[u8],
    base: usize,
    depth: usize,
    buffers: &mut Buffers,
    edits: &mut Vec<Edit>,
) {
    if raw.len() < NUMBER_MIN {
        return;
    }
    for edit in masker.edits(raw, Decode::Fold, &mut buffers.inner) {
        if edit.start == 0 && edit.end == raw.len() {
            let mut quoted = String::from("\"");
            fold::escape(&edit.text, &mut quoted);
            quoted.push('"');
            edits.push(Edit {
                start: base,
                end: base + raw.len(),
                text: escaped(&quoted, depth),
            });
        }
    }
}

fn escaped(text: &str, depth: usize) -> String {
    let mut text = text.to_owned();
    for _ in 0..depth {
        let mut out = String::with_capacity(text.len());
        fold::escape(&text, &mut out);
        text = out;
    }
    text
}

// Images and files: base64, by itself or in a data URL.
fn opaque(raw: &[u8]) -> bool {
    if raw.len() < BASE64_MIN {
        return false;
    }
    let body = match raw.strip_prefix(b"data:") {
        Some(_) => {
            let comma = sub(raw, 0, BASE64_MIN)
                .iter()
                .position(|&b| b == b',')
                .unwrap_or(0);
            if !sub(raw, 0, comma).ends_with(b";base64") {
                return false;
            }
            sub(raw, comma + 1, raw.len())
        }
        None => raw,
    };
    body.iter()
        .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'\\' | b'-' | b'_'))
}

/// `doc` with `edits` (ascending, not overlapping) applied.
pub fn apply(doc: &[u8], edits: &[Edit]) -> Vec<u8> {
    let grown: usize = edits.iter().map(|e| e.text.len()).sum();
    let mut out = Vec::with_capacity(doc.len() + grown);
    let mut copied = 0;
    for edit in edits {
        out.extend_from_slice(sub(doc, copied, edit.start));
        out.extend_from_slice(edit.text.as_bytes());
        copied = edit.end;
    }
    out.extend_from_slice(sub(doc, copied, doc.len()));
    out
}
