//! A text in pieces becomes what it becomes as a whole, wherever it is cut, and waits no longer than it must.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

mod common;
use common::{engine, Bench, ALL};
use masking::fold::Mapped;
use masking::{Channel, Engine, Side};
use proptest::prelude::*;

const WITH_CUSTOM: &str = r#"{"hash_key":"0123456789abcdef","deny_words":[],"rules":[
    {"kind":"email"},{"kind":"phone"},{"kind":"ip","action":"hash"},{"kind":"api_key"},{"kind":"credential"},
    {"kind":"credit_card"},{"kind":"iban"},{"kind":"national_id"},
    {"name":"ticket","regex":"TCK-[0-9]{2,8}"},{"name":"plate","regex":"\\b[A-Z]{2,3} ?[0-9]{3,4}\\b"},
    {"name":"thai","regex":"[ก-ฮ]{1,3}[0-9]{2}","action":"report"}]}"#;

const TEXTS: [&str; 24] = [
    "Hello Bob, write to bob.smith@acme.co.th or eve@acme.io. Bye",
    "two: a.b@c.io,d@e.fr;x@y z@w.io",
    "call +66 81 234 5678 or 081-234-5678, (212) 555-0147!",
    "card 4539 1488 0343 6467 exp 12/25 and 4539148803436467 4",
    "acct DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432 end",
    "ip 10.20.30.40:8080, 2a00:1450:4001:81b::200e, v1.2.3.4 and version 4.3.2.1 ok 8.8.8.8",
    "บัตร 1-1017-00230-70-8 โทร๐๘๑-๒๓๔-๕๖๗๘นะ bob＠acme．com",
    "ssn 536-22-1234 NI AB 12 34 56 C. dni 12345678Z X1234567L S1234567D cpf 529.982.247-25",
    "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4 then sk- and AKIAQ7X3M5N2P8R4T6V9.",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk done",
    "password = \"hunter2!x\" DB_PASSWORD=s3cr3tPw99 api_key: 'a8f5f167f44f4964e6c998dee827110c'",
    "postgres://app:pa55w0rd@db:5432/x https://example.com/a Authorization: Bearer abcDEF123456789xyz",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\n-----END RSA PRIVATE KEY-----\nx",
    "see TCK-12345 xTCK-1 AB 1234 ไทยAB123ไทย กข12 -- TCK",
    "a very ordinary sentence. It has words, numbers like 12 and 3.14; code: fn f(x: u8) -> u8 { x + 1 }",
    "{\"a\": [1, 2.5, \"x@y.io\"], \"password\": \"Zx9!kk22\"}",
    "+ ( 0 00 1 .5 @ : :: -- == // \\n \\",
    "0044 0532 0130 00 11 22 33 44 55 66 77 88 99 00 11 22",
    "1.1.1.1.1.1.1 1.1.1.1 ::::: 1::1 a:b:c:d:e:f:1:2",
    "รหัสผ่าน: Kho4Phat99 secret is aB3dE6gH9jK2mN5pQ",
    "passwordpassword: password= pass word =x9!x9!x9!",
    "token: str = \"aB3dE6gH9jK2mN5pQ\" user:pass@host://a:b@c",
    "bob@acme.com\u{200b}\u{200b} b\u{ad}ob@ac\u{ad}me.com",
    "\u{1F600}bob@acme.io\u{1F600}+66812345678\u{1F600}",
];

fn whole(engine: &Engine, text: &str) -> (String, Vec<u32>) {
    let mut bench = Bench::new(engine, Side::Answer);
    let out = bench.text(text);
    (out, bench.session.counts().to_vec())
}

fn pieces(engine: &Engine, parts: &[&str]) -> (String, Vec<u32>) {
    let mut bench = Bench::new(engine, Side::Answer);
    let out = bench.pieces(parts.iter().copied(), false);
    (out, bench.session.counts().to_vec())
}

fn chars(text: &str) -> Vec<&str> {
    let mut cuts: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
    cuts.push(text.len());
    cuts.windows(2).map(|w| text.get(w[0]..w[1]).unwrap()).collect()
}

#[test]
fn every_split_point_of_every_text() {
    let engine = engine(WITH_CUSTOM);
    for text in TEXTS {
        let expected = whole(&engine, text);
        assert_eq!(
            pieces(&engine, &chars(text)),
            expected,
            "character by character: {text}"
        );
        for (i, _) in text.char_indices() {
            let (a, b) = text.split_at(i);
            assert_eq!(pieces(&engine, &[a, b]), expected, "split at {i}: {a:?} | {b:?}");
        }
    }
}

#[test]
fn every_pair_of_split_points() {
    let engine = engine(WITH_CUSTOM);
    for text in TEXTS.iter().filter(|t| t.len() < 100) {
        let expected = whole(&engine, text);
        let cuts: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        for &i in cuts.iter().step_by(2) {
            for &j in cuts.iter().filter(|&&j| j > i) {
                let parts = [&text[..i], &text[i..j], &text[j..]];
                assert_eq!(pieces(&engine, &parts), expected, "{parts:?}");
            }
        }
    }
}

