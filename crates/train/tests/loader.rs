//! The loader on small pictures: order, loading ahead, resumption, bad images, kept features.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Rgb, RgbImage};
use model::{LlavaConfig, Preprocessor, PromptForm, Template, VisionConfig};
use tch::{Kind, Tensor};
use train::data::{
    Data, Encoding, Example, ExampleImage, Round, learn_vocabulary, read_conversations,
};
use train::features::{Features, Store};
use train::loader::Loader;
use train::{Error, MicroBatch, OnMissingImage, Packing, StepBatch, TrainConfig};

const PATCHES: usize = 4;

/// `images` pictures with up to five conversations each, and `texts` conversations without one.
fn examples(folder: &Path, images: usize, texts: usize) -> Vec<Example> {
    let round = |n: usize, k: usize| Round {
        question: format!("What is number {k} of {}?", "all ".repeat(n % 7)),
        reply: format!("It is {}", n * 10 + k),
    };
    let mut all = Vec::new();
    for n in 0..images {
        let path = format!("{n}.png");
        let shade = u8::try_from(n * 3).unwrap();
        let picture = RgbImage::from_fn(20, 16, |x, y| Rgb([shade, (x * 9) as u8, (y * 9) as u8]));
        picture.save(folder.join(&path)).unwrap();
        for k in 0..=n % 5 {
            all.push(Example {
                id: format!("{n}-{k}"),
                source: "shades".to_owned(),
                image: Some(ExampleImage {
                    path: path.clone(),
                    sha256: String::new(),
                }),
                shown_in: 0,
                rounds: (0..=k % 2).map(|r| round(n, k + r)).collect(),
            });
        }
    }
    for n in 0..texts {
        all.push(Example {
            id: format!("text-{n}"),
            source: "shades".to_owned(),
            image: None,
            shown_in: 0,
            rounds: vec![round(n, 9)],
        });
    }
    all
}

fn config() -> TrainConfig {
    TrainConfig {
        batch_images: 4,
        epochs: 2.0,
        prefetch: 0,
        row_tokens: 200,
        micro_rows: 2,
        ..Default::default()
    }
}

fn prepare(folder: &Path, config: &TrainConfig, examples: Vec<Example>) -> Result<Data, Error> {
    sample::progress::set_quiet(true);
    let shape = LlavaConfig {
        vision_config: Some(VisionConfig {
            image_size: 16,
            patch_size: 8,
            ..Default::default()
        }),
        ..Default::default()
    };
    let encoding = Encoding {
        tokenizer: learn_vocabulary(&examples, Template::Tiny, 300).unwrap(),
        form: PromptForm::Named(Template::Tiny),
        patches: PATCHES,
        max_length: 120,
    };
    let locate = |path: &str| -> Result<PathBuf, sample::Error> { sample::safe_join(folder, path) };
    Data::prepare(
        config,
        examples,
        &locate,
        encoding,
        Preprocessor::new(&shape),
    )
}

fn loader(data: &Arc<Data>, config: &TrainConfig) -> Loader {
    Loader::new(Arc::clone(data), config, 7, None).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let size = tensor.numel() * tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0; size];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// All of a batch as one value that can be compared.
fn content(batch: &StepBatch) -> (Vec<Vec<u8>>, Vec<usize>, Vec<String>, [usize; 4]) {
    let of = |m: &MicroBatch| {
        [
            bytes(&m.ids),
            bytes(&m.positions),
            bytes(&m.ends),
            bytes(&m.image_at),
            bytes(&m.image_from),
            bytes(&m.edge_at),
            bytes(&m.edge_target),
            bytes(&m.edge_weight),
        ]
    };
    let mut tensors: Vec<Vec<u8>> = batch.micro.iter().flat_map(of).collect();
    tensors.extend(batch.pixels.as_ref().map(bytes));
    (
        tensors,
        batch.images.clone(),
        batch.members.clone(),
        [batch.pairs, batch.tokens, batch.unpacked, batch.labels],
    )
}

fn weight(batch: &StepBatch) -> f64 {
    let sums = batch.micro.iter().map(|m| m.edge_weight.sum(Kind::Double));
    sums.map(|sum| sum.double_value(&[])).sum()
}

