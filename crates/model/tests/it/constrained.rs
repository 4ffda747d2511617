//! Replies that must have a form: they have it whatever the model thinks, others are left alone, and
//! no schema takes more than it may.

use std::path::Path;
use std::sync::LazyLock;

use model::gguf::GgufFile;
use model::sentencepiece::{Piece, PieceKind, Preparation, build};
use model::{
    Constraint, Finish, GenerateOptions, Generated, Generator, Llava, Request, Sampling, Tokenizer,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tch::Device;

use super::{golden, golden_tokenizer, small_config};

/// Random weights: it writes nonsense, so all form comes from the constraint.
fn nonsense() -> Generator {
    let model = Llava::new(&small_config(), 5, Device::Cpu).unwrap();
    Generator::new(&model, golden_tokenizer()).unwrap()
}

fn request(constraint: Option<&Constraint>, sampling: Sampling, max_new_tokens: usize) -> Request {
    let mut request = Request::question("Answer in JSON.", None, max_new_tokens);
    request.options = GenerateOptions {
        max_new_tokens,
        sampling,
        constraint: constraint.cloned(),
        ..GenerateOptions::default()
    };
    request
}

/// Greedy, and drawn in several ways.
fn ways() -> Vec<Sampling> {
    let drawn = |seed| Sampling {
        temperature: 1.0,
        seed,
        ..Sampling::default()
    };
    vec![
        Sampling::default(),
        drawn(1),
        drawn(2),
        Sampling {
            temperature: 2.0,
            top_k: 5,
            top_p: 0.9,
            min_p: 0.01,
            repetition_penalty: 1.3,
            seed: 3,
        },
        Sampling {
            repetition_penalty: 0.8,
            ..Sampling::default()
        },
    ]
}

/// A schema, and whether a value obeys it.
type Form = (&'static str, Value, fn(&Value) -> bool);

fn keys(value: &Value) -> Vec<&str> {
    let fields = value.as_object().unwrap();
    fields.keys().map(String::as_str).collect()
}

fn length(value: &Value) -> usize {
    value.as_str().unwrap().chars().count()
}

fn forms() -> Vec<Form> {
    vec![
        (
            "required fields, one choice",
            json!({"type": "object", "additionalProperties": false, "required": ["answer", "unit"],
                   "properties": {"answer": {"type": "string", "maxLength": 8},
                                  "unit": {"enum": ["cm", "m", null, 7]}}}),
            |v| {
                keys(v) == ["answer", "unit"]
                    && length(&v["answer"]) <= 8
                    && [json!("cm"), json!("m"), json!(null), json!(7)].contains(&v["unit"])
            },
        ),
        (
            "an array of numbers in ranges",
            json!({"type": "array", "minItems": 2, "maxItems": 4,
                   "items": {"type": "integer", "minimum": -20, "exclusiveMaximum": 5}}),
            |v| {
                let list = v.as_array().unwrap();
                (2..=4).contains(&list.len())
                    && list.iter().all(|n| (-20..5).contains(&n.as_i64().unwrap()))
            },
        ),
        (
            "objects within arrays within objects",
            json!({"type": "object", "additionalProperties": false, "required": ["steps"],
                   "properties": {"steps": {"type": "array", "minItems": 1, "maxItems": 2,
                       "items": {"type": "object", "additionalProperties": false,
                           "required": ["say", "by"],
                           "properties": {"say": {"type": "string", "minLength": 2, "maxLength": 5},
                               "by": {"type": "object", "additionalProperties": false,
                                      "properties": {"sure": {"type": "boolean"}}}}}}}}),
            |v| {
                let steps = v["steps"].as_array().unwrap();
                let sure = |by: &Value| {
                    keys(by).is_empty() || (keys(by) == ["sure"] && by["sure"].is_boolean())
                };
                keys(v) == ["steps"]
                    && (1..=2).contains(&steps.len())
                    && steps.iter().all(|step| {
                        keys(step) == ["say", "by"]
                            && (2..=5).contains(&length(&step["say"]))
                            && sure(&step["by"])
                    })
            },
        ),
        (
            "one of two shapes",
            json!({"anyOf": [
                {"type": "object", "additionalProperties": false, "required": ["n"],
                 "properties": {"n": {"type": "number", "minimum": 0.5, "maximum": 0.75}}},
                {"type": "object", "additionalProperties": false, "required": ["s"],
                 "properties": {"s": {"const": "none"}}}]}),
            |v| match keys(v)[..] {
                ["n"] => (0.5..=0.75).contains(&v["n"].as_f64().unwrap()),
                ["s"] => v["s"] == "none",
                _ => false,
            },
        ),
        (
            "names and texts beyond ASCII",
            json!({"type": "object", "additionalProperties": false, "required": ["角度", "π\"\n"],
                   "properties": {"角度": {"enum": ["直角 🙂", "鋭角"]},
                                  "π\"\n": {"type": "string", "pattern": "^[π角🙂]{1,4}$"}}}),
            |v| {
                keys(v) == ["角度", "π\"\n"]
                    && ["直角 🙂", "鋭角"].contains(&v["角度"].as_str().unwrap())
                    && (1..=4).contains(&length(&v["π\"\n"]))
                    && v["π\"\n"]
                        .as_str()
                        .unwrap()
                        .chars()
                        .all(|c| "π角🙂".contains(c))
            },
        ),
        (
            "a definition that is used twice",
            json!({"$defs": {"point": {"type": "array", "prefixItems": [{"$ref": "#/$defs/n"},
                                       {"$ref": "#/$defs/n"}], "minItems": 2, "items": false},
                             "n": {"type": "integer", "minimum": 0, "maximum": 99}},
                   "type": "object", "additionalProperties": false, "required": ["from", "to"],
                   "properties": {"from": {"$ref": "#/$defs/point"},
                                  "to": {"$ref": "#/$defs/point"}}}),
            |v| {
                keys(v) == ["from", "to"]
                    && ["from", "to"].iter().all(|end| {
                        let point = v[end].as_array().unwrap();
                        point.len() == 2 && point.iter().all(|n| n.as_u64().unwrap() <= 99)
                    })
            },
        ),
    ]
}

fn parsed(reply: &Generated, what: &str) -> Value {
    assert_eq!(reply.finish, Finish::Stop, "{what}: {:?}", reply.text);
    serde_json::from_str(&reply.text).unwrap_or_else(|e| panic!("{what}: {:?}: {e}", reply.text))
}

#[test]
fn replies_obey_their_schemas_whatever_the_model_thinks() {
    let generator = nonsense();
    for (name, schema, obeys) in forms() {
        let form = Constraint::json_schema(generator.tokenizer(), &schema).unwrap();
        let requests: Vec<Request> = ways()
            .into_iter()
            .map(|way| request(Some(&form), way, 400))
            .collect();
        let replies = generator.generate(&requests, 8, |_, _| ()).unwrap();
        for (reply, request) in replies.iter().zip(&requests) {
            let what = format!("{name}, {:?}", request.options.sampling);
            let value = parsed(reply, &what);
            assert!(obeys(&value), "{what}: {value}");
        }
        let different = replies.iter().any(|reply| reply.text != replies[0].text);
        assert!(different, "{name}: all ways wrote {:?}", replies[0].text);
    }
}

#[test]
fn a_form_changes_nothing_for_those_beside_it() {
    let generator = nonsense();
    let form = Constraint::json_object(generator.tokenizer()).unwrap();
    let free: Vec<Request> = ways()
        .into_iter()
        .map(|way| request(None, way, 30))
        .collect();
    let alone = generator.generate(&free, 8, |_, _| ()).unwrap();
    let mixed: Vec<Request> = free
        .iter()
        .flat_map(|free| {
            let sampling = free.options.sampling.clone();
            [free.clone(), request(Some(&form), sampling, 30)]
        })
        .collect();
    let together = generator.generate(&mixed, 16, |_, _| ()).unwrap();
    for (index, (found, expected)) in together.iter().step_by(2).zip(&alone).enumerate() {
        assert_eq!(found, expected, "{index}");
    }
    // Constrained replies among themselves as well.
    for (index, reply) in together.iter().enumerate().skip(1).step_by(2) {
        assert!(reply.text.starts_with('{'), "{:?}", reply.text);
        let one = generator
            .generate(&mixed[index..=index], 1, |_, _| ())
            .unwrap();
        assert_eq!(reply, &one[0], "{index}");
    }
}

#[test]
fn a_reply_cut_by_its_limit_is_the_beginning_of_its_form() {
    let generator = nonsense();
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
                        "properties": {"a": {"type": "string", "minLength": 400}}});
    let form = Constraint::json_schema(generator.tokenizer(), &schema).unwrap();
    for way in ways() {
        let requests = [request(Some(&form), way, 20)];
        let reply = generator
            .generate(&requests, 1, |_, _| ())
            .unwrap()
            .remove(0);
        assert_eq!((reply.finish, reply.tokens.len()), (Finish::Length, 20));
        let begun: String = reply.text.split_whitespace().collect();
        assert!(
            "{\"a\":\"".starts_with(&begun) || begun.starts_with("{\"a\":\""),
            "{begun}"
        );
    }
}

