//! A secret in the middle of any text, in any shape and cut anywhere: it never goes on, and no other request's answer
//! gets it back.
#![no_main]

#[path = "common.rs"]
mod common;

use common::{masking_answers, pieces, World, MASKING};
use libfuzzer_sys::fuzz_target;
use masking::body::{mask, Buffers};
use masking::sse::Events;
use masking::{Session, Side};
use serde_json::{json, Value};
use std::sync::{LazyLock, Mutex};

// Kinds that need no word beside them to be known.
const SECRETS: [&str; 6] = [
    "kim.park@northwind-mail.co",
    "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC",
    "DE89370400440532013000",
    "AKIAQ7X3M5N2P8R4T6V9",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "TCK-90210",
];
const LIMIT: usize = 1 << 20;
const SHAPES: [fn(&str) -> Value; 8] = [
    |text| json!({"messages": [{"role": "user", "content": text}]}),
    |text| json!({"messages": [{"role": "system", "content": [{"type": "text", "text": text}]}]}),
    |text| json!({"messages": [{"role": "tool", "tool_call_id": "c", "content": text}]}),
    |text| {
        json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": json!({"q": text}).to_string()}}]}]})
    },
    |text| json!({ "input": text }),
    |text| json!({"input": [{"type": "function_call_output", "call_id": "c", "output": text}]}),
    |text| json!({"system": [{"type": "text", "text": text}], "messages": []}),
    |text| json!({"messages": [], "metadata": {"note": text}}),
];

static WORLDS: LazyLock<Mutex<[World; 2]>> =
    LazyLock::new(|| Mutex::new([World::new(MASKING), World::new(&masking_answers())]));

fn held(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(all) => all.iter().any(|one| held(one, secret)),
        Value::Object(all) => all.values().any(|one| held(one, secret)),
        _ => false,
    }
}

// A request whose answer, and another's answer, repeat all that the provider read.
fn request(world: &mut World, doc: &[u8], secret: &str) {
    let mut buffers = Buffers::default();
    let mut masked = |session: &mut Session, side, doc: &[u8]| {
        let found = mask(&mut world.masker(session, side, doc), doc, &mut buffers).expect("JSON");
        found.map_or(doc.to_vec(), |head| head.whole(doc))
    };
    let sent = masked(&mut Session::default(), Side::Request, doc);
    let shown = String::from_utf8_lossy(&sent).into_owned();
    assert!(
        !held(&serde_json::from_slice(&sent).expect("still JSON"), secret),
        "sent: {shown}"
    );
    let other = masked(&mut Session::default(), Side::Answer, &sent);
    assert_eq!(sent, other, "another request's answer has changed");
}

// A streamed answer: its texts, one after the other.
fn answer(world: &mut World, cuts: &[usize], text: &str) -> String {
    let (mut session, mut events, mut out) = (Session::default(), Events::default(), Vec::new());
    let mut masker = world.masker(&mut session, Side::Answer, b"");
    let ends: Vec<usize> = cuts
        .iter()
        .copied()
        .filter(|&cut| text.is_char_boundary(cut))
        .collect();
    for pair in ends.windows(2) {
        let delta = json!({"choices": [{"index": 0, "delta": {"content": &text[pair[0]..pair[1]]}}]});
        out.extend(events.push(&mut masker, format!("data: {delta}\n\n").as_bytes(), false, LIMIT));
    }
    out.extend(events.push(&mut masker, b"", true, LIMIT));
    let stream = String::from_utf8(out).expect("UTF-8");
    let content = |event: &str| {
        let value: Value =
            serde_json::from_str(event.trim_start_matches("data: ")).expect("an event of JSON");
        value["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    stream.split_terminator("\n\n").map(content).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, shape], rest)) = data.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let secret = SECRETS[usize::from(choice) % SECRETS.len()];
    if text.contains(secret) {
        return; // in the middle of a longer word, say, where it is none
    }
    let middle = (0..=text.len() / 2)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    let planted = format!("{} {secret} {}", &text[..middle], &text[middle..]);
    let [requests, answers] = &mut *WORLDS.lock().expect("no panic before");
    let doc = SHAPES[usize::from(shape) % SHAPES.len()](&planted).to_string();
    request(requests, doc.as_bytes(), secret);
    let seeded: Vec<u8> = [&[shape], planted.as_bytes()].concat();
    let (cuts, _) = pieces(&seeded);
    let told = answer(answers, &cuts, &planted);
    assert!(!told.contains(secret), "told: {told}");
});
