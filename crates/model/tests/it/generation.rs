//! Replies: transformers' tokens, the same ones however requests are batched, and every way to end.

use std::sync::Arc;

use model::{
    EngineLimits, Finish, GenerateOptions, Generated, Generator, Llava, LlavaConfig, Part, Pixels,
    Preprocessor, Request, Said, Sampling, Speaker, Turn,
};
use proptest::prelude::*;
use tch::Device;

use super::{golden, golden_tokenizer, load, small_config, tensors, texts};

pub(super) fn pictures(model: &Llava) -> Vec<Arc<Pixels>> {
    let preprocessor = Preprocessor::new(model.config());
    [0, 1]
        .map(|i| {
            let path = golden(&format!("picture_{i}.png"));
            Arc::new(preprocessor.open(&path).unwrap())
        })
        .to_vec()
}

pub(super) fn generator(model: &Llava) -> Generator {
    Generator::new(model, golden_tokenizer()).unwrap()
}

pub(super) fn answer(generator: &Generator, request: &Request) -> Generated {
    let requests = std::slice::from_ref(request);
    generator
        .generate(requests, 1, |_, _| ())
        .unwrap()
        .remove(0)
}

fn refused(generator: &Generator, request: &Request) -> String {
    let requests = std::slice::from_ref(request);
    let error = generator.generate(requests, 1, |_, _| ()).unwrap_err();
    error.to_string()
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let (queries, _) = texts();
    for shape in ["grouped", "tied"] {
        let expected = tensors(&golden(shape).join("golden.safetensors"));
        let model = load(shape);
        let images = pictures(&model);
        let requests: Vec<Request> = queries
            .iter()
            .zip(&images)
            .map(|(text, image)| Request::question(text, Some(Arc::clone(image)), 24))
            .collect();
        let answers = generator(&model).generate(&requests, 8, |_, _| ()).unwrap();
        for (index, answer) in answers.iter().enumerate() {
            let mut wanted = Vec::<i64>::try_from(&expected[&format!("greedy.{index}")]).unwrap();
            if let Some(end) = wanted.iter().position(|&id| id == 2) {
                wanted.truncate(end);
            }
            assert_eq!(answer.tokens, wanted, "{shape} {index}");
        }
    }
}

/// Several questions on an image, in any order, some the same, some without an image, some long.
pub(super) fn mixed(images: &[Arc<Pixels>]) -> Vec<Request> {
    [
        (Some(1), "Question: How many bars?", 12),
        (None, "What is 2 + 2?", 3),
        (Some(0), "Question: How many?", 12),
        (
            Some(1),
            "Question: How many bars are taller than 30, and which one is the tallest?",
            20,
        ),
        (Some(0), "Is it red?", 1),
        (Some(1), "Question: How many bars?", 12),
        (None, "?", 7),
        (Some(0), "", 9),
        (
            None,
            "What is 2 + 2, and what is 3 + 3, and what is 4 + 4?",
            12,
        ),
    ]
    .into_iter()
    .map(|(image, text, tokens)| {
        let image = image.map(|i: usize| Arc::clone(&images[i]));
        Request::question(text, image, tokens)
    })
    .collect()
}

/// Tokens equal, log-probabilities within 1e-5.
pub(super) fn assert_same(found: &Generated, expected: &Generated, what: &str) {
    assert_eq!(found.tokens, expected.tokens, "{what}");
    assert_eq!(
        (&found.text, found.finish, found.prompt_tokens),
        (&expected.text, expected.finish, expected.prompt_tokens),
        "{what}"
    );
    assert_eq!(found.logprobs.len(), expected.logprobs.len(), "{what}");
    for (a, b) in found.logprobs.iter().zip(&expected.logprobs) {
        for (a, b) in [(a.chosen, b.chosen), (a.top[0], b.top[0])] {
            assert_eq!(a.token, b.token, "{what}");
            assert!((a.logprob - b.logprob).abs() < 1e-5, "{what}: {a:?} {b:?}");
        }
    }
}