#[test]
fn arguments_are_split_inside_escapes_too() {
    let engine = engine(WITH_CUSTOM);
    let text = r#"{"to":"bob\u0040acme.io","note":"line\nbob@acme.io \ud83d\ude00\\n","q":"\"x@y.io\""}"#;
    let expected = r#"{"to":"[EMAIL]","note":"line\n[EMAIL] \ud83d\ude00\\n","q":"\"[EMAIL]\""}"#;
    for i in 0..text.len() {
        let (a, b) = text.split_at(i);
        let mut bench = Bench::new(&engine, Side::Answer);
        assert_eq!(bench.pieces([a, b], true), expected, "{a:?} | {b:?}");
    }
    let mut bench = Bench::new(&engine, Side::Answer);
    assert_eq!(bench.pieces(chars(text), true), expected);
}

#[test]
fn what_no_rule_can_match_goes_on_at_once() {
    let engine = engine(ALL);
    let mut bench = Bench::new(&engine, Side::Answer);
    let mut channel = Channel::new(false);
    let mut push = |piece: &str| channel.push(&mut bench.masker(), piece, false, &mut Mapped::default());
    assert_eq!(push("The answer is: "), "The answer is: ");
    assert_eq!(push("yes, of"), "yes, ");
    assert_eq!(push(" course. Write to bob"), "of course. Write to ");
    assert_eq!(push("@acme.io"), "");
    assert_eq!(push(" today"), "[EMAIL] ");
    assert_eq!(push("!"), "today!");
}

#[test]
fn a_text_that_never_ends_is_not_held_for_ever() {
    let engine = engine(WITH_CUSTOM);
    for piece in [
        "a",
        "1",
        "a.",
        "1.",
        "+",
        "x@y.",
        "::",
        "(0",
        "sk-aB3",
        "eyJa",
        "://a",
        "password=",
        "TCK-1",
        "AB1",
    ] {
        let mut bench = Bench::new(&engine, Side::Answer);
        let mut channel = Channel::new(false);
        let mut mapped = Mapped::default();
        let (mut sent, mut got) = (0_usize, 0);
        for _ in 0..1_200 {
            sent += piece.len();
            got += channel.push(&mut bench.masker(), piece, false, &mut mapped).len();
        }
        assert!(
            sent - got.min(sent) < 8_500,
            "{piece:?}: {} of {sent} are held",
            sent - got
        );
    }
}

#[test]
fn values_come_back_only_in_their_own_request() {
    let rules = r#"{"hash_key":"0123456789abcdef","rules":[
        {"kind":"email","restore":true},{"kind":"ip","action":"hash","restore":true}]}"#;
    let engine = engine(rules);
    let mut bench = Bench::new(&engine, Side::Request);
    let asked = bench.text("bob@acme.io, eve@acme.io, bob@acme.io at 10.1.2.3");
    assert!(asked.starts_with("[EMAIL_1], [EMAIL_2], [EMAIL_1] at [IP:"));
    let answer = format!(
        "I wrote to [EMAIL_2] ({}), not [EMAIL_3] or [EMAIL_1]x",
        asked.rsplit(' ').next().unwrap()
    );
    bench.side = Side::Answer;
    let expected = "I wrote to eve@acme.io (10.1.2.3), not [EMAIL_3] or bob@acme.iox";
    assert_eq!(bench.text(&answer), expected);
    for i in 0..answer.len() {
        let (a, b) = answer.split_at(i);
        assert_eq!(bench.pieces([a, b], false), expected, "{a:?} | {b:?}");
    }
    assert_eq!(bench.pieces(chars(&answer), false), expected);
    let mut other = Bench::new(&engine, Side::Answer);
    assert_eq!(other.text(&answer), answer);
}

fn fragment() -> impl Strategy<Value = String> {
    let seeds = prop::sample::select(TEXTS.to_vec());
    let cut = (seeds, any::<prop::sample::Index>(), 0..40_usize).prop_map(|(text, at, len)| {
        let all = chars(text);
        let from = at.index(all.len());
        all.into_iter().skip(from).take(len).collect::<String>()
    });
    prop_oneof![3 => cut, 1 => "[a-z0-9@.:+ \\-\\[\\]\"\\\\=/_(]{0,12}", 1 => "\\PC{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_pieces(parts in prop::collection::vec(fragment(), 1..8)) {
        let engine = engine(WITH_CUSTOM);
        let text = parts.concat();
        let expected = whole(&engine, &text);
        let refs: Vec<&str> = parts.iter().map(String::as_str).collect();
        prop_assert_eq!(pieces(&engine, &refs), expected.clone());
        prop_assert_eq!(pieces(&engine, &chars(&text)), expected);
    }
}
