//! A compiled set of rules and the scan of one text: one pass for all literals and triggers, and a recogniser only where
//! one of them stands.

use crate::bytes::{at, before, sub, word};
use crate::config::{refuse, Action, Examples, Kind, Refused, RuleSpec, RulesSpec};
use crate::custom::{Custom, CustomCache};
use crate::fold;
use crate::kinds::numbers::{self, Wanted};
use crate::kinds::secret::{self, Strength};
use crate::kinds::tables::NATIONAL_IDS;
use crate::kinds::{email, ip, Span};
use crate::literals::{Literals, Stop};
use crate::view::View;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The name of the rule that `deny_words` make.
pub const DENY_WORDS: &str = "deny_words";
const HASH_KEY_MIN: usize = 16;
const HASH_HEX: usize = 16;

/// One compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// In counters and refusals.
    pub name: String,
    /// What to do with a match.
    pub action: Action,
    /// Put the value back into answers.
    pub restore: bool,
    // The text in a masked value's place, without restore.
    pub(crate) mask: String,
    // The name in placeholders and hashes.
    pub(crate) label: String,
}

/// What a literal stands for.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Key(u16),
    Jwt,
    Pem,
    Url,
    Http { basic: bool },
    Name(u16),
    Deny,
    Custom { rule: u16 },
}

/// A rule's match in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Index of the rule.
    pub rule: u16,
    /// Where.
    pub span: Span,
}

/// The matches of one scan, ready to be applied, and the engine's working memory. One per guard.
#[derive(Debug)]
pub struct Scratch {
    candidates: Vec<Match>,
    /// Matches that do not overlap, ascending.
    pub matches: Vec<Match>,
    /// Matches of rules that only report; they may overlap anything.
    pub reports: Vec<Match>,
    /// Per searched rule that only reports: where in the text its last match ended. Empty for a whole text.
    pub(crate) reported: Vec<(u16, usize)>,
    caches: Vec<Option<CustomCache>>,
}

/// A compiled set of rules.
pub struct Engine {
    rules: Vec<Rule>,
    literals: Option<Literals>,
    triggers: Vec<Trigger>,
    // Literals that are part of what they begin, in lower case and sorted: a stream waits for their rest.
    held: Vec<Vec<u8>>,
    longest_held: usize,
    customs: Vec<Option<Custom>>,
    searched: Vec<u16>,
    wanted: Wanted,
    email: Option<(u16, bool)>,
    ip: Option<(u16, bool)>,
    api_key: Option<u16>,
    credential: Option<u16>,
    deny: Option<u16>,
    hash_key: Option<Hmac<Sha256>>,
    /// Apply the rules to answers.
    pub answers: bool,
    /// The longest body that is read, bytes.
    pub max_body_bytes: usize,
}

impl Engine {
    /// Compiles rules, or says why they are refused.
    pub fn new(spec: &RulesSpec) -> Result<Self, Refused> {
        let mut engine = Engine {
            rules: Vec::new(),
            literals: None,
            triggers: Vec::new(),
            held: Vec::new(),
            longest_held: 0,
            customs: Vec::new(),
            searched: Vec::new(),
            wanted: Wanted::default(),
            email: None,
            ip: None,
            api_key: None,
            credential: None,
            deny: None,
            hash_key: hash_key(spec)?,
            answers: spec.answers,
            max_body_bytes: spec.max_body_bytes,
        };
        for rule in &spec.rules {
            engine.add(rule)?;
        }
        if !spec.deny_words.is_empty() {
            engine.deny = Some(engine.rules.len() as u16);
            engine.push(Rule {
                name: DENY_WORDS.to_owned(),
                action: Action::Block,
                restore: false,
                mask: "[DENY_WORDS]".to_owned(),
                label: "DENY_WORDS".to_owned(),
            })?;
        }
        engine.build(&spec.deny_words)?;
        Ok(engine)
    }

    /// The rules, in order; `Match::rule` is an index.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of a match.
    pub fn rule(&self, index: u16) -> Option<&Rule> {
        self.rules.get(index as usize)
    }

