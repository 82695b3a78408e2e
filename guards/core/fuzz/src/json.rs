//! The scanner takes what a strict parser takes, less keys that are there twice, and reads the same in it.
#![no_main]

use guard_core::json::{scan, Path, Value, MAX_DEPTH};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value as Tree;
use std::ops::Range;

fn scalars(tree: &Tree, all: &mut Vec<String>) {
    match tree {
        Tree::String(text) => all.push(format!("s{text}")),
        Tree::Number(_) => all.push("n".to_owned()),
        Tree::Bool(truth) => all.push(format!("b{truth}")),
        Tree::Null => all.push("null".to_owned()),
        Tree::Array(items) => items.iter().for_each(|item| scalars(item, all)),
        Tree::Object(members) => members.iter().for_each(|(key, value)| {
            all.push(format!("k{key}"));
            scalars(value, all);
        }),
    }
}

struct Seen(Vec<String>);

impl guard_core::json::Visitor for Seen {
    fn key(&mut self, _: &Path<'_>, key: guard_core::json::Str<'_>) {
        self.0.push(format!("k{}", key.text()));
    }

    fn value(&mut self, path: &Path<'_>, value: Value<'_>, _: Range<usize>) {
        assert!(path.depth() <= MAX_DEPTH);
        match value {
            Value::String(text) => self.0.push(format!("s{}", text.text())),
            Value::Number(digits) => {
                assert!(serde_json::from_slice::<IgnoredAny>(digits).is_ok());
                self.0.push("n".to_owned());
            }
            Value::Bool(truth) => self.0.push(format!("b{truth}")),
            Value::Null => self.0.push("null".to_owned()),
            Value::Open | Value::Close => {}
        }
    }
}

fuzz_target!(|doc: &[u8]| {
    // Without building a tree it does not look at UTF-8, but takes numbers of any size and halves of surrogate pairs.
    let valid = std::str::from_utf8(doc).is_ok() && serde_json::from_slice::<IgnoredAny>(doc).is_ok();
    let mut seen = Seen(Vec::new());
    match scan(doc, &mut seen) {
        Ok(()) => assert!(valid, "taken, but no JSON"),
        Err(malformed) => {
            let ours = ["an object has the same key twice", "it is nested too deeply"];
            assert!(!valid || ours.contains(&malformed.reason), "{}", malformed.reason);
            return;
        }
    }
    if let Ok(tree) = serde_json::from_slice::<Tree>(doc) {
        let mut expected = Vec::new();
        scalars(&tree, &mut expected);
        // A tree has its members in another order.
        expected.sort();
        seen.0.sort();
        assert_eq!(seen.0, expected);
    }
});
