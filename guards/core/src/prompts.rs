//! Phrases and patterns that no request may carry, wherever in it a model could read them.

use crate::json::{Path, Str, Value, Visitor};
use crate::normal::{pattern, phrase, prepare, Normal};
use crate::refusal::Refusal;
use crate::request;
use crate::rules::Rules;
use aho_corasick::automaton::Automaton;
use aho_corasick::{dfa, nfa, Anchored, PatternID, StartKind};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};
use serde::Deserialize;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// This gate's name.
pub const GATE: &str = "prompt-guard";

/// A literal shorter than this is in every text, so it would save nothing.
const SHORTEST_LITERAL: usize = 3;
/// How far a pattern is looked for around the seam of two content parts, in bytes.
const PATTERN_SEAM: usize = 256;
/// With so many different sets of phrases, the quick but large automaton would take too much memory.
const QUICK_SETS: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    phrases: Vec<String>,
    #[serde(default)]
    patterns: Vec<String>,
    max_body_bytes: usize,
}

/// One Project's rule. Projects with the same phrases and patterns share a matcher.
#[derive(Debug)]
pub struct PromptGuard {
    matcher: Rc<Matcher>,
    /// The longest body that is read.
    pub max_body_bytes: usize,
}

/// Reads the config.
///
/// # Errors
/// In words, when it cannot be obeyed.
pub fn parse(config: &[u8]) -> Result<Rules<PromptGuard>, String> {
    prepare();
    let rules: Rules<Config> = Rules::parse(config, &[])?;
    let mut sets: HashMap<(Vec<String>, Vec<String>), Rc<Matcher>> = HashMap::new();
    let quick = rules.all().count() <= QUICK_SETS;
    rules.try_map(|rule| {
        let key = (rule.phrases.clone(), rule.patterns.clone());
        let matcher = match sets.get(&key) {
            Some(matcher) => matcher.clone(),
            None => Rc::new(Matcher::new(&key.0, &key.1, quick)?),
        };
        sets.insert(key, matcher.clone());
        Ok(PromptGuard {
            matcher,
            max_body_bytes: rule.max_body_bytes,
        })
    })
}

impl PromptGuard {
    /// Reads a request body.
    ///
    /// # Errors
    /// 400 when it is malformed, 403 when it carries what it may not.
    pub fn check(&self, body: &[u8]) -> Result<(), Refusal> {
        let mut texts = Texts {
            normal: Normal::with_capacity(body.len() + body.len() / 8),
            parts: Vec::new(),
            array: None,
            seam: self.matcher.seam,
        };
        request::read(body, &mut texts).map_err(|malformed| Refusal::malformed(GATE, malformed.reason))?;
        match self.matcher.find(texts.finish()) {
            None => Ok(()),
            Some(what) => {
                let message =
                    format!("The request was refused because of its wording ({what}). Put it differently.");
                Err(Refusal::new(403, GATE, "prompt_blocked", message))
            }
        }
    }
}

/// All texts of a request in normal form: values and keys of any name, any depth.
struct Texts {
    normal: Normal,
    /// The content parts of one array, as stretches of the normal form.
    parts: Vec<Range<usize>>,
    array: Option<usize>,
    seam: usize,
}

impl Visitor for Texts {
    fn key(&mut self, _path: &Path<'_>, key: Str<'_>) {
        self.normal.separate(b'\n');
        self.normal.json(key.raw());
    }

    fn value(&mut self, path: &Path<'_>, value: Value<'_>, _span: Range<usize>) {
        let Value::String(text) = value else { return };
        let array = part_of(path);
        let joined = array.is_some() && array == self.array;
        if !joined {
            self.sew();
            self.array = array;
        }
        self.normal.separate(b'\n');
        let start = self.normal.len();
        self.normal.json(text.raw());
        if array.is_some() {
            self.parts.push(start..self.normal.len());
        }
    }
}

