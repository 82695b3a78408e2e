//! The model that the guards decide by is the one that a strict parser reads, and what makes a stream carry usage
//! changes nothing else.
#![no_main]

use guard_core::allowlist::model;
use guard_core::json::Edits;
use guard_core::shape::Shape;
use guard_core::usage::asked;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fn options(tree: &mut Map<String, Value>) -> Map<String, Value> {
    match tree.remove("stream_options") {
        Some(Value::Object(options)) => options,
        _ => Map::new(),
    }
}

fuzz_target!(|doc: &[u8]| {
    let (model, asked) = (model(doc), asked(Shape::Chat, doc));
    let Ok(tree) = serde_json::from_slice::<Value>(doc) else { return };
    if let Ok(found) = model {
        assert_eq!(tree["model"], found.name.as_str());
        let mut edits = Edits::default();
        edits.replace_text(found.span, "other\"\\");
        let mut expected = tree.clone();
        expected["model"] = "other\"\\".into();
        assert_eq!(
            serde_json::from_slice::<Value>(&edits.apply(doc)).expect("still JSON"),
            expected
        );
    }
    let Ok(asked) = asked else { return };
    if tree["model"].is_string() {
        assert_eq!(tree["model"], asked.model.as_str());
    }
    let mut edited: Value = serde_json::from_slice(&asked.edits.apply(doc)).expect("still JSON");
    if tree["stream"] != true {
        return assert_eq!(edited, tree);
    }
    assert_eq!(edited["stream_options"]["include_usage"], true);
    let (mut before, after) = (tree.clone(), edited.as_object_mut().expect("still an object"));
    let (mut had, mut has) = (
        options(before.as_object_mut().expect("an object")),
        options(after),
    );
    had.remove("include_usage");
    has.remove("include_usage");
    assert_eq!((&Value::Object(had), &before), (&Value::Object(has), &edited));
});
