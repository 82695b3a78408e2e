//! The rules as people configure them, and why a set of rules is refused.

use serde::Deserialize;
use std::fmt;

/// The longest match a custom regex may have, in bytes: a stream is held back that long at most.
pub const CUSTOM_MAX: usize = 1_024;

/// What to look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// E-mail addresses.
    Email,
    /// Telephone numbers: international, and national forms that are told apart.
    Phone,
    /// IPv4 and IPv6 addresses.
    Ip,
    /// Keys of known formats, JSON Web Tokens, private keys.
    ApiKey,
    /// Values assigned to a credential's name, HTTP authorization, passwords in URLs.
    Credential,
    /// Payment cards (issuer, length, Luhn).
    CreditCard,
    /// Bank accounts (country's length, check digits).
    Iban,
    /// National ids, by `countries`.
    NationalId,
    /// A custom regex.
    Regex,
}

impl Kind {
    /// The name in configs, counters and labels.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Ip => "ip",
            Kind::ApiKey => "api_key",
            Kind::Credential => "credential",
            Kind::CreditCard => "credit_card",
            Kind::Iban => "iban",
            Kind::NationalId => "national_id",
            Kind::Regex => "regex",
        }
    }
}

/// What to do with a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Put a label or a fixed text in its place.
    #[default]
    Mask,
    /// Put a keyed hash in its place.
    Hash,
    /// Refuse the request; end the answer.
    Block,
    /// Count it, change nothing.
    Report,
}

impl Action {
    /// The name in counters.
    pub fn name(self) -> &'static str {
        match self {
            Action::Mask => "mask",
            Action::Hash => "hash",
            Action::Block => "block",
            Action::Report => "report",
        }
    }
}

/// Whether documentation addresses and localhost are left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Examples {
    /// They are no one's: leave them.
    #[default]
    Exempt,
    /// Treat them as any other.
    Match,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// A kind, or none where there is a `regex`.
    pub kind: Option<Kind>,
    /// The kind's name when missing.
    pub name: Option<String>,
    /// What to do.
    #[serde(default)]
    pub action: Action,
    /// The text in a masked value's place.
    pub value: Option<String>,
    /// Put the value back into answers.
    #[serde(default)]
    pub restore: bool,
    /// The custom regex.
    pub regex: Option<String>,
    /// National ids of these countries only.
    pub countries: Option<Vec<String>>,
    /// Documentation addresses.
    #[serde(default)]
    pub examples: Examples,
}

/// A Project's rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesSpec {
    /// In order of preference.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// Words that no request may hold.
    #[serde(default)]
    pub deny_words: Vec<String>,
    /// The site's secret for hashes.
    pub hash_key: Option<String>,
    /// Apply the rules to answers too.
    #[serde(default = "yes")]
    pub answers: bool,
    /// The longest body that is read.
    #[serde(default = "body_limit")]
    pub max_body_bytes: usize,
}

fn yes() -> bool {
    true
}

fn body_limit() -> usize {
    10_485_760
}

/// Why a set of rules is refused. Never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

pub(crate) fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}
