//! Trees against the sequences they were made of: one loss, one gradient.
//!
//! The reference is written without any of the packing: each pair alone, plain causal attention,
//! labels shifted by one. f32 throughout; the sums differ in order only, hence 1e-5 relative.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use model::{Llava, LlavaConfig, TextConfig, VisionConfig};
use rand::Rng;
use tch::{Device, Kind, Tensor};
use train::batch::collate;
use train::step::loss;
use train::tree::{Sequence, Tree, Weighting, pack};

const IMAGE: i64 = 4;
const PATCHES: usize = 4;
const VOCABULARY: i64 = 40;
const TOLERANCE: f64 = 1e-5;

fn model() -> Llava {
    let config = LlavaConfig {
        text_config: TextConfig {
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            vocab_size: VOCABULARY,
            // Large weights, so that attention is far from uniform and a wrong mask shows.
            initializer_range: 0.3,
            ..Default::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 32,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            image_size: 16,
            patch_size: 8,
            ..Default::default()
        }),
        image_token_index: IMAGE,
        vision_feature_layer: -1,
        ..Default::default()
    };
    Llava::new(&config, 7, Device::Cpu).unwrap()
}

/// Conversations about one image that share random prefixes; some end early by truncation.
fn conversations(rng: &mut impl Rng, with_image: bool) -> Vec<Sequence> {
    (0..rng.random_range(1..10))
        .map(|_| {
            let mut ids = vec![1, 5];
            if with_image {
                ids.extend([IMAGE; PATCHES]);
            }
            // Few distinct tokens, so that prefixes are often shared, also into the labels.
            let question = rng.random_range(1..6);
            ids.extend((0..question).map(|_| rng.random_range(6..8)));
            let prompt = ids.len();
            let answer = rng.random_range(1..6);
            ids.extend((0..answer).map(|_| rng.random_range(8..11)));
            let labelled = (0..ids.len()).map(|i| i >= prompt).collect();
            let mut sequence = Sequence { ids, labelled };
            sequence.truncate(rng.random_range(8..20));
            sequence
        })
        .collect()
}

fn separate(
    model: &Llava,
    pixels: &Tensor,
    groups: &[Vec<Sequence>],
    weighting: Weighting,
) -> Tensor {
    let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
    let mut weight = 0.0;
    for (group, image) in groups.iter().zip(0..) {
        for sequence in group.iter().filter(|s| s.labels() > 0) {
            let n = sequence.ids.len() as i64;
            let ids = Tensor::from_slice(&sequence.ids).view([1, n]);
            let embeds = if sequence.ids.contains(&IMAGE) {
                let features = model.image_features(&pixels.narrow(0, image, 1)).unwrap();
                model.embed_with_images(&ids, &features).unwrap()
            } else {
                model.embed(&ids).unwrap()
            };
            let positions = Tensor::arange(n, (Kind::Int64, Device::Cpu)).view([1, n]);
            let hidden = model.decode(&embeds, &positions, None, None).unwrap();
            let logits = model.logits(&hidden).unwrap().get(0);
            let targets: Vec<i64> = (1..sequence.ids.len())
                .map(|i| {
                    if sequence.labelled[i] {
                        sequence.ids[i]
                    } else {
                        -100
                    }
                })
                .collect();
            let mean = logits.narrow(0, 0, n - 1).cross_entropy_loss::<Tensor>(
                &Tensor::from_slice(&targets),
                None,
                tch::Reduction::Mean,
                -100,
                0.0,
            );
            let share = match weighting {
                Weighting::PerToken => sequence.labels() as f64,
                Weighting::PerPair => 1.0,
            };
            sum += mean * share;
            weight += share;
        }
    }
    sum / weight
}

fn gradients(model: &Llava, loss: &Tensor) -> Vec<(String, Option<Tensor>)> {
    for (_, parameter) in model.parameters() {
        let mut grad = parameter.grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
    }
    loss.backward();
    let grad = |t: &Tensor| Some(t.grad()).filter(Tensor::defined).map(|g| g.copy());
    model
        .parameters()
        .iter()
        .map(|(name, t)| (name.clone(), grad(t)))
        .collect()
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).norm().double_value(&[])
}

