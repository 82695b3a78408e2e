//! Groups of digits with separators, as phones, cards and ids are written, and the check that cards and ids share.

use crate::bytes::{at, before, contains_ignore_case, starts_word, sub, word};
use crate::view::View;

const MAX_GROUPS: usize = 8;
const MAX_DIGITS: usize = 24;
const WORDS_WITHIN: usize = 28;

/// Words that say that a long number is a time.
const TIME_WORDS: [&[u8]; 14] = [
    b"time", b"date", b"stamp", b"epoch", b"_at", b"_ms", b"millis", b"created", b"updated", b"expires",
    b"ts=", b"ts\"", b"since", b"now",
];

/// Groups of digits as they stand in the text, up to some group.
pub struct Number<'t> {
    pub(super) text: &'t [u8],
    digits: [u8; MAX_DIGITS],
    // End of each group, in the text and in `digits`.
    ends: [(usize, usize); MAX_GROUPS],
    separators: [u8; MAX_GROUPS],
    pub(super) start: usize,
    pub(super) count: usize,
}

impl<'t> Number<'t> {
    pub(super) fn read(view: &View<'t>, i: usize, hold: usize) -> Option<Self> {
        let mut n = Number {
            text: view.text,
            digits: [0; MAX_DIGITS],
            ends: [(0, 0); MAX_GROUPS],
            separators: [0; MAX_GROUPS],
            start: i,
            count: 0,
        };
        let (mut j, mut len) = (i, 0);
        while n.count < MAX_GROUPS {
            let from = j;
            loop {
                let b = view.ahead(j, hold);
                if !b.is_ascii_digit() {
                    break;
                }
                match n.digits.get_mut(len) {
                    Some(slot) => *slot = b - b'0',
                    // Longer than any number of interest: keep the groups before it.
                    None => return (n.count > 0).then_some(n),
                }
                len += 1;
                j += 1;
            }
            if j == from {
                break;
            }
            if let Some(end) = n.ends.get_mut(n.count) {
                *end = (j, len);
            }
            n.count += 1;
            let (separator, width) = match (at(view.text, j), view.ahead(j + 1, hold)) {
                (b')', b' ' | b'-') => (b')', 2),
                (b' ', b'(') => (b'(', 2),
                (b @ (b' ' | b'-' | b'.' | b')'), _) => (b, 1),
                _ => break,
            };
            if let Some(slot) = n.separators.get_mut(n.count - 1) {
                *slot = separator;
            }
            j += width;
        }
        (n.count > 0).then_some(n)
    }

    /// The digits, as values.
    pub fn digits(&self) -> &[u8] {
        let len = self.ends.get(self.count.saturating_sub(1)).map_or(0, |e| e.1);
        self.digits.get(..len).unwrap_or(&[])
    }

    /// How many groups.
    pub fn groups(&self) -> usize {
        self.count
    }

    /// True when it is one group.
    pub fn bare(&self) -> bool {
        self.count == 1
    }

    /// The separators between the groups.
    pub fn separators(&self) -> &[u8] {
        self.separators.get(..self.count.saturating_sub(1)).unwrap_or(&[])
    }

    /// The one separator (space or hyphen) between all groups.
    pub fn separator(&self) -> Option<u8> {
        let (first, rest) = self.separators().split_first()?;
        (matches!(first, b' ' | b'-') && rest.iter().all(|s| s == first)).then_some(*first)
    }

    /// True when the groups have these lengths and one separator.
    pub fn shape(&self, lengths: &[usize]) -> bool {
        let dotted = self.separators() == b"..-";
        lengths.len() == self.count
            && (self.bare() || self.separator().is_some() || dotted)
            && lengths
                .iter()
                .enumerate()
                .all(|(i, &len)| self.group_len(i) == len)
    }

    pub(super) fn group_len(&self, i: usize) -> usize {
        let end = self.ends.get(i).map_or(0, |e| e.1);
        end - i.checked_sub(1).and_then(|p| self.ends.get(p)).map_or(0, |e| e.1)
    }

    pub(super) fn end(&self) -> usize {
        self.ends
            .get(self.count.saturating_sub(1))
            .map_or(self.start, |e| e.0)
    }

    /// Exactly `N` capital letters right before the first digit (or before one space), not part of a longer word.
    pub fn letters_before<const N: usize>(&self) -> Option<&'t [u8; N]> {
        let end = if before(self.text, self.start) == b' ' && N > 1 {
            self.start - 1
        } else {
            self.start
        };
        let from = end.checked_sub(N)?;
        let letters: &[u8; N] = sub(self.text, from, end).try_into().ok()?;
        (letters.iter().all(u8::is_ascii_uppercase) && starts_word(self.text, from)).then_some(letters)
    }

    /// Exactly `N` letters right after the last digit (or after one space), not part of a longer word.
    pub fn letters_after<const N: usize>(&self) -> Option<&'t [u8; N]> {
        let from = self.after();
        let letters: &[u8; N] = sub(self.text, from, from + N).try_into().ok()?;
        let capital = letters.iter().all(|b| b.is_ascii_uppercase() || *b == b'x');
        (capital && !word(at(self.text, from + N))).then_some(letters)
    }

    pub(super) fn after(&self) -> usize {
        let spaced = self.count > 1 && at(self.text, self.end()) == b' ';
        self.end() + usize::from(spaced)
    }

    /// True when a word shortly before says that this is a time.
    pub fn after_time_word(&self) -> bool {
        self.after_word(&TIME_WORDS)
    }

    pub(super) fn after_word(&self, words: &[&[u8]]) -> bool {
        let head = sub(self.text, self.start.saturating_sub(WORDS_WITHIN), self.start);
        words.iter().any(|w| contains_ignore_case(head, w))
    }
}

/// The Luhn check over digit values.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| {
            let d = u32::from(d) << (i % 2);
            if d > 9 {
                d - 9
            } else {
                d
            }
        })
        .sum();
    sum.rem_euclid(10) == 0
}
