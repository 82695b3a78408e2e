//! One request and its answer: what was masked, what is put back, what is counted. Dropped with the request, so no
//! value can reach another one.

use crate::bytes::{at, sub};
use crate::config::Action;
use crate::engine::{Engine, Scratch};
use crate::fold::{self, Decode, Mapped};
use crate::kinds::Span;
use crate::view::View;
use std::collections::{HashMap, HashSet};

// A label is at most 64 bytes, what follows it at most 20.
const PLACEHOLDER_MAX: usize = 96;

/// Which way a text goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// To the provider.
    Request,
    /// To the client: placeholders become values again.
    Answer,
}

/// A replacement in a text: plain text for the bytes `start..end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// First byte replaced.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What stands there instead, not escaped.
    pub text: String,
}

/// The state of one request.
#[derive(Debug, Default)]
pub struct Session {
    placeholders: HashMap<(u16, String), String>,
    originals: HashMap<String, String>,
    numbered: Vec<u32>,
    counts: Vec<u32>,
    blocked: Option<u16>,
    // What in the request looks like a placeholder; worked out with the first one that is given out.
    taken: Option<HashSet<Vec<u8>>>,
    // A text that is repeated is not counted again.
    silent: bool,
}

impl Session {
    /// How often each rule matched, by the rule's index.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The rule that refuses this request or answer.
    pub fn blocked(&self) -> Option<u16> {
        self.blocked
    }

    /// True when answers may hold values to put back.
    pub fn restores(&self) -> bool {
        !self.originals.is_empty()
    }

    /// Whether matches are counted from here on.
    pub(crate) fn counting(&mut self, on: bool) {
        self.silent = !on;
    }

    fn count(&mut self, rule: u16) {
        if !self.silent {
            bump(&mut self.counts, rule);
        }
    }
}

fn bump(counts: &mut Vec<u32>, rule: u16) -> u32 {
    let i = rule as usize;
    if counts.len() <= i {
        counts.resize(i + 1, 0);
    }
    counts.get_mut(i).map_or(0, |n| {
        *n += 1;
        *n
    })
}

#[derive(Clone, Copy)]
enum What {
    Rule(u16),
    Restore,
}

/// Everything that a text is masked with. Borrowed for one text or one chunk.
pub struct Masker<'a> {
    /// The rules.
    pub engine: &'a Engine,
    /// The engine's working memory.
    pub scratch: &'a mut Scratch,
    /// The request.
    pub session: &'a mut Session,
    /// The direction.
    pub side: Side,
    /// The request's body: a placeholder that stands in it is not given out.
    pub avoid: &'a [u8],
}

