//! One text, however it is written: JSON escapes are decoded and look-alike digits and punctuation become ASCII, with a
//! map back to the bytes as they were sent, so that only what matched is ever changed.

use crate::bytes::{at, sub};
use memchr::memchr;

/// What to undo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decode {
    /// Look-alikes only: the text is plain.
    Fold,
    /// JSON escapes only: the exact value of a JSON string.
    Unescape,
    /// Both: what the rules look at.
    UnescapeAndFold,
}

/// A decoded text and where each part of it came from.
#[derive(Default, Debug)]
pub struct Mapped {
    /// The decoded bytes; valid UTF-8 where the source was.
    pub text: Vec<u8>,
    // (offset in `text`, offset in the source), ascending in both, one after every unit that is written differently; up to the
    // next such unit both advance alike.
    breaks: Vec<(u32, u32)>,
}

impl Mapped {
    /// The source offset of a decoded offset.
    pub fn source(&self, decoded: usize) -> usize {
        let n = self.breaks.partition_point(|&(d, _)| d as usize <= decoded);
        match n.checked_sub(1).and_then(|i| self.breaks.get(i)) {
            Some(&(d, s)) => s as usize + (decoded - d as usize),
            None => decoded,
        }
    }

    /// The decoded offset of a source offset that lies between two units.
    pub fn decoded(&self, source: usize) -> usize {
        let n = self.breaks.partition_point(|&(_, s)| s as usize <= source);
        match n.checked_sub(1).and_then(|i| self.breaks.get(i)) {
            Some(&(d, s)) => {
                let limit = self.breaks.get(n).map_or(self.text.len(), |&(d, _)| d as usize);
                (d as usize + (source - s as usize)).min(limit)
            }
            None => source,
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.breaks.clear();
    }
}

/// A character as the rules see it: `None` drops it, `Some(same)` keeps it.
fn fold_char(c: char) -> Option<char> {
    let ascii = |base: u32, first: u32| char::from_u32(base + (c as u32 - first));
    match c {
        // Full-width forms.
        '\u{FF01}'..='\u{FF5E}' => ascii(0x21, 0xFF01),
        // Decimal digits: Thai, Devanagari, Arabic-Indic, extended Arabic-Indic.
        '\u{0E50}'..='\u{0E59}' => ascii(0x30, 0x0E50),
        '\u{0966}'..='\u{096F}' => ascii(0x30, 0x0966),
        '\u{0660}'..='\u{0669}' => ascii(0x30, 0x0660),
        '\u{06F0}'..='\u{06F9}' => ascii(0x30, 0x06F0),
        // Spaces, hyphens and the minus sign that word processors put into numbers.
        '\u{00A0}' | '\u{202F}' | '\u{2007}' | '\u{3000}' => Some(' '),
        '\u{2010}'..='\u{2013}' | '\u{2212}' => Some('-'),
        // Invisible: soft hyphen, zero-width space, joiners, word joiner, byte order mark.
        '\u{00AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' => None,
        other => Some(other),
    }
}

// The length of the character at `i` (not ASCII) when it is none of those that `fold_char` changes; 0 when it may be.
// Told from two bytes: most text of most scripts never gets to `fold_char`.
fn kept(src: &[u8], i: usize) -> usize {
    let (lead, second) = (at(src, i), at(src, i + 1));
    let changed = match lead {
        0xC2 => matches!(second, 0xA0 | 0xAD),
        0xD9 => (0xA0..=0xA9).contains(&second),
        0xDB => (0xB0..=0xB9).contains(&second),
        0xE0 => second == 0xA5 || second == 0xB9 && (0x90..=0x99).contains(&at(src, i + 2)),
        0xE2 => matches!(second, 0x80 | 0x81 | 0x88),
        0xE3 => second == 0x80,
        0xEF => matches!(second, 0xBB..=0xBD),
        _ => false,
    };
    match lead {
        _ if changed => 0,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

// The first byte of `src[from..end]` that is not ASCII, or `end`.
fn not_ascii(src: &[u8], from: usize, end: usize) -> usize {
    let part = sub(src, from, end);
    if part.is_ascii() {
        return end;
    }
    from + part.iter().position(|b| !b.is_ascii()).unwrap_or(part.len())
}

fn decode_utf8(src: &[u8], i: usize) -> Option<(char, usize)> {
    let len = match at(src, i) {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    let text = core::str::from_utf8(src.get(i..i + len)?).ok()?;
    text.chars().next().map(|c| (c, len))
}

fn hex4(src: &[u8], i: usize) -> Option<u32> {
    let digits = src.get(i..i + 4)?;
    digits
        .iter()
        .try_fold(0_u32, |n, &b| Some(n * 16 + (b as char).to_digit(16)?))
}

// What a backslash and this byte stand for; all of it is ASCII, and folding leaves it as it is.
fn simple_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => letter,
        _ => return None,
    })
}

/// The character of the escape at `i` (a backslash) and its length in the source; `None` where there is no escape.
fn decode_escape(src: &[u8], i: usize) -> Option<(char, usize)> {
    let letter = *src.get(i + 1)?;
    if let Some(byte) = simple_escape(letter) {
        return Some((char::from(byte), 2));
    }
    if letter != b'u' {
        return None;
    }
    let unit = hex4(src, i + 2)?;
    if (0xD800..0xDC00).contains(&unit) && at(src, i + 6) == b'\\' && at(src, i + 7) == b'u' {
        if let Some(low @ 0xDC00..=0xDFFF) = hex4(src, i + 8) {
            let c = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            return Some((char::from_u32(c).unwrap_or('\u{FFFD}'), 12));
        }
    }
    Some((char::from_u32(unit).unwrap_or('\u{FFFD}'), 6))
}

/// Decodes `src` into `out`. False, with `out` empty, when there is nothing to decode: the source is the text.
pub fn decode(src: &[u8], how: Decode, out: &mut Mapped) -> bool {
    out.clear();
    let (escapes, folding) = (how != Decode::Fold, how != Decode::Unescape);
    let (mut i, mut copied, mut any) = (0, 0, false);
    // The next backslash at or after `i`.
    let mut escape = 0;
    loop {
        if escape < i || i == 0 {
            let next = memchr(b'\\', sub(src, i, src.len())).filter(|_| escapes);
            escape = next.map_or(src.len(), |offset| i + offset);
        }
        i = if folding {
            not_ascii(src, i, escape)
        } else {
            escape
        };
        if i >= src.len() {
            break;
        }
        let backslash = i == escape;
        if let Some(byte) = simple_escape(at(src, i + 1)).filter(|_| backslash) {
            any = true;
            out.text.extend_from_slice(sub(src, copied, i));
            out.text.push(byte);
            i += 2;
            copied = i;
            out.breaks.push((out.text.len() as u32, i as u32));
            continue;
        }
        if !backslash {
            let skip = kept(src, i);
            if skip > 0 {
                i += skip;
                continue;
            }
        }
        let unit = if backslash {
            decode_escape(src, i)
        } else {
            decode_utf8(src, i)
        };
        let Some((c, len)) = unit else {
            i += 1;
            continue;
        };
        let folded = if folding { fold_char(c) } else { Some(c) };
        if !backslash && folded == Some(c) {
            i += len;
            continue;
        }
        any = true;
        out.text.extend_from_slice(sub(src, copied, i));
        if let Some(c) = folded {
            out.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        i += len;
        copied = i;
        out.breaks.push((out.text.len() as u32, i as u32));
    }
    if any {
        out.text.extend_from_slice(sub(src, copied, src.len()));
    }
    any
}

/// The exact text of a JSON string's content (without its quotes).
pub fn unescape(raw: &[u8]) -> String {
    let mut mapped = Mapped::default();
    let bytes = if decode(raw, Decode::Unescape, &mut mapped) {
        mapped.text.as_slice()
    } else {
        raw
    };
    String::from_utf8_lossy(bytes).into_owned()
}

/// `text` as the rules see it.
pub fn folded(text: &str) -> String {
    text.chars().filter_map(fold_char).collect()
}

/// Appends `text` as the content of a JSON string (without quotes).
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                out.push_str("\\u00");
                for digit in [c as u32 >> 4, c as u32 & 15] {
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            c => out.push(c),
        }
    }
}