    /// Working memory for this engine.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            candidates: Vec::new(),
            matches: Vec::new(),
            reports: Vec::new(),
            reported: Vec::new(),
            caches: self
                .customs
                .iter()
                .map(|c| c.as_ref().map(Custom::cache))
                .collect(),
        }
    }

    /// True when there is nothing to look for: such a Project is masked elsewhere, or not at all.
    pub fn idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// True when some rule puts values back.
    pub fn restores(&self) -> bool {
        self.rules.iter().any(|r| r.restore)
    }

    fn push(&mut self, rule: Rule) -> Result<(), Refused> {
        // By the label: placeholders and counters bear it.
        if self.rules.iter().any(|r| r.label == rule.label) {
            return refuse(format!("two rules are named {}", rule.name));
        }
        self.rules.push(rule);
        self.customs.push(None);
        Ok(())
    }

    fn add(&mut self, spec: &RuleSpec) -> Result<(), Refused> {
        let index = self.rules.len() as u16;
        let rule = compiled(spec)?;
        if rule.action == Action::Hash && self.hash_key.is_none() {
            return refuse(format!("rule {}: action hash needs hash_key", rule.name));
        }
        let name = rule.name.clone();
        self.push(rule)?;
        let exempt = spec.examples == Examples::Exempt;
        let taken = match kind(spec) {
            Kind::Email => self.email.replace((index, exempt)).is_some(),
            Kind::Ip => self.ip.replace((index, exempt)).is_some(),
            Kind::Phone => self.wanted.phone.replace(index).is_some(),
            Kind::CreditCard => self.wanted.card.replace(index).is_some(),
            Kind::Iban => self.wanted.iban.replace(index).is_some(),
            Kind::ApiKey => self.api_key.replace(index).is_some(),
            Kind::Credential => self.credential.replace(index).is_some(),
            Kind::NationalId => {
                self.wanted.national(countries(spec)?);
                self.wanted.national_id.replace(index).is_some()
            }
            Kind::Regex => {
                let pattern = spec.regex.as_deref().unwrap_or("");
                let custom = Custom::new(pattern).map_err(|e| Refused(format!("rule {name}: {e}")))?;
                if custom.prefixes.is_empty() {
                    self.searched.push(index);
                }
                if let Some(slot) = self.customs.get_mut(index as usize) {
                    *slot = Some(custom);
                }
                false
            }
        };
        if taken {
            return refuse(format!("rule {name}: its kind stands twice"));
        }
        Ok(())
    }

    fn build(&mut self, deny_words: &[String]) -> Result<(), Refused> {
        let mut literals: Vec<Vec<u8>> = Vec::new();
        let triggers = &mut self.triggers;
        let mut add = |literal: &[u8], trigger| {
            literals.push(literal.to_vec());
            triggers.push(trigger);
        };
        let w = &self.wanted;
        let (email, ip) = (self.email.is_some(), self.ip.is_some());
        let digits = ip
            || [w.phone, w.card, w.iban, w.national_id]
                .iter()
                .any(Option::is_some);
        if self.api_key.is_some() {
            for (i, format) in secret::FORMATS.iter().enumerate() {
                add(format.prefix.as_bytes(), Trigger::Key(i as u16));
            }
            add(secret::JWT.as_bytes(), Trigger::Jwt);
            add(secret::PEM.as_bytes(), Trigger::Pem);
        }
        if self.credential.is_some() {
            for (i, (name, _)) in secret::NAMES.iter().enumerate() {
                add(name.as_bytes(), Trigger::Name(i as u16));
            }
            add(secret::URL.as_bytes(), Trigger::Url);
            add(secret::BEARER.as_bytes(), Trigger::Http { basic: false });
            add(secret::BASIC.as_bytes(), Trigger::Http { basic: true });
        }
        for deny in deny_words {
            for form in word_forms(deny)? {
                add(form.as_bytes(), Trigger::Deny);
            }
        }
        for (i, custom) in self.customs.iter().enumerate() {
            for prefix in custom.iter().flat_map(|c| &c.prefixes) {
                add(prefix, Trigger::Custom { rule: i as u16 });
            }
        }
        self.held = literals
            .iter()
            .zip(&self.triggers)
            .filter(|(_, t)| {
                matches!(
                    t,
                    Trigger::Key(_) | Trigger::Jwt | Trigger::Pem | Trigger::Deny | Trigger::Custom { .. }
                )
            })
            .map(|(l, _)| l.to_ascii_lowercase())
            .collect();
        if literals.is_empty() && !(email || ip || digits) {
            return Ok(());
        }
        self.held.sort();
        self.longest_held = self.held.iter().map(Vec::len).max().unwrap_or(0);
        let alone = |b: u8| b == b'@' && email || b == b':' && ip || b.is_ascii_digit() && digits;
        self.literals = Some(Literals::new(&literals, alone)?);
        Ok(())
    }

    /// Finds all matches in `view` that start at or after `floor` into `scratch.matches` and `scratch.reports`, and
    /// notes in the view from where on it is undecided.
    pub fn scan(&self, view: &View, floor: usize, scratch: &mut Scratch) {
        scratch.candidates.clear();
        scratch.matches.clear();
        scratch.reports.clear();
        self.triggers(view, scratch);
        if !view.whole {
            self.hold_tail(view, floor, scratch);
        }
        self.resolve(view, floor, scratch);
    }

    fn triggers(&self, view: &View, scratch: &mut Scratch) {
        let Some(literals) = &self.literals else { return };
        literals.pass(view.text, |stop| match stop {
            Stop::Byte(i) => self.byte(view, i, scratch),
            Stop::Begin(start) => literals.at(view.text, start, |literal, end| {
                if let Some(&trigger) = self.triggers.get(literal) {
                    self.trigger(trigger, view, start, end, scratch);
                }
            }),
        });
    }

    fn byte(&self, view: &View, i: usize, scratch: &mut Scratch) {
        let mut found = |rule: u16, span: Span| scratch.candidates.push(Match { rule, span });
        match (at(view.text, i), self.email, self.ip) {
            (b'@', Some((rule, exempt)), _) => {
                let address = email::find(view, i, exempt);
                address.into_iter().for_each(|s| found(rule, s));
            }
            (b':', _, Some((rule, exempt))) => {
                let address = ip::find_v6(view, i, exempt);
                address.into_iter().for_each(|s| found(rule, s));
            }
            (b'0'..=b'9', ..) => self.digit(view, i, scratch),
            _ => {}
        }
    }

    // The digit at `start` is the first of its run.
    fn digit(&self, view: &View, start: usize, scratch: &mut Scratch) {
        if numbers::inside(view.text, start) {
            return;
        }
        let mut found = |rule: u16, span: Span| scratch.candidates.push(Match { rule, span });
        if !numbers::short(view, start) {
            numbers::find(view, start, &self.wanted, &mut found);
        }
        if let Some((rule, exempt)) = self.ip {
            let address = ip::find_v4(view, start, exempt);
            address.into_iter().for_each(|s| found(rule, s));
        }
    }

    fn trigger(&self, trigger: Trigger, view: &View, start: usize, end: usize, scratch: &mut Scratch) {
        let candidates = &mut scratch.candidates;
        let mut found = |rule: u16, span: Span| candidates.push(Match { rule, span });
        match trigger {
            Trigger::Key(i) => {
                let format = secret::FORMATS.get(i as usize);
                if let (Some(rule), Some(format)) = (self.api_key, format) {
                    secret::find_key(view, start, format)
                        .into_iter()
                        .for_each(|s| found(rule, s));
                }
            }
            Trigger::Jwt | Trigger::Pem => {
                if let Some(rule) = self.api_key {
                    let find = if matches!(trigger, Trigger::Jwt) {
                        secret::find_jwt
                    } else {
                        secret::find_pem
                    };
                    find(view, start).into_iter().for_each(|s| found(rule, s));
                }
            }
            Trigger::Url | Trigger::Http { .. } | Trigger::Name(_) => {
                if let Some(rule) = self.credential {
                    credential(trigger, view, start, end)
                        .into_iter()
                        .for_each(|s| found(rule, s));
                }
            }
            Trigger::Deny => {
                if let Some(rule) = self.deny.filter(|_| separate_word(view, start, end)) {
                    found(rule, Span { start, end });
                }
            }
            Trigger::Custom { rule } => {
                let custom = self.customs.get(rule as usize).and_then(Option::as_ref);
                let cache = scratch.caches.get_mut(rule as usize).and_then(Option::as_mut);
                if let (Some(custom), Some(cache)) = (custom, cache) {
                    custom
                        .match_at(cache, view, start)
                        .into_iter()
                        .for_each(|s| found(rule, s));
                }
            }
        }
    }

    // Values that have begun at the end of the text without any trigger yet.
    fn hold_tail(&self, view: &View, floor: usize, scratch: &mut Scratch) {
        let text = view.text;
        let w = &self.wanted;
        if self.email.is_some()
            || self.ip.is_some()
            || w.phone.is_some()
            || w.iban.is_some()
            || w.national_id.is_some()
        {
            let tail = email::tail(text);
            if tail < text.len() {
                view.hold(tail);
            }
        }
        let from = text.len().saturating_sub(self.longest_held.saturating_sub(1));
        for start in from..text.len() {
            let rest = sub(text, start, text.len()).to_ascii_lowercase();
            let i = self.held.partition_point(|l| l.as_slice() < rest.as_slice());
            if self.held.get(i).is_some_and(|l| l.starts_with(&rest)) {
                view.hold(start);
                break;
            }
        }
        for &rule in &self.searched {
            let custom = self.customs.get(rule as usize).and_then(Option::as_ref);
            let cache = scratch.caches.get_mut(rule as usize).and_then(Option::as_mut);
            if let (Some(custom), Some(cache)) = (custom, cache) {
                custom.hold_tail(cache, view, floor);
            }
        }
    }

    // Chooses among overlapping candidates: the first, then the longest, then the first rule.
    fn resolve(&self, view: &View, floor: usize, scratch: &mut Scratch) {
        let reports = |rule: u16| self.rule(rule).is_some_and(|r| r.action == Action::Report);
        scratch.reports.extend(
            scratch
                .candidates
                .iter()
                .filter(|m| reports(m.rule) && m.span.start >= floor),
        );
        scratch
            .candidates
            .retain(|m| !reports(m.rule) && m.span.start >= floor);
        scratch
            .candidates
            .sort_by_key(|m| (m.span.start, usize::MAX - m.span.end, m.rule));
        let mut searches: Vec<(u16, Option<Span>)> = Vec::new();
        for &rule in &self.searched {
            let first = self.search(rule, view, floor, scratch);
            searches.push((rule, first));
        }
        for (rule, next) in searches.iter_mut().filter(|(rule, _)| reports(*rule)) {
            let ended = scratch
                .reported
                .iter()
                .find(|(r, _)| r == rule)
                .map_or(0, |r| r.1);
            if ended > floor {
                *next = self.search(*rule, view, ended, scratch);
            }
            while let Some(span) = *next {
                scratch.reports.push(Match { rule: *rule, span });
                *next = self.search(*rule, view, span.end, scratch);
            }
        }
        searches.retain(|&(rule, next)| next.is_some() && !reports(rule));
        let (mut position, mut i) = (floor, 0);
        loop {
            while scratch.candidates.get(i).is_some_and(|m| m.span.start < position) {
                i += 1;
            }
            for (rule, next) in &mut searches {
                if next.is_some_and(|s| s.start < position) {
                    *next = self.search(*rule, view, position, scratch);
                }
            }
            let candidate = scratch.candidates.get(i).copied();
            let searched = searches
                .iter()
                .filter_map(|&(rule, next)| next.map(|span| Match { rule, span }));
            let best = candidate
                .into_iter()
                .chain(searched)
                .min_by_key(|m| (m.span.start, usize::MAX - m.span.end, m.rule));
            let Some(best) = best else { break };
            position = best.span.end;
            scratch.matches.push(best);
        }
    }

    fn search(&self, rule: u16, view: &View, from: usize, scratch: &mut Scratch) -> Option<Span> {
        let custom = self.customs.get(rule as usize)?.as_ref()?;
        custom.search(scratch.caches.get_mut(rule as usize)?.as_mut()?, view, from)
    }

    /// The keyed hash of a value, in the place of the value: `[EMAIL:0123456789abcdef]`. The name is part of what is
    /// hashed, so that equal values of two rules differ.
    pub fn hash(&self, rule: &Rule, value: &str) -> String {
        let Some(key) = &self.hash_key else {
            return rule.mask.clone();
        };
        let mut mac = key.clone();
        mac.update(rule.name.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut out = format!("[{}:", rule.label);
        for byte in digest.iter().take(HASH_HEX / 2) {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out.push(']');
        out
    }
}

fn credential(trigger: Trigger, view: &View, start: usize, end: usize) -> Option<Span> {
    match trigger {
        Trigger::Url => secret::find_url_password(view, start),
        Trigger::Http { basic } => secret::find_http(view, end, basic),
        Trigger::Name(i) => {
            let strength = secret::NAMES.get(i as usize).map_or(Strength::Key, |n| n.1);
            secret::find_assigned(view, start, end, strength)
        }
        _ => None,
    }
}

// A denied word stands alone where its edges are ASCII letters or digits; other scripts have no spaces to go by.
fn separate_word(view: &View, start: usize, end: usize) -> bool {
    let left = !word(at(view.text, start)) || crate::bytes::starts_word(view.text, start);
    let right = !word(before(view.text, end)) || !word(view.ahead(end, start));
    left && right
}

// ASCII case is folded by the search; other scripts are given in each case.
fn word_forms(word: &str) -> Result<Vec<String>, Refused> {
    let folded = fold::folded(word.trim());
    if folded.len() < 2 {
        return refuse("a deny word is shorter than 2 bytes");
    }
    let mut forms = vec![folded.to_lowercase(), folded.to_uppercase(), folded];
    forms.sort_by_key(|f| f.to_ascii_lowercase());
    forms.dedup_by_key(|f| f.to_ascii_lowercase());
    Ok(forms)
}

fn kind(spec: &RuleSpec) -> Kind {
    spec.kind.unwrap_or(Kind::Regex)
}

fn compiled(spec: &RuleSpec) -> Result<Rule, Refused> {
    let kind = kind(spec);
    let name = match (&spec.name, kind) {
        (Some(name), _) => name.clone(),
        (None, Kind::Regex) => return refuse("a regex rule has no name"),
        (None, kind) => kind.name().to_owned(),
    };
    let valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.'));
    if !valid || name == DENY_WORDS {
        return refuse(format!(
            "rule name {name:?}: ^[a-z0-9][a-z0-9._-]{{0,63}}$, and not {DENY_WORDS}"
        ));
    }
    if spec.regex.is_some() != (kind == Kind::Regex) {
        return refuse(format!(
            "rule {name}: a regex belongs to kind regex, and to no other"
        ));
    }
    if spec.countries.is_some() && kind != Kind::NationalId {
        return refuse(format!("rule {name}: countries belong to kind national_id"));
    }
    if spec.restore && !matches!(spec.action, Action::Mask | Action::Hash) {
        return refuse(format!(
            "rule {name}: only what is masked or hashed can be restored"
        ));
    }
    let label: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let mask = spec.value.clone().unwrap_or_else(|| format!("[{label}]"));
    if mask.len() > 200 {
        return refuse(format!("rule {name}: its value is over 200 bytes"));
    }
    Ok(Rule {
        name,
        action: spec.action,
        restore: spec.restore,
        mask,
        label,
    })
}

fn countries(spec: &RuleSpec) -> Result<u32, Refused> {
    let Some(wanted) = &spec.countries else {
        return Ok((1 << NATIONAL_IDS.len()) - 1);
    };
    let mut bits = 0;
    for country in wanted {
        let Some(i) = NATIONAL_IDS.iter().position(|id| id.country == country) else {
            let known: Vec<&str> = NATIONAL_IDS.iter().map(|id| id.country).collect();
            return refuse(format!(
                "no national id of country {country:?}; known: {}",
                known.join(" ")
            ));
        };
        bits |= 1 << i;
    }
    Ok(bits)
}

fn hash_key(spec: &RulesSpec) -> Result<Option<Hmac<Sha256>>, Refused> {
    let Some(key) = &spec.hash_key else {
        return Ok(None);
    };
    if key.starts_with("${") {
        return refuse("hash_key is a reference that was not resolved");
    }
    if key.len() < HASH_KEY_MIN {
        return refuse(format!("hash_key is shorter than {HASH_KEY_MIN} bytes"));
    }
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
    mac.map(Some)
        .map_err(|_| Refused("hash_key cannot be used".to_owned()))
}