#[test]
fn a_batch_gives_token_for_token_what_each_conversation_gives_alone() {
    for shape in ["grouped", "tied"] {
        let model = load(shape);
        let generator = generator(&model);
        let mut requests = mixed(&pictures(&model));
        for request in &mut requests {
            request.options.logprobs = Some(2);
        }
        let alone: Vec<_> = requests.iter().map(|r| answer(&generator, r)).collect();
        for at_once in [1, 2, 3, 8, 100] {
            let together = generator.generate(&requests, at_once, |_, _| ()).unwrap();
            for (index, (found, expected)) in together.iter().zip(&alone).enumerate() {
                assert_same(
                    found,
                    expected,
                    &format!("{shape}, {at_once} at once, {index}"),
                );
            }
        }
    }
}

#[test]
fn small_passes_and_a_small_cache_change_no_token() {
    let model = load("grouped");
    let generator = generator(&model);
    let requests = mixed(&pictures(&model));
    let alone: Vec<_> = requests.iter().map(|r| answer(&generator, r)).collect();
    // 2 layers, 2 key-value heads of 8, keys and values, f32.
    let per_token = 2 * 2 * 8 * 2 * 4;
    for (prefill_tokens, cache_tokens) in [(1, 10_000), (7, 10_000), (2048, 600), (50, 300)] {
        let mut engine = generator
            .engine(EngineLimits {
                slots: 4,
                cache_bytes: cache_tokens * per_token,
                prefill_tokens,
                ..EngineLimits::default()
            })
            .unwrap();
        let ids: Vec<_> = requests.iter().map(|r| engine.admit(r).unwrap()).collect();
        let mut replies = vec![None; ids.len()];
        while !engine.is_idle() {
            for event in engine.step().unwrap() {
                let index = ids.iter().position(|id| *id == event.id).unwrap();
                replies[index] = event.finished.or(replies[index].take());
            }
        }
        for (found, expected) in replies.iter().zip(&alone) {
            assert_same(
                found.as_ref().unwrap(),
                expected,
                &format!("{prefill_tokens} {cache_tokens}"),
            );
        }
    }
}

#[test]
fn each_image_and_each_shared_beginning_is_run_once() {
    let model = load("grouped");
    let generator = generator(&model);
    let images = pictures(&model);
    let mut engine = generator.engine(EngineLimits::default()).unwrap();
    let ask =
        |text: &str, image: usize| Request::question(text, Some(Arc::clone(&images[image])), 2);
    let mut admitted = 0;
    for text in ["How many?", "Which one?", "Is it red?"] {
        for image in [0, 1] {
            let _ = engine.admit(&ask(text, image)).unwrap();
            admitted += 1;
        }
    }
    let prompts: usize = drain(&mut engine).iter().map(|r| r.prompt_tokens).sum();
    let first = engine.prefill_counts();
    assert_eq!(admitted, 6);
    assert_eq!(first.images, 2);
    assert_eq!(first.run + first.shared, prompts);
    // 16 image tokens and the words before them, two images, three questions each.
    assert!(first.shared >= 4 * 16, "{first:?}");

    // A later question finds what past ones left, images included.
    let _ = engine.admit(&ask("Which bar is it?", 1)).unwrap();
    let reply = drain(&mut engine).remove(0);
    let later = engine.prefill_counts();
    assert_eq!(later.images, 2);
    assert!(later.run - first.run < 20, "{later:?}");
    assert_same(
        &reply,
        &answer(&generator, &ask("Which bar is it?", 1)),
        "later",
    );
    // The same words about another picture find only what is before the picture.
    let mut other = (*images[1]).clone();
    other.bytes[5] ^= 255;
    let other = Request::question("Which bar is it?", Some(Arc::new(other)), 2);
    let _ = engine.admit(&other).unwrap();
    let reply = drain(&mut engine).remove(0);
    assert_eq!(engine.prefill_counts().images, 3);
    assert_same(&reply, &answer(&generator, &other), "other picture");
}

fn drain(engine: &mut model::Engine) -> Vec<Generated> {
    let mut replies = Vec::new();
    while !engine.is_idle() {
        let events = engine.step().unwrap();
        replies.extend(events.into_iter().filter_map(|event| event.finished));
    }
    replies
}