#[test]
fn log_probabilities_are_the_models_own_under_a_form() {
    let generator = nonsense();
    let form = Constraint::json_object(generator.tokenizer()).unwrap();
    let mut constrained = request(Some(&form), Sampling::default(), 1);
    constrained.options.logprobs = Some(3);
    let mut free = request(None, Sampling::default(), 1);
    free.options.logprobs = Some(3);
    let replies = generator
        .generate(&[constrained, free], 2, |_, _| ())
        .unwrap();
    assert_eq!(replies[0].text, "{");
    let [formed, free] = [&replies[0], &replies[1]].map(|reply| &reply.logprobs[0]);
    assert_eq!(formed.top, free.top);
    assert!(formed.chosen.logprob < free.chosen.logprob);
}

#[test]
fn an_object_of_any_kind_is_one_that_json_knows() {
    let generator = nonsense();
    let form = Constraint::json_object(generator.tokenizer()).unwrap();
    assert_eq!(
        form,
        Constraint::json_object(generator.tokenizer()).unwrap()
    );
    let requests: Vec<Request> = (0..30)
        .map(|seed| {
            let sampling = Sampling {
                temperature: 1.0,
                seed,
                ..Sampling::default()
            };
            request(Some(&form), sampling, 150)
        })
        .collect();
    let mut complete = 0;
    for reply in generator.generate(&requests, 30, |_, _| ()).unwrap() {
        if reply.finish == Finish::Stop {
            // Read without its numbers, which may be larger than any type holds.
            let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&reply.text);
            assert!(
                read.is_ok() && reply.text.starts_with('{'),
                "{:?}",
                reply.text
            );
            complete += 1;
        }
    }
    // Strings have no bounds here, and nonsense seldom closes them.
    assert!(complete > 0);
}

