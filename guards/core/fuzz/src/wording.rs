//! A phrase in any text that a strict parser reads is found, and a body without its letters passes.
#![no_main]

use guard_core::prompts::{parse, PromptGuard};
use guard_core::rules::Rules;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const PHRASES: [&str; 3] = ["ignore previous", "abracadabra", "<|im_start|>"];

thread_local! {
    static RULES: Rules<PromptGuard> = {
        let config = serde_json::json!({"_rules_": [
            {"_match_route_": ["r"], "phrases": PHRASES, "patterns": [], "max_body_bytes": 1 << 20},
        ]});
        parse(config.to_string().as_bytes()).expect("a config")
    };
}

fn says(tree: &Value) -> bool {
    let text = |text: &str| {
        let low = text.to_ascii_lowercase();
        PHRASES.iter().any(|phrase| low.contains(phrase))
    };
    match tree {
        Value::String(value) => text(value),
        Value::Array(items) => items.iter().any(says),
        Value::Object(members) => members.iter().any(|(key, value)| text(key) || says(value)),
        _ => false,
    }
}

fuzz_target!(|doc: &[u8]| {
    let refusal = RULES.with(|rules| rules.all().next().expect("a rule").check(doc).err());
    let status = refusal.map(|refusal| refusal.status);
    let Ok(tree) = serde_json::from_slice::<Value>(doc) else { return };
    if status != Some(400) && says(&tree) {
        assert_eq!(status, Some(403));
    }
    // Without an escape and beyond ASCII nothing can stand for these letters.
    let low = doc.to_ascii_lowercase();
    let letters = |all: &[u8]| all.iter().all(|letter| low.contains(letter));
    if low.is_ascii()
        && !low.contains(&b'\\')
        && !letters(b"gnorep")
        && !letters(b"abrcd")
        && !letters(b"<|im_")
    {
        assert_ne!(status, Some(403));
    }
});
