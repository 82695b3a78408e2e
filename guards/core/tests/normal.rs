//! The quick way through a JSON string puts down what the slow one does, character by character.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use guard_core::normal::Normal;
use proptest::prelude::*;

/// As a JSON string, between its quotes.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap()
        .to_owned()
}

fn slow(texts: &[String]) -> (Vec<u8>, String) {
    let mut normal = Normal::default();
    for text in texts {
        for c in text.chars() {
            normal.text(c.encode_utf8(&mut [0; 4]));
        }
    }
    (normal.bytes().to_vec(), normal.take_hidden())
}

fn quick(texts: &[String]) -> (Vec<u8>, String) {
    let mut normal = Normal::default();
    for text in texts {
        normal.json(escaped(text).as_bytes());
    }
    (normal.bytes().to_vec(), normal.take_hidden())
}

#[test]
fn every_character_alone_and_within_a_text() {
    // The planes that have letters, and the tag characters; the rest of Unicode is empty or private.
    for c in ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e01ff}') {
        let texts = [c.to_string(), format!("Aa{c}  {c}")];
        assert_eq!(quick(&texts), slow(&texts), "U+{:04X}", u32::from(c));
    }
}

#[test]
fn lengths_around_a_chunk() {
    for length in [0, 1, 15, 16, 17, 31, 32, 33, 47] {
        for odd in ["", " ", "  ", "\n", "\\", "\"", "\u{7f}", "é", "ก", "ｉ"] {
            for place in 0..=length {
                let mut text = "Ab c".repeat(length).chars().take(length).collect::<String>();
                text.insert_str(place, odd);
                let texts = ["x ".to_owned(), text];
                assert_eq!(quick(&texts), slow(&texts), "{texts:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_texts(texts in proptest::collection::vec("([ -~]{0,40}|[ก-๛ ]{0,20}|  |\\PC{0,8}|.{0,4}|[\\x00-\\x7f]{0,24}){0,6}", 1..4)) {
        prop_assert_eq!(quick(&texts), slow(&texts));
    }
}
