//! Training beside weights in few bits, what dropout does, what targets mean.

use super::*;
use crate::quantise::Quantised;
use crate::{
    Checkpoint, LoadOptions, Quantisation, TextConfig, Tokenizer, VisionConfig, WeightKind,
};

/// Every layer of the decoder has whole blocks.
fn config() -> LlavaConfig {
    LlavaConfig {
        text_config: TextConfig {
            hidden_size: 64,
            intermediate_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            vocab_size: 288,
            initializer_range: 0.1,
            ..TextConfig::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: 16,
            patch_size: 8,
            ..VisionConfig::default()
        }),
        image_token_index: 4,
        ..LlavaConfig::default()
    }
}

/// The adapter with B at random too, so that A has a gradient.
fn adapter(config: &LlavaConfig) -> Adapter {
    let mut adapter = Adapter::new(config, 4, 8.0, &["all-linear"], 3, Device::Cpu).unwrap();
    for update in &mut adapter.updates {
        let size = update.b.size();
        let values = uniform(9, &update.module, update.b.numel(), 0.1);
        update.b = Tensor::from_slice(&values).reshape(size);
    }
    adapter
}

fn ids() -> Tensor {
    (Tensor::arange(20, (Kind::Int64, Device::Cpu)) * 13 + 7).reshape([2, 10])
}

/// What each row's tokens say of those after them, layer by layer as a trainer goes.
fn loss(model: &Llava) -> Tensor {
    let ids = ids();
    let positions = Tensor::arange(10, (Kind::Int64, Device::Cpu)).expand([2, 10], false);
    let ends = positions.full_like(10);
    let rows = model.rows(&positions, &ends).unwrap();
    let mut hidden = model.embed(&ids).unwrap();
    for layer in 0..2 {
        hidden = model.decoder_layer(layer, &hidden, &rows).unwrap();
    }
    let hidden = model.final_norm(&hidden).unwrap();
    let logits = model.logits(&hidden).unwrap();
    logits
        .narrow(1, 0, 9)
        .flatten(0, 1)
        .cross_entropy_for_logits(&ids.narrow(1, 1, 9).flatten(0, 1))
}

/// A folder of a random model, the model itself, and a copy whose layers have been through few bits.
fn saved(how: Quantisation) -> (tempfile::TempDir, Llava) {
    let model = Llava::new(&config(), 1, Device::Cpu).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grouped");
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::load(&golden).unwrap();
    model
        .save(dir.path(), &tokenizer, WeightKind::Float32)
        .unwrap();
    let rounded = model.parameters().iter().map(|(name, weight)| {
        let layer = matches!(ModelPart::of(name), Some(ModelPart::Layer(_)));
        let weight = match layer && weight.dim() == 2 {
            true => {
                let kept = Quantised::new(weight, how).unwrap().unwrap();
                kept.dense(Kind::Float).unwrap()
            }
            false => weight.detach(),
        };
        (name.clone(), weight)
    });
    let rounded = rounded.collect();
    let rounded = Llava::from_parameters(config(), rounded, Device::Cpu, true).unwrap();
    (dir, rounded)
}

fn load(dir: &Path, quantisation: Quantisation, kind: Kind) -> Llava {
    let how = LoadOptions {
        quantisation,
        kind,
        trainable: true,
        ..LoadOptions::default()
    };
    Checkpoint::open(dir).unwrap().load(&how).unwrap().0
}

#[test]
fn gradients_beside_few_bits_are_those_beside_the_weights_they_stand_for() {
    for how in [Quantisation::Nf4, Quantisation::Int4, Quantisation::Int8] {
        let (dir, rounded) = saved(how);
        let model = load(dir.path(), how, Kind::Float);
        assert!(model.is_quantised());
        // Seven products in each of two layers.
        assert_eq!(model.parameters().len(), rounded.parameters().len() - 14);
        let with = |model: Llava| {
            let adapter = adapter(&config()).with_whole(&model, ModelPart::Projector);
            model.with_adapter(adapter.unwrap(), true).unwrap()
        };
        let (model, rounded) = (with(model), with(rounded));
        let (found, expected) = (loss(&model), loss(&rounded));
        assert!(found.allclose(&expected, 1e-6, 0.0, false), "{how:?}");
        let silent = tch::no_grad(|| loss(&model));
        assert!(found.equal(&silent), "{how:?}: gradients change the loss");
        found.backward();
        expected.backward();
        let (found, expected) = (model.trainable(), rounded.trainable());
        assert_eq!(found.len(), expected.len());
        let mut moved = 0;
        for ((name, a, part), (_, b, _)) in found.iter().zip(&expected) {
            if !matches!(part, ModelPart::Layer(_)) {
                continue;
            }
            let (a, b) = (a.grad(), b.grad());
            let off = (a - &b).abs().max().double_value(&[]);
            let size = b.abs().max().double_value(&[]);
            assert!(
                size > 0.0 && off < 1e-4 * size,
                "{how:?} {name}: {off} of {size}"
            );
            moved += 1;
        }
        assert_eq!(moved, 28);
        // Made ready to answer it says the same, as far as bf16 goes.
        let (ready, frozen) = (
            model.answering(Kind::Float, Quantisation::None).unwrap(),
            model.frozen(Kind::Float).unwrap(),
        );
        assert!(loss(&frozen).equal(&silent), "{how:?}");
        assert!(loss(&ready).allclose(&silent, 1e-2, 0.0, false), "{how:?}");
    }
}

