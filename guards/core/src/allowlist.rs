//! Which model a request may use, and which one it does.

use crate::json::{Malformed, Path, Value};
use crate::refusal::Refusal;
use crate::request;
use crate::rules::Rules;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// This gate's name.
pub const GATE: &str = "model-allowlist";

/// One Project's models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowlist {
    project: String,
    groups: HashMap<String, Vec<String>>,
    #[serde(default)]
    workloads: BTreeMap<String, String>,
    /// The longest body that is read.
    pub max_body_bytes: usize,
}

/// Reads the config.
///
/// # Errors
/// In words, when it cannot be obeyed.
pub fn parse(config: &[u8]) -> Result<Rules<Allowlist>, String> {
    Rules::parse(config, &[])
}

/// The body's `model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its text.
    pub name: String,
    /// Where it stands between its quotes.
    pub span: Range<usize>,
}

/// Finds the model in a body.
///
/// # Errors
/// 400 when the body is malformed or says no model.
pub fn model(body: &[u8]) -> Result<Model, Refusal> {
    let mut found = None;
    let mut visit = |path: &Path<'_>, value: Value<'_>, _: Range<usize>| {
        if path.depth() == 1 && path.is(&["model"]) {
            if let Value::String(text) = value {
                found = Some(Model {
                    name: text.text().into_owned(),
                    span: text.span(),
                });
            }
        }
    };
    let read: Result<(), Malformed> = request::read(body, &mut visit);
    read.map_err(|malformed| Refusal::malformed(GATE, malformed.reason))?;
    found.ok_or_else(|| Refusal::malformed(GATE, "the field model is missing or not a string").param("model"))
}

impl Allowlist {
    /// The models of a group.
    ///
    /// # Errors
    /// 403 when the Project or the group is not this rule's.
    pub fn models(&self, project: &str, group: &str) -> Result<&[String], Refusal> {
        let group = self.groups.get(group).filter(|_| project == self.project);
        group.map(Vec::as_slice).ok_or_else(|| {
            let message = format!(
                "Your group may use no model of the Project {}. Ask its owner.",
                self.project
            );
            Refusal::new(403, GATE, "model_not_allowed", message)
        })
    }

    /// The alias that a request uses: its workload's, else the body's.
    ///
    /// # Errors
    /// 403, naming what is allowed.
    pub fn decide<'a>(
        &'a self,
        allowed: &'a [String],
        workload: Option<&str>,
        model: &'a str,
    ) -> Result<&'a str, Refusal> {
        let wanted = workload
            .and_then(|workload| self.workloads.get(workload))
            .map_or(model, String::as_str);
        if allowed.iter().any(|alias| alias == wanted) {
            return Ok(wanted);
        }
        let shown: String = wanted.chars().take(100).collect();
        let message = format!(
            "Your group may not use the model {shown}. It may use: {}.",
            allowed.join(", ")
        );
        Err(Refusal::new(403, GATE, "model_not_allowed", message)
            .param("model")
            .detail("allowed", allowed.to_vec()))
    }

    /// The answer to `/v1/models`.
    pub fn list(&self, allowed: &[String]) -> Vec<u8> {
        let models: Vec<_> = allowed
            .iter()
            .map(|alias| json!({"id": alias, "object": "model", "created": 0, "owned_by": self.project}))
            .collect();
        json!({"object": "list", "data": models}).to_string().into_bytes()
    }
}
