//! A whole run folder, as the stages would leave it: drawn images, data tables, a loss curve, and a
//! real evaluation of a scripted student that reads an image rightly with a known chance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chat::{ChatModel, Error as ChatError, Finish, Reply, Request};
use eval::heldout::Family;
use image::{Rgb, RgbImage};
use rand::Rng;
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, Manifest, Origin, REJECTS, Reject, SAMPLES, Sample, Stage,
    StageKey, Task, seed, sha256_hex, write_table,
};

/// Markup that does harm wherever it is not escaped.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";

pub const SEED: u64 = 11;

/// What varies between the runs that tests need.
pub struct Shape {
    /// Images to train on; half as many are held out.
    pub images: usize,
    /// Added to all text that data or users bring.
    pub spice: &'static str,
}

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("red", [214, 69, 65]),
    ("blue", [58, 110, 200]),
    ("green", [70, 160, 95]),
    ("orange", [235, 150, 50]),
    ("purple", [130, 90, 170]),
    ("teal", [40, 150, 150]),
];

/// The kinds of figure: family, task, the chance that the student reads it rightly.
const FAMILIES: [(&str, Task, f64); 5] = [
    ("bar", Task::Fqa, 0.72),
    ("rectangle", Task::Gps, 0.38),
    ("prices", Task::Mwp, 0.47),
    ("grid", Task::Tqa, 0.66),
    ("dots", Task::Vqa, 0.58),
];

/// Makes the folder with all stages; returns it.
pub fn make(root: &Path, shape: &Shape) -> PathBuf {
    let run = root.join("run");
    // As much of it as a folder's name can have.
    let name = |name: &str| format!("{name}{}", shape.spice.replace('/', ""));
    let training = data(&run, &name("import"), shape, 0, shape.images);
    let held_out = data(&run, "import-held-out", shape, 100_000, shape.images / 2);
    let kept: Vec<Sample> = training
        .0
        .iter()
        .filter(|s| !s.id.ends_with("7#0"))
        .cloned()
        .collect();
    stage(
        &run,
        &name("select"),
        "select",
        &kept,
        &training.1,
        &[],
        shape,
    );
    let mut all = kept.clone();
    all.extend(
        kept.iter()
            .step_by(2)
            .enumerate()
            .map(|(i, s)| synthesised(s, i, shape)),
    );
    stage(&run, &name("synth"), "synth", &all, &training.1, &[], shape);
    train(&run, all.len());
    evaluate(&run, &held_out, &all, shape);
    run
}

type Data = (Vec<Sample>, Vec<ImageRow>);