#[test]
fn an_adapter_learns_beside_four_bits_in_bf16_and_is_merged_into_the_plain_weights() {
    let (dir, _) = saved(Quantisation::Nf4);
    let model = load(dir.path(), Quantisation::Nf4, Kind::BFloat16);
    let model = model.with_adapter(adapter(&config()), true).unwrap();
    for (name, tensor, _) in model.trainable() {
        assert!(tensor.kind() == Kind::Float && tensor.is_leaf(), "{name}");
    }
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = loss(&model);
        loss.backward();
        losses.push(loss.double_value(&[]));
        tch::no_grad(|| {
            for (_, mut tensor, _) in model.trainable() {
                drop(tensor.f_sub_(&(tensor.grad() * 0.1)).unwrap());
                tensor.zero_grad();
            }
        });
    }
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");

    let out = dir.path().join("out");
    let refused = model.save(
        &out,
        &Tokenizer::load(dir.path()).unwrap(),
        WeightKind::Bfloat16,
    );
    assert!(refused.unwrap_err().to_string().contains("few bits"));
    let folder = dir.path().join("adapter");
    let trained = model.adapter().unwrap();
    trained.write(model.config(), &folder).unwrap();
    let refused = load(dir.path(), Quantisation::Nf4, Kind::Float).merged(trained);
    assert!(refused.is_err_and(|e| e.to_string().contains("few bits")));
    let read = Adapter::read(&folder, Device::Cpu, Kind::Float).unwrap();
    let merged = load(dir.path(), Quantisation::None, Kind::Float)
        .merged(&read)
        .unwrap();
    // The update was learnt beside rounded weights, and helps beside exact ones.
    let merged = loss(&merged).double_value(&[]);
    assert!(
        (merged - losses[4]).abs() < 0.5 * (losses[0] - losses[4]),
        "{merged} {losses:?}"
    );
}

#[test]
fn what_is_not_dropped_is_scaled_so_that_the_mean_stays() {
    let update = LowRank {
        a: Tensor::ones([1, 4000], (Kind::Float, Device::Cpu)).set_requires_grad(true),
        b: Tensor::ones([1, 1], (Kind::Float, Device::Cpu)),
        scale: 1.0,
        start: 0,
        dropout: 0.25,
    };
    let zeros = Tensor::zeros([1, 4000], (Kind::Float, Device::Cpu));
    let layer = crate::layers::Linear {
        low_rank: vec![update],
        ..crate::layers::Linear::plain(zeros, None)
    };
    let input = Tensor::ones([1, 4000], (Kind::Float, Device::Cpu));
    let found = layer.forward(&input).unwrap().double_value(&[0, 0]);
    // Binomial, of deviation 37 after scaling: whatever the generator gives, it is within ten.
    assert!((found - 4000.0).abs() < 370.0 && found != 4000.0, "{found}");
    let kept = found * 0.75;
    assert!(
        (kept - kept.round()).abs() < 0.01,
        "inputs are dropped whole: {kept}"
    );
}

#[test]
fn targets_mean_what_peft_means_by_them() {
    let count = |targets: &[&str]| {
        let made = Adapter::new(&config(), 2, 4.0, targets, 1, Device::Cpu);
        made.map(|adapter| adapter.updates.len())
    };
    for (targets, expected) in [
        (&["all-linear"][..], 14),
        (&["q_proj"], 2),
        (&["q_proj", "self_attn.q_proj"], 2),
        (&["layers.1.mlp.down_proj"], 1),
        (&["model.language_model.layers.0.self_attn.o_proj"], 1),
        (&["all-linear", "lm_head"], 15),
    ] {
        assert_eq!(count(targets).unwrap(), expected, "{targets:?}");
    }
    for absent in ["proj", "fc1", "linear_1", "embed_tokens", "norm", ""] {
        let refused = count(&["q_proj", absent]).unwrap_err().to_string();
        assert!(refused.contains("no linear layer"), "{absent}: {refused}");
    }
    let mut tied = config();
    tied.text_config.tie_word_embeddings = true;
    assert!(Adapter::new(&tied, 2, 4.0, &["lm_head"], 1, Device::Cpu).is_err());
    let stabilised = Adapter::new(&config(), 4, 8.0, &["q_proj"], 1, Device::Cpu).unwrap();
    assert_eq!(stabilised.rank_stabilised().updates[0].scale, 4.0);
}
