//! The scanner against `serde_json`, and what it refuses beyond that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use guard_core::json::{scan, Edits, Path, Value, MAX_DEPTH};
use guard_core::request;
use proptest::prelude::*;
use serde_json::Value as Tree;
use std::ops::Range;

/// All scalars in order, with the text of each string.
fn scalars(body: &[u8]) -> Result<Vec<String>, String> {
    let mut seen = Vec::new();
    let mut visit = |_: &Path<'_>, value: Value<'_>, span: Range<usize>| match value {
        Value::String(text) => {
            assert_eq!(text.span(), span.start + 1..span.end - 1);
            seen.push(format!("s{}", text.text()));
        }
        Value::Number(digits) => seen.push(format!("n{}", String::from_utf8_lossy(digits))),
        Value::Bool(truth) => seen.push(format!("b{truth}")),
        Value::Null => seen.push("null".to_owned()),
        Value::Open => assert!(b"{[".contains(&body[span.start])),
        Value::Close => assert!(b"}]".contains(&body[span.end - 1]) && b"{[".contains(&body[span.start])),
    };
    scan(body, &mut visit).map_err(|malformed| malformed.reason.to_owned())?;
    Ok(seen)
}

fn reason(body: impl AsRef<[u8]>) -> &'static str {
    request::read(
        body.as_ref(),
        &mut |_: &Path<'_>, _: Value<'_>, _: Range<usize>| (),
    )
    .unwrap_err()
    .reason
}

