//! What other gates answer in plain text, told as the OpenAI error object.
//!
//! The built-in gates name themselves in Envoy's response code details: the C++ key-auth by its message, the Go plugins
//! as `<plugin>.<reason>`; Envoy's own filters (and so the sandbox's stand-ins) by their own words.

use crate::refusal::Refusal;
use serde_json::Value;

/// A response that no provider gave.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// HTTP status.
    pub status: u32,
    /// Envoy's response code details.
    pub details: &'a str,
    /// What the client was told.
    pub body: &'a [u8],
    /// Whether the request carried a key.
    pub had_key: bool,
    /// Seconds until the limit starts anew, when the gate said so.
    pub reset: Option<u64>,
}

/// Response code details of an answer that came from the provider.
pub const FROM_PROVIDER: &str = "via_upstream";

/// Every gate of the chain, and what answers in the place of one.
const GATES: [&str; 14] = [
    "identity",
    "key-auth",
    "ai-data-masking",
    "data-masking",
    "prompt-guard",
    "model-allowlist",
    "ai-quota",
    "ai-token-ratelimit",
    "ai-token-ratelimit-user",
    "ai-token-ratelimit-group",
    "ai-token-ratelimit-project",
    "usage-guard",
    "provider",
    "gateway",
];

/// The counter of a gate's refusals: `refused_<gate>_<status>`, gates that are not ours as one.
pub fn counter(gate: &str, status: u32) -> String {
    let known = GATES.iter().find(|known| **known == gate);
    format!(
        "refused_{}_{status}",
        known.map_or_else(|| "other".to_owned(), |gate| gate.replace('-', "_"))
    )
}

/// Longer names of gates are not ours.
const MAX_GATE: usize = 40;

/// What to do with a local response.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// It is an error object already: only its headers need to be right. The gate that it names, if any.
    Keep(Option<String>),
    /// Say this instead.
    Replace(Refusal),
}

/// Tells a refusal in the one form that all have.
pub fn explain(local: &Local<'_>) -> Outcome {
    if let Some(error) = error_object(local.body) {
        return Outcome::Keep(gate(&error));
    }
    let details = local.details.to_ascii_lowercase();
    let says = |words: &[&str]| {
        words
            .iter()
            .any(|word| details.contains(word) || contains(local.body, word.as_bytes()))
    };
    Outcome::Replace(match local.status {
        401 => unauthorized(local),
        403 if says(&["quota"]) => quota(),
        403 if says(&[
            "key-auth",
            "key_auth",
            "key auth",
            "consumer",
            "api_key",
            "not_allowed",
        ]) =>
        {
            other_project()
        }
        429 => too_many(local),
        403 => Refusal::new(
            403,
            "gateway",
            "forbidden",
            "The gateway refused this request. Ask the operator.",
        ),
        404 => Refusal::route_unknown("gateway"),
        408 => Refusal::new(
            408,
            "gateway",
            "request_timeout",
            "The request took too long to arrive. Send it again.",
        ),
        413 => {
            let message = "The request is larger than the gateway's buffer. Send less.";
            Refusal::new(413, "gateway", "body_too_large", message)
        }
        502..=504 => unavailable(local.status, &details),
        status => {
            let message =
                "The gateway could not serve this request. Try again; if it stays, tell the operator.";
            Refusal::new(status, "gateway", "gateway_error", message)
        }
    })
}

fn contains(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

fn error_object(body: &[u8]) -> Option<Value> {
    let mut object = serde_json::from_slice::<Value>(body).ok()?;
    let error = object.get_mut("error")?.take();
    error.get("message").is_some().then_some(error)
}

/// The gate that an error object names, as it may stand in a header.
fn gate(error: &Value) -> Option<String> {
    let gate = error.get("gate")?.as_str()?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!gate.is_empty() && gate.len() <= MAX_GATE && gate.bytes().all(plain)).then(|| gate.to_owned())
}

fn unauthorized(local: &Local<'_>) -> Refusal {
    if local.had_key {
        let message = "This key is not known. Check it, or ask your Project's owner for a new one.";
        return Refusal::new(401, "key-auth", "key_invalid", message);
    }
    let message = "There is no key. Send your Project key as Authorization: Bearer <key>.";
    Refusal::new(401, "key-auth", "key_missing", message)
}

fn other_project() -> Refusal {
    let message = "This key is of another Project than the host that was asked. Use your own Project's URL.";
    Refusal::new(403, "key-auth", "key_wrong_project", message)
}

fn quota() -> Refusal {
    // ai-quota says the same of a balance that is spent and of one that was never given.
    let message = "Your budget is used up, or you are new here and get your share of it within a minute. \
                   Else ask your Project's owner to raise it, or wait for the next budget period.";
    Refusal::new(403, "ai-quota", "quota_exhausted", message)
}

fn too_many(local: &Local<'_>) -> Refusal {
    let wait = local
        .reset
        .map_or_else(|| "a while".to_owned(), |seconds| format!("{seconds} s"));
    let message = format!("A token limit of your Project is reached. Try again in {wait}.");
    let refusal = Refusal::new(429, "ai-token-ratelimit", "token_limit_exceeded", message);
    match local.reset {
        Some(seconds) => refusal.detail("reset_seconds", seconds),
        None => refusal,
    }
}

fn unavailable(status: u32, details: &str) -> Refusal {
    if details.contains("ext_authz") || details.contains("redis") || details.contains("ai-quota") {
        let message =
            "The budget cannot be checked at the moment, so nothing passes. Try again in a few seconds.";
        return Refusal::new(status, "ai-quota", "budget_unavailable", message);
    }
    let message = "The provider of this model does not answer. Try again, or use another model.";
    Refusal::new(status, "provider", "provider_unavailable", message)
}