impl Masker<'_> {
    /// The edits that a whole text needs, ascending, in offsets of `raw`.
    pub fn edits(&mut self, raw: &[u8], how: Decode, mapped: &mut Mapped) -> Vec<Edit> {
        let decoded = fold::decode(raw, how, mapped);
        let view = View::new(if decoded { &mapped.text } else { raw }, true);
        self.scratch.reported.clear();
        let found = self.find(&view, 0);
        let mut edits = Vec::with_capacity(found.len());
        for (span, what) in found {
            let (start, end) = match decoded {
                true => (mapped.source(span.start), mapped.source(span.end)),
                false => (span.start, span.end),
            };
            let text = self.replacement(
                what,
                sub(view.text, span.start, span.end),
                sub(raw, start, end),
                how,
            );
            if let Some(text) = text {
                edits.push(Edit { start, end, text });
            }
        }
        self.count_reports(view.text.len());
        edits
    }

    // Matches and placeholders that begin at or after `floor`, ascending; those before `view.open_from()` are final.
    fn find(&mut self, view: &View, floor: usize) -> Vec<(Span, What)> {
        let restores = if self.side == Side::Answer {
            self.placeholders(view, floor)
        } else {
            Vec::new()
        };
        if self.side == Side::Answer && !self.engine.answers {
            self.scratch.matches.clear();
            self.scratch.reports.clear();
        } else {
            self.engine.scan(view, floor, self.scratch);
        }
        if restores.is_empty() {
            return self
                .scratch
                .matches
                .iter()
                .map(|m| (m.span, What::Rule(m.rule)))
                .collect();
        }
        let apart = |a: Span, b: Span| a.end <= b.start || b.end <= a.start;
        let rules = self
            .scratch
            .matches
            .iter()
            .filter(|m| restores.iter().all(|r| apart(*r, m.span)));
        let mut all: Vec<(Span, What)> = rules.map(|m| (m.span, What::Rule(m.rule))).collect();
        all.extend(restores.iter().map(|s| (*s, What::Restore)));
        all.sort_by_key(|(s, _)| s.start);
        all
    }

    fn placeholders(&self, view: &View, floor: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        if !self.session.restores() {
            return spans;
        }
        let mut i = floor;
        while let Some(offset) = sub(view.text, i, view.text.len()).iter().position(|&b| b == b'[') {
            let start = i + offset;
            i = start + 1;
            let window = sub(view.text, start, start + PLACEHOLDER_MAX);
            match window.iter().position(|&b| b == b']') {
                Some(close) => {
                    let name = core::str::from_utf8(sub(window, 0, close + 1)).unwrap_or("");
                    if self.session.originals.contains_key(name) {
                        i = start + close + 1;
                        spans.push(Span { start, end: i });
                    }
                }
                // Only at the end of the text: it may go on.
                None if window.len() < PLACEHOLDER_MAX
                    && self
                        .session
                        .originals
                        .keys()
                        .any(|p| p.as_bytes().starts_with(window)) =>
                {
                    view.hold(start)
                }
                None => {}
            }
        }
        spans
    }

    // What stands in a match's place; None leaves it.
    fn replacement(&mut self, what: What, folded: &[u8], raw: &[u8], how: Decode) -> Option<String> {
        let folded = String::from_utf8_lossy(folded);
        let rule_index = match what {
            What::Restore => return self.session.originals.get(folded.as_ref()).cloned(),
            What::Rule(rule) => rule,
        };
        let rule = self.engine.rule(rule_index)?;
        self.session.count(rule_index);
        match rule.action {
            Action::Report => return None,
            Action::Block => {
                // A streamed answer ends after this text.
                self.session.blocked.get_or_insert(rule_index);
                return Some(rule.mask.clone());
            }
            Action::Hash | Action::Mask => {}
        }
        if !(rule.restore && self.side == Side::Request) {
            return Some(if rule.action == Action::Hash {
                self.engine.hash(rule, &folded)
            } else {
                rule.mask.clone()
            });
        }
        let original = match how {
            Decode::Fold => String::from_utf8_lossy(raw).into_owned(),
            _ => fold::unescape(raw),
        };
        let key = (rule_index, original);
        if let Some(placeholder) = self.session.placeholders.get(&key) {
            return Some(placeholder.clone());
        }
        let placeholder = if rule.action == Action::Hash {
            self.engine.hash(rule, &folded)
        } else {
            self.unused_placeholder(rule_index, &rule.label)
        };
        self.session.originals.insert(placeholder.clone(), key.1.clone());
        self.session.placeholders.insert(key, placeholder.clone());
        Some(placeholder)
    }

    fn unused_placeholder(&mut self, rule: u16, label: &str) -> String {
        let taken = self.session.taken.get_or_insert_with(|| bracketed(self.avoid));
        loop {
            let n = bump(&mut self.session.numbered, rule);
            let placeholder = format!("[{label}_{n}]");
            if !taken.contains(placeholder.as_bytes()) {
                return placeholder;
            }
        }
    }

    fn count_reports(&mut self, before: usize) {
        let Scratch {
            reports, reported, ..
        } = &mut *self.scratch;
        for report in reports.iter().filter(|m| m.span.start < before) {
            self.session.count(report.rule);
            reported.retain(|r| r.0 != report.rule);
            reported.push((report.rule, report.span.end));
        }
        reports.clear();
    }
}

// All of `text` that stands in brackets without others in it, as placeholders do.
fn bracketed(text: &[u8]) -> HashSet<Vec<u8>> {
    let opened = text
        .split_inclusive(|&b| b == b']')
        .filter(|part| part.ends_with(b"]"));
    let whole = opened.filter_map(|part| {
        let from = part.iter().rposition(|&b| b == b'[')?;
        part.get(from..).filter(|name| name.len() <= PLACEHOLDER_MAX)
    });
    whole.map(<[u8]>::to_vec).collect()
}

