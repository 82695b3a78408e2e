//! What each kind finds, and what it leaves alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;
use common::{engine, masked, ALL};

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let engine = engine(ALL);
    for (text, expected) in cases {
        assert_eq!(masked(&engine, text), *expected, "in {text:?}");
    }
}

#[track_caller]
fn untouched(cases: &[&str]) {
    let engine = engine(ALL);
    for text in cases {
        assert_eq!(masked(&engine, text), *text);
    }
}

#[test]
fn emails() {
    check(&[
        ("mail bob.smith+tag@mail.acme.io now", "mail [EMAIL] now"),
        ("<bob@acme.co.th>,x", "<[EMAIL]>,x"),
        ("ติดต่อbob@acme.comได้เลย", "ติดต่อ[EMAIL]ได้เลย"),
        ("bob@acme.com.", "[EMAIL]."),
        ("print(\"\\nbob@acme.com\")", "print(\"\\n[EMAIL]\")"),
        ("bob＠acme．com", "[EMAIL]"),
        ("mailto:bob@acme.com?subject=x", "mailto:[EMAIL]?subject=x"),
    ]);
    untouched(&[
        "git@github.com:acme/repo.git",
        "logo@2x.png and react@18.2.0",
        "user@1000.service",
        "bob@example.com, a@b.test",
        "@decorator obj@ x@y",
        "a@localhost",
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("from 10.20.30.40:8080 to", "from [IP]:8080 to"),
        ("http://172.16.5.4/x", "http://[IP]/x"),
        ("host/10.1.2.3", "host/[IP]"),
        ("dns 8.8.8.8.", "dns [IP]."),
        ("10.0.0.1-10.0.0.9", "[IP]-[IP]"),
        ("via 2a00:1450:4001:81b::200e ok", "via [IP] ok"),
        ("fe80::1ff:fe23:4567:890a%eth0", "[IP]%eth0"),
        ("[2606:4700::6810:84e5]:443", "[[IP]]:443"),
        ("::ffff:192.168.7.9", "[IP]"),
    ]);
    untouched(&[
        "version 1.2.3.4, v1.2.3.4 and Version: \"2.0.1.7\"",
        "Chrome/120.0.0.0 Safari/537.36.0.0",
        "1.3.6.1.4.1.311 and 1.2.3.4.5",
        "pkg==1.2.3.4 and AssemblyVersion(\"1.0.7.2\")",
        "1.2.3.4-rc1, section 3.2.1.4",
        "127.0.0.1 0.0.0.0 192.0.2.7 255.255.255.0 ::1 2001:db8::1",
        "std::vec a::b dead::beef 12:34:56 00:1a:2b:3c:4d:5e",
        "00:11:22:33:44:55:66:77",
        "300.1.2.3 1.2.3 01.02.03.04",
    ]);
}

#[test]
fn phones() {
    check(&[
        ("call +66 81 234 5678 now", "call [PHONE] now"),
        ("+14155550123, +44 20 7946 0958", "[PHONE], [PHONE]"),
        ("โทร0812345678นะ", "โทร[PHONE]นะ"),
        ("081-234-5678 or 02-123-4567", "[PHONE] or [PHONE]"),
        ("๐๘๑-๒๓๔-๕๖๗๘", "[PHONE]"),
        ("(212) 555-0147", "[PHONE]"),
        ("tel:212-555-0147", "tel:[PHONE]"),
        ("06 12 34 56 78", "[PHONE]"),
        ("0066 81 234 5678", "[PHONE]"),
    ]);
    untouched(&[
        "1700000000 and 0912345678901",
        "a+12345678 b",
        "2024-01-15 10:30:00 05-11-2024",
        "0.0812345678",
        "id 550e8400-e29b-41d4-a716-0812345678ab",
        "0x0812345678",
        "300 400 5000",
        "011-110-1010",
    ]);
}

#[test]
fn cards_and_accounts() {
    check(&[
        ("4539 1488 0343 6467", "[CREDIT_CARD]"),
        ("4539-1488-0343-6467", "[CREDIT_CARD]"),
        ("card 4539148803436467.", "card [CREDIT_CARD]."),
        ("3782 822463 10005", "[CREDIT_CARD]"),
        ("exp 4539 1488 0343 6467 12/25", "exp [CREDIT_CARD] 12/25"),
        ("DE89 3704 0044 0532 0130 00", "[IBAN]"),
        ("GB82WEST12345698765432", "[IBAN]"),
    ]);
    untouched(&[
        "4539148803436468",
        "1700000000000000",
        "0.4539148803436467",
        "DE88 3704 0044 0532 0130 00",
        "trace 4539148803436467a",
    ]);
}

#[test]
fn national_ids() {
    check(&[
        ("บัตร 1-1017-00230-70-8", "บัตร [NATIONAL_ID]"),
        ("ssn 536-22-1234", "ssn [NATIONAL_ID]"),
        ("NI AB 12 34 56 C.", "NI [NATIONAL_ID]."),
        ("dni 12345678Z", "dni [NATIONAL_ID]"),
        ("nie X1234567L", "nie [NATIONAL_ID]"),
        ("nric S1234567D", "nric [NATIONAL_ID]"),
        ("cpf 529.982.247-25", "cpf [NATIONAL_ID]"),
        ("2345 6789 0124", "[NATIONAL_ID]"),
        ("11010519491231002X", "[NATIONAL_ID]"),
    ]);
    untouched(&[
        "000-12-3456",
        "12345678A",
        "529.982.247-26",
        "1-1017-00230-70-9",
        "AB123456",
    ]);
}

