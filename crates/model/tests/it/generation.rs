//! Greedy answers: transformers' tokens, and the same ones however the questions are batched.

use model::{Finish, Generator, Llava, Pixels, Preprocessor, Question};
use tch::Device;

use super::{golden, golden_tokenizer, load, small_config, tensors, texts};

fn pictures(model: &Llava) -> Vec<Pixels> {
    let preprocessor = Preprocessor::new(model.config());
    [0, 1]
        .map(|i| {
            preprocessor
                .open(&golden(&format!("picture_{i}.png")))
                .unwrap()
        })
        .to_vec()
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let (queries, _) = texts();
    for shape in ["grouped", "tied"] {
        let expected = tensors(&golden(shape).join("golden.safetensors"));
        let model = load(shape);
        let generator = Generator::new(&model, golden_tokenizer()).unwrap();
        let questions: Vec<Question> = queries
            .iter()
            .enumerate()
            .map(|(i, text)| Question {
                image: Some(i),
                text: text.clone(),
            })
            .collect();
        let answers = generator
            .generate(&pictures(&model), &questions, 24, 8)
            .unwrap();
        for (index, answer) in answers.iter().enumerate() {
            let mut wanted = Vec::<i64>::try_from(&expected[&format!("greedy.{index}")]).unwrap();
            if let Some(end) = wanted.iter().position(|&id| id == 2) {
                wanted.truncate(end);
            }
            assert_eq!(answer.tokens, wanted, "{shape} {index}");
        }
    }
}

#[test]
fn a_batch_gives_token_for_token_what_each_question_gives_alone() {
    for shape in ["grouped", "tied"] {
        let model = load(shape);
        let generator = Generator::new(&model, golden_tokenizer()).unwrap();
        let images = pictures(&model);
        // Several questions on an image, in any order, some the same, some without an image.
        let questions: Vec<Question> = [
            (Some(1), "Question: How many bars?"),
            (None, "What is 2 + 2?"),
            (Some(0), "Question: How many?"),
            (
                Some(1),
                "Question: How many bars are taller than 30, and which one is the tallest?",
            ),
            (Some(0), "Is it red?"),
            (Some(1), "Question: How many bars?"),
            (None, "?"),
            (Some(0), ""),
        ]
        .into_iter()
        .map(|(image, text)| Question {
            image,
            text: text.to_owned(),
        })
        .collect();
        let alone: Vec<_> = questions
            .iter()
            .map(|q| {
                generator
                    .generate(&images, std::slice::from_ref(q), 12, 1)
                    .unwrap()
                    .remove(0)
            })
            .collect();
        for batch_size in [1, 2, 3, 8, 100] {
            let together = generator
                .generate(&images, &questions, 12, batch_size)
                .unwrap();
            assert_eq!(together, alone, "{shape}, batches of {batch_size}");
        }
    }
}

#[test]
fn answers_end_at_the_limit_or_at_the_end_token() {
    let model = load("grouped");
    let images = pictures(&model);
    let question = [Question {
        image: Some(0),
        text: "How many?".into(),
    }];
    let generator = Generator::new(&model, golden_tokenizer()).unwrap();
    let answer = &generator.generate(&images, &question, 5, 1).unwrap()[0];
    assert_eq!((answer.tokens.len(), answer.finish), (5, Finish::Length));
    assert!(
        generator.generate(&images, &question, 0, 1).unwrap()[0]
            .tokens
            .is_empty()
    );

    // The same model, told that its third token ends a reply.
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(golden("grouped/config.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["text_config"]["eos_token_id"] = serde_json::json!([2, answer.tokens[2]]);
    std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
    std::fs::copy(
        golden("grouped/model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let (model, _) = Llava::load(dir.path(), Device::Cpu).unwrap();
    let generator = Generator::new(&model, golden_tokenizer()).unwrap();
    let ended = &generator.generate(&images, &question, 5, 1).unwrap()[0];
    let first = answer
        .tokens
        .iter()
        .position(|&t| t == answer.tokens[2])
        .unwrap();
    assert_eq!(
        (&ended.tokens[..], ended.finish),
        (&answer.tokens[..first], Finish::Stop)
    );
}

#[test]
fn a_question_past_the_context_or_about_no_image_is_refused() {
    let mut config = small_config();
    config.text_config.max_position_embeddings = 200;
    let model = Llava::new(&config, 1, Device::Cpu).unwrap();
    let generator = Generator::new(&model, golden_tokenizer()).unwrap();
    let ask = |image, text: &str| {
        let question = Question {
            image,
            text: text.to_owned(),
        };
        generator.generate(&[], &[question], 500, 4)
    };
    let refused = ask(None, &"long ".repeat(200)).unwrap_err().to_string();
    assert!(refused.contains("context is 200"), "{refused}");
    let refused = ask(Some(3), "short").unwrap_err().to_string();
    assert!(refused.contains("image"), "{refused}");
    // An answer stops where the context does.
    let answer = ask(None, "short").unwrap().remove(0);
    assert!(answer.finish == Finish::Stop || answer.prompt_tokens + answer.tokens.len() == 200);
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
    let images: Vec<Pixels> = (0..100u8)
        .map(|i| Pixels {
            side: 144,
            bytes: vec![i; 3 * 144 * 144],
        })
        .collect();
    let text = "Hint: Please answer the question and provide the final answer at the end.";
    let questions: Vec<Question> = (0..300)
        .map(|i| Question {
            image: Some(i / 3),
            text: format!("{text}\nQuestion: {}?", i % 3),
        })
        .collect();
    for kind in [tch::Kind::Float, tch::Kind::BFloat16] {
        let mut model = Llava::new(&config, 1, Device::Cpu).unwrap();
        model.compute = kind;
        let generator = Generator::new(&model, golden_tokenizer()).unwrap();
        for batch in [16, 64] {
            let start = std::time::Instant::now();
            let answers = generator.generate(&images, &questions, 8, batch).unwrap();
            let rate = answers.len() as f64 / start.elapsed().as_secs_f64();
            let prompt = answers[0].prompt_tokens;
            println!(
                "{kind:?}, {} M parameters, {prompt} prompt tokens, batches of {batch}: {rate:.0}/s",
                config.parameter_count() / 1_000_000,
            );
        }
    }
}
