//! Byte access that cannot panic, and the character classes that the kinds share.

/// The byte at `i`, or 0 past the end: NUL delimits every kind.
#[inline(always)]
pub fn at(text: &[u8], i: usize) -> u8 {
    text.get(i).copied().unwrap_or(0)
}

/// The byte before `i`, or 0 at the start.
#[inline(always)]
pub fn before(text: &[u8], i: usize) -> u8 {
    i.checked_sub(1).map_or(0, |j| at(text, j))
}

/// `text[start..end]`, cut to what exists.
#[inline(always)]
pub fn sub(text: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(text.len());
    text.get(start.min(end)..end).unwrap_or(&[])
}

/// An ASCII letter, digit or `_`.
#[inline(always)]
pub fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// True when the byte before `i` does not continue a word. The letter of an escape (`\n`, `\t`) in source text
/// is white space to the reader, so it does not count as a letter.
#[inline]
pub fn starts_word(text: &[u8], i: usize) -> bool {
    !word(before(text, i)) || escape_letter(text, i)
}

/// True when the byte before `i` is the letter of a backslash escape such as `\n`.
#[inline]
pub fn escape_letter(text: &[u8], i: usize) -> bool {
    i >= 2 && at(text, i - 2) == b'\\' && matches!(at(text, i - 1), b'n' | b't' | b'r' | b'b' | b'f')
}

/// Where a run of word characters that reaches back to `start` really begins: after the letter of an escape, or
/// after `uXXXX`.
pub fn skip_escape(text: &[u8], start: usize, end: usize) -> usize {
    if before(text, start) != b'\\' {
        return start;
    }
    let skip = match at(text, start) {
        b'n' | b't' | b'r' | b'b' | b'f' => 1,
        b'u' if sub(text, start + 1, start + 5).iter().all(u8::is_ascii_hexdigit) => 5,
        _ => 0,
    };
    (start + skip).min(end)
}

/// Case-insensitive (ASCII) test that `text` ends at `end` with `tail`.
pub fn ends_with_ignore_case(text: &[u8], end: usize, tail: &[u8]) -> bool {
    end >= tail.len() && sub(text, end - tail.len(), end).eq_ignore_ascii_case(tail)
}

/// Case-insensitive (ASCII) test that `text` holds `part`, which is in lower case.
pub fn contains_ignore_case(text: &[u8], part: &[u8]) -> bool {
    let first = part.first().copied().unwrap_or(0);
    text.windows(part.len().max(1))
        .any(|w| w.first().is_some_and(|b| b.to_ascii_lowercase() == first) && w.eq_ignore_ascii_case(part))
}

/// The maximal run of ASCII letters that ends at `end`, at most `limit` bytes.
pub fn letters_before(text: &[u8], end: usize, limit: usize) -> &[u8] {
    let mut start = end;
    while start > 0 && end - start < limit && before(text, start).is_ascii_alphabetic() {
        start -= 1;
    }
    sub(text, start, end)
}