#[test]
fn batches_are_the_same_however_many_are_made_ahead_and_wherever_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    let all = examples(folder.path(), 11, 3);
    for packing in [Packing::Tree, Packing::Rows, Packing::None] {
        let config = TrainConfig {
            packing,
            // Half of the images are decoded again each time.
            image_cache_mib: 0,
            ..config()
        };
        let data = Arc::new(prepare(folder.path(), &config, all.clone()).unwrap());
        let here = loader(&data, &config);
        let expected: Vec<_> = (0..here.steps())
            .map(|step| content(&here.batch(step).unwrap()))
            .collect();
        assert_eq!(expected.len(), 8); // 14 units in fours, twice
        assert!(expected[0] != expected[4], "both epochs have one order");
        for prefetch in [0, 1, 4] {
            let config = TrainConfig {
                prefetch,
                ..config.clone()
            };
            let mut ahead = loader(&data, &config);
            // In turn, then from the middle as a resumed run does, then back.
            for step in (0..8).chain(5..8).chain([2, 3, 0]) {
                let batch = ahead.next(step).unwrap();
                assert_eq!(batch.step, step);
                assert!(
                    content(&batch) == expected[step as usize],
                    "{prefetch}: {step}"
                );
                assert!(ahead.waited() >= 0.0);
            }
            // Past the end, as a forecast may ask.
            assert!(!ahead.next(9).unwrap().micro.is_empty());
        }
    }
}

#[test]
fn a_loader_that_is_dropped_in_the_middle_ends_its_thread() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        prefetch: 2,
        epochs: 1e6,
        ..config()
    };
    let data = prepare(folder.path(), &config, examples(folder.path(), 5, 0)).unwrap();
    let data = Arc::new(data);
    let mut ahead = loader(&data, &config);
    ahead.next(0).unwrap();
    assert_eq!(Arc::strong_count(&data), 2);
    drop(ahead);
    // The thread held the loader's data through it.
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn every_example_comes_once_an_epoch_and_steps_have_the_size_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let all = examples(folder.path(), 13, 4);
    let ids: BTreeSet<String> = all.iter().map(|e| e.id.clone()).collect();
    let settings = [
        (Packing::Tree, 3, 0),
        (Packing::Tree, 0, 6),
        (Packing::Rows, 0, 6),
        (Packing::None, 5, 0),
    ];
    for (packing, batch_images, batch_pairs) in settings {
        let config = TrainConfig {
            packing,
            batch_images,
            batch_pairs,
            epochs: 1.0,
            tree_tokens: 200,
            ..config()
        };
        let data = Arc::new(prepare(folder.path(), &config, all.clone()).unwrap());
        let loader = loader(&data, &config);
        let mut seen = Vec::new();
        for step in 0..loader.steps() {
            assert_eq!(loader.place(step), (0, step));
            let batch = loader.batch(step).unwrap();
            assert_eq!(batch.members, loader.members(step));
            assert_eq!(batch.pairs, batch.members.len());
            assert!((weight(&batch) - 1.0).abs() < 1e-5);
            let last = step + 1 == loader.steps();
            let texts = batch.members.iter().filter(|m| m.starts_with("text"));
            let images = batch.images.len() + texts.count();
            let fits = match (batch_images, packing) {
                (0, Packing::Tree) => (6..6 + 5).contains(&batch.pairs),
                (0, _) => batch.pairs == 6,
                _ => images == batch_images,
            };
            assert!(
                fits || last,
                "{packing:?}: {images} images, {} pairs",
                batch.pairs
            );
            seen.extend(batch.members);
        }
        assert_eq!(seen.len(), ids.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids);
        let (tokens, unpacked) = data.tokens();
        assert_eq!(tokens < unpacked, packing == Packing::Tree);
        assert_eq!(loader.place(loader.steps()), (1, 0));
    }
}

