//! Custom regexes: compiled to lazy DFAs, so that a byte costs the same whatever the text, and bounded in length, so
//! that a stream knows how long to wait.

use crate::bytes::at;
use crate::config::{refuse, Refused, CUSTOM_MAX};
use crate::kinds::Span;
use crate::view::View;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::hybrid::{self, LazyStateID};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind, Look};

const NFA_BYTES: usize = 4 << 20;
const MAX_PREFIXES: usize = 64;

/// One custom regex.
#[derive(Debug)]
pub struct Custom {
    forward: DFA,
    // Only where no literal begins every match: finds where a match starts.
    search: Option<hybrid::regex::Regex>,
    /// Literals of which one begins every match; empty when the text has to be searched.
    pub prefixes: Vec<Vec<u8>>,
    /// The longest match, bytes.
    pub longest: usize,
}

/// The mutable part of a regex: its states so far.
#[derive(Debug)]
pub struct CustomCache {
    forward: Cache,
    search: Option<hybrid::regex::Cache>,
}

impl Custom {
    /// Compiles `pattern` or says why it is refused.
    pub fn new(pattern: &str) -> Result<Self, Refused> {
        let hir = match regex_syntax::ParserBuilder::new()
            .nest_limit(64)
            .build()
            .parse(pattern)
        {
            Ok(hir) => ascii_boundaries(hir),
            Err(error) => return refuse(format!("not a regex: {}", last_line(&error.to_string()))),
        };
        let Some(longest) = hir.properties().maximum_len() else {
            return refuse(format!(
                "its longest match has no bound; bound repetitions, as in \\w{{1,64}}, to {CUSTOM_MAX} bytes"
            ));
        };
        if longest > CUSTOM_MAX {
            return refuse(format!(
                "its longest match is {longest} bytes; at most {CUSTOM_MAX} are allowed"
            ));
        }
        if hir.properties().minimum_len().unwrap_or(0) == 0 {
            return refuse("it can match nothing at all");
        }
        let nfa = |reverse: bool| {
            let config = thompson::Config::new()
                .reverse(reverse)
                .nfa_size_limit(Some(NFA_BYTES))
                .which_captures(thompson::WhichCaptures::None);
            let nfa = thompson::Compiler::new().configure(config).build_from_hir(&hir);
            nfa.map_err(|_| Refused(format!("its automaton is over {} MiB", NFA_BYTES >> 20)))
        };
        let config = DFA::config().skip_cache_capacity_check(true);
        let build = |nfa, config| {
            let dfa = hybrid::dfa::Builder::new().configure(config).build_from_nfa(nfa);
            dfa.map_err(|_| Refused("its automaton cannot be built".to_owned()))
        };
        let forward = build(nfa(false)?, config.clone())?;
        let prefixes = prefixes(&hir);
        let search = if prefixes.is_empty() {
            let reverse = build(nfa(true)?, config.match_kind(MatchKind::All))?;
            Some(hybrid::regex::Builder::new().build_from_dfas(forward.clone(), reverse))
        } else {
            None
        };
        Ok(Custom {
            forward,
            search,
            prefixes,
            longest,
        })
    }

    /// A cache for this regex.
    pub fn cache(&self) -> CustomCache {
        CustomCache {
            forward: self.forward.create_cache(),
            search: self.search.as_ref().map(hybrid::regex::Regex::create_cache),
        }
    }

    /// The match that begins at `start`; holds the view open where more bytes could change it.
    pub fn match_at(&self, cache: &mut CustomCache, view: &View, start: usize) -> Option<Span> {
        let (end, open) = self.walk(&mut cache.forward, view, start)?;
        if open {
            view.hold(start);
        }
        end.map(|end| Span { start, end })
    }

    // The end of the match at `start`, and whether it is undecided at the end of the text.
    fn walk(&self, cache: &mut Cache, view: &View, start: usize) -> Option<(Option<usize>, bool)> {
        let dfa = &self.forward;
        let input = Input::new(view.text)
            .span(start..view.text.len())
            .anchored(Anchored::Yes);
        let mut state: LazyStateID = dfa.start_state_forward(cache, &input).ok()?;
        let mut end = None;
        let mut i = start;
        while i < view.text.len() {
            state = dfa.next_state(cache, state, at(view.text, i)).ok()?;
            if state.is_tagged() {
                if state.is_match() {
                    end = Some(i);
                } else if state.is_dead() || state.is_quit() {
                    return Some((end, false));
                }
            }
            i += 1;
        }
        state = dfa.next_eoi_state(cache, state).ok()?;
        if state.is_match() {
            end = Some(i);
        }
        Some((end, true))
    }

    /// The first match at or after `from`, for a regex without prefixes.
    pub fn search(&self, cache: &mut CustomCache, view: &View, from: usize) -> Option<Span> {
        let (search, cache) = (self.search.as_ref()?, cache.search.as_mut()?);
        let found = search.find(cache, Input::new(view.text).span(from..view.text.len()))?;
        Some(Span {
            start: found.start(),
            end: found.end(),
        })
    }

    /// Holds the view open where a match may have begun that the text so far does not finish.
    pub fn hold_tail(&self, cache: &mut CustomCache, view: &View, from: usize) {
        if view.whole || self.search.is_none() {
            return;
        }
        let tail = view.text.len().saturating_sub(self.longest).max(from);
        for start in tail..view.text.len() {
            if matches!(self.walk(&mut cache.forward, view, start), Some((_, true))) {
                view.hold(start);
                return;
            }
        }
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or("")
}

// A word boundary that knows ASCII only: the DFA needs it, and text without spaces (Thai, Chinese) gains by it.
fn ascii_boundaries(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Look(Look::WordUnicode) => Hir::look(Look::WordAscii),
        HirKind::Look(Look::WordUnicodeNegate) => Hir::look(Look::WordAsciiNegate),
        HirKind::Look(Look::WordStartUnicode) => Hir::look(Look::WordStartAscii),
        HirKind::Look(Look::WordEndUnicode) => Hir::look(Look::WordEndAscii),
        HirKind::Look(Look::WordStartHalfUnicode) => Hir::look(Look::WordStartHalfAscii),
        HirKind::Look(Look::WordEndHalfUnicode) => Hir::look(Look::WordEndHalfAscii),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(ascii_boundaries(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => ascii_boundaries(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(ascii_boundaries).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(ascii_boundaries).collect()),
    }
}

// Literals of at least two bytes of which one begins every match.
fn prefixes(hir: &Hir) -> Vec<Vec<u8>> {
    let mut extractor = Extractor::new();
    extractor
        .kind(ExtractKind::Prefix)
        .limit_class(10)
        .limit_literal_len(16)
        .limit_total(MAX_PREFIXES);
    let sequence = extractor.extract(hir);
    let Some(literals) = sequence.literals() else {
        return Vec::new();
    };
    let mut all: Vec<Vec<u8>> = literals
        .iter()
        .map(|l| l.as_bytes().to_ascii_lowercase())
        .collect();
    all.sort();
    all.dedup();
    if all.iter().any(|l| l.len() < 2) {
        all.clear();
    }
    all
}