#[test]
fn requests_that_join_and_leave_in_between_disturb_no_one() {
    let model = load("tied");
    let generator = generator(&model);
    let requests = mixed(&pictures(&model));
    let alone: Vec<_> = requests.iter().map(|r| answer(&generator, r)).collect();
    let mut engine = generator
        .engine(EngineLimits {
            slots: 3,
            ..EngineLimits::default()
        })
        .unwrap();
    let mut ids = Vec::new();
    let mut replies = vec![None; requests.len()];
    let cancelled = 3;
    for step in 0.. {
        if let Some(request) = requests.get(step) {
            ids.push(engine.admit(request).unwrap());
        }
        if step == 8 {
            let reply = engine.cancel(ids[cancelled]).unwrap().unwrap();
            assert_eq!(reply.finish, Finish::Cancelled);
            assert!(alone[cancelled].tokens.starts_with(&reply.tokens));
            assert!(engine.cancel(ids[cancelled]).unwrap().is_none());
        }
        for event in engine.step().unwrap() {
            let index = ids.iter().position(|id| *id == event.id).unwrap();
            assert!(replies[index].is_none(), "an event after the end");
            replies[index] = event.finished;
        }
        if step > requests.len() && engine.is_idle() {
            break;
        }
    }
    for (index, (found, expected)) in replies.iter().zip(&alone).enumerate() {
        match found {
            Some(found) => assert_same(found, expected, &format!("{index}")),
            None => assert_eq!(index, cancelled),
        }
    }
}

#[test]
fn a_chat_finds_its_own_history() {
    let model = load("grouped");
    let generator = generator(&model);
    let image = pictures(&model).remove(0);
    let mut engine = generator.engine(EngineLimits::default()).unwrap();
    let request = Request::question("How many bars are there?", Some(image), 6);
    let _ = engine.admit(&request).unwrap();
    let first = drain(&mut engine).remove(0);
    let run = engine.prefill_counts().run;
    // The same words again: all but the last token are there.
    let _ = engine.admit(&request).unwrap();
    let again = drain(&mut engine).remove(0);
    assert_same(&again, &first, "again");
    assert_eq!(engine.prefill_counts().run, run + 1);
    assert_eq!(engine.prefill_counts().images, 1);
}