/// The array whose content part this text is: a string in an array, or the field `text` of an object in one.
fn part_of(path: &Path<'_>) -> Option<usize> {
    let depth = path.depth();
    if path.index(depth).is_some() {
        return path.container(depth);
    }
    let text = path.key(depth).is_some_and(|key| key.is("text"));
    path.index(depth.checked_sub(1)?).filter(|_| text)?;
    path.container(depth - 1)
}

impl Texts {
    /// A phrase may be cut in two by a seam between parts, with or without a space at it: the surroundings of every seam
    /// are put down once more, both ways.
    fn sew(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        if parts.len() < 2 {
            return;
        }
        for spaced in [false, true] {
            self.normal.separate(b'\n');
            for part in &parts {
                let text = self.normal.bytes().get(part.clone()).unwrap_or_default();
                let piece = match (text.get(..self.seam), text.len().checked_sub(self.seam)) {
                    (Some(head), Some(tail)) if tail > self.seam => {
                        [head, b"\n", text.get(tail..).unwrap_or_default()].concat()
                    }
                    _ => text.to_vec(),
                };
                self.normal.again(&piece);
                if spaced {
                    self.normal.separate(b' ');
                }
            }
        }
    }

    fn finish(&mut self) -> &[u8] {
        self.sew();
        let hidden = self.normal.take_hidden();
        if !hidden.is_empty() {
            self.normal.separate(b'\n');
            self.normal.text(&hidden);
        }
        self.normal.bytes()
    }
}

/// What a needle of the one pass stands for.
#[derive(Debug, Clone, Copy)]
enum Needle {
    Phrase(usize),
    Literal(usize),
}

/// All phrases, and the literals that the patterns cannot match without, in one automaton.
#[derive(Debug)]
struct Matcher {
    needles_in: Search,
    grams: Option<Grams>,
    needles: Vec<Needle>,
    phrases: Vec<String>,
    patterns: Vec<Regex>,
    /// Patterns without such a literal.
    always: Vec<usize>,
    seam: usize,
}

impl Matcher {
    fn new(phrases: &[String], patterns: &[String], quick: bool) -> Result<Self, String> {
        let (mut texts, mut needles, mut always) = (Vec::new(), Vec::new(), Vec::new());
        for (position, text) in phrases.iter().enumerate() {
            let text = phrase(text);
            if text.is_empty() {
                return Err(format!("phrases[{position}]: is empty"));
            }
            texts.push(text.into_bytes());
            needles.push(Needle::Phrase(position));
        }
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let mut regexes = Vec::new();
        for (position, text) in patterns.iter().enumerate() {
            let text = pattern(text);
            regexes.push(regex(&text).map_err(|error| format!("patterns[{position}]: {error}"))?);
            match literals(&text).map_err(|error| format!("patterns[{position}]: {error}"))? {
                None => always.push(position),
                Some(found) => {
                    needles.extend(found.iter().map(|_| Needle::Literal(position)));
                    texts.extend(found);
                }
            }
        }
        Ok(Matcher {
            needles_in: Search::new(&texts, quick).map_err(|error| error.to_string())?,
            grams: Grams::new(&texts),
            needles,
            phrases: phrases.to_vec(),
            seam: if regexes.is_empty() {
                longest
            } else {
                longest.max(PATTERN_SEAM)
            },
            patterns: regexes,
            always,
        })
    }

    fn find(&self, text: &[u8]) -> Option<String> {
        let mut wanted = vec![false; self.patterns.len()];
        let mut said = None;
        self.needles_in.each(text, self.grams.as_ref(), |needle| {
            match self.needles.get(needle.as_usize()) {
                Some(Needle::Phrase(phrase)) => said = self.phrases.get(*phrase),
                Some(Needle::Literal(pattern)) => {
                    if let Some(wanted) = wanted.get_mut(*pattern) {
                        *wanted = true;
                    }
                }
                None => {}
            }
            said.is_none()
        });
        if let Some(phrase) = said {
            return Some(format!("the phrase \"{phrase}\""));
        }
        for pattern in &self.always {
            if let Some(wanted) = wanted.get_mut(*pattern) {
                *wanted = true;
            }
        }
        let mut found = self.patterns.iter().zip(wanted).enumerate();
        found.find_map(|(position, (pattern, wanted))| {
            (wanted && pattern.is_match(text)).then(|| format!("pattern {}", position + 1))
        })
    }
}