#[test]
fn fractions_of_epochs_and_the_greatest_number_of_steps_count_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let all = examples(folder.path(), 10, 0); // 30 pairs
    let steps = |batch_images, batch_pairs, epochs, max_steps| {
        let config = TrainConfig {
            batch_images,
            batch_pairs,
            epochs,
            max_steps,
            ..config()
        };
        let data = Arc::new(prepare(folder.path(), &config, all.clone()).unwrap());
        loader(&data, &config).steps()
    };
    assert_eq!(steps(4, 0, 1.0, 0), 3);
    assert_eq!(steps(4, 0, 2.5, 0), 8);
    assert_eq!(steps(4, 0, 0.01, 0), 1);
    assert_eq!(steps(4, 0, 1e6, 7), 7);
    // Images of one to five pairs: the number of steps differs from epoch to epoch.
    let three = steps(0, 5, 3.0, 0);
    assert!((3 * 30 / 9..=3 * 30 / 5).contains(&three), "{three}");
    assert_eq!(steps(0, 5, 3.0, three - 1), three - 1);
    assert!(steps(0, 5, 2.5, 0) < three);
    assert_eq!(steps(0, 5, 1e9, 40), 40);
}

#[test]
fn with_grouping_by_modality_images_and_text_share_only_the_last_batches() {
    let folder = tempfile::tempdir().unwrap();
    let all = examples(folder.path(), 10, 22);
    let config = TrainConfig {
        packing: Packing::None,
        group_by_modality_length: true,
        batch_images: 0,
        batch_pairs: 4,
        ..config()
    };
    let data = Arc::new(prepare(folder.path(), &config, all.clone()).unwrap());
    let grouped = loader(&data, &config);
    assert_eq!(grouped.steps(), 2 * 13);
    let mut kinds: BTreeMap<bool, usize> = BTreeMap::new();
    for step in 0..13 {
        let members = grouped.members(step);
        let texts = members.iter().filter(|m| m.starts_with("text")).count();
        // Two pairs of either kind are left over.
        if step < 12 {
            assert!(
                texts == 0 || texts == members.len(),
                "step {step}: {members:?}"
            );
            *kinds.entry(texts == 0).or_default() += 1;
        } else {
            assert_eq!((texts, members.len()), (2, 4));
        }
    }
    assert_eq!(kinds, BTreeMap::from([(true, 7), (false, 5)]));

    let wrong = TrainConfig {
        packing: Packing::Tree,
        ..config
    };
    let error = Loader::new(data, &wrong, 7, None)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("packing = \"none\""), "{error}");
}

#[test]
fn an_image_that_goes_missing_in_the_middle_is_left_out_or_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        batch_images: 1,
        image_cache_mib: 0,
        prefetch: 2,
        epochs: 1.0,
        ..config()
    };
    let data = prepare(folder.path(), &config, examples(folder.path(), 6, 0)).unwrap();
    let data = Arc::new(data);
    let whole = loader(
        &data,
        &TrainConfig {
            batch_images: 6,
            ..config.clone()
        },
    );
    let before = whole.batch(0).unwrap();
    std::fs::write(folder.path().join("2.png"), b"no picture").unwrap();
    std::fs::remove_file(folder.path().join("4.png")).unwrap();

    let after = whole.batch(0).unwrap();
    assert_eq!(after.images, [0, 1, 3, 5]);
    assert_eq!(after.pairs + 3 + 5, before.pairs);
    assert!((weight(&after) - 1.0).abs() < 1e-5);
    assert!(
        after
            .members
            .iter()
            .all(|m| !m.starts_with("2-") && !m.starts_with("4-"))
    );

    // A step of nothing else is empty, and the run goes on.
    let mut steps = loader(&data, &config);
    let empty = (0..6).filter(|&step| {
        let batch = steps.next(step).unwrap();
        assert_eq!(
            batch.micro.is_empty(),
            batch.pixels.is_none() && batch.pairs == 0
        );
        batch.micro.is_empty()
    });
    assert_eq!(empty.count(), 2);
    let count = |steps: &Loader, reason: &str| {
        steps
            .rejects()
            .iter()
            .filter(|r| r.reason == reason)
            .count()
    };
    assert_eq!(
        (
            count(&steps, "image_broken"),
            count(&steps, "image_missing")
        ),
        (3, 5)
    );
    // What a second epoch finds again is listed once, also by a run that goes on.
    let mut resumed = loader(&data, &config);
    resumed.restore_rejects(steps.rejects().to_vec());
    for step in 6..12 {
        steps.next(step).unwrap();
        resumed.next(step).unwrap();
    }
    assert_eq!((steps.rejects().len(), resumed.rejects().len()), (8, 8));

    let stop = TrainConfig {
        on_missing_image: OnMissingImage::Stop,
        ..config
    };
    for prefetch in [0, 3] {
        let mut steps = loader(
            &data,
            &TrainConfig {
                prefetch,
                ..stop.clone()
            },
        );
        let first = (0..6).find_map(|step| steps.next(step).err().map(|e| (step, e)));
        let (step, error) = first.unwrap();
        let message = error.to_string();
        let named = message.contains("2.png") && message.contains("2-0");
        assert!(
            named || (message.contains("4.png") && message.contains("4-0")),
            "{message}"
        );
        // It is still so when asked again, and not once the file is back.
        assert!(steps.next(step).is_err());
    }
}

