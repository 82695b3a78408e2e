//! All literals of an engine, found in one pass: a hash of the last bytes says where one may begin, and only there
//! it is looked for. Most bytes of most texts cost one look into two small tables and no branch.

use crate::bytes::{before, sub};
use crate::config::Refused;
use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::Anchored;

// Bytes that are hashed, bits of the hash, and by how many a byte moves on: after `WINDOW` moves nothing is left of it.
const WINDOW: usize = 3;
const BITS: u32 = 14;
const SHIFT: u32 = 5;
const HASHES: usize = 1 << BITS;
const MASK: u32 = HASHES as u32 - 1;
// In `steps`: the byte itself is of interest. Above the hash, where it does no harm.
const ALONE: u32 = 1 << 31;
// In `steps`: a digit. Of a run of them only the first is of interest.
const DIGIT: u32 = 1 << 30;

/// A set of literals, compared without regard to ASCII case, and of bytes that are of interest alone.
pub struct Literals {
    // Per byte: what it adds to the hash, and whether it is of interest alone.
    steps: [u32; 256],
    // By the hash of three bytes: whether a literal begins so.
    begins: Box<[Begin; HASHES]>,
    // True for the hash of four bytes with which a literal begins. Three are too often part of a word.
    goes_on: Box<[bool; HASHES]>,
    automaton: NFA,
    lengths: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    No,
    // If the next byte fits too.
    Perhaps,
    Yes,
}

/// What a pass stops at.
pub enum Stop {
    /// A byte of interest, at this offset; of a run of digits, the first.
    Byte(usize),
    /// A literal may begin at this offset.
    Begin(usize),
}

impl Literals {
    /// Of literals (at least two bytes each, or they are not found) and of single bytes.
    pub fn new(literals: &[Vec<u8>], bytes: impl Fn(u8) -> bool) -> Result<Self, Refused> {
        let automaton = NFA::builder()
            .ascii_case_insensitive(true)
            .build(literals)
            .map_err(|_| Refused("too many words and rules".to_owned()))?;
        let mut steps = [0; 256];
        for (byte, step) in (0..=u8::MAX).zip(&mut steps) {
            *step = symbol(byte);
            if bytes(byte) {
                *step |= if byte.is_ascii_digit() {
                    ALONE | DIGIT
                } else {
                    ALONE
                };
            }
        }
        let mut begins = Box::new([Begin::No; HASHES]);
        let mut goes_on = Box::new([false; HASHES]);
        let hashed = |bytes: &[u8]| bytes.iter().copied().fold(0, next) as usize;
        let mut mark = |hash: usize, begin: Begin| {
            if let Some(marked) = begins.get_mut(hash).filter(|marked| **marked != Begin::Yes) {
                *marked = begin;
            }
        };
        for literal in literals {
            match literal.as_slice() {
                [a, b, c, d, ..] => {
                    mark(hashed(&[*a, *b, *c]), Begin::Perhaps);
                    if let Some(goes_on) = goes_on.get_mut(hashed(&[*a, *b, *c, *d])) {
                        *goes_on = true;
                    }
                }
                [a, b, c] => mark(hashed(&[*a, *b, *c]), Begin::Yes),
                [a, b] => (0..=u8::MAX).for_each(|any| mark(hashed(&[*a, *b, any]), Begin::Yes)),
                _ => {}
            }
        }
        Ok(Literals {
            steps,
            begins,
            goes_on,
            automaton,
            lengths: literals.iter().map(Vec::len).collect(),
        })
    }