/// The automaton, stepped by hand: every needle that ends at a byte counts, however they overlap, and the iterator
/// that the crate has for that costs four times as much.
#[derive(Debug)]
enum Search {
    Quick(dfa::DFA),
    Small(nfa::contiguous::NFA),
}

impl Search {
    fn new(needles: &[Vec<u8>], quick: bool) -> Result<Self, aho_corasick::BuildError> {
        Ok(match quick {
            true => {
                let builder = dfa::DFA::builder()
                    .start_kind(StartKind::Unanchored)
                    .prefilter(false)
                    .build(needles);
                Search::Quick(builder?)
            }
            false => Search::Small(nfa::contiguous::NFA::builder().prefilter(false).build(needles)?),
        })
    }

    /// Every needle in the text, until `go_on` says no.
    fn each(&self, text: &[u8], grams: Option<&Grams>, go_on: impl FnMut(PatternID) -> bool) {
        match self {
            Search::Quick(automaton) => step(automaton, text, grams, go_on),
            Search::Small(automaton) => step(automaton, text, grams, go_on),
        }
    }
}

fn step(
    automaton: &impl Automaton,
    text: &[u8],
    grams: Option<&Grams>,
    mut go_on: impl FnMut(PatternID) -> bool,
) {
    let Ok(start) = automaton.start_state(Anchored::No) else { return };
    let mut at = 0;
    // Nothing that begins before `at` is still to be found.
    while let Some(stretch) = Stretch::after(text, at, grams) {
        let mut state = start;
        at = stretch.from;
        for &byte in text.get(stretch.from..).unwrap_or_default() {
            state = automaton.next_state(Anchored::No, state, byte);
            at += 1;
            if automaton.is_special(state) && automaton.is_match(state) {
                for index in 0..automaton.match_len(state) {
                    if !go_on(automaton.match_pattern(state, index)) {
                        return;
                    }
                }
            }
            if state == start && at > stretch.least {
                break;
            }
        }
    }
}

/// Where a needle may begin, told from few places of the text: every needle is at least `stride + 2` bytes long, so one
/// of its first `stride` groups of three bytes stands at one of the places looked at.
#[derive(Debug)]
struct Grams {
    stride: usize,
    /// By hash, a bit each.
    begins: [u64; GRAM_HASHES / 64],
}

const GRAM_HASHES: usize = 1 << 14;
const LONGEST_STRIDE: usize = 8;

impl Grams {
    /// None where there is a needle too short for that.
    fn new(needles: &[Vec<u8>]) -> Option<Self> {
        let shortest = needles.iter().map(Vec::len).min()?;
        let stride = shortest
            .checked_sub(2)
            .filter(|stride| *stride > 1)?
            .min(LONGEST_STRIDE);
        let mut grams = Grams {
            stride,
            begins: [0; GRAM_HASHES / 64],
        };
        for needle in needles {
            for hash in (0..stride).filter_map(|place| gram(needle, place)) {
                if let Some(word) = grams.begins.get_mut(hash / 64) {
                    *word |= 1 << (hash % 64);
                }
            }
        }
        Some(grams)
    }

    /// Whether a needle may hold the three bytes at a place; none where there are no three.
    fn has(&self, text: &[u8], place: usize) -> Option<bool> {
        let hash = gram(text, place)?;
        let word = self.begins.get(hash / 64)?;
        Some(word >> (hash % 64) & 1 == 1)
    }
}

