//! A rule of the config as the guard uses it.

use guard_core::rules::Rules;
use masking::body::Buffers;
use masking::{Engine, RulesSpec, Scratch};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// One Project's compiled rules and the memory they work in. A VM handles one callback at a time, so all requests share it.
pub struct Policy {
    /// The rules.
    pub engine: Engine,
    /// Working memory: it holds offsets of the text at hand, never of another request's.
    pub memory: RefCell<(Scratch, Buffers)>,
}

/// The rules of every route; `None` where they cannot be obeyed.
pub type Policies = Rules<Option<Rc<Policy>>>;

/// Reads the guard's config. A rule that cannot be obeyed closes its own routes, not everyone's.
///
/// # Errors
/// In words, when the config is none at all.
pub fn parse(config: &[u8]) -> Result<Policies, String> {
    // Projects with the same rules share what is compiled of them.
    let mut compiled: HashMap<String, Option<Rc<Policy>>> = HashMap::new();
    Rules::<Value>::parse(config, &[])?.try_map(|rule| {
        let key = rule.to_string();
        if let Some(policy) = compiled.get(&key) {
            return Ok(policy.clone());
        }
        let policy = match compile(rule.clone()) {
            Ok(policy) => Some(Rc::new(policy)),
            Err(reason) => {
                guard_host::log(
                    proxy_wasm::types::LogLevel::Critical,
                    &format!("rule refused: {reason}"),
                );
                None
            }
        };
        compiled.insert(key, policy.clone());
        Ok(policy)
    })
}

fn compile(rule: Value) -> Result<Policy, String> {
    let spec: RulesSpec = serde_json::from_value(rule).map_err(|error| error.to_string())?;
    let engine = Engine::new(&spec).map_err(|refused| refused.to_string())?;
    let memory = RefCell::new((engine.scratch(), Buffers::default()));
    Ok(Policy { engine, memory })
}