#[test]
fn schemas_that_cannot_be_kept_to_are_refused_and_say_why() {
    let tokenizer = golden_tokenizer();
    let deep = (0..100).fold(json!({}), |inner, _| json!({"items": inner}));
    let many: Value = (0..3000)
        .map(|n| (format!("p{n}"), json!({"enum": [1, 2, 3]})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let cases = [
        (json!("text"), "no object"),
        (json!({"type": "text"}), "Invalid type"),
        (
            json!({"type": "integer", "minimum": 5, "maximum": 4}),
            "nsatisfiable",
        ),
        (json!({"type": "array", "uniqueItems": true}), "uniqueItems"),
        (
            json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]}),
            "write anyOf",
        ),
        (json!({"$ref": "#/$defs/none"}), "$defs/none"),
        (
            json!({"$ref": "http://127.0.0.1:9/s.json"}),
            "nothing is fetched",
        ),
        (
            json!({"items": {"$ref": "file:///etc/passwd"}}),
            "nothing is fetched",
        ),
        (json!({"$ref": "other.json#/a"}), "nothing is fetched"),
        (json!({"type": "string", "pattern": "("}), "regex"),
        (
            json!({"type": "string", "const": "a".repeat(70_000)}),
            "bytes of names and texts",
        ),
        (json!({"properties": many}), "values"),
        (
            json!({"enum": vec![json!(1); 2_000], "anyOf": vec![json!(true); 600]}),
            "options",
        ),
        (deep, "levels deep"),
        // llguidance cuts this text inside a character when it says what is wrong with it.
        (
            json!({"type": "array", "minItems": "é".repeat(99)}),
            "not well formed",
        ),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            "nothing satisfies",
        ),
        (
            json!({"allOf": [{"type": "string", "pattern": "a.*b"}, {"pattern": "[^c]d"},
                             {"pattern": "e|f"}]}),
            "parts of it hold together",
        ),
        (
            json!({"properties": (0..300).map(|n| (format!("p{n}"), json!({"format": "email"})))
                .collect::<serde_json::Map<_, _>>()}),
            "patterns and formats",
        ),
        (
            json!({"type": "string", "pattern": "a".repeat(2000)}),
            "2000 bytes",
        ),
        (
            json!({"type": "integer", "multipleOf": 4_294_967_291u32}),
            "multipleOf",
        ),
        (json!({"type": "number", "multipleOf": 0}), "multipleOf"),
        (
            json!({"allOf": [{"multipleOf": 7}, {"multipleOf": 9}]}),
            "multipleOf",
        ),
        (
            json!({"patternProperties": (0..40).map(|n| (format!("^{n}"), json!({})))
                .collect::<serde_json::Map<_, _>>()}),
            "comparisons",
        ),
        (json!({"type": "object", "not": {"required": ["a"]}}), "not"),
        // Its client's own options would make it lenient.
        (
            json!({"x-guidance": {"lenient": true}, "type": "object", "not": {"required": ["a"]}}),
            "not",
        ),
    ];
    for (schema, expected) in cases {
        let refused = Constraint::json_schema(&tokenizer, &schema);
        let said = refused.map(|_| schema).unwrap_err().to_string();
        assert!(said.starts_with("the reply's JSON schema: "), "{said}");
        assert!(
            said.contains(expected),
            "{said:?} does not say {expected:?}"
        );
        assert!(said.len() < 500, "{said}");
    }
}

