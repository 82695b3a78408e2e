//! Shared by the tests: an engine from JSON rules, and texts masked with it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use masking::fold::{Decode, Mapped};
use masking::{Channel, Engine, Masker, RulesSpec, Scratch, Session, Side};

pub const ALL: &str = r#"{"hash_key":"0123456789abcdef","rules":[
    {"kind":"email"},{"kind":"phone"},{"kind":"ip"},{"kind":"api_key"},{"kind":"credential"},
    {"kind":"credit_card"},{"kind":"iban"},{"kind":"national_id"}]}"#;

pub fn engine(rules: &str) -> Engine {
    let spec: RulesSpec = serde_json::from_str(rules).expect("rules are JSON");
    Engine::new(&spec).expect("rules compile")
}

pub struct Bench<'e> {
    pub engine: &'e Engine,
    pub scratch: Scratch,
    pub session: Session,
    pub side: Side,
}

impl<'e> Bench<'e> {
    pub fn new(engine: &'e Engine, side: Side) -> Self {
        Bench {
            engine,
            scratch: engine.scratch(),
            session: Session::default(),
            side,
        }
    }

    pub fn masker(&mut self) -> Masker<'_> {
        Masker {
            engine: self.engine,
            scratch: &mut self.scratch,
            session: &mut self.session,
            side: self.side,
            avoid: b"",
        }
    }

    pub fn text(&mut self, text: &str) -> String {
        let edits = self
            .masker()
            .edits(text.as_bytes(), Decode::Fold, &mut Mapped::default());
        String::from_utf8(masking::body::apply(text.as_bytes(), &edits)).expect("UTF-8")
    }

    pub fn pieces<'t>(&mut self, pieces: impl IntoIterator<Item = &'t str>, json: bool) -> String {
        let mut channel = Channel::new(json);
        let mut mapped = Mapped::default();
        let mut out = String::new();
        for piece in pieces {
            out.push_str(&channel.push(&mut self.masker(), piece, false, &mut mapped));
        }
        out.push_str(&channel.push(&mut self.masker(), "", true, &mut mapped));
        out
    }
}

pub fn masked(engine: &Engine, text: &str) -> String {
    Bench::new(engine, Side::Request).text(text)
}