/// The hash of three bytes, spread evenly (Fibonacci hashing).
fn gram(text: &[u8], place: usize) -> Option<usize> {
    let rest = text.get(place..)?;
    // Four bytes are read at once, three one by one.
    let bytes = match rest {
        [a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) & 0xFF_FFFF,
        [a, b, c] => u32::from_le_bytes([*a, *b, *c, 0]),
        _ => return None,
    };
    let spread = bytes.wrapping_mul(0x9E37_79B1);
    Some((spread >> (u32::BITS - GRAM_HASHES.trailing_zeros())) as usize)
}

/// A stretch of a text that the automaton has to see: from the first byte at which a needle may begin to the least byte
/// at which it may be left, if it then knows of no needle that has begun.
struct Stretch {
    from: usize,
    least: usize,
}

impl Stretch {
    fn after(text: &[u8], at: usize, grams: Option<&Grams>) -> Option<Self> {
        let Some(grams) = grams else {
            return (at < text.len()).then_some(Stretch { from: at, least: text.len() });
        };
        let mut place = at + grams.stride - 1;
        loop {
            // Of a needle's groups at least two stand together.
            if grams.has(text, place)?
                && (grams.has(text, place - 1)? || grams.has(text, place + 1) == Some(true))
            {
                return Some(Stretch {
                    from: place + 1 - grams.stride,
                    least: place,
                });
            }
            place += grams.stride;
        }
    }
}

/// Without backtracking, so linear in the text. `^` and `$` are the ends of one text of the request.
fn regex(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config()
        .nfa_size_limit(Some(1 << 20))
        .hybrid_cache_capacity(1 << 18);
    Regex::builder()
        .syntax(syntax::Config::new().case_insensitive(true).multi_line(true))
        .configure(config)
        .build(pattern)
        .map_err(|error| match error.syntax_error() {
            Some(error) => error.to_string(),
            None => error.to_string(),
        })
}

/// Lower-case literals of which every match has at least one; none when the pattern promises none.
fn literals(pattern: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
    let hir = regex_syntax::parse(pattern).map_err(|error| error.to_string())?;
    Ok(required(&hir).map(|seq| {
        let literals = seq.literals().unwrap_or_default();
        literals
            .iter()
            .map(|literal| literal.as_bytes().to_ascii_lowercase())
            .collect()
    }))
}

/// The best set of literals among those of the expression and of its parts that every match goes through.
fn required(hir: &Hir) -> Option<Seq> {
    let own = [ExtractKind::Prefix, ExtractKind::Suffix].map(|kind| Extractor::new().kind(kind).extract(hir));
    let parts: Vec<Seq> = match hir.kind() {
        HirKind::Concat(parts) => parts.iter().filter_map(required).collect(),
        HirKind::Capture(capture) => required(&capture.sub).into_iter().collect(),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            required(&repetition.sub).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let useful = |seq: &Seq| {
        seq.min_literal_len()
            .is_some_and(|length| length >= SHORTEST_LITERAL)
    };
    own.into_iter()
        .chain(parts)
        .filter(useful)
        .max_by_key(|seq| (seq.min_literal_len(), std::cmp::Reverse(seq.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(search: &Search, text: &[u8], grams: Option<&Grams>) -> Vec<usize> {
        let mut all = Vec::new();
        search.each(text, grams, |needle| {
            all.push(needle.as_usize());
            true
        });
        all
    }

    proptest! {
        #[test]
        fn nothing_is_missed_between_the_places_looked_at(
            needles in prop::collection::vec("[a-c]{4,9}", 1..4),
            text in "[a-c]{0,300}",
            quick in any::<bool>(),
        ) {
            let needles: Vec<Vec<u8>> = needles.into_iter().map(String::into_bytes).collect();
            let search = Search::new(&needles, quick).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let expected = found(&search, text.as_bytes(), None);
            prop_assert_eq!(found(&search, text.as_bytes(), Grams::new(&needles).as_ref()), expected);
        }
    }
}