/// Vocabularies of every kind that is read.
fn vocabularies() -> &'static [(String, Tokenizer)] {
    static READ: LazyLock<Vec<(String, Tokenizer)>> = LazyLock::new(read_vocabularies);
    &READ
}

fn read_vocabularies() -> Vec<(String, Tokenizer)> {
    let mut found = vec![("grouped".to_owned(), golden_tokenizer())];
    for name in ["llama", "qwen2", "smollm", "gpt-2", "llama-bpe", "default"] {
        let file = golden("gguf_files").join(format!("{name}.gguf"));
        found.push((
            name.to_owned(),
            GgufFile::open(&file).unwrap().tokenizer().unwrap(),
        ));
    }
    for dummy_prefix in [true, false] {
        found.push((format!("pieces {dummy_prefix}"), pieces(dummy_prefix)));
    }
    found.push(("metaspace".to_owned(), metaspace()));
    found
}

/// SentencePiece's kind, with a few pieces beside the bytes.
fn pieces(dummy_prefix: bool) -> Tokenizer {
    let piece = |text: &str, kind| Piece {
        text: text.to_owned(),
        score: -(text.len() as f32),
        kind,
    };
    let mut pieces = vec![
        piece("<unk>", PieceKind::Unknown),
        piece("<s>", PieceKind::Control),
        piece("</s>", PieceKind::Control),
        piece("\u{2581}\u{2581}x", PieceKind::UserDefined),
    ];
    pieces.extend((0..=255u8).map(|byte| piece(&format!("<0x{byte:02X}>"), PieceKind::Byte)));
    for text in ["\u{2581}", "a", "b", "\u{2581}a", "角", "ab", "0"] {
        pieces.push(piece(text, PieceKind::Normal));
    }
    let preparation = Preparation {
        dummy_prefix,
        remove_extra_whitespaces: false,
    };
    Tokenizer::new(build(&pieces, preparation).unwrap()).unwrap()
}

