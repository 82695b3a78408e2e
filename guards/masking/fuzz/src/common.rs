//! Shared by the targets: engines, and what they work in.

use masking::{Engine, Masker, RulesSpec, Scratch, Session, Side};

/// All kinds, a custom regex of each sort, and deny words.
pub const MASKING: &str = r#"{"answers":false,"hash_key":"0123456789abcdef","rules":[
    {"kind":"email","restore":true},{"kind":"phone","restore":true},{"kind":"ip","action":"hash","restore":true},
    {"kind":"api_key","restore":true},{"kind":"credential","restore":true},{"kind":"credit_card","restore":true},
    {"kind":"iban","restore":true},{"kind":"national_id","restore":true},
    {"name":"ticket","regex":"TCK-[0-9]{2,8}","restore":true},{"name":"word","regex":"\\b[a-z]{3}[0-9]{2,5}\\b","restore":true}]}"#;

/// The same without restoring, for answers too.
pub fn masking_answers() -> String {
    MASKING
        .replace(",\"restore\":true", "")
        .replace("\"answers\":false,", "")
}

/// A compiled engine with its memory.
pub struct World {
    engine: Engine,
    scratch: Scratch,
}

impl World {
    /// Of rules in JSON.
    pub fn new(rules: &str) -> Self {
        let spec: RulesSpec = serde_json::from_str(rules).expect("rules are JSON");
        let engine = Engine::new(&spec).expect("rules compile");
        let scratch = engine.scratch();
        World { engine, scratch }
    }

    /// What masks on one side of SESSION.
    pub fn masker<'a>(&'a mut self, session: &'a mut Session, side: Side, avoid: &'a [u8]) -> Masker<'a> {
        Masker {
            engine: &self.engine,
            scratch: &mut self.scratch,
            session,
            side,
            avoid,
        }
    }
}

/// DATA cut into pieces of lengths that its first byte decides.
pub fn pieces(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let (seed, rest) = data.split_first().unwrap_or((&7, data));
    let mut cuts = vec![0];
    let mut state = u32::from(*seed) + 1;
    while let Some(at) = cuts.last().filter(|&&at| at < rest.len()) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let step = 1 + (state >> 16) as usize % if seed % 2 == 0 { 4 } else { 40 };
        cuts.push((at + step).min(rest.len()));
    }
    (cuts, rest)
}