/// How many bytes at the end of `text` begin an escape that is not finished yet.
pub fn open_escape(text: &[u8]) -> usize {
    let mut i = text.len().saturating_sub(12);
    // A run of backslashes pairs up from its first one.
    while i > 0 && at(text, i - 1) == b'\\' {
        i -= 1;
    }
    while i < text.len() {
        if at(text, i) != b'\\' {
            i += 1;
            continue;
        }
        let rest = text.len() - i;
        let whole = match at(text, i + 1) {
            0 if rest == 1 => return rest,
            b'u' if rest < 6 => return rest,
            b'u' => match hex4(text, i + 2) {
                Some(0xD800..=0xDBFF) if rest < 12 => return rest,
                Some(0xD800..=0xDBFF) => 12,
                _ => 6,
            },
            _ => 2,
        };
        i += whole;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_look_alikes_map_back() {
        let src = "a\\u0e51\\nＡ๐\\ud83d\\ude00z".as_bytes();
        let mut mapped = Mapped::default();
        assert!(decode(src, Decode::UnescapeAndFold, &mut mapped));
        assert_eq!(mapped.text, "a1\nA0😀z".as_bytes());
        assert_eq!(mapped.source(0), 0);
        assert_eq!(mapped.source(1), 1);
        assert_eq!(mapped.source(2), 7);
        assert_eq!(mapped.source(3), 9);
        assert_eq!(mapped.source(mapped.text.len()), src.len());
        for offset in [0, 1, 7, 9, 12, 15, 27] {
            assert_eq!(mapped.source(mapped.decoded(offset)), offset);
        }
    }

    #[test]
    fn no_character_that_changes_is_taken_for_one_that_does_not() {
        for c in '\u{80}'..=char::MAX {
            let text = c.to_string();
            let kept = kept(text.as_bytes(), 0);
            assert!(
                kept == 0 || (fold_char(c) == Some(c) && kept == text.len()),
                "{c:?}"
            );
        }
    }

    #[test]
    fn plain_text_is_not_copied() {
        let mut mapped = Mapped::default();
        assert!(!decode(
            "plain text, ไทย".as_bytes(),
            Decode::UnescapeAndFold,
            &mut mapped
        ));
        assert!(!decode(br"C:\temp", Decode::Fold, &mut mapped));
    }

    #[test]
    fn unfinished_escapes_are_known() {
        assert_eq!(open_escape(br"ab\"), 1);
        assert_eq!(open_escape(br"ab\\"), 0);
        assert_eq!(open_escape(br"ab\\\"), 1);
        assert_eq!(open_escape(br"ab\u00"), 4);
        assert_eq!(open_escape(br"ab\u0041"), 0);
        assert_eq!(open_escape(br"ab\ud83d"), 6);
        assert_eq!(open_escape(br"ab\ud83d\ude0"), 11);
        assert_eq!(open_escape(br"ab\ud83d\ude00"), 0);
        assert_eq!(open_escape(br"\n"), 0);
    }

    #[test]
    fn what_is_escaped_comes_back() {
        let text = "a\"b\\c\n\u{1}ไทย";
        let mut out = String::new();
        escape(text, &mut out);
        assert_eq!(unescape(out.as_bytes()), text);
    }
}