#[test]
fn a_folder_of_images_that_is_gone_ends_the_run_instead_of_training_on_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        batch_images: 1,
        image_cache_mib: 0,
        epochs: 9.0,
        ..config()
    };
    let data = prepare(folder.path(), &config, examples(folder.path(), 5, 0)).unwrap();
    let mut steps = loader(&Arc::new(data), &config);
    std::fs::remove_dir_all(folder.path()).unwrap();
    let (step, error) = (0..45)
        .find_map(|step| steps.next(step).err().map(|e| (step, e)))
        .unwrap();
    assert_eq!(step, 19);
    let message = error.to_string();
    assert!(message.contains(".png: no such image file"), "{message}");
}

#[test]
fn what_cannot_be_trained_on_is_rejected_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = examples(folder.path(), 4, 2);
    all[0].image.as_mut().unwrap().path = "../../etc/passwd".to_owned();
    all[1].image.as_mut().unwrap().path = "gone.png".to_owned();
    all[3].rounds[0].question = "why? ".repeat(100);
    all[10].rounds[0].reply = String::new();
    let frozen = TrainConfig {
        freeze_tower: true,
        ..config()
    };
    std::fs::write(folder.path().join("3.png"), b"broken").unwrap();
    // A frozen tower's images are not decoded twice: that one is broken shows when it is needed.
    for (config, broken) in [(frozen, 0), (config(), 4)] {
        let data = prepare(folder.path(), &config, all.clone()).unwrap();
        let reasons: Vec<&str> = data.rejects.iter().map(|r| r.reason.as_str()).collect();
        let mut expected = vec!["image_path", "image_missing", "too_long"];
        expected.extend(vec!["image_broken"; broken]);
        expected.push("no_labels");
        assert_eq!(reasons, expected);
        assert_eq!(data.examples.len(), 12 - expected.len());
    }
    // A conversation that is cut keeps what fits: its second round is past the end.
    let mut long = examples(folder.path(), 2, 0);
    long.truncate(1);
    long[0].rounds.push(Round {
        question: "and? ".repeat(100),
        reply: "No.".to_owned(),
    });
    let data = Arc::new(prepare(folder.path(), &config(), long).unwrap());
    let batch = loader(&data, &config()).batch(0).unwrap();
    assert_eq!((batch.tokens, data.rejects.len()), (120, 0));
    assert!(batch.labels > 0);
}

