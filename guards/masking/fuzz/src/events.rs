//! A streamed answer, whatever it is: no panic, and the same bytes go on however it is cut.
#![no_main]

#[path = "common.rs"]
mod common;

use common::{masking_answers, pieces, World};
use libfuzzer_sys::fuzz_target;
use masking::sse::Events;
use masking::{Session, Side};
use std::sync::{LazyLock, Mutex};

const LIMIT: usize = 1 << 20;
static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new(&masking_answers())));

fuzz_target!(|data: &[u8]| {
    let (cuts, stream) = pieces(data);
    let world = &mut *WORLD.lock().expect("no panic before");
    let mut read = |cuts: &[usize]| {
        let (mut session, mut events, mut out) = (Session::default(), Events::default(), Vec::new());
        let mut masker = world.masker(&mut session, Side::Answer, b"");
        for pair in cuts.windows(2) {
            out.extend(events.push(&mut masker, &stream[pair[0]..pair[1]], false, LIMIT));
        }
        out.extend(events.push(&mut masker, b"", true, LIMIT));
        out
    };
    assert_eq!(read(&cuts), read(&[0, stream.len()]));
});
