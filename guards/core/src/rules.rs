//! Which rule of a plugin's config a request is under, as Higress's matchers tell it, but by hash.
//!
//! What a plugin receives is its global config with `_rules_`, a list of configs each with exactly one of
//! `_match_route_`, `_match_domain_`, `_match_service_`. The first rule in the list that fits is the one.

use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::rc::Rc;

const RULES: &str = "_rules_";
const ROUTE: &str = "_match_route_";
const DOMAIN: &str = "_match_domain_";
const SERVICE: &str = "_match_service_";

/// What becomes of a request that no rule fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmatched {
    /// It is refused.
    #[default]
    Deny,
    /// It goes on: another shard of the same guard has its rule.
    Pass,
}

/// A guard's config, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rules<R> {
    rules: Vec<Rc<R>>,
    global: Option<Rc<R>>,
    unmatched: Unmatched,
    routes: HashMap<String, usize>,
    services: HashMap<String, usize>,
    hosts: HashMap<String, usize>,
    prefixes: Affixes,
    suffixes: Affixes,
}

/// Beginnings or endings of hosts, found by their length and hash.
#[derive(Debug, Clone, Default)]
struct Affixes {
    lengths: Vec<usize>,
    texts: HashMap<String, usize>,
}

impl Affixes {
    fn add(&mut self, text: &str, rule: usize) {
        if !self.lengths.contains(&text.len()) {
            self.lengths.push(text.len());
        }
        self.texts.entry(text.to_owned()).or_insert(rule);
    }

    fn find<'h>(&self, cut: impl Fn(usize) -> Option<&'h str>) -> Option<usize> {
        self.lengths
            .iter()
            .filter_map(|length| self.texts.get(cut(*length)?))
            .copied()
            .min()
    }
}

/// What a request is known by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The host asked for, a port allowed.
    pub host: &'a str,
    /// The cluster's name, `outbound|443||llm.dns`.
    pub cluster: &'a str,
}

/// The rule of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, R> {
    /// This one.
    Rule(&'a Rc<R>),
    /// None: refuse.
    Deny,
    /// None: not this guard's request.
    Pass,
}

impl<R: DeserializeOwned> Rules<R> {
    /// Reads a plugin's config. `settings` are the keys of the global config that belong to no rule.
    ///
    /// # Errors
    /// In words, when the config is not one that can be obeyed to the letter.
    pub fn parse(config: &[u8], settings: &[&str]) -> Result<Self, String> {
        let mut global = object(config)?;
        let unmatched = match global.remove("unmatched") {
            Some(value) => serde_json::from_value(value).map_err(|error| format!("unmatched: {error}"))?,
            None => Unmatched::Deny,
        };
        let rules = match global.remove(RULES) {
            Some(Value::Array(rules)) => rules,
            None => Vec::new(),
            Some(_) => return Err(format!("{RULES}: must be a list")),
        };
        for key in settings {
            global.remove(*key);
        }
        let global = match global.is_empty() {
            true => None,
            false => Some(Rc::new(
                typed(global).map_err(|error| format!("global config: {error}"))?,
            )),
        };
        let mut all = Rules {
            rules: Vec::with_capacity(rules.len()),
            global,
            unmatched,
            routes: HashMap::new(),
            services: HashMap::new(),
            hosts: HashMap::new(),
            prefixes: Affixes::default(),
            suffixes: Affixes::default(),
        };
        for (position, rule) in rules.into_iter().enumerate() {
            all.add(position, rule)
                .map_err(|error| format!("{RULES}[{position}]: {error}"))?;
        }
        Ok(all)
    }

    fn add(&mut self, position: usize, rule: Value) -> Result<(), String> {
        let Value::Object(mut rule) = rule else { return Err("must be an object".to_owned()) };
        let mut kinds = Vec::new();
        for kind in [ROUTE, DOMAIN, SERVICE] {
            if let Some(value) = rule.remove(kind) {
                kinds.push((kind, names(kind, value)?));
            }
        }
        let (kind, names) = match kinds.pop() {
            Some(only) if kinds.is_empty() => only,
            _ => return Err(format!("needs exactly one of {ROUTE}, {DOMAIN}, {SERVICE}")),
        };
        for name in names {
            self.index(kind, &name, position);
        }
        self.rules.push(Rc::new(typed(rule)?));
        Ok(())
    }