#[test]
fn keys_and_credentials() {
    check(&[
        ("sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4", "[API_KEY]"),
        ("token ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8;", "token [API_KEY];"),
        ("AKIAQ7X3M5N2P8R4T6V9", "[API_KEY]"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "[API_KEY]",
        ),
        ("password = \"hunter2!x\"", "password = \"[CREDENTIAL]\""),
        ("DB_PASSWORD=s3cr3tPw99", "DB_PASSWORD=[CREDENTIAL]"),
        ("{\"api_key\": \"a8f5f167f44f4964e6c998dee827110c\"}", "{\"api_key\": \"[CREDENTIAL]\"}"),
        ("postgres://app:pa55w0rd@db:5432/x", "postgres://app:[CREDENTIAL]@db:5432/x"),
        ("Authorization: Bearer abcDEF123456789xyz", "Authorization: Bearer [CREDENTIAL]"),
        ("รหัสผ่าน: Kho4Phat99", "รหัสผ่าน: [CREDENTIAL]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\n-----END RSA PRIVATE KEY-----\nx",
            "[API_KEY]\nx",
        ),
    ]);
    untouched(&[
        "task-force-12345678901234567890 ask-me",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx sk-your-key-here-1234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "password = get_password(user1)",
        "password: str, token: Optional[str]",
        "max_tokens: 4096, token_count=12345678901234567",
        "commit = 3f786850e387550fdab836ed7e6dc881de23001b",
        "token = \"3f786850e387550fdab836ed7e6dc881de23001b\"",
        "api_key=${API_KEY} secret={{ vault_secret_1 }} password=<password1>",
        "https://user:password@host/",
        "the password is required",
        "request_id=550e8400-e29b-41d4-a716-446655440000",
    ]);
}

#[test]
fn custom_rules_and_deny_words() {
    let rules = r#"{"deny_words":["Project-Nightingale","ลับมาก"],"rules":[
        {"name":"ticket","regex":"\\bTCK-[0-9]{4,8}\\b","value":"<ticket>"},
        {"name":"plate","regex":"\\b[A-Z]{2,3} ?[0-9]{3,4}\\b"},
        {"name":"seen","regex":"[a-z]{3}zzz","action":"report"}]}"#;
    let engine = engine(rules);
    assert_eq!(
        masked(&engine, "see TCK-12345, xTCK-1234"),
        "see <ticket>, xTCK-1234"
    );
    assert_eq!(
        masked(&engine, "plate AB 1234 and ไทยAB123ไทย"),
        "plate [PLATE] and ไทย[PLATE]ไทย"
    );
    let mut bench = common::Bench::new(&engine, masking::Side::Request);
    assert_eq!(bench.text("abczzz stays"), "abczzz stays");
    assert_eq!(bench.session.counts(), [0, 0, 1]);
    for text in ["about PROJECT-nightingale.", "เรื่องลับมากนี้"] {
        let mut bench = common::Bench::new(&engine, masking::Side::Request);
        bench.text(text);
        assert!(bench.session.blocked().is_some(), "{text}");
    }
    let mut bench = common::Bench::new(&engine, masking::Side::Request);
    bench.text("subproject-nightingales");
    assert_eq!(bench.session.blocked(), None);
}

#[test]
fn rules_that_no_stream_could_bound_are_refused() {
    let refused = |rules: &str| {
        let spec = serde_json::from_str(rules).unwrap();
        masking::Engine::new(&spec)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let regex = |pattern: &str| refused(&format!(r#"{{"rules":[{{"name":"x","regex":"{pattern}"}}]}}"#));
    assert!(regex("a+").contains("no bound"));
    assert!(regex("a{1,2000}").contains("1024"));
    assert!(regex("a?").contains("nothing"));
    assert!(regex("(?=a)b").contains("not a regex"));
    assert_eq!(regex("[ก-๙]{2,40}"), "");
    assert!(regex("(a|b|cd){2,9}{2,9}{2,9}").contains("1024"));
    assert!(refused(r#"{"rules":[{"kind":"email"},{"kind":"email","name":"b"}]}"#).contains("twice"));
    assert!(refused(r#"{"rules":[{"kind":"email","action":"hash"}]}"#).contains("hash_key"));
    assert!(refused(r#"{"hash_key":"${secret.a/b.c}","rules":[]}"#).contains("not resolved"));
    assert!(refused(r#"{"rules":[{"kind":"email","action":"block","restore":true}]}"#).contains("restored"));
    assert!(refused(r#"{"rules":[{"kind":"national_id","countries":["xx"]}]}"#).contains("known"));
    assert!(refused(r#"{"rules":[{"regex":"ab"}]}"#).contains("name"));
    assert!(refused(r#"{"deny_words":["x"]}"#).contains("2 bytes"));
}

#[test]
fn hashes_are_keyed_and_labelled() {
    let rules = |key: &str| format!(r#"{{"hash_key":"{key}","rules":[{{"kind":"email","action":"hash"}}]}}"#);
    let one = masked(
        &engine(&rules("0123456789abcdef")),
        "bob@acme.io bob@acme.io eve@acme.io",
    );
    let other = masked(&engine(&rules("fedcba9876543210")), "bob@acme.io");
    let hashes: Vec<&str> = one.split(' ').collect();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
    assert_ne!(hashes[0], other);
    assert!(hashes[0].starts_with("[EMAIL:") && hashes[0].len() == "[EMAIL:]".len() + 16);
}
