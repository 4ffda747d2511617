//! Packed steps against the sequences they were made of: one loss, one gradient.
//!
//! The reference is written without any of the packing: each pair alone, plain causal attention,
//! labels shifted by one. f32 throughout; the sums differ in order only, hence 1e-5 relative.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod small;

use model::Llava;
use rand::Rng;
use tch::{Device, Kind, Tensor};
use train::packing::{Layout, Placed, micro_batches};
use train::tree::{Sequence, Weighting};
use train::{MicroBatch, Packing};

use small::{IMAGE, LAYERS, PATCHES};

const TOLERANCE: f64 = 1e-5;

fn model() -> Llava {
    // The matrices are far too small to be split.
    tch::set_num_threads(1);
    Llava::new(&small::config(), 7, Device::Cpu).unwrap()
}

/// Conversations of one to three rounds that share random prefixes; some end early by truncation,
/// in a question, a reply, or the middle of the image.
fn conversations(rng: &mut impl Rng, with_image: bool) -> Vec<Sequence> {
    let all = (0..rng.random_range(1..10)).map(|_| {
        let (mut ids, mut labelled) = (vec![1, 5], vec![false; 2]);
        if with_image {
            ids.extend([IMAGE; PATCHES]);
        }
        for _ in 0..rng.random_range(1..4) {
            // Few distinct tokens, so that prefixes are often shared, also into the labels.
            let question = rng.random_range(1..6);
            ids.extend((0..question).map(|_| rng.random_range(6..8)));
            labelled.resize(ids.len(), false);
            let answer = rng.random_range(1..6);
            ids.extend((0..answer).map(|_| rng.random_range(8..11)));
            labelled.resize(ids.len(), true);
        }
        let mut sequence = Sequence { ids, labelled };
        sequence.truncate(rng.random_range(5..30));
        sequence
    });
    all.filter(|sequence| sequence.labels() > 0).collect()
}

/// What an engine does with a micro-batch, in its simplest form.
fn loss(model: &Llava, pixels: &Tensor, micro: &MicroBatch) -> Tensor {
    let features = model.image_features(pixels).unwrap().flatten(0, 1); // [images * patches, hidden]
    let embeds = model.embed(&micro.ids).unwrap(); // [rows, tokens, hidden]
    let size = embeds.size();
    let features = features.index_select(0, &micro.image_from);
    let mut hidden = embeds
        .flatten(0, 1)
        .index_copy(0, &micro.image_at, &features)
        .view(size.as_slice());
    let rows = model.rows(&micro.positions, &micro.ends).unwrap();
    for layer in 0..LAYERS {
        hidden = model.decoder_layer(layer, &hidden, &rows).unwrap();
    }
    let hidden = model.final_norm(&hidden).unwrap().flatten(0, 1);
    let logits = model
        .logits(&hidden.index_select(0, &micro.edge_at))
        .unwrap(); // [edges, vocabulary]
    let found = logits
        .log_softmax(-1, Kind::Float)
        .gather(1, &micro.edge_target.unsqueeze(1), false)
        .squeeze_dim(1);
    -found.dot(&micro.edge_weight)
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

/// The gradients that backward passes over all of `losses` leave, summed, and the losses' sum.
fn gradients(
    model: &Llava,
    losses: impl Iterator<Item = Tensor>,
) -> (f64, Vec<(String, Option<Tensor>)>) {
    for (_, parameter) in model.parameters() {
        let mut grad = parameter.grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
    }
    let mut sum = 0.0;
    for loss in losses {
        sum += loss.double_value(&[]);
        loss.backward();
    }
    let grad = |t: &Tensor| Some(t.grad()).filter(Tensor::defined).map(|g| g.copy());
    let all = model.parameters().iter();
    (sum, all.map(|(name, t)| (name.clone(), grad(t))).collect())
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).norm().double_value(&[])
}

/// How a step is laid out, and what it holds.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    packing: Packing,
    weighting: Weighting,
    row_tokens: usize,
    tree_tokens: usize,
    micro_rows: usize,
    images: usize,
    texts: usize,
}

const ALL: [Packing; 3] = [Packing::Tree, Packing::Rows, Packing::None];
const BOTH: [Weighting; 2] = [Weighting::PerToken, Weighting::PerPair];