    fn index(&mut self, kind: &str, name: &str, position: usize) {
        let table = match kind {
            ROUTE => &mut self.routes,
            SERVICE => &mut self.services,
            _ => {
                if let Some(ending) = name.strip_prefix('*') {
                    return self.suffixes.add(ending, position);
                }
                if let Some(beginning) = name.strip_suffix('*') {
                    return self.prefixes.add(beginning, position);
                }
                &mut self.hosts
            }
        };
        table.entry(name.to_owned()).or_insert(position);
    }
}

impl<R> Rules<R> {
    /// The first rule that fits, else the global config.
    pub fn find(&self, target: Target<'_>) -> Found<'_, R> {
        let host = without_port(target.host);
        let first = [
            self.routes.get(target.route).copied(),
            self.hosts.get(host).copied(),
            self.prefixes.find(|length| host.get(..length)),
            self.suffixes
                .find(|length| host.get(host.len().checked_sub(length)?..)),
            self.service(target.cluster),
        ];
        let rule = first
            .into_iter()
            .flatten()
            .min()
            .and_then(|position| self.rules.get(position));
        match (rule.or(self.global.as_ref()), self.unmatched) {
            (Some(rule), _) => Found::Rule(rule),
            (None, Unmatched::Deny) => Found::Deny,
            (None, Unmatched::Pass) => Found::Pass,
        }
    }

    /// Every rule, the global one last.
    pub fn all(&self) -> impl Iterator<Item = &R> {
        self.rules.iter().chain(self.global.as_ref()).map(Rc::as_ref)
    }

    /// Whether the host makes a difference.
    pub fn by_host(&self) -> bool {
        !(self.hosts.is_empty() && self.prefixes.texts.is_empty() && self.suffixes.texts.is_empty())
    }

    /// Whether the cluster makes a difference.
    pub fn by_service(&self) -> bool {
        !self.services.is_empty()
    }

    /// The same rules with their configs made into something else.
    ///
    /// # Errors
    /// The first that `make` reports.
    pub fn try_map<T>(self, mut make: impl FnMut(&R) -> Result<T, String>) -> Result<Rules<T>, String> {
        let rules = self.rules.iter().enumerate().map(|(position, rule)| {
            make(rule)
                .map(Rc::new)
                .map_err(|error| format!("{RULES}[{position}]: {error}"))
        });
        Ok(Rules {
            rules: rules.collect::<Result<_, _>>()?,
            global: self
                .global
                .as_deref()
                .map(|rule| make(rule).map(Rc::new))
                .transpose()?,
            unmatched: self.unmatched,
            routes: self.routes,
            services: self.services,
            hosts: self.hosts,
            prefixes: self.prefixes,
            suffixes: self.suffixes,
        })
    }

    /// `outbound|443||llm.dns` fits `llm.dns` and `llm.dns:443`.
    fn service(&self, cluster: &str) -> Option<usize> {
        if self.services.is_empty() {
            return None;
        }
        let mut parts = cluster.split('|');
        let (_, port, _, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let exact = self.services.get(&format!("{name}:{port}"));
        exact.into_iter().chain(self.services.get(name)).copied().min()
    }
}

fn object(config: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(config) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the config must be an object".to_owned()),
        Err(error) => Err(format!("the config is not JSON: {error}")),
    }
}

fn typed<R: DeserializeOwned>(rule: Map<String, Value>) -> Result<R, String> {
    serde_json::from_value(Value::Object(rule)).map_err(|error| error.to_string())
}

fn names(kind: &str, value: Value) -> Result<Vec<String>, String> {
    let names: Vec<String> = serde_json::from_value(value).map_err(|error| format!("{kind}: {error}"))?;
    match names.is_empty() {
        true => Err(format!("{kind}: must name something")),
        false => Ok(names),
    }
}

/// The host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match (host.rfind(':'), host.rfind(']')) {
        (Some(colon), Some(bracket)) if bracket > colon => host,
        (Some(colon), _) => host.get(..colon).unwrap_or(host),
        (None, _) => host,
    }
}