/// An import stage with its images.
fn data(run: &Path, name: &str, shape: &Shape, first: usize, images: usize) -> Data {
    let (mut samples, mut rows) = (Vec::new(), Vec::new());
    for n in first..first + images {
        let (picture, questions, row) = figure(n, shape);
        let file = run.join(name).join("images").join(format!("{n}.png"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        picture.save(&file).unwrap();
        let sha256 = sha256_hex(&std::fs::read(&file).unwrap());
        let image = ImageRef {
            path: format!("{name}/{n}.png"),
            sha256,
            ..row.image.clone()
        };
        rows.push(ImageRow {
            image: image.clone(),
            ..row
        });
        samples.extend(questions.into_iter().map(|s| Sample {
            image: image.clone(),
            ..s
        }));
    }
    let rejects = [
        ("image_broken", "cannot be decoded: unexpected end"),
        ("no_answer", "field"),
    ];
    let rejects: Vec<Reject> = (0..7)
        .map(|i| Reject {
            source: format!("figures{}", shape.spice),
            row: format!("row {i}{}", shape.spice),
            reason: format!("{}{}", rejects[i % 2].0, shape.spice),
            detail: format!("{}{}", rejects[i % 2].1, shape.spice),
        })
        .collect();
    stage(run, name, "import", &samples, &rows, &rejects, shape);
    (samples, rows)
}

fn stage(
    run: &Path,
    name: &str,
    verb: &str,
    samples: &[Sample],
    rows: &[ImageRow],
    rejects: &[Reject],
    shape: &Shape,
) {
    let config = serde_json::json!({ "total": samples.len(), "note": shape.spice });
    let stage = Stage::begin(&run.join(name), StageKey::new(verb, SEED, config), false).unwrap();
    write_table(&stage.path(SAMPLES), samples).unwrap();
    write_table(&stage.path(IMAGES), rows).unwrap();
    write_table(&stage.path(REJECTS), rejects).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    if verb == "import" {
        manifest
            .image_roots
            .insert(name.to_owned(), "images".into());
    }
    manifest.count("samples", samples.len() as u64);
    manifest.count("images", rows.len() as u64);
    manifest.count("rejects", rejects.len() as u64);
    manifest.count(&format!("noted{}", shape.spice), 1);
    stage.finish(manifest, &[SAMPLES, IMAGES, REJECTS]).unwrap();
}

fn train(run: &Path, pairs: usize) {
    let config = serde_json::json!({ "lr": 0.001, "epochs": 3, "batch_size": 32 });
    let stage = Stage::begin(
        &run.join("train"),
        StageKey::new("train", SEED, config),
        false,
    );
    let stage = stage.unwrap();
    let mut rng = seed::rng(SEED, &["loss"]);
    let mut log = String::new();
    for step in 0..900u32 {
        let loss = 0.55 + 4.6 * (-f64::from(step) / 140.0).exp() + rng.random_range(-0.16..0.16);
        log.push_str(&format!(
            "{{\"step\":{step},\"loss\":{loss:.4},\"lr\":0.001}}\n"
        ));
    }
    log.push_str("{\"step\": 900, \"lo");
    std::fs::write(stage.path("metrics.jsonl"), log).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.count("steps", 900);
    manifest.count("samples", pairs as u64);
    manifest.count("parameters", 7_412_736);
    stage.finish(manifest, &["metrics.jsonl"]).unwrap();
}

fn synthesised(parent: &Sample, i: usize, shape: &Shape) -> Sample {
    let kind = ["askimg", "compq", "rephq", "simpq"][i % 4];
    Sample {
        id: format!("{}#{kind}0", parent.id),
        question: format!("Look closely: {}", parent.question.to_lowercase()),
        origin: Origin::Synth {
            source: parent.origin.source().to_owned(),
            augmentation: format!("{kind}{}", shape.spice),
            parent: parent.id.clone(),
            teacher: format!("program{}", shape.spice),
            prompt_digest: "0".repeat(64),
        },
        ..parent.clone()
    }
}

fn evaluate(run: &Path, (items, rows): &Data, training: &[Sample], shape: &Shape) {
    let images: BTreeMap<String, PathBuf> = rows
        .iter()
        .map(|r| {
            let below = r.image.path.split_once('/').unwrap().1;
            (
                r.image.path.clone(),
                run.join("import-held-out/images").join(below),
            )
        })
        .collect();
    let families = rows
        .iter()
        .map(|r| {
            let family = Family {
                source: r.source.clone(),
                family: r.family.clone(),
            };
            (r.image.path.clone(), family)
        })
        .collect();
    let inputs = eval::Inputs {
        items,
        images: &images,
        families: &families,
        training,
    };
    let config = eval::Config::default();
    let plan = eval::plan(&config, SEED, &inputs).unwrap();
    let key = StageKey::new("eval", SEED, serde_json::to_value(&config).unwrap());
    let student = Student {
        name: format!("tiny-llava{}", shape.spice),
        items: items.iter().map(|i| (i.id.clone(), i)).collect(),
        spice: shape.spice,
    };
    eval::run(&plan, &student, &run.join("eval"), key, false).unwrap();
}

/// Sees the right answer with its family's chance; guesses otherwise.
struct Student<'a> {
    name: String,
    items: BTreeMap<String, &'a Sample>,
    spice: &'static str,
}

impl ChatModel for Student<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
        batch.iter().map(|request| Ok(self.one(request))).collect()
    }
}

impl Student<'_> {
    fn one(&self, request: &Request) -> Reply {
        let item = self.items[&request.id];
        let shown = request.subject["image"].as_str().unwrap();
        let mut rng = seed::rng(SEED, &["student", &request.id, shown]);
        let chance = FAMILIES.iter().find(|f| f.1 == item.task).unwrap().2;
        let (text, finish) = if rng.random_bool(0.02) {
            let text = format!(
                "I am not sure what this shows, so I look again {}",
                self.spice
            );
            (text, Finish::Length)
        } else if shown == item.image.path && rng.random_bool(chance) {
            (sample::prompt::response(item), Finish::Stop)
        } else if item.choices.is_empty() {
            let guess = match item.answer {
                Answer::Text(_) => ["yes", "no"][rng.random_range(0..2)].to_owned(),
                _ => format!("{}{}", rng.random_range(1..12), self.spice),
            };
            (format!("The answer is {guess}"), Finish::Stop)
        } else {
            let letter = Answer::Choice(rng.random_range(0..item.choices.len())).text();
            (format!("The answer is {letter}"), Finish::Stop)
        };
        Reply {
            text,
            finish,
            prompt_tokens: 80,
            completion_tokens: 6,
        }
    }
}