fn tree_scalars(tree: &Tree, seen: &mut Vec<String>) {
    match tree {
        Tree::String(text) => seen.push(format!("s{text}")),
        Tree::Number(number) => seen.push(format!("n{number}")),
        Tree::Bool(truth) => seen.push(format!("b{truth}")),
        Tree::Null => seen.push("null".to_owned()),
        Tree::Array(items) => items.iter().for_each(|item| tree_scalars(item, seen)),
        Tree::Object(members) => members.values().for_each(|value| tree_scalars(value, seen)),
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<String>().prop_map(Tree::from),
        "[\\PC\"\\\\\n\t]{0,40}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
            prop::collection::btree_map("[a-z\"\\\\é]{0,6}", inner, 0..12)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

fn nested(depth: usize) -> Vec<u8> {
    ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes()
}

#[test]
fn an_answer_cut_within_a_character_is_read_up_to_there() {
    let mut seen = Vec::new();
    let mut visit = |_: &Path<'_>, value: Value<'_>, _: Range<usize>| {
        if let Value::Number(digits) = value {
            seen.push(digits.to_vec());
        }
    };
    let whole = "{\"usage\":[7,8],\"text\":\"ก".as_bytes();
    let cut = scan(&whole[..whole.len() - 1], &mut visit).unwrap_err();
    assert_eq!((cut.reason, cut.at), ("it is not valid UTF-8", whole.len() - 3));
    assert_eq!(seen, [b"7", b"8"]);
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    let cases: [(&[u8], &str); 22] = [
        (
            br#"{"model":"a","model":"b"}"#,
            "an object has the same key twice",
        ),
        (
            br#"{"model":"a","mod\u0065l":"b"}"#,
            "an object has the same key twice",
        ),
        (
            br#"{"model":"a","Model":"b"}"#,
            "an object has the same key twice",
        ),
        (
            "{\"stream\":true,\"\u{17F}tream\":false}".as_bytes(),
            "an object has the same key twice",
        ),
        (
            br#"{"messages":[{"content":"a","content":"b"}]}"#,
            "an object has the same key twice",
        ),
        (
            br#"{"x":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"a":0}}"#,
            "an object has the same key twice",
        ),
        (br#"{"Stream":true}"#, "a key is not spelt in lower-case letters"),
        (b"\xEF\xBB\xBF{}", "it is not an object"),
        (b"[]", "it is not an object"),
        (b"", "it is not an object"),
        (b"{} {}", "there is something after its end"),
        (b"{}\0", "there is something after its end"),
        (b"{\"a\":\"\xFF\"}", "it is not valid UTF-8"),
        (b"{\"a\":\"\xED\xA0\x80\"}", "it is not valid UTF-8"),
        (
            b"{\"a\":\"\n\"}",
            "a string has a control character that is not escaped",
        ),
        (br#"{"a":"\x41"}"#, "a string has an unknown escape"),
        (br#"{"a":"\u00g0"}"#, "a \\u escape lacks its four digits"),
        (br#"{"a":01}"#, "a comma or an end is missing"),
        (br#"{"a":1,}"#, "a key in double quotes is missing"),
        (br#"{a:1}"#, "a key in double quotes is missing"),
        (br#"{"a":NaN}"#, "a value is missing"),
        (br#"{"a":"#, "it ends too early"),
    ];
    for (body, expected) in cases {
        assert_eq!(reason(body), expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn keys_of_inner_objects_may_differ_in_case_only() {
    assert_eq!(
        scalars(br#"{"tools":[{"Name":1,"name":2}]}"#).unwrap(),
        ["n1", "n2"]
    );
}

#[test]
fn nesting_is_bounded() {
    assert!(scalars(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        scalars(&nested(MAX_DEPTH + 1)).unwrap_err(),
        "it is nested too deeply"
    );
    assert_eq!(
        scalars(&nested(1_000_000)).unwrap_err(),
        "it is nested too deeply"
    );
}

#[test]
fn many_keys_cost_no_more_than_sorting_them() {
    let members: Vec<String> = (0..200_000).map(|number| format!("\"k{number}\":0")).collect();
    let body = format!("{{{}}}", members.join(","));
    assert_eq!(scalars(body.as_bytes()).unwrap().len(), 200_000);
    let again = format!("{{{},\"k77\":0}}", members.join(","));
    assert_eq!(reason(again), "an object has the same key twice");
}

#[test]
fn half_a_surrogate_pair_is_replaced_and_a_whole_one_decoded() {
    assert_eq!(
        scalars(br#"["\ud83d\ude00","\ud83dx","\ude00","\ud83d\u0041"]"#).unwrap(),
        ["s\u{1F600}", "s\u{FFFD}x", "s\u{FFFD}", "s\u{FFFD}A"]
    );
}

#[test]
fn paths_tell_keys_and_arrays_apart() {
    let mut seen = Vec::new();
    let mut visit = |path: &Path<'_>, value: Value<'_>, _: Range<usize>| {
        if matches!(value, Value::String(_)) {
            seen.push((
                path.is(&["a", "[]", "b"]),
                path.nearest_key().map(|key| key.text().into_owned()),
            ));
        }
    };
    scan(br#"{"a":[{"b":"1"},"2"],"[]":"3"}"#, &mut visit).unwrap();
    assert_eq!(
        seen,
        [
            (true, Some("b".to_owned())),
            (false, Some("a".to_owned())),
            (false, Some("[]".to_owned()))
        ]
    );
}

#[test]
fn edits_leave_every_other_byte() {
    let body = br#"{ "a" : "x" , "b":1.50 }"#;
    let mut edits = Edits::default();
    edits.replace(18..22, *b"2");
    edits.replace_text(9..10, "\"\n\u{1}é");
    assert_eq!(
        edits.clone().apply(body),
        "{ \"a\" : \"\\\"\\n\\u0001é\" , \"b\":2 }".as_bytes()
    );
    let (end, head) = edits.head(body);
    assert_eq!((end, head.last()), (22, Some(&b'2')));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_serde_json_writes(tree in trees(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        let mut expected = Vec::new();
        tree_scalars(&tree, &mut expected);
        match scalars(text.as_bytes()) {
            Ok(mut seen) => {
                // serde_json's map is sorted, and so is what it writes.
                seen.sort();
                expected.sort();
                prop_assert_eq!(seen, expected);
            }
            // Keys of the outermost object may fold to the same.
            Err(reason) => prop_assert_eq!(reason, "an object has the same key twice"),
        }
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses(tree in trees(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = serde_json::to_vec(&tree).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.remove(at); } else { bytes[at] = byte; }
        let theirs = serde_json::from_slice::<Tree>(&bytes);
        match scalars(&bytes) {
            // Numbers beyond f64 and half surrogates are grammatical; serde_json cannot hold them.
            Ok(_) => if let Err(error) = theirs {
                let text = error.to_string();
                prop_assert!(text.contains("number out of range") || text.contains("surrogate") || text.contains("hex escape"), "{}", text);
            },
            Err(reason) => prop_assert!(
                theirs.is_err() || reason == "an object has the same key twice", "{} in {:?}", reason, String::from_utf8_lossy(&bytes)
            ),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(br#"{}[]":,\u019tfn "#.to_vec())], 0..200)) {
        let ours = scalars(&bytes).is_ok();
        let theirs = serde_json::from_slice::<Tree>(&bytes).is_ok();
        prop_assert!(ours || !theirs || scalars(&bytes).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_is_escaped_reads_back(text in any::<String>()) {
        let mut body = b"[\"\"]".to_vec();
        let mut edits = Edits::default();
        edits.replace_text(2..2, &text);
        body = edits.apply(&body);
        prop_assert_eq!(scalars(&body).unwrap(), [format!("s{text}")]);
    }
}