fn compare(case: Case) {
    let model = model();
    let mut rng = sample::seed::rng(case.seed, &["packing"]);
    let groups: Vec<_> = (0..case.images + case.texts)
        .map(|n| conversations(&mut rng, n < case.images))
        .collect();
    // The features are computed with text alone too and go nowhere.
    let images = case.images.max(1) as i64;
    let pixels: Vec<f32> = (0..images * 3 * 256)
        .map(|_| rng.random_range(-2.0..2.0f32))
        .collect();
    let pixels = Tensor::from_slice(&pixels).view([images, 3, 16, 16]);
    let layout = Layout {
        packing: case.packing,
        weighting: case.weighting,
        image_token: IMAGE,
        patches: PATCHES,
        tree_tokens: case.tree_tokens,
        row_tokens: case.row_tokens,
        micro_rows: case.micro_rows,
    };
    let mut placed = Vec::new();
    for (n, group) in groups.iter().enumerate() {
        let image = Some(n).filter(|n| *n < case.images);
        let trees = layout.trees(group).into_iter();
        placed.extend(trees.map(|tree| Placed { tree, image }));
    }
    let (tokens, unpacked) = placed.iter().fold((0, 0), |(tokens, unpacked), p| {
        (tokens + p.tree.len(), unpacked + p.tree.unpacked)
    });
    let shares = case.packing == Packing::Tree;
    assert_eq!(
        tokens < unpacked,
        shares,
        "{case:?}: {tokens} of {unpacked}"
    );
    let micro = micro_batches(&placed, &layout).unwrap();
    assert!(case.micro_rows == 0 || micro.len() > 1, "{case:?}");

    let losses = micro.iter().map(|micro| loss(&model, &pixels, micro));
    let (packed, ours) = gradients(&model, losses);
    let alone = separate(&model, &pixels, &groups, case.weighting);
    let (alone, theirs) = gradients(&model, std::iter::once(alone));
    assert!(
        (packed - alone).abs() <= TOLERANCE * alone,
        "{case:?}: loss {packed} against {alone}"
    );
    let largest = theirs
        .iter()
        .filter_map(|(_, g)| g.as_ref().map(norm))
        .fold(0., f64::max);
    let mut compared = 0;
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if case.images == 0 && !name.starts_with("language_model.") {
            continue;
        }
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            let (ours, theirs) = (ours.is_some(), theirs.is_some());
            assert_eq!(ours, theirs, "{case:?}: {name} has one gradient only");
            continue;
        };
        compared += 1;
        let off = norm(&(ours - theirs));
        // A gradient that is zero in theory (a key's bias) is rounding in both.
        let scale = norm(theirs).max(1e-3 * largest);
        assert!(
            off <= TOLERANCE * scale,
            "{case:?}: gradient of {name} off by {}",
            off / scale
        );
    }
    assert!(compared > 20, "{case:?}: only {compared} gradients");
}

const ONE_ROW_EACH: Case = Case {
    seed: 0,
    packing: Packing::Tree,
    weighting: Weighting::PerToken,
    row_tokens: 0,
    tree_tokens: 4096,
    micro_rows: 0,
    images: 4,
    texts: 0,
};

#[test]
fn image_shared_by_many_questions_gives_the_loss_and_gradients_of_separate_sequences() {
    for seed in 0..3 {
        for weighting in BOTH {
            compare(Case {
                seed,
                weighting,
                ..ONE_ROW_EACH
            });
        }
    }
}

#[test]
fn many_trees_in_one_row_and_trees_split_in_parts_change_nothing() {
    for (seed, weighting, row_tokens, tree_tokens) in [
        (10, Weighting::PerToken, 4096, 4096),
        (11, Weighting::PerPair, 64, 40),
    ] {
        compare(Case {
            seed,
            weighting,
            row_tokens,
            tree_tokens,
            ..ONE_ROW_EACH
        });
    }
}

#[test]
fn text_without_images_packs_the_same_way_alone_and_beside_images() {
    for (seed, packing) in (20..).zip(ALL) {
        for images in [0, 2] {
            compare(Case {
                seed,
                packing,
                images,
                texts: 3,
                row_tokens: 100,
                ..ONE_ROW_EACH
            });
        }
    }
}

#[test]
fn every_packing_in_several_micro_batches_sums_to_the_gradients_of_the_whole_step() {
    for (seed, packing) in (30..).zip(ALL) {
        for weighting in BOTH {
            compare(Case {
                seed,
                packing,
                weighting,
                row_tokens: 64,
                tree_tokens: 60,
                micro_rows: 2,
                texts: 1,
                ..ONE_ROW_EACH
            });
        }
    }
}