/// One text that comes in pieces: a message's content, a tool call's arguments. What no rule can match any more is let
/// go at once; the rest waits for the next piece.
#[derive(Debug)]
pub struct Channel {
    how: Decode,
    // What was let go and may still decide about what follows, then what waits.
    text: String,
    done: usize,
    // Per rule that only reports: where in `text` its last match ended.
    reported: Vec<(u16, usize)>,
}

impl Channel {
    /// A text of prose, or (`json`) one that is itself JSON text, as a tool call's arguments are.
    pub fn new(json: bool) -> Self {
        Channel {
            how: if json {
                Decode::UnescapeAndFold
            } else {
                Decode::Fold
            },
            text: String::new(),
            done: 0,
            reported: Vec::new(),
        }
    }

    /// True when something waits.
    pub fn waiting(&self) -> bool {
        self.done < self.text.len()
    }

    /// Takes the next piece and gives what can go on. `last`: nothing follows, so nothing waits any longer.
    pub fn push(&mut self, masker: &mut Masker, piece: &str, last: bool, mapped: &mut Mapped) -> String {
        self.text.push_str(piece);
        let json = self.how == Decode::UnescapeAndFold;
        let open = if json && !last {
            fold::open_escape(self.text.as_bytes())
        } else {
            0
        };
        let known = self.text.len() - open;
        let raw = sub(self.text.as_bytes(), 0, known);
        let decoded = fold::decode(raw, self.how, mapped);
        let view = View::new(if decoded { &mapped.text } else { raw }, last);
        let to_raw = |i: usize| if decoded { mapped.source(i) } else { i };
        let floor = if decoded {
            mapped.decoded(self.done)
        } else {
            self.done
        };
        let to_view = |i: usize| if decoded { mapped.decoded(i) } else { i };
        masker.scratch.reported.clear();
        masker
            .scratch
            .reported
            .extend(self.reported.iter().map(|&(rule, end)| (rule, to_view(end))));
        let found = masker.find(&view, floor);
        let mut until = view.open_from().max(floor);
        while until > floor && at(view.text, until) & 0xC0 == 0x80 {
            until -= 1;
        }
        let mut out = String::new();
        let mut copied = self.done;
        for (span, what) in found {
            if span.start >= until {
                break;
            }
            until = until.max(span.end);
            let (start, end) = (to_raw(span.start), to_raw(span.end));
            let text = masker.replacement(
                what,
                sub(view.text, span.start, span.end),
                sub(raw, start, end),
                self.how,
            );
            let Some(text) = text else { continue };
            out.push_str(&String::from_utf8_lossy(sub(raw, copied, start)));
            if json {
                fold::escape(&text, &mut out);
            } else {
                out.push_str(&text);
            }
            copied = end;
        }
        masker.count_reports(until);
        self.reported.clear();
        self.reported.extend(
            masker
                .scratch
                .reported
                .iter()
                .map(|&(rule, end)| (rule, to_raw(end))),
        );
        let done = if until == view.text.len() {
            known
        } else {
            to_raw(until)
        }
        .max(self.done);
        out.push_str(&String::from_utf8_lossy(sub(raw, copied, done)));
        self.done = done;
        self.forget(if decoded { Some(mapped) } else { None }, until);
        out
    }

    // Keeps what may decide about the rest: `LOOK_BACK` bytes, cut between characters and escapes.
    fn forget(&mut self, mapped: Option<&Mapped>, until: usize) {
        let keep = crate::kinds::LOOK_BACK;
        if until <= 4 * keep {
            return;
        }
        let mut cut = mapped
            .map_or(until - keep, |m| m.source(until - keep))
            .min(self.done);
        while !self.text.is_char_boundary(cut) {
            cut -= 1;
        }
        self.text.drain(..cut);
        self.done -= cut;
        self.reported.retain(|r| r.1 > cut);
        self.reported.iter_mut().for_each(|r| r.1 -= cut);
    }
}