#[test]
fn answers_end_at_the_limit_or_at_the_end_token() {
    let model = load("grouped");
    let image = pictures(&model).remove(0);
    let ask = |tokens| Request::question("How many?", Some(Arc::clone(&image)), tokens);
    let found = answer(&generator(&model), &ask(5));
    assert_eq!((found.tokens.len(), found.finish), (5, Finish::Length));
    assert!(answer(&generator(&model), &ask(0)).tokens.is_empty());

    // The same model, told that its third token ends a reply.
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(golden("grouped/config.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["text_config"]["eos_token_id"] = serde_json::json!([2, found.tokens[2]]);
    std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
    std::fs::copy(
        golden("grouped/model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let (model, _) = Llava::load(dir.path(), Device::Cpu).unwrap();
    let ended = answer(&generator(&model), &ask(5));
    let end = found.tokens[2];
    let first = found.tokens.iter().position(|&t| t == end).unwrap();
    assert_eq!(
        (&ended.tokens[..], ended.finish),
        (&found.tokens[..first], Finish::Stop)
    );
}

#[test]
fn a_stop_string_ends_a_reply_and_pieces_are_its_text() {
    let model = load("grouped");
    let generator = generator(&model);
    let image = pictures(&model).remove(0);
    let mut request = Request::question("How many?", Some(image), 24);
    let whole = answer(&generator, &request).text;
    // A string in the middle, whatever tokens it is made of.
    let chars: Vec<char> = whole.chars().collect();
    assert!(chars.len() > 8, "{whole:?}");
    let stop: String = chars[4..7].iter().collect();
    let at = whole.find(&stop).unwrap();
    request.options.stop = vec![stop.clone()];
    let mut shown = String::new();
    let reply = generator
        .generate(&[request], 1, |_, piece| shown.push_str(piece))
        .unwrap()
        .remove(0);
    assert_eq!(
        (reply.text.as_str(), reply.finish),
        (&whole[..at], Finish::Stop)
    );
    assert_eq!(shown, reply.text);
}

#[test]
fn draws_depend_on_the_seed_and_not_on_the_batch() {
    let model = load("grouped");
    let generator = generator(&model);
    let image = pictures(&model).remove(0);
    let with = |seed| {
        let mut request = Request::question("How many?", Some(Arc::clone(&image)), 16);
        request.options.sampling = Sampling {
            temperature: 1.2,
            top_k: 50,
            top_p: 0.95,
            repetition_penalty: 1.1,
            seed,
            ..Sampling::default()
        };
        request
    };
    let alone: Vec<Vec<i64>> = (0..4)
        .map(|seed| answer(&generator, &with(seed)).tokens)
        .collect();
    assert!(alone[1..].iter().any(|tokens| *tokens != alone[0]));
    let requests: Vec<Request> = (0..4).map(with).collect();
    let together = generator.generate(&requests, 4, |_, _| ()).unwrap();
    for (reply, alone) in together.iter().zip(&alone) {
        assert_eq!(&reply.tokens, alone);
    }
}

#[test]
fn repetition_penalty_counts_for_greedy_replies_too() {
    let model = load("grouped");
    let generator = generator(&model);
    let mut request = Request::question("How many?", Some(pictures(&model).remove(0)), 40);
    let plain = answer(&generator, &request).tokens;
    request.options.sampling.repetition_penalty = 1e6;
    let varied = answer(&generator, &request).tokens;
    let distinct = |tokens: &[i64]| {
        tokens
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len()
    };
    assert!(distinct(&varied) > distinct(&plain));
}

#[test]
fn what_cannot_be_answered_is_refused_with_the_reason() {
    let mut config = small_config();
    config.text_config.max_position_embeddings = 200;
    let model = Llava::new(&config, 1, Device::Cpu).unwrap();
    let reads_images = generator(&model);
    let image = Arc::new(Pixels {
        side: 16,
        bytes: vec![9; 3 * 16 * 16],
    });
    let ask = |text: &str| Request::question(text, None, 500);

    let said = refused(&reads_images, &ask(&"long ".repeat(200)));
    assert!(
        said.contains("context is 200") && said.contains("tokens"),
        "{said}"
    );
    assert!(refused(&reads_images, &ask("  ")).contains("empty"));
    let mut unshown = ask("short");
    unshown.images.push(Arc::clone(&image));
    let said = refused(&reads_images, &unshown);
    assert!(said.contains("show 0 images, and 1"), "{said}");
    let mut small = Request::question("short", Some(Arc::clone(&image)), 5);
    small.images[0] = Arc::new(Pixels {
        side: 8,
        bytes: vec![9; 3 * 8 * 8],
    });
    assert!(refused(&reads_images, &small).contains("8 pixels a side"));
    let mut cold = ask("short");
    cold.options.sampling.temperature = -1.0;
    assert!(refused(&reads_images, &cold).contains("temperature"));

    let text_only = LlavaConfig {
        vision_config: None,
        ..config
    };
    let model = Llava::new(&text_only, 1, Device::Cpu).unwrap();
    let reads_text = generator(&model);
    let said = refused(&reads_text, &Request::question("What?", Some(image), 5));
    assert!(said.contains("text only"), "{said}");
    // An answer stops where the context does.
    let reply = answer(&reads_text, &ask("short"));
    assert!(reply.finish == Finish::Stop || reply.prompt_tokens + reply.tokens.len() == 200);

    let mut tiny = reads_text
        .engine(EngineLimits {
            cache_bytes: 1000,
            ..EngineLimits::default()
        })
        .unwrap();
    let said = tiny.admit(&ask("short")).unwrap_err().to_string();
    assert!(said.contains("MiB of keys and values"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Random tiny models, random questions, shared and not, all in one engine in any order.
    #[test]
    fn random_conversations_of_random_models_are_answered_as_they_are_alone(
        seed in 0u64..1000,
        kv_heads in 1i64..3,
        slots in 1usize..6,
        prefill_tokens in 5usize..100,
        asked in prop::collection::vec(
            (prop::option::of(0usize..3), "[ab ]{1,30}", 0usize..3, 1usize..9),
            2..8,
        ),
    ) {
        let mut config = small_config();
        config.text_config.num_key_value_heads = Some(kv_heads);
        let model = Llava::new(&config, seed, Device::Cpu).unwrap();
        // Weights as large as those of trained models, so that tokens differ.
        for (_, weight) in model.parameters().iter().filter(|(_, weight)| weight.dim() > 1) {
            let _ = tch::no_grad(|| weight.shallow_clone().f_mul_scalar_(6.0)).unwrap();
        }
        let generator = generator(&model);
        let images: Vec<Arc<Pixels>> = (0..3u8)
            .map(|i| Arc::new(Pixels { side: 16, bytes: (0..768u32).map(|p| (p * 37 * u32::from(i + 1)) as u8).collect() }))
            .collect();
        let opening = ["", "Question: what is shown in the picture? ", "Hint: one word. "];
        let requests: Vec<Request> = asked
            .iter()
            .map(|(image, text, open, tokens)| {
                let text = format!("{}.{text}", opening[*open]);
                let image = image.map(|i| Arc::clone(&images[i]));
                let mut request = Request::question(&text, image, *tokens);
                request.options.logprobs = Some(1);
                request
            })
            .collect();
        let mut engine = generator
            .engine(EngineLimits { slots, prefill_tokens, ..EngineLimits::default() })
            .unwrap();
        let ids: Vec<_> = requests.iter().map(|r| engine.admit(r).unwrap()).collect();
        let mut replies = vec![None; ids.len()];
        while !engine.is_idle() {
            for event in engine.step().unwrap() {
                let index = ids.iter().position(|id| *id == event.id).unwrap();
                replies[index] = event.finished.or(replies[index].take());
            }
        }
        for (request, found) in requests.iter().zip(&replies) {
            assert_same(found.as_ref().unwrap(), &answer(&generator, request), "random");
        }
    }
}

#[test]
fn several_turns_of_text_can_be_said() {
    let model = load("grouped");
    let turn = |speaker, text: &str| Turn {
        speaker,
        parts: vec![Part::Text(text.to_owned())],
    };
    let request = Request {
        said: Said::Turns(vec![turn(Speaker::User, "What is 2 + 2?")]),
        images: Vec::new(),
        options: GenerateOptions {
            max_new_tokens: 4,
            ..GenerateOptions::default()
        },
    };
    let one = answer(&generator(&model), &request);
    assert_eq!(
        one,
        answer(
            &generator(&model),
            &Request::question("What is 2 + 2?", None, 4)
        )
    );
}

/// `cargo test --release -p model -- --ignored --nocapture speed` prints answers a second of a
/// model of 10 M parameters, three questions on each of 100 images, in f32 and in bf16.
#[test]
#[ignore = "a measurement"]
fn speed_of_answering() {
    let mut config = small_config();
    config.text_config = model::TextConfig {
        hidden_size: 256,
        intermediate_size: 704,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        vocab_size: 2048,
        ..config.text_config
    };
    config.vision_config = Some(model::VisionConfig {
        hidden_size: 192,
        intermediate_size: 768,
        num_hidden_layers: 5,
        num_attention_heads: 6,
        image_size: 144,
        patch_size: 12,
        ..config.vision_config.unwrap_or_default()
    });
    let images: Vec<Arc<Pixels>> = (0..100u8)
        .map(|i| {
            Arc::new(Pixels {
                side: 144,
                bytes: vec![i; 3 * 144 * 144],
            })
        })
        .collect();
    let text = "Hint: Please answer the question and provide the final answer at the end.";
    let requests: Vec<Request> = (0..300)
        .map(|i| {
            let image = Arc::clone(&images[i / 3]);
            Request::question(&format!("{text}\nQuestion: {}?", i % 3), Some(image), 8)
        })
        .collect();
    for kind in [tch::Kind::Float, tch::Kind::BFloat16] {
        let mut model = Llava::new(&config, 1, Device::Cpu).unwrap();
        model.compute = kind;
        let generator = Generator::new(&model, golden_tokenizer()).unwrap();
        for batch in [16, 64] {
            let start = std::time::Instant::now();
            let answers = generator.generate(&requests, batch, |_, _| ()).unwrap();
            let rate = answers.len() as f64 / start.elapsed().as_secs_f64();
            let prompt = answers[0].prompt_tokens;
            println!(
                "{kind:?}, {} M parameters, {prompt} prompt tokens, {batch} at once: {rate:.0}/s",
                config.parameter_count() / 1_000_000,
            );
        }
    }
}
