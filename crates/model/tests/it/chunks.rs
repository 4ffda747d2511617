//! Prompts that are run in chunks: the same tokens, sooner for short ones, and no one is disturbed.

use std::sync::Arc;

use model::{
    Engine, EngineLimits, Event, Finish, Generated, Generator, Llava, Part, Pixels, PromptTokens,
    Prompter, Request, Said, Sampling, Speaker, Turn, Unanswerable,
};
use proptest::prelude::*;
use tch::Device;

use super::generation::{answer, assert_same, generator, mixed, pictures};
use super::{golden, load, small_config};

/// Admits each request before the step it comes at, and steps until all are answered.
fn answered(engine: &mut Engine, requests: &[(usize, Request)]) -> Vec<Generated> {
    let mut ids = vec![None; requests.len()];
    let mut replies = vec![None; requests.len()];
    for step in 0.. {
        for (index, (at, request)) in requests.iter().enumerate() {
            if *at == step {
                ids[index] = Some(engine.admit(request).unwrap());
            }
        }
        for event in engine.step().unwrap() {
            let index = ids.iter().position(|id| *id == Some(event.id)).unwrap();
            assert!(replies[index].is_none(), "an event after the end");
            replies[index] = event.finished;
        }
        if engine.is_idle() && ids.iter().all(Option::is_some) {
            return replies.into_iter().map(Option::unwrap).collect();
        }
    }
    unreachable!("steps do not end");
}

fn chunked(generator: &Generator, slots: usize, chunk_tokens: usize) -> Engine<'_> {
    let limits = EngineLimits {
        slots,
        chunk_tokens,
        ..EngineLimits::default()
    };
    generator.engine(limits).unwrap()
}

/// `words` words of two tokens without an image, which begin as no other number of words does.
fn long(words: usize, tokens: usize) -> Request {
    let text: Vec<String> = (0..words).map(|word| (word % 7).to_string()).collect();
    Request::question(&format!("{words}: {}", text.join(" ")), None, tokens)
}

/// Half of them drawn, with a seed each.
fn some_drawn(mut requests: Vec<Request>) -> Vec<Request> {
    for (index, request) in requests.iter_mut().enumerate() {
        request.options.logprobs = Some(1);
        if index % 2 == 1 {
            request.options.sampling = Sampling {
                temperature: 1.1,
                top_p: 0.95,
                repetition_penalty: 1.05,
                seed: index as u64,
                ..Sampling::default()
            };
        }
    }
    requests
}

