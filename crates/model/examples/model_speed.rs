//! Times the parts of answering on random weights: our half of `bench/model_speed.py`, which
//! alternates with other programs in one run.
//!
//!     model_speed SHAPE THREADS none|int8|int4 [bf16|f32] [questions]
//!
//! SHAPE is `small` (width 1024, 12 layers, 16 heads, MLP 2816) or `tinyllama` (TinyLlama-1.1B's),
//! behind a ViT-L/14-336. Prints `ready`, then for each line TASK on standard input the seconds that it
//! took: `prefill` (640 tokens), `decode` (16 tokens after these), `encode` (one image through tower and
//! projector), `questions` (32 questions about 4 images, 16 new tokens each).

#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use model::{
    Generator, KvCache, Llava, LlavaConfig, Pixels, Preprocessor, PromptForm, Quantisation,
    Request, Template, TextConfig, VisionConfig, train_bpe,
};
use tch::{Device, Kind, Tensor, no_grad};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (shape, threads, how) = match &arguments[..] {
        [shape, threads, how, ..] => (shape.as_str(), threads, how.as_str()),
        _ => return Err("give SHAPE THREADS none|int8|int4 [bf16|f32]".into()),
    };
    tch::set_num_threads(threads.parse()?);
    let how = match how {
        "none" => Quantisation::None,
        "int8" => Quantisation::Int8,
        "int4" => Quantisation::Int4,
        other => return Err(format!("{other:?} is none of none, int8 and int4").into()),
    };
    let kind = match arguments.get(3).map(String::as_str) {
        None | Some("bf16") => Kind::BFloat16,
        Some("f32") => Kind::Float,
        Some(other) => return Err(format!("{other:?} is neither bf16 nor f32").into()),
    };
    let (width, layers, heads, kv_heads, mlp) = match shape {
        "small" => (1024, 12, 16, 16, 2816),
        "tinyllama" => (2048, 22, 32, 4, 5632),
        other => return Err(format!("{other:?} is neither small nor tinyllama").into()),
    };
    let tokenizer = train_bpe(
        ["how many bars are there, and which is the largest?"; 9],
        300,
    )?;
    let config = LlavaConfig {
        text_config: TextConfig {
            hidden_size: width,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: Some(kv_heads),
            intermediate_size: mlp,
            vocab_size: 32_064,
            ..TextConfig::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size: 336,
            patch_size: 14,
            ..VisionConfig::default()
        }),
        image_token_index: tokenizer.image.unwrap_or(4),
        ..LlavaConfig::default()
    };
    let model = Llava::new(&config, 1, Device::Cpu)?.into_answering(kind, how)?;
    let ids: Vec<i64> = (0..640).map(|i| 3 + (i * 37) % 31_000).collect();
    let ids = Tensor::from_slice(&ids).unsqueeze(0);
    let positions = Tensor::arange(640, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let pixels = Tensor::randn([1, 3, 336, 336], (Kind::Float, Device::Cpu));
    let text = &config.text_config;
    let prefill = |cache: &mut KvCache| {
        no_grad(|| -> Result<(), model::Error> {
            cache.reserve(1, 704)?;
            let mut run = cache.extend(0, &[(&[], 0)], 640, None)?;
            let hidden = model.decode(&model.embed(&ids)?, &positions, None, Some(&mut run))?;
            let _ = model.logits(&hidden.narrow(1, 639, 1))?;
            Ok(())
        })
    };
    let mut cache = KvCache::new(text, kind, Device::Cpu)?;
    let questions = Questions::new(&config, &tokenizer);
    // The same weights again: they are the price of answering by the public interface.
    let generator = match arguments.last().map(String::as_str) {
        Some("questions") => Some(Generator::with(
            Llava::new(&config, 1, Device::Cpu)?.into_answering(kind, how)?,
            tokenizer,
            Preprocessor::new(&config),
            PromptForm::Named(Template::Tiny),
        )?),
        _ => None,
    };
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim() == "decode" && !cache.fits(1, 704) {
            prefill(&mut cache)?;
        }
        let started = Instant::now();
        match line.trim() {
            "prefill" => prefill(&mut cache)?,
            "decode" => no_grad(|| -> Result<(), model::Error> {
                let mut next = Tensor::from_slice(&[5i64]).unsqueeze(0);
                for held in 640..656 {
                    let mut run = cache.extend(0, &[(&[], held)], 1, None)?;
                    let at = run.positions()?;
                    let hidden = model.decode(&model.embed(&next)?, &at, None, Some(&mut run))?;
                    next = model.logits(&hidden)?.argmax(-1, false);
                }
                Ok(())
            })?,
            "encode" => {
                let _ = no_grad(|| model.image_features(&pixels))?;
            }
            "questions" => {
                let generator = generator
                    .as_ref()
                    .ok_or("say questions as the last argument")?;
                let replies = generator.generate(&questions.0, 32, |_, _| ())?;
                let tokens: usize = replies.iter().map(|reply| reply.tokens.len()).sum();
                if tokens != 32 * 16 {
                    return Err(format!("{tokens} tokens were written").into());
                }
            }
            other => return Err(format!("{other:?} is no task").into()),
        }
        println!("{}", started.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// 32 questions of 38 tokens about 4 images.
struct Questions(Vec<Request>);

impl Questions {
    fn new(config: &LlavaConfig, tokenizer: &model::Tokenizer) -> Questions {
        let side = config.image_side() as usize;
        let mut requests = Vec::new();
        for image in 0..4u8 {
            let pixels = Arc::new(Pixels {
                side,
                bytes: (0..3 * side * side)
                    .map(|i| (i as u8).wrapping_mul(31).wrapping_add(image))
                    .collect(),
            });
            for question in 0..8 {
                let mut text = format!("{question}: ");
                while tokenizer.encode(&text).is_ok_and(|ids| ids.len() < 38) {
                    text.push_str(" which?");
                }
                requests.push(Request::question(&text, Some(pixels.clone()), 16));
            }
        }
        Questions(requests)
    }
}
