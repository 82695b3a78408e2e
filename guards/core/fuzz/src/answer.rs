//! An answer is booked the same however it is cut, whatever it is.
#![no_main]

use guard_core::shape::Shape;
use guard_core::usage::{asked, Answer, Asked, End};
use libfuzzer_sys::fuzz_target;

fn booked(asked: &Asked, kind: &str, chunks: &[&[u8]]) -> String {
    let mut answer = Answer::new(kind, "");
    chunks.iter().for_each(|chunk| answer.push(chunk));
    answer.finish();
    let booked = answer.book(Shape::Chat, asked, End::Complete, 1);
    format!("{booked:?} {:?}", answer.model())
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, text)) = data.split_first() else { return };
    let asked = asked(Shape::Chat, br#"{"model":"m","messages":[]}"#).expect("a request");
    let step = usize::from(cut) % 23 + 1;
    for kind in ["text/event-stream", "application/json"] {
        let whole = booked(&asked, kind, &[text]);
        let pieces: Vec<&[u8]> = text.chunks(step).collect();
        assert_eq!(booked(&asked, kind, &pieces), whole);
    }
});
