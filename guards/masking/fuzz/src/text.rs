//! A text in pieces becomes what it becomes as a whole.
#![no_main]

#[path = "common.rs"]
mod common;

use common::{masking_answers, pieces, World};
use libfuzzer_sys::fuzz_target;
use masking::body::apply;
use masking::fold::{Decode, Mapped};
use masking::{Channel, Session, Side};
use std::sync::{LazyLock, Mutex};

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new(&masking_answers())));

fuzz_target!(|data: &[u8]| {
    let (cuts, text) = pieces(data);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let world = &mut *WORLD.lock().expect("no panic before");
    let mut mapped = Mapped::default();
    let mut session = Session::default();
    let mut masker = world.masker(&mut session, Side::Answer, b"");
    let edits = masker.edits(text.as_bytes(), Decode::Fold, &mut mapped);
    for pair in edits.windows(2) {
        assert!(pair[0].end <= pair[1].start, "edits overlap: {edits:?}");
    }
    let whole = String::from_utf8(apply(text.as_bytes(), &edits)).expect("UTF-8");
    let mut channel = Channel::new(false);
    let mut out = String::new();
    let ends = cuts
        .iter()
        .copied()
        .filter(|&cut| text.is_char_boundary(cut))
        .collect::<Vec<_>>();
    for pair in ends.windows(2) {
        out += &channel.push(&mut masker, &text[pair[0]..pair[1]], false, &mut mapped);
    }
    out += &channel.push(&mut masker, "", true, &mut mapped);
    assert_eq!(out, whole);
});
