//! No input is slower than linear: twice the worst text takes about twice the time.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
use common::{engine, Bench};
use masking::body::Buffers;
use masking::Side;

const RULES: &str = r#"{"hash_key":"0123456789abcdef","deny_words":["aaaaaaab","ลับมาก"],"rules":[
    {"kind":"email"},{"kind":"phone"},{"kind":"ip"},{"kind":"api_key"},{"kind":"credential"},
    {"kind":"credit_card"},{"kind":"iban"},{"kind":"national_id"},
    {"name":"mail","regex":"m@[a-z0-9]{1,12}!","restore":true},
    {"name":"nested","regex":"(?:(?:a{1,9}){1,9}b?){1,9}c"},{"name":"ticket","regex":"TCK-[0-9]{2,400}x"}]}"#;

const WORST: [&str; 16] = [
    "a",
    "1",
    "@",
    "a@",
    "a@a.",
    "1.",
    "1 ",
    "::",
    "1:1",
    "eyJ",
    "sk-",
    "password=",
    "://a:",
    "TCK-1",
    "-----BEGIN PRIVATE KEY-----",
    "[EMAIL_",
];

/// What this thread has computed so far: a busy machine makes a clock on the wall run, but not this one. From Linux's
/// `schedstat`, which is brought up to date when a thread yields.
fn cpu_seconds() -> f64 {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn seconds(engine: &masking::Engine, text: &str) -> f64 {
    let best = (0..3).map(|_| {
        let start = cpu_seconds();
        Bench::new(engine, Side::Request).text(text);
        cpu_seconds() - start
    });
    best.fold(f64::MAX, f64::min)
}

#[test]
fn twice_the_text_takes_twice_the_time() {
    let engine = engine(RULES);
    for piece in WORST {
        let text = piece.repeat(20_000 / piece.len());
        let (once, twice) = (seconds(&engine, &text), seconds(&engine, &text.repeat(4)));
        // Four times the text; quadratic time would be sixteen times, noise is allowed a factor of two.
        assert!(
            twice < once * 8.0 + 0.02,
            "{piece:?}: {once:.4} s and {twice:.4} s for four times the text"
        );
    }
}

#[test]
fn many_values_to_restore_take_no_longer_than_few() {
    let engine = engine(RULES);
    let body = |values: usize| {
        let texts: Vec<String> = (0..values).map(|i| format!("[MAIL_{i}] m@v{i}! ")).collect();
        format!("[\"{}\"]", texts.concat())
    };
    let seconds = |doc: &str| {
        let best = (0..3).map(|_| {
            let mut bench = Bench::new(&engine, Side::Request);
            let mut masker = bench.masker();
            masker.avoid = doc.as_bytes();
            let start = cpu_seconds();
            masking::body::mask(&mut masker, doc.as_bytes(), &mut Buffers::default())
                .unwrap()
                .unwrap();
            cpu_seconds() - start
        });
        best.fold(f64::MAX, f64::min)
    };
    let (once, more) = (seconds(&body(800)), seconds(&body(3_200)));
    assert!(
        more < once * 8.0 + 0.02,
        "{once:.4} s and {more:.4} s for four times the values"
    );
}
