//! What is booked for answers of every shape, however they are cut into chunks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use guard_core::shape::Shape;
use guard_core::sse;
use guard_core::usage::{asked, unseen, Answer, Asked, Booked, End};
use proptest::prelude::*;
use serde_json::{json, Value};

const EVENTS: &str = "text/event-stream; charset=utf-8";

fn edited(shape: Shape, body: &str) -> String {
    let edits = asked(shape, body.as_bytes()).unwrap().edits;
    String::from_utf8(edits.apply(body.as_bytes())).unwrap()
}

fn request() -> Asked {
    Asked {
        input_estimate: 100,
        output_limit: Some(400),
        ..Asked::default()
    }
}

fn booked(shape: Shape, content_type: &str, chunks: &[&[u8]], end: End) -> Booked {
    let mut answer = Answer::new(content_type, "");
    for chunk in chunks {
        answer.push(chunk);
    }
    answer.finish();
    answer.book(shape, &request(), end, 2)
}

fn plain(shape: Shape, body: &Value) -> Booked {
    booked(
        shape,
        "application/json",
        &[body.to_string().as_bytes()],
        End::Complete,
    )
}

fn stream(events: &[Value], done: bool) -> Vec<u8> {
    let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    if done {
        text.push_str("data: [DONE]\n\n");
    }
    text.into_bytes()
}