fn compare(seed: u64, weighting: Weighting, row_tokens: usize, tree: usize) {
    let case = format!("seed {seed}, {weighting:?}, {row_tokens}, {tree}");
    let model = model();
    let mut rng = sample::seed::rng(seed, &["packing"]);
    let groups: Vec<_> = (0..4).map(|_| conversations(&mut rng, true)).collect();
    let pixels = Tensor::from_slice(
        &(0..4 * 3 * 256)
            .map(|_| rng.random_range(-2.0..2.0f32))
            .collect::<Vec<_>>(),
    )
    .view([4, 3, 16, 16]);
    let (mut trees, mut images): (Vec<Tree>, Vec<usize>) = Default::default();
    for (image, group) in groups.iter().enumerate() {
        let packed = pack(group, IMAGE, weighting, tree);
        images.extend(packed.iter().map(|_| image));
        trees.extend(packed);
    }
    let trees: Vec<&Tree> = trees.iter().collect();
    let batch = collate(&trees, &images, PATCHES, row_tokens, Device::Cpu).unwrap();
    assert!(batch.tokens < batch.unpacked, "{case}: nothing was shared");

    let packed = loss(&model, &pixels, &batch).unwrap();
    let packed_gradients = gradients(&model, &packed);
    let alone = separate(&model, &pixels, &groups, weighting);
    let alone_gradients = gradients(&model, &alone);
    let (packed, alone) = (packed.double_value(&[]), alone.double_value(&[]));
    assert!(
        (packed - alone).abs() <= TOLERANCE * alone,
        "{case}: loss {packed} against {alone}"
    );
    let largest = alone_gradients
        .iter()
        .filter_map(|(_, g)| g.as_ref().map(norm))
        .fold(0., f64::max);
    let mut compared = 0;
    for ((name, ours), (_, theirs)) in packed_gradients.iter().zip(&alone_gradients) {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            assert_eq!(
                ours.is_some(),
                theirs.is_some(),
                "{case}: {name} has one gradient only"
            );
            continue;
        };
        compared += 1;
        let off = norm(&(ours - theirs));
        // A gradient that is zero in theory (a key's bias) is rounding in both.
        let scale = norm(theirs).max(1e-3 * largest);
        assert!(
            off <= TOLERANCE * scale,
            "{case}: gradient of {name} off by {}",
            off / scale
        );
    }
    assert!(compared > 20, "{case}: only {compared} gradients");
}

#[test]
fn image_shared_by_many_questions_gives_the_loss_and_gradients_of_separate_sequences() {
    for seed in 0..3 {
        for weighting in [Weighting::PerToken, Weighting::PerPair] {
            compare(seed, weighting, 0, 4096);
        }
    }
}

#[test]
fn many_trees_in_one_row_and_trees_split_in_parts_change_nothing() {
    for seed in 10..12 {
        compare(seed, Weighting::PerToken, 4096, 4096);
        compare(seed, Weighting::PerPair, 64, 24);
    }
}

#[test]
fn text_without_images_packs_the_same_way() {
    // The features are computed and go nowhere, so the tower's gradients are zero, not absent.
    for seed in 20..22 {
        compare_text_only(seed);
    }
}

fn compare_text_only(seed: u64) {
    let model = model();
    let mut rng = sample::seed::rng(seed, &["packing"]);
    let groups: Vec<_> = (0..3).map(|_| conversations(&mut rng, false)).collect();
    let trees: Vec<Tree> = groups
        .iter()
        .flat_map(|g| pack(g, IMAGE, Weighting::PerToken, 4096))
        .collect();
    let trees: Vec<&Tree> = trees.iter().collect();
    let batch = collate(&trees, &[0, 0, 0], PATCHES, 100, Device::Cpu).unwrap();
    let pixels = Tensor::zeros([1, 3, 16, 16], (Kind::Float, Device::Cpu));
    let packed = loss(&model, &pixels, &batch).unwrap();
    let ours = gradients(&model, &packed);
    let alone = separate(&model, &pixels, &groups, Weighting::PerToken);
    let theirs = gradients(&model, &alone);
    let (packed, alone) = (packed.double_value(&[]), alone.double_value(&[]));
    assert!(
        (packed - alone).abs() <= TOLERANCE * alone,
        "loss {packed} against {alone}"
    );
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if !name.starts_with("language_model.") {
            continue;
        }
        let (ours, theirs) = (ours.as_ref().unwrap(), theirs.as_ref().unwrap());
        let off = norm(&(ours - theirs)) / norm(theirs);
        assert!(off <= TOLERANCE, "gradient of {name} off by {off}");
    }
}