#[test]
fn chunks_of_any_size_and_any_order_of_arrival_change_no_token() {
    for shape in ["grouped", "tied"] {
        let model = load(shape);
        let generator = generator(&model);
        let mut requests = some_drawn(mixed(&pictures(&model)));
        requests.push(long(120, 6));
        let alone: Vec<_> = requests.iter().map(|r| answer(&generator, r)).collect();
        for (chunk_tokens, apart, slots) in [
            (1, 0, 16),
            (7, 0, 3),
            (16, 1, 16),
            (33, 3, 4),
            (64, 2, 16),
            (512, 1, 16),
        ] {
            let mut engine = chunked(&generator, slots, chunk_tokens);
            let arriving: Vec<(usize, Request)> = requests
                .iter()
                .enumerate()
                // The last comes first.
                .map(|(index, r)| ((requests.len() - 1 - index) * apart, r.clone()))
                .collect();
            let found = answered(&mut engine, &arriving);
            for (index, (found, expected)) in found.iter().zip(&alone).enumerate() {
                let what = format!("{shape}, chunks of {chunk_tokens}, request {index}");
                assert_same(found, expected, &what);
            }
            // All that shows an image waits for the one that encodes it.
            assert_eq!(engine.counts().prefill.images, 2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Random tiny models, with and without a window; random questions that begin alike or not, coming
    /// at random steps.
    #[test]
    fn random_arrivals_at_random_chunks_are_answered_as_they_are_alone(
        seed in 0u64..1000,
        slots in 1usize..6,
        prefill_tokens in 5usize..100,
        chunk_tokens in 1usize..80,
        window in prop::option::of(8i64..40),
        cache_tokens in prop::sample::select(vec![400usize, 100_000]),
        asked in prop::collection::vec(
            (0usize..12, prop::option::of(0usize..3), "[ab ]{1,60}", 0usize..3, 1usize..9, any::<bool>()),
            2..8,
        ),
    ) {
        let mut config = small_config();
        if window.is_some() {
            config.text_config.model_type = "mistral".into();
            config.text_config.sliding_window = window;
        }
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
        let requests: Vec<(usize, Request)> = asked
            .iter()
            .map(|(at, image, text, open, tokens, drawn)| {
                let text = format!("{}.{text}", opening[*open]);
                let image = image.map(|i| Arc::clone(&images[i]));
                let mut request = Request::question(&text, image, *tokens);
                request.options.logprobs = Some(1);
                request.options.sampling.temperature = if *drawn { 0.8 } else { 0.0 };
                (*at, request)
            })
            .collect();
        let per_token = 2 * 2 * 8 * 2 * 4;
        let mut engine = generator
            .engine(EngineLimits {
                slots,
                prefill_tokens,
                chunk_tokens,
                cache_bytes: (cache_tokens * per_token) as u64,
                ..EngineLimits::default()
            })
            .unwrap();
        let found = answered(&mut engine, &requests);
        let mut prompts = 0;
        for ((_, request), found) in requests.iter().zip(&found) {
            assert_same(found, &answer(&generator, request), "random");
            prompts += found.prompt_tokens;
        }
        let counts = engine.counts();
        prop_assert!(counts.prefill.run + counts.prefill.shared >= prompts);
        prop_assert_eq!((counts.live, counts.filling, counts.waiting), (0, 0, 0));
    }
}

#[test]
fn a_short_prompt_behind_long_ones_is_answered_after_one_chunk_of_theirs() {
    let model = load("grouped");
    let generator = generator(&model);
    let short = Request::question("4 + 4?", None, 3);
    let prompt = answer(&generator, &short).prompt_tokens;
    let chunk = 64;
    assert!(prompt <= chunk / 2, "{prompt}");
    // Before how many steps of the long ones it comes: whatever they are about, it is the next.
    for before in 0..6 {
        let mut engine = chunked(&generator, 8, chunk);
        for words in [200, 150, 170] {
            let _ = engine.admit(&long(words, 4)).unwrap();
        }
        let mut last = 0;
        for _ in 0..before {
            let run = engine.counts().prefill.run;
            assert!(engine.step().unwrap().is_empty());
            last = engine.counts().prefill.run - run;
        }
        let id = engine.admit(&short).unwrap();
        let run = engine.counts().prefill.run;
        let first = engine.step().unwrap();
        assert_eq!(first.len(), 1, "after {before} steps");
        assert_eq!((first[0].id, first[0].token.is_some()), (id, true));
        // The chunk that ran when it came, and its own, have one chunk of others' tokens.
        let own = first[0].prompt.map(|prompt| prompt.all - prompt.cached);
        let others = engine.counts().prefill.run - run - own.unwrap();
        assert!(
            last + others <= chunk,
            "after {before} steps: {last} and {others}"
        );
    }
}

#[test]
fn a_live_reply_waits_for_no_more_than_a_chunk_at_a_time() {
    let model = load("grouped");
    let generator = generator(&model);
    let mut engine = chunked(&generator, 8, 32);
    let live = engine
        .admit(&Request::question("4 + 4?", None, 40))
        .unwrap();
    let mut had = engine.step().unwrap().len();
    assert_eq!(had, 1);
    for words in [150, 200] {
        let _ = engine.admit(&long(words, 4)).unwrap();
    }
    let mut without = 0;
    while engine.counts().filling > 0 || engine.counts().waiting > 0 {
        let run = engine.counts().prefill.run;
        let events = engine.step().unwrap();
        assert!(engine.counts().prefill.run - run <= 32);
        match events.iter().any(|event| event.id == live) {
            true => (had, without) = (had + 1, 0),
            false => without += 1,
        }
        assert!(without <= 1, "after {had} tokens");
    }
    assert!(had > 5, "{had}");
}

#[test]
fn short_prompts_that_keep_coming_do_not_keep_a_long_one_from_its_reply() {
    let model = load("grouped");
    let generator = generator(&model);
    let mut engine = chunked(&generator, 8, 64);
    let id = engine.admit(&long(150, 1)).unwrap();
    let expected = answer(&generator, &long(150, 1));
    let bound = 2 * expected.prompt_tokens.div_ceil(32) + 2;
    let mut chunks = 0;
    let reply = loop {
        // Different ones, so that none is found in the cache.
        for word in 0..4 {
            let text = format!("{}{word}", chunks * 7919);
            let _ = engine.admit(&Request::question(&text, None, 1)).unwrap();
        }
        let mut events = engine.step().unwrap();
        chunks += 1;
        if let Some(event) = events.iter_mut().find(|event| event.id == id) {
            break event.finished.take().unwrap();
        }
        assert!(chunks <= bound, "{chunks} chunks");
    };
    assert_same(&reply, &expected, "long");
}

#[test]
fn prompts_that_are_half_run_are_shared() {
    let model = load("grouped");
    let generator = generator(&model);
    let images = pictures(&model);
    let mut engine = chunked(&generator, 8, 16);
    let ask = |text: &str| Request::question(text, Some(Arc::clone(&images[0])), 4);
    let requests: Vec<(usize, Request)> = ["How many?", "How many?", "Which one?", "How many?"]
        .into_iter()
        .zip([0, 1, 2, 2])
        .map(|(text, at)| (at, ask(text)))
        .collect();
    let found = answered(&mut engine, &requests);
    for ((_, request), found) in requests.iter().zip(&found) {
        assert_same(found, &answer(&generator, request), "shared");
    }
    let counts = engine.counts().prefill;
    let prompts: usize = found.iter().map(|reply| reply.prompt_tokens).sum();
    assert_eq!((counts.images, counts.run + counts.shared), (1, prompts));
    // The first runs its prompt, the others what is their own.
    assert!(counts.run < found[0].prompt_tokens + 32, "{counts:?}");
}

#[test]
fn a_prompt_that_is_given_up_half_run_disturbs_no_one_and_leaves_no_memory_behind() {
    let model = load("grouped");
    let generator = generator(&model);
    let image = pictures(&model).remove(0);
    // They begin alike: the one that is given up runs what the other is to share.
    let text = "Question: How many bars are taller than 30, and which one is the tallest of all?";
    let other = Request::question(&format!("{text} Why?"), Some(Arc::clone(&image)), 6);
    let expected = answer(&generator, &other);
    let per_token = 2 * 2 * 8 * 2 * 4;
    let limits = EngineLimits {
        slots: 4,
        chunk_tokens: 16,
        cache_bytes: 1000 * per_token,
        ..EngineLimits::default()
    };
    let mut engine = generator.engine(limits.clone()).unwrap();
    for steps in 0..60 {
        let given_up = Request::question(
            &format!("{text} {steps} or more?"),
            Some(Arc::clone(&image)),
            6,
        );
        let first = engine.admit(&given_up).unwrap();
        let id = engine.admit(&other).unwrap();
        let mut reply: Option<Generated> = None;
        let mut ended = false;
        for _ in 0..steps % 9 {
            let events = engine.step().unwrap();
            assert!(engine.counts().cache_bytes <= limits.cache_bytes);
            for event in events {
                ended |= event.id == first && event.finished.is_some();
                reply = event.finished.filter(|_| event.id == id).or(reply);
            }
        }
        let cancelled = engine.cancel(first).unwrap();
        assert_eq!(cancelled.is_none(), ended);
        assert!(cancelled.is_none_or(|reply| reply.finish == Finish::Cancelled));
        while !engine.is_idle() {
            let events = engine.step().unwrap();
            assert!(engine.counts().cache_bytes <= limits.cache_bytes);
            for event in events {
                assert_eq!(event.id, id);
                reply = event.finished.or(reply);
            }
        }
        assert_same(&reply.unwrap(), &expected, &format!("after {steps} steps"));
        let counts = engine.counts();
        assert_eq!((counts.live, counts.filling, counts.waiting), (0, 0, 0));
        assert!(counts.cache_bytes <= limits.cache_bytes, "{counts:?}");
    }
}

#[test]
fn several_replies_to_one_prepared_prompt_are_those_of_single_requests() {
    let model = load("grouped");
    let generator = generator(&model);
    let mut request = Request::question("How many?", Some(pictures(&model).remove(0)), 12);
    request.options.sampling.temperature = 1.2;
    let prompter = generator.prompter();
    let theirs = request.clone();
    // Prepared on another thread, as a server does it.
    let prepared = std::thread::spawn(move || prompter.prepare(&theirs).unwrap())
        .join()
        .unwrap();
    let mut engine = chunked(&generator, 8, 64);
    let ids = [None, Some(7), Some(8)].map(|seed| engine.admit_prepared(&prepared, seed).unwrap());
    let mut replies = vec![None; 3];
    while !engine.is_idle() {
        for event in engine.step().unwrap() {
            let index = ids.iter().position(|id| *id == event.id).unwrap();
            replies[index] = event.finished;
        }
    }
    let counts = engine.counts().prefill;
    assert_eq!(
        (counts.run, counts.images),
        (prepared.prompt_tokens() + 2, 1)
    );
    for (reply, seed) in replies.iter().zip([0, 7, 8]) {
        request.options.sampling.seed = seed;
        let expected = answer(&generator, &request);
        assert_same(reply.as_ref().unwrap(), &expected, &format!("seed {seed}"));
    }
    assert_ne!(
        replies[1].as_ref().unwrap().tokens,
        replies[2].as_ref().unwrap().tokens
    );
}

#[test]
fn the_first_event_of_a_reply_says_what_became_of_its_prompt() {
    let model = load("grouped");
    let generator = generator(&model);
    let mut engine = chunked(&generator, 8, 16);
    let request = long(60, 4);
    let all = answer(&generator, &request).prompt_tokens;
    for cached in [0, all - 1] {
        let _ = engine.admit(&request).unwrap();
        let mut events: Vec<Event> = Vec::new();
        while !engine.is_idle() {
            events.extend(engine.step().unwrap());
        }
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].prompt, Some(PromptTokens { all, cached }));
        assert!(events[1..].iter().all(|event| event.prompt.is_none()));
    }
    let _ = engine.admit(&long(60, 0)).unwrap();
    let events = engine.step().unwrap();
    assert_eq!(events[0].prompt, Some(PromptTokens { all, cached: 0 }));
}

fn text(text: &str, tokens: usize) -> Request {
    let mut request = Request::question("", None, tokens);
    request.said = Said::Text(text.to_owned());
    request
}

#[test]
fn text_is_continued_as_transformers_continues_it() {
    let model = load("grouped");
    let generator = generator(&model);
    let written = std::fs::read_to_string(golden("text_prompts.json")).unwrap();
    let written: Vec<serde_json::Value> = serde_json::from_str(&written).unwrap();
    assert!(written.len() > 4);
    for case in &written {
        let ids = |key: &str| serde_json::from_value::<Vec<i64>>(case[key].clone()).unwrap();
        let said = case["text"].as_str().unwrap();
        assert_eq!(
            generator.tokenizer().encode_prompt(said).unwrap(),
            ids("ids"),
            "{said:?}"
        );
        let mut expected = ids("reply");
        if let Some(end) = expected.iter().position(|&id| id == 2) {
            expected.truncate(end);
        }
        let reply = answer(&generator, &text(said, 16));
        assert_eq!(reply.prompt_tokens, ids("ids").len());
        assert_eq!(reply.tokens, expected, "{said:?}");
    }
    // Who spells the first token out gets it once.
    let twice = generator.tokenizer().encode_prompt("<s>The").unwrap();
    assert_eq!(twice, generator.tokenizer().encode_prompt("The").unwrap());
}

#[test]
fn who_asks_is_told_what_kind_of_thing_is_wrong() {
    let mut config = small_config();
    config.text_config.max_position_embeddings = 200;
    let model = Llava::new(&config, 1, Device::Cpu).unwrap();
    let generator = generator(&model);
    let prompter: Prompter = generator.prompter();
    let mut hot = text("one", 4);
    hot.options.sampling.temperature = f64::NAN;
    let mut unshown = text("one", 4);
    unshown.images = vec![Arc::new(Pixels {
        side: 16,
        bytes: vec![0; 768],
    })];
    let mut short = Request::question("one", unshown.images.first().cloned(), 4);
    short.images = vec![Arc::new(Pixels {
        side: 16,
        bytes: vec![0; 5],
    })];
    let mut answered_first = text("one", 4);
    answered_first.said = Said::Turns(vec![Turn {
        speaker: Speaker::Assistant,
        parts: vec![Part::Text("me first".into())],
    }]);
    let far_too_long = |request: &Request| match &request.said {
        Said::Text(text) => text.len() > 256 * 200,
        Said::Turns(_) => false,
    };
    for (request, why) in [
        (
            text("an <image> that is not there", 4),
            Unanswerable::Meaningless,
        ),
        (hot, Unanswerable::Meaningless),
        (unshown, Unanswerable::Meaningless),
        (short, Unanswerable::Meaningless),
        (answered_first, Unanswerable::Meaningless),
        (text(&"long ".repeat(200), 4), Unanswerable::Context),
        (text(&"long ".repeat(100_000), 4), Unanswerable::Context),
    ] {
        match prompter.prepare(&request) {
            Err(model::Error::Unanswerable { why: found, detail }) => {
                assert_eq!(found, why, "{detail}");
                // What is far too long is not even tokenised.
                assert_eq!(
                    detail.contains("bytes of text"),
                    far_too_long(&request),
                    "{detail}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let mut tiny = generator
        .engine(EngineLimits {
            cache_bytes: 1000,
            ..EngineLimits::default()
        })
        .unwrap();
    let prepared = prompter.prepare(&text("one", 400)).unwrap();
    assert_eq!(prepared.prompt_tokens() + prepared.reply_tokens(), 200);
    let error = tiny.admit_prepared(&prepared, None).unwrap_err();
    let memory = Unanswerable::Memory;
    assert!(matches!(error, model::Error::Unanswerable { why, .. } if why == memory));
    assert!(tiny.is_idle());
}
