//! A whole body: what is masked and put back again is what it was, so no byte outside of a match has changed, and
//! the document has kept its form.
#![no_main]

#[path = "common.rs"]
mod common;

use common::{World, MASKING};
use libfuzzer_sys::fuzz_target;
use masking::body::{mask, Buffers};
use masking::json::{walk, Role};
use masking::{fold, Session, Side};
use std::sync::{LazyLock, Mutex};

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new(MASKING)));

// The texts of a document; None where a tool call's arguments are not JSON, since a value in them that is put back is
// written as if they were.
fn texts(doc: &[u8]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    walk(doc, false, &mut |leaf, _| {
        all.push((leaf.role, fold::unescape(&doc[leaf.start..leaf.end])))
    })
    .expect("still JSON");
    // In arguments a text may be escaped in another way than before, and a number may have become a text.
    let same = |(role, text): (Role, String)| match role {
        Role::Arguments => serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .map(|v| v.to_string().replace('"', "")),
        _ => Some(text),
    };
    all.into_iter().map(same).collect()
}

fuzz_target!(|doc: &[u8]| {
    // Placeholders that a client writes itself are its own affair.
    if std::str::from_utf8(doc).is_err() || doc.windows(2).any(|w| w == b"_1" || w == b"\\u") {
        return;
    }
    let world = &mut *WORLD.lock().expect("no panic before");
    let (mut session, mut buffers) = (Session::default(), Buffers::default());
    let Ok(masked) = mask(&mut world.masker(&mut session, Side::Request, doc), doc, &mut buffers) else {
        return;
    };
    let Some(masked) = masked.map(|head| head.whole(doc)) else {
        return;
    };
    let back = mask(
        &mut world.masker(&mut session, Side::Answer, b""),
        &masked,
        &mut buffers,
    )
    .expect("still JSON");
    let back = back.map_or(masked.clone(), |head| head.whole(&masked));
    // A number that was a value has become a text of the same digits.
    assert_eq!(
        texts(doc),
        texts(&back),
        "masked: {}",
        String::from_utf8_lossy(&masked)
    );
});