/// The newer way of writing SentencePiece's kind down, without bytes.
fn metaspace() -> Tokenizer {
    let vocabulary: serde_json::Map<String, Value> = ["<unk>", "</s>", "\u{2581}", "a", "b", "角"]
        .iter()
        .enumerate()
        .map(|(id, text)| ((*text).to_owned(), json!(id)))
        .collect();
    let space = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always",
                       "split": false});
    let text = json!({"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": space, "post_processor": null, "decoder": space,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>"}});
    Tokenizer::new(text.to_string().parse().unwrap()).unwrap()
}

/// The bytes of a text's tokens, special ones left out.
fn together(tokenizer: &Tokenizer, ids: &[i64]) -> Vec<u8> {
    ids.iter()
        .flat_map(|&id| tokenizer.token_bytes(id).unwrap_or_default())
        .collect()
}

#[test]
fn special_tokens_and_ids_of_none_have_no_bytes() {
    for (name, tokenizer) in vocabularies() {
        let special = [Some(tokenizer.eos), tokenizer.bos, tokenizer.image];
        for id in special
            .into_iter()
            .flatten()
            .chain([-1, -200, tokenizer.vocab_size(), i64::MAX])
        {
            assert_eq!(tokenizer.token_bytes(id), None, "{name}: {id}");
        }
        let all = (0..tokenizer.vocab_size()).filter_map(|id| tokenizer.token_bytes(id));
        let single: std::collections::BTreeSet<Vec<u8>> = all.filter(|b| b.len() == 1).collect();
        let expected = if name == "metaspace" { 3 } else { 256 };
        assert_eq!(single.len(), expected, "{name}: tokens of one byte");
    }
}

#[test]
fn a_vocabulary_whose_tokens_depend_on_each_other_takes_no_form() {
    let text = json!({"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "</s>": 1, "a": 2, "##b": 3},
                  "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100}});
    let tokenizer = Tokenizer::new(text.to_string().parse().unwrap()).unwrap();
    assert_eq!(tokenizer.token_bytes(3), None);
    let said = Constraint::json_object(&tokenizer).unwrap_err().to_string();
    assert!(said.contains("no bytes of their own"), "{said}");
}

#[test]
fn a_vocabulary_that_cannot_write_the_form_is_refused() {
    let said = Constraint::json_object(&metaspace())
        .unwrap_err()
        .to_string();
    assert!(said.starts_with("the reply's JSON schema: "), "{said}");
}

#[test]
fn every_vocabulary_takes_forms() {
    for (name, tokenizer) in vocabularies()
        .iter()
        .filter(|(name, _)| name != "metaspace")
    {
        let form = Constraint::json_object(tokenizer).unwrap();
        let mut state = form.begin();
        let width = usize::try_from(tokenizer.vocab_size()).unwrap() + 7;
        let logits = vec![1.0; width];
        let mut written = Vec::new();
        for byte in b"{\"a\": [1, true]}" {
            let scores = state.restrict(&logits, &[tokenizer.eos]).unwrap();
            let end = usize::try_from(tokenizer.eos).unwrap();
            assert_eq!(scores[end], f32::NEG_INFINITY, "{name}: may not end yet");
            let token = (0..tokenizer.vocab_size())
                .find(|&id| tokenizer.token_bytes(id).as_deref() == Some(&[*byte]))
                .unwrap();
            assert_eq!(
                scores[usize::try_from(token).unwrap()],
                1.0,
                "{name}: {byte}"
            );
            let _ = state.accept(token);
            written.push(token);
        }
        assert_eq!(
            together(tokenizer, &written),
            b"{\"a\": [1, true]}",
            "{name}"
        );
    }
}

#[test]
fn trained_vocabularies_have_bytes_too() {
    let Some(folder) = std::env::var_os("MATH_LLAVA_TOKENIZER") else {
        println!("skipped: MATH_LLAVA_TOKENIZER names no folder with a tokenizer");
        return;
    };
    let tokenizer = Tokenizer::load(Path::new(&folder)).unwrap();
    let text = "Let $x^2 = 4$, so x = ±2; 角度 45°, naïve 🙂.\n\n\tEnd  of\u{a0}it.";
    let ids = tokenizer.encode(text).unwrap();
    let bytes = together(&tokenizer, &ids);
    assert_eq!(String::from_utf8(bytes).unwrap().trim_start(), text);
}

proptest! {
    #[test]
    fn the_bytes_of_a_texts_tokens_are_its_decoded_text(text in "[ab0-9 \n\\PC]{0,40}") {
        for (name, tokenizer) in vocabularies() {
            let ids = tokenizer.encode(&text).unwrap();
            let bytes = together(tokenizer, &ids);
            let decoded = tokenizer.decode(&ids).unwrap();
            let found = String::from_utf8_lossy(&bytes);
            // What SentencePiece puts before a text.
            let prefixed = matches!(name.as_str(), "llama" | "pieces true" | "metaspace");
            let expected = if prefixed && !ids.is_empty() { format!(" {decoded}") } else { decoded };
            prop_assert_eq!(found, expected, "{}: {:?}", name, ids);
        }
    }
}