#[test]
fn a_file_of_conversations_is_trained_on_and_no_image_is_read_from_outside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    examples(&images, 2, 0);
    std::fs::copy(images.join("1.png"), folder.path().join("outside.png")).unwrap();
    let row = |id: &str, image: &str| {
        let shown = if image.is_empty() { "" } else { "<image>\\n" };
        let image = if image.is_empty() {
            "null".to_owned()
        } else {
            format!("\"{image}\"")
        };
        format!(
            r#"{{"id": "{id}", "image": {image}, "conversations": [
                {{"from": "human", "value": "{shown}What is it?"}}, {{"from": "gpt", "value": "A {id}."}},
                {{"from": "human", "value": "Sure?"}}, {{"from": "gpt", "value": "Yes."}}]}}"#
        )
    };
    let outside = format!("{}/outside.png", folder.path().display());
    let rows = [
        row("bus", "0.png"),
        row("link", "../outside.png"),
        row("root", &outside),
        row("text", ""),
        "{}".to_owned(),
        row("car", "1.png"),
        row("gone", "9.png"),
        row("van", "0.png"),
    ];
    let file = folder.path().join("mix.json");
    std::fs::write(&file, format!("[{}]", rows.join(",\n"))).unwrap();
    sample::progress::set_quiet(true);
    let (all, rejects) = read_conversations(&file, "mix").unwrap();
    assert_eq!((all.len(), rejects.len()), (7, 1));
    let data = Arc::new(prepare(&images, &config(), all).unwrap());
    let reasons: Vec<(&str, &str)> = data
        .rejects
        .iter()
        .map(|r| (r.row.as_str(), r.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("link", "image_path"),
            ("root", "image_path"),
            ("gone", "image_missing")
        ]
    );
    let batch = loader(&data, &config()).batch(0).unwrap();
    let members: BTreeSet<&str> = batch.members.iter().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["bus", "text", "car", "van"]));
    assert_eq!(
        (batch.images.len(), batch.tokens < batch.unpacked),
        (2, true)
    );

    std::fs::write(&file, "[{]").unwrap();
    let error = read_conversations(&file, "mix").unwrap_err().to_string();
    assert!(
        error.contains("mix.json") && error.contains("line 1"),
        "{error}"
    );
    assert!(read_conversations(&folder.path().join("none"), "mix").is_err());
}

#[test]
fn the_digest_names_ids_texts_and_images() {
    let folder = tempfile::tempdir().unwrap();
    let all = examples(folder.path(), 4, 1);
    let digest = |all: &[Example]| {
        prepare(folder.path(), &config(), all.to_vec())
            .unwrap()
            .digest()
    };
    let own = digest(&all);
    assert_eq!(digest(&all), own);
    type Change = fn(&mut Vec<Example>);
    let changes: [Change; 6] = [
        |all| all[2].id.push('x'),
        |all| all[2].rounds[0].question.push('x'),
        |all| all[2].rounds[0].reply.push('x'),
        |all| all[0].image.as_mut().unwrap().sha256 = "ab".to_owned(),
        |all| drop(all.pop()),
        |all| all.swap(1, 2),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = all.clone();
        change(&mut changed);
        assert_ne!(digest(&changed), own, "change {number}");
    }
    // Without a digest of its own, an image is known by its length.
    let image = folder.path().join("1.png");
    let mut picture = std::fs::read(&image).unwrap();
    picture.extend([0; 9]);
    std::fs::write(&image, picture).unwrap();
    assert_ne!(digest(&all), own);
}

/// A tower that counts what it is shown: features [1, patches, 3] of the pixels' sums.
fn tower<'a>(
    shown: &'a RefCell<usize>,
    kind: Kind,
) -> impl FnMut(&Tensor) -> Result<Tensor, Error> + 'a {
    move |pixels| {
        assert_eq!(pixels.size(), [1, 3, 16, 16]);
        *shown.borrow_mut() += 1;
        let sums = pixels.sum_dim_intlist(Some(&[2i64, 3][..]), false, Kind::Float); // [1, 3]
        let patches = Tensor::arange(PATCHES as i64, (Kind::Float, tch::Device::Cpu));
        Ok((sums.unsqueeze(1) + patches.view([1, -1, 1])).to_kind(kind))
    }
}

/// Goes through all steps; the features of each, and how many images the tower was shown.
fn run(
    data: &Arc<Data>,
    config: &TrainConfig,
    features: Features,
    kind: Kind,
) -> (Vec<Vec<u8>>, usize) {
    let features = Arc::new(features);
    let mut loader = Loader::new(Arc::clone(data), config, 7, Some(Arc::clone(&features))).unwrap();
    let shown = RefCell::new(0);
    let all = (0..loader.steps())
        .map(|step| {
            let batch = loader.next(step).unwrap();
            let found = features.gather(&batch, tower(&shown, kind)).unwrap();
            assert_eq!(found.size(), [batch.images.len() as i64, PATCHES as i64, 3]);
            assert_eq!(found.kind(), kind);
            bytes(&found)
        })
        .collect();
    drop((loader, features));
    let shown = *shown.borrow();
    (all, shown)
}