/// A picture, its questions and what is known of it.
fn figure(n: usize, shape: &Shape) -> (RgbImage, Vec<Sample>, ImageRow) {
    let (family, task, _) = FAMILIES[n % FAMILIES.len()];
    // One pixel of its own, so that no two pictures have the same bytes.
    let mark = [(n >> 16) as u8, (n >> 8) as u8, n as u8];
    let mut rng = seed::rng(SEED, &["figure", &n.to_string()]);
    let mut picture = RgbImage::from_pixel(240, 180, Rgb([252, 252, 250]));
    picture.put_pixel(239, 179, Rgb(mark));
    let spice = shape.spice;
    let base =
        |q: usize, template: &str, question: String, choices: Vec<String>, answer: Answer| Sample {
            id: format!("figures:{n}#{q}"),
            image: ImageRef {
                path: String::new(),
                sha256: String::new(),
                width: 240,
                height: 180,
            },
            question: format!("{question}{spice}"),
            choices: choices.into_iter().map(|c| format!("{c}{spice}")).collect(),
            answer,
            unit: None,
            rationale: None,
            task,
            language: "en".into(),
            origin: Origin::Source {
                source: format!("figures{spice}"),
                row: n.to_string(),
            },
            template: Some(format!("{family}/{template}{spice}")),
        };
    let mut order: Vec<usize> = (0..COLOURS.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    let names: Vec<String> = order.iter().map(|&i| COLOURS[i].0.to_owned()).collect();
    let ink = |i: usize| COLOURS[order[i]].1;
    let questions = match family {
        "bar" | "grid" => {
            let heights: Vec<u32> = (0..4).map(|i| rng.random_range(1..5) * 4 + i).collect();
            for (i, height) in heights.iter().enumerate() {
                block(
                    &mut picture,
                    24 + 52 * i as u32,
                    170 - height * 7,
                    36,
                    height * 7,
                    ink(i),
                );
            }
            let top = (0..4).max_by_key(|&i| heights[i]).unwrap();
            let choices = names[..4].to_vec();
            vec![
                base(
                    0,
                    "highest",
                    "Which bar is the highest?".into(),
                    choices,
                    Answer::Choice(top),
                ),
                base(
                    1,
                    "value",
                    format!("What is the value of the {} bar?", names[1]),
                    vec![],
                    Answer::Integer(i64::from(heights[1])),
                ),
                base(
                    2,
                    "compare",
                    format!("Is the {} bar higher than the {} one?", names[0], names[2]),
                    vec![],
                    Answer::Text(if heights[0] > heights[2] { "yes" } else { "no" }.into()),
                ),
            ]
        }
        "rectangle" => {
            let (w, h) = (rng.random_range(3..11u32), rng.random_range(2..8u32));
            block(&mut picture, 20, 14, w * 20, h * 20, ink(0));
            let area = base(
                0,
                "area",
                "Each unit is 20 pixels. What is the area of the rectangle?".into(),
                vec![],
                Answer::Integer(i64::from(w * h)),
            );
            let ratio = Answer::Decimal {
                value: f64::from(w) / f64::from(h),
                places: 2,
            };
            let mut ratio = base(
                1,
                "ratio",
                "How wide is it for its height?".into(),
                vec![],
                ratio,
            );
            ratio.unit = Some(format!("times{spice}"));
            vec![area, ratio]
        }
        "prices" => {
            let prices: Vec<u32> = (0..3).map(|_| rng.random_range(1..9)).collect();
            for (i, price) in prices.iter().enumerate() {
                for p in 0..*price {
                    block(
                        &mut picture,
                        16 + 26 * p,
                        20 + 52 * i as u32,
                        20,
                        34,
                        ink(i),
                    );
                }
            }
            vec![base(
                0,
                "total",
                format!(
                    "Each {} block costs 1, how much are all blocks together?",
                    names[0]
                ),
                vec![],
                Answer::Integer(prices.iter().map(|p| i64::from(*p)).sum()),
            )]
        }
        _ => {
            let many = rng.random_range(2..9u32);
            for i in 0..many {
                block(
                    &mut picture,
                    20 + 52 * (i % 4),
                    24 + 70 * (i / 4),
                    30,
                    30,
                    ink(0),
                );
            }
            let many = i64::from(many);
            vec![base(
                0,
                "count",
                format!("How many {} squares are there?", names[0]),
                vec![],
                Answer::Integer(many),
            )]
        }
    };
    let row = ImageRow {
        image: questions[0].image.clone(),
        source: format!("figures{spice}"),
        family: Some(format!("{family}{spice}")),
        clarity: Some(1),
        clarity_score: None,
        complexity: (!n.is_multiple_of(11)).then_some((n % 4) as u8),
        complexity_score: None,
        scene: None,
    };
    (picture, questions, row)
}

fn block(picture: &mut RgbImage, x: u32, y: u32, width: u32, height: u32, ink: [u8; 3]) {
    for y in y..(y + height).min(picture.height()) {
        for x in x..(x + width).min(picture.width()) {
            picture.put_pixel(x, y, Rgb(ink));
        }
    }
}