    /// Calls `stop` wherever a literal may begin or a byte of interest stands, in the order of what decides it.
    pub fn pass(&self, text: &[u8], mut stop: impl FnMut(Stop)) {
        let mut hash = 0;
        for (i, &byte) in text.iter().enumerate() {
            let step = self.steps.get(byte as usize).copied().unwrap_or(0);
            hash = (hash << SHIFT) ^ step;
            let begin = self.begins(hash);
            if begin != Begin::No || step >= ALONE {
                if i + 1 >= WINDOW && self.confirmed(begin, hash, text.get(i + 1)) {
                    stop(Stop::Begin(i + 1 - WINDOW));
                }
                if step >= ALONE && !(step & DIGIT != 0 && before(text, i).is_ascii_digit()) {
                    stop(Stop::Byte(i));
                }
            }
        }
        // A literal of two bytes can be the text's last.
        hash = next(hash, 0);
        if self.begins(hash) == Begin::Yes && text.len() >= WINDOW - 1 {
            stop(Stop::Begin(text.len() + 1 - WINDOW));
        }
    }

    #[inline(always)]
    fn begins(&self, hash: u32) -> Begin {
        self.begins
            .get((hash & MASK) as usize)
            .copied()
            .unwrap_or(Begin::No)
    }

    // What the byte after the first three says to them.
    #[inline(always)]
    fn confirmed(&self, begin: Begin, hash: u32, following: Option<&u8>) -> bool {
        match (begin, following) {
            (Begin::Yes, _) => true,
            (Begin::Perhaps, Some(&byte)) => self
                .goes_on
                .get(next(hash, byte) as usize)
                .is_some_and(|yes| *yes),
            _ => false,
        }
    }

    /// Calls `found` with the index and the end of every literal that begins at `start`.
    pub fn at(&self, text: &[u8], start: usize, mut found: impl FnMut(usize, usize)) {
        let Ok(mut state) = self.automaton.start_state(Anchored::Yes) else {
            return;
        };
        for (n, &byte) in sub(text, start, text.len()).iter().enumerate() {
            state = self.automaton.next_state(Anchored::Yes, state, byte);
            if !self.automaton.is_special(state) {
                continue;
            }
            if self.automaton.is_dead(state) {
                return;
            }
            for i in 0..self.automaton.match_len(state) {
                let literal = self.automaton.match_pattern(state, i).as_usize();
                // A state also knows of literals that end here and begin later.
                if self.lengths.get(literal) == Some(&(n + 1)) {
                    found(literal, start + n + 1);
                }
            }
        }
    }
}

fn next(hash: u32, byte: u8) -> u32 {
    ((hash << SHIFT) ^ symbol(byte)) & MASK
}

// The same for both cases of a letter, otherwise spread evenly (Fibonacci hashing).
fn symbol(byte: u8) -> u32 {
    let spread = u32::from(byte.to_ascii_lowercase()).wrapping_mul(0x9E37_79B1);
    spread >> (u32::BITS - BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::at;
    use proptest::prelude::*;

    fn found(literals: &[Vec<u8>], text: &[u8]) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        let Ok(set) = Literals::new(literals, |_| false) else {
            return all;
        };
        set.pass(text, |stop| {
            if let Stop::Begin(start) = stop {
                set.at(text, start, |literal, end| all.push((literal, end)));
            }
        });
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn every_literal_is_found_wherever_it_stands(
            literals in proptest::collection::vec("[a-cA-C_ก]{2,5}", 1..8),
            text in "[a-cA-C_ก]{0,40}",
        ) {
            let literals: Vec<Vec<u8>> = literals.into_iter().map(String::into_bytes).collect();
            let mut expected = Vec::new();
            for (i, literal) in literals.iter().enumerate() {
                let places = text.as_bytes().windows(literal.len()).enumerate();
                expected.extend(places.filter(|(_, w)| w.eq_ignore_ascii_case(literal)).map(|(at, w)| (i, at + w.len())));
            }
            expected.sort_unstable();
            prop_assert_eq!(found(&literals, text.as_bytes()), expected);
        }
    }

    #[test]
    fn bytes_of_interest_are_stopped_at() {
        let mut seen = Vec::new();
        if let Ok(set) = Literals::new(&[], |b| b == b'@') {
            set.pass(b"a@b@", |stop| {
                if let Stop::Byte(i) = stop {
                    seen.push((i, at(b"a@b@", i)));
                }
            });
        }
        assert_eq!(seen, [(1, b'@'), (3, b'@')]);
    }
}
