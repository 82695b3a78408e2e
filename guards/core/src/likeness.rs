//! Events of a stream that are the one before but for one text, as nearly all of a long answer are.
//!
//! What such an event says beside its text was read once already; to find the text takes a comparison of bytes.

use crate::texts::ATTACHMENT_BYTES;
use std::ops::Range;

/// A larger event is not kept: streams of such are rare, and every request would hold one.
const LARGEST: usize = 16 << 10;

/// What stood around the only text of the last event.
#[derive(Debug, Default)]
pub struct Likeness {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Likeness {
    /// The text of an event that is like the last one in everything else; none where it has to be read.
    pub fn text<'d>(&self, event: &'d [u8]) -> Option<&'d [u8]> {
        if self.before.is_empty() {
            return None;
        }
        let text = event
            .strip_prefix(self.before.as_slice())?
            .strip_suffix(self.after.as_slice())?;
        plain(text).then_some(text)
    }

    /// Takes an event that was read: where its only text stands, none when it has several or says more than texts.
    pub fn remember(&mut self, event: &[u8], text: Option<Range<usize>>) {
        self.before.clear();
        self.after.clear();
        let Some(text) = text.filter(|_| event.len() <= LARGEST) else { return };
        if let (Some(before), Some(after)) = (event.get(..text.start), event.get(text.end..)) {
            self.before.extend_from_slice(before);
            self.after.extend_from_slice(after);
        }
    }
}

/// Whether these bytes between two quotes are a JSON string without escapes, and no attachment.
fn plain(text: &[u8]) -> bool {
    text.len() <= ATTACHMENT_BYTES
        && text.iter().fold(true, |so_far, &byte| {
            so_far & (byte >= b' ') & (byte != b'"') & (byte != b'\\')
        })
        && simdutf8::basic::from_utf8(text).is_ok()
}