#[test]
fn features_are_computed_once_and_are_the_same_from_memory_from_disk_and_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    for (kind, prefetch) in [(Kind::Float, 0), (Kind::BFloat16, 3)] {
        let config = TrainConfig {
            freeze_tower: true,
            batch_images: 3,
            prefetch,
            ..config()
        };
        let data = prepare(folder.path(), &config, examples(folder.path(), 9, 0)).unwrap();
        let data = Arc::new(data);
        let store = |tower: &str| Some(Store::open(cache.path(), tower, 1 << 30).unwrap());
        let go = |memory, store| {
            run(
                &data,
                &config,
                Features::new(Arc::clone(&data), memory, store),
                kind,
            )
        };
        let (expected, shown) = go(0, None);
        assert_eq!(shown, 18); // twice, with no room for them
        let (held, shown) = go(16, None);
        assert_eq!(shown, 9);
        assert!(held == expected);
        let name = format!("tower {kind:?}");
        let (written, shown) = go(16, store(&name));
        assert_eq!((shown, written == expected), (9, true));
        let (read, shown) = go(0, store(&name));
        assert_eq!((shown, read == expected), (0, true));
        // Files are written beside the training: the second epoch may be there first.
        let (_, shown) = go(0, store(&format!("another {kind:?}")));
        assert!((9..=18).contains(&shown), "{shown}");

        // Broken files are computed and written again.
        let files = files(cache.path());
        assert!(files.len() >= 18);
        for (n, file) in files.iter().enumerate() {
            let mut bytes = std::fs::read(file).unwrap();
            match n % 3 {
                0 => drop(bytes.pop()),
                1 => bytes.iter_mut().last().into_iter().for_each(|b| *b ^= 1),
                _ => bytes.clear(),
            }
            std::fs::write(file, bytes).unwrap();
        }
        let (anew, shown) = go(16, store(&name));
        assert_eq!((shown, anew == expected), (9, true));
        let (read, shown) = go(0, store(&name));
        assert_eq!((shown, read == expected), (0, true));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<PathBuf> = list(folder).iter().flat_map(|below| list(below)).collect();
    files.sort();
    files
}

#[test]
fn features_on_disk_stay_within_their_bound_and_a_full_disk_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        freeze_tower: true,
        ..config()
    };
    let data = prepare(folder.path(), &config, examples(folder.path(), 9, 0)).unwrap();
    let data = Arc::new(data);
    let cache = tempfile::tempdir().unwrap();
    let go = |folder: &Path, most| {
        let store = Store::open(folder, "tower", most).unwrap();
        run(
            &data,
            &config,
            Features::new(Arc::clone(&data), 0, Some(store)),
            Kind::Float,
        )
        .1
    };
    go(cache.path(), 1 << 30);
    let written = files(cache.path());
    assert_eq!(written.len(), 9);
    let size = std::fs::metadata(&written[0]).unwrap().len();
    let small = tempfile::tempdir().unwrap();
    go(small.path(), 4 * size);
    assert_eq!(files(small.path()).len(), 4);
    assert_eq!(go(small.path(), 4 * size), 5 + 5);
    assert_eq!(files(small.path()).len(), 4);
    // Where nothing can be written, everything is computed.
    let blocked = tempfile::tempdir().unwrap();
    for name in 0..256 {
        std::fs::write(blocked.path().join(format!("{name:02x}")), b"").unwrap();
    }
    assert_eq!(go(blocked.path(), 1 << 30), 18);
}

#[test]
fn a_tower_of_another_shape_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepare(folder.path(), &config(), examples(folder.path(), 4, 0)).unwrap();
    let data = Arc::new(data);
    let features = Features::new(Arc::clone(&data), 1, None);
    let batch = loader(&data, &config()).batch(0).unwrap();
    let error = features
        .gather(&batch, |_| {
            Ok(Tensor::zeros([1, 5, 3], (Kind::Float, tch::Device::Cpu)))
        })
        .unwrap_err();
    assert!(error.to_string().contains("[1, 5, 3]"), "{error}");
}