#[test]
fn streams_are_made_to_carry_usage_and_nothing_else_changes() {
    let cases = [
        (
            r#" { "stream" : true }"#,
            r#" {"stream_options":{"include_usage":true}, "stream" : true }"#,
        ),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{ },"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"x":[1]},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"x":[1]},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false,"x":{}},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"x":{}},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"x":{"include_usage":true}},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"x":{"include_usage":true}},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":null},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage": 0},"stream":true}"#,
            r#"{"stream_options":{"include_usage": true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (r#"{"stream":false}"#, r#"{"stream":false}"#),
        (r#"{"stream":null}"#, r#"{"stream":null}"#),
        (r#"{"a":{"stream":true}}"#, r#"{"a":{"stream":true}}"#),
        (r#"{}"#, r#"{}"#),
    ];
    for (body, expected) in cases {
        assert_eq!(edited(Shape::Chat, body), expected);
        assert_eq!(edited(Shape::Completions, body), expected);
        assert_eq!(edited(Shape::Responses, body), body);
        assert_eq!(edited(Shape::Messages, body), body);
    }
    for body in [
        r#"{"stream":1}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":{}}"#,
        r#"{"stream":true,"stream_options":{"Include_Usage":false}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":{}}}"#,
    ] {
        assert_eq!(
            asked(Shape::Chat, body.as_bytes()).unwrap_err().status,
            400,
            "{body}"
        );
    }
}

#[test]
fn estimates_of_input_count_texts_and_attachments() {
    let body = json!({"model": "m", "max_tokens": 50, "n": 3, "messages": [{"role": "user", "content": "x".repeat(300)}]});
    let found = asked(Shape::Chat, body.to_string().as_bytes()).unwrap();
    let keys_and_words = "modelmmax_tokensnmessagesroleusercontent".len() as u64;
    assert_eq!(found.input_estimate, (300 + keys_and_words).div_ceil(3));
    assert_eq!(found.output_limit, Some(150));
    let picture = json!({"messages": [{"content": [{"image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(900_000))}}]}]});
    let estimate = asked(Shape::Chat, picture.to_string().as_bytes())
        .unwrap()
        .input_estimate;
    assert!((2_000..2_100).contains(&estimate), "{estimate}");
}

#[test]
fn plain_answers_of_every_shape() {
    let openai = json!({"usage": {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}});
    assert_eq!(
        plain(Shape::Chat, &openai),
        Booked {
            input: 40,
            cache_read: 60,
            output: 7,
            ..Booked::default()
        }
    );
    let embeddings =
        json!({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 9, "total_tokens": 9}});
    assert_eq!(
        plain(Shape::Embeddings, &embeddings),
        Booked {
            input: 9,
            ..Booked::default()
        }
    );
    let responses = json!({"output": [{"content": [{"text": "hi"}]}], "usage": {"input_tokens": 30, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}}});
    assert_eq!(
        plain(Shape::Responses, &responses),
        Booked {
            input: 20,
            cache_read: 10,
            output: 4,
            ..Booked::default()
        }
    );
    let messages = json!({"content": [{"text": "hi"}], "usage": {"input_tokens": 5, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 15, "output_tokens": 3}});
    assert_eq!(
        plain(Shape::Messages, &messages),
        Booked {
            input: 5,
            cache_read: 80,
            cache_write: 15,
            output: 3,
            ..Booked::default()
        }
    );
    let deepseek =
        json!({"usage": {"prompt_tokens": 50, "prompt_cache_hit_tokens": 20, "completion_tokens": 1}});
    assert_eq!(
        plain(Shape::Chat, &deepseek),
        Booked {
            input: 30,
            cache_read: 20,
            output: 1,
            ..Booked::default()
        }
    );
}

#[test]
fn answers_without_usage_are_estimated_upwards() {
    let text = "word ".repeat(60);
    let message = json!({"tool_calls": [{"id": "call_1234567890", "function": {"name": "f", "arguments": "{}"}}], "content": text});
    let chat = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    assert_eq!(
        plain(Shape::Chat, &chat),
        Booked {
            estimated_input: 100,
            estimated_output: 101,
            ..Booked::default()
        }
    );
    let none = json!({"choices": [{"message": {"content": ""}}], "usage": null});
    assert_eq!(
        plain(Shape::Chat, &none),
        Booked {
            estimated_input: 100,
            ..Booked::default()
        }
    );
    let absurd =
        json!({"usage": {"prompt_tokens": -5, "completion_tokens": 1e300}, "choices": [{"text": "abc"}]});
    assert_eq!(
        plain(Shape::Chat, &absurd),
        Booked {
            estimated_input: 100,
            estimated_output: 1,
            ..Booked::default()
        }
    );
    let garbage = booked(Shape::Chat, "text/html", &[b"<html>502</html>"], End::Complete);
    assert_eq!(
        garbage,
        Booked {
            estimated_input: 100,
            estimated_output: 6,
            ..Booked::default()
        }
    );
    let mut packed = Answer::new("application/json", "gzip");
    packed.push(&[7; 90]);
    packed.finish();
    assert_eq!(
        packed
            .book(Shape::Chat, &request(), End::Complete, 0)
            .estimated_output,
        90
    );
}

#[test]
fn nothing_seen_of_a_cut_answer_is_bounded_by_time_and_limit() {
    assert_eq!(
        booked(Shape::Chat, "application/json", &[], End::Cut).estimated_output,
        400
    );
    assert_eq!(unseen(&Asked::default(), 0), 150);
    assert_eq!(unseen(&Asked::default(), 9), 1_500);
}

fn streams() -> Vec<(Shape, Vec<u8>, Booked)> {
    let chat = [
        json!({"model": "gpt-x-2026", "choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": null}),
        json!({"choices": [{"delta": {"content": "Hello — สวัสดี"}}]}),
        json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":1}"}}]}}]}),
        json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 16}}}),
    ];
    let chat_booked = Booked {
        input: 4,
        cache_read: 16,
        output: 8,
        ..Booked::default()
    };
    let messages = [
        json!({"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ];
    let messages_booked = Booked {
        input: 3,
        cache_read: 90,
        cache_write: 7,
        output: 12,
        ..Booked::default()
    };
    let responses = [
        json!({"type": "response.created", "response": {"model": "o-x", "usage": null}}),
        json!({"type": "response.output_text.delta", "item_id": "i", "delta": "Hello"}),
        json!({"type": "response.completed", "response": {"model": "o-x", "output": [{"text": "Hello"}], "usage": {"input_tokens": 11, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}}}),
    ];
    let responses_booked = Booked {
        input: 10,
        cache_read: 1,
        output: 2,
        ..Booked::default()
    };
    vec![
        (Shape::Chat, stream(&chat, true), chat_booked),
        (Shape::Messages, stream(&messages, false), messages_booked),
        (Shape::Responses, stream(&responses, false), responses_booked),
    ]
}

#[test]
fn every_way_to_cut_a_stream_in_two_reads_the_same() {
    for (shape, bytes, expected) in streams() {
        for text in [
            bytes.clone(),
            String::from_utf8(bytes)
                .unwrap()
                .replace('\n', "\r\n")
                .into_bytes(),
        ] {
            for at in 0..=text.len() {
                let (head, tail) = text.split_at(at);
                assert_eq!(
                    booked(shape, EVENTS, &[head, tail], End::Complete),
                    expected,
                    "{shape:?} at {at}"
                );
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(
                booked(shape, EVENTS, &bytes, End::Complete),
                expected,
                "{shape:?} byte by byte"
            );
        }
    }
}

#[test]
fn a_stream_that_breaks_off_anywhere_is_never_free() {
    for (shape, bytes, whole) in streams() {
        for at in 0..bytes.len() {
            let cut = booked(shape, EVENTS, &[&bytes[..at]], End::Cut);
            let input = cut.input + cut.cache_read + cut.cache_write + cut.estimated_input;
            assert!(
                input > 0 && cut.output + cut.estimated_output > 0,
                "{shape:?} at {at}: {cut:?}"
            );
            assert!(cut.output <= whole.output, "{shape:?} at {at}: {cut:?}");
        }
    }
    // The first figure of a Messages stream is not the last word on its output.
    let (_, bytes, _) = streams().swap_remove(1);
    let cut_at = bytes
        .windows(14)
        .position(|window| window == b"\"message_delta")
        .unwrap();
    let cut = booked(Shape::Messages, EVENTS, &[&bytes[..cut_at]], End::Cut);
    assert_eq!(
        (cut.input, cut.cache_read, cut.output, cut.estimated_output),
        (3, 90, 0, 2)
    );
}

#[test]
fn what_comes_after_a_running_figure_is_added_when_the_stream_breaks() {
    let events = [
        json!({"choices": [{"delta": {"content": "aaa"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}),
        json!({"choices": [{"delta": {"content": "bbbccc"}}]}),
    ];
    let cut = booked(Shape::Chat, EVENTS, &[&stream(&events, false)], End::Cut);
    assert_eq!((cut.input, cut.output, cut.estimated_output), (5, 1, 2));
}

#[test]
fn the_answer_names_the_model() {
    for (body, expected) in [
        (&br#"{"model":"m-1","choices":[]}"#[..], Some("m-1")),
        (br#"{"choices":[{"model":"x"}]}"#, None),
        (br#"{"model":""}"#, None),
        (br#"{"model":7}"#, None),
    ] {
        let mut answer = Answer::new("application/json", "");
        answer.push(body);
        answer.finish();
        assert_eq!(answer.model(), expected);
    }
}

fn events(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut reader = sse::Reader::default();
    let mut seen = Vec::new();
    for chunk in chunks {
        reader.push(chunk, |data| seen.push(data.to_vec()));
    }
    reader.finish(|data| seen.push(data.to_vec()));
    seen
}

#[test]
fn events_as_the_standard_says() {
    let text = b"\xEF\xBB\xBF: comment\ndata: one\r\ndata:two\revent: x\n\n\nid: 1\ndata\n\ndata:  three\ndatax: no\n\ndata: last";
    assert_eq!(events(&[text]), [&b"one\ntwo"[..], b"", b" three", b"last"]);
}

#[test]
fn an_endless_event_does_not_fill_the_memory() {
    let mut reader = sse::Reader::default();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        reader.push(&chunk, |_| panic!("no event ended"));
    }
    assert_eq!(reader.skipped(), 12 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_make_no_difference(
        pieces in prop::collection::vec(prop::sample::select(vec!["data: ", "data:", "\n", "\r", "\r\n", "\n\n", "x", "{\"a\":1}", ": c", "event: e", "\u{e9}", "[DONE]"]), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text = pieces.concat().into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(events(&chunks), events(&[&text]));
    }

    #[test]
    fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in prop::sample::select(vec![EVENTS, "application/json", ""])) {
        booked(Shape::Chat, kind, &[b"data: ", &bytes, b"\n\n"], End::Cut);
    }

    // An event that is the last one but for its text is not read again; one that says nothing, in between, makes it read.
    #[test]
    fn an_event_like_the_last_one_counts_as_if_it_were_read(
        events in prop::collection::vec(prop::sample::select(EVENT_PARTS.to_vec()).prop_flat_map(|(before, after)| {
            prop::collection::vec(prop::sample::select(TEXT_PARTS.to_vec()), 0..4)
                .prop_map(move |texts| [before, &texts.concat(), after].concat())
        }), 0..12),
        end in prop::sample::select(vec![End::Complete, End::Cut]),
    ) {
        let stream = |between: &str| -> Vec<u8> {
            events.iter().flat_map(|event| format!("data: {event}\n\n{between}").into_bytes()).collect()
        };
        let read = |bytes: &[u8]| {
            let mut answer = Answer::new(EVENTS, "");
            answer.push(bytes);
            answer.finish();
            (answer.book(Shape::Chat, &request(), end, 2), answer.model().map(str::to_owned))
        };
        prop_assert_eq!(read(&stream("")), read(&stream("data: {}\n\n")));
    }
}

/// What stands around a text in an event; the last are no JSON, or nearly the ones before.
const EVENT_PARTS: [(&str, &str); 9] = [
    (r#"{"model":"m","choices":[{"delta":{"content":""#, r#""}}]}"#),
    (r#"{"model":"n","choices":[{"delta":{"content":""#, r#""}}]}"#),
    (
        r#"{"choices":[{"delta":{"content":""#,
        r#""}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
    ),
    (
        r#"{"choices":[{"delta":{"content":"said before"}},{"delta":{"content":""#,
        r#""}}]}"#,
    ),
    (r#"{"choices":[{"delta":{"role":""#, r#""}}]}"#),
    (
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":""#,
        r#""}}"#,
    ),
    (r#"{"type":""#, r#""}"#),
    (r#"{"model":""#, r#"","choices":[]}"#),
    (r#"{"choices":[{"delta":{"content":""#, r#""}}]"#),
];

/// What texts are made of: one ends the string, one is half an escape.
const TEXT_PARTS: [&str; 9] = [
    "word ",
    "message_stop",
    "\\n",
    "\\",
    "\"",
    "\",\"model\":\"x",
    "สวัสดี",
    "\t",
    "m",
];
