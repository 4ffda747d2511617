//! A benchmark, its data, and models that answer it, for tests of campaigns: sums of small numbers.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chat::{ChatModel, Error as ChatError, Finish, Reply, Request};
use eval::campaign::{self, Again, BenchmarkConfig, Candidate, Plan, Through};
use eval::{Answer, Benchmark, Error, Extraction, Item, Kind, Outputs, Picture, Scoring};
use sample::benchmark::{BenchmarkScore, ItemScore};
use sample::scores::Reading;
use serde_json::Value;

/// Sums of small numbers about one-colour images, in a JSON file as MathVista has its questions. What
/// follows "is " is the answer; a judge reads the rest.
pub struct Sums;

/// A PNG of 8 by 8 pixels.
pub fn png(shade: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = image::RgbImage::from_pixel(8, 8, image::Rgb([shade, 7, 9]));
    let mut cursor = std::io::Cursor::new(&mut bytes);
    pixels
        .write_to(&mut cursor, image::ImageFormat::Png)
        .unwrap();
    bytes
}

impl Benchmark for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn title(&self) -> &'static str {
        "Sums"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["test", "train"]
    }

    fn load(&self, folder: &Path, _: &str) -> Result<Vec<Item>, Error> {
        let path = folder.join("sums.json");
        let text = fs::read(&path).map_err(|e| Error::Data {
            path: path.clone(),
            detail: e.to_string(),
        })?;
        let rows: Vec<Value> = serde_json::from_slice(&text).unwrap();
        Ok(rows
            .iter()
            .map(|row| Item {
                id: row["id"].as_str().unwrap().to_owned(),
                question: row["question"].as_str().unwrap().to_owned(),
                choices: Vec::new(),
                answer: row["answer"].as_str().map(str::to_owned),
                kind: Kind::Integer,
                unit: None,
                precision: None,
                pictures: row["images"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|image| match image {
                        Value::String(name) => Picture::File(folder.join(name)),
                        shade => {
                            let shade = shade.as_u64().unwrap() as u8;
                            Picture::Bytes(Arc::from(png(shade).as_slice()))
                        }
                    })
                    .collect(),
                groups: vec![(
                    "parity".to_owned(),
                    row["parity"].as_str().unwrap().to_owned(),
                )],
                extra: serde_json::Map::new(),
            })
            .collect())
    }

    fn query(&self, item: &Item) -> String {
        format!("Question: {}", item.question)
    }

    fn outputs(&self, path: &Path, _: &[Item]) -> Result<Outputs, Error> {
        let text = fs::read_to_string(path).unwrap();
        let answers = text
            .lines()
            .map(|line| {
                let (id, response) = line.split_once('\t').unwrap();
                Answer {
                    id: id.to_owned(),
                    response: Some(response.to_owned()),
                    ..Answer::default()
                }
            })
            .collect();
        Ok(Outputs {
            answers,
            ..Outputs::default()
        })
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        let rows = items.iter().zip(answers);
        rows.map(|(item, answer)| {
            let said = answer.response.as_deref().unwrap_or_default();
            let by_rule = said.split_once("is ").map(|(_, rest)| rest.to_owned());
            let last = said.split_whitespace().last().map(str::to_owned);
            let found = match (&answer.extraction, how.extraction) {
                (Some(given), _) => Some(given.clone()).filter(|given| !given.is_empty()),
                (None, Extraction::Extended) => {
                    by_rule.or(last.filter(|w| w.parse::<i64>().is_ok()))
                }
                (None, _) => by_rule,
            };
            ItemScore {
                id: item.id.clone(),
                response: answer.response.clone(),
                reading: match (&found, &answer.failed) {
                    (_, Some(_)) => Reading::Failed,
                    (Some(_), None) => Reading::Parsed,
                    (None, None) if said.is_empty() => Reading::Empty,
                    (None, None) => Reading::Unparsed,
                },
                extraction: found.clone(),
                correct: found.is_some() && found == item.answer,
                prediction: found,
                expected: item.answer.clone(),
                fallback: false,
                truncated: answer.truncated,
            }
        })
        .collect()
    }

    fn judge_extraction(&self, _: &Item, response: &str) -> Option<String> {
        let open = !response.is_empty() && !response.contains("is ");
        open.then(|| format!("Extract the number: {response}"))
    }
}

/// Six questions about three images, of which those of one image do not stand together.
pub fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.png"), png(1)).unwrap();
    fs::write(folder.path().join("b.png"), png(2)).unwrap();
    let images = ["a.png", "b.png", "a.png", "b.png", "a.png"];
    let mut rows: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(n, image)| {
            serde_json::json!({
                "id": n.to_string(),
                "question": format!("{n} + {n}?"),
                "answer": (2 * n).to_string(),
                "images": [image],
                "parity": if n.is_multiple_of(2) { "even" } else { "odd" },
            })
        })
        .collect();
    rows.push(serde_json::json!({
        "id": "5", "question": "5 + 5?", "answer": "10", "images": [77, 78], "parity": "odd",
    }));
    write(folder.path(), &rows);
    folder
}

pub fn write(folder: &Path, rows: &[Value]) {
    let text = serde_json::to_vec(rows).unwrap();
    fs::write(folder.join("sums.json"), text).unwrap();
}

pub fn config(data: &Path) -> BenchmarkConfig {
    let text = serde_json::json!({ "name": "sums", "data": data });
    serde_json::from_value(text).unwrap()
}

pub fn planned(config: &BenchmarkConfig, out: &Path) -> Plan<'static> {
    campaign::plan(&Sums, config, &config.data, 7, &out.join("images")).unwrap()
}

/// Adds; says so in words for 1 and 4, gets 3 wrong, and dies before its `lives` are negative.
pub struct Adder {
    lives: Cell<i64>,
    pub batches: RefCell<Vec<Vec<String>>>,
}

impl Adder {
    pub fn new() -> Adder {
        Adder {
            lives: Cell::new(i64::MAX),
            batches: RefCell::default(),
        }
    }

    pub fn dying_after(batches: i64) -> Adder {
        let adder = Adder::new();
        adder.lives.set(batches);
        adder
    }
}

impl ChatModel for Adder {
    fn name(&self) -> &str {
        "adder-1"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
        self.lives.set(self.lives.get() - 1);
        if self.lives.get() < 0 {
            let dead = || ChatError::Failed {
                model: "adder-1".into(),
                detail: "gone".into(),
            };
            return batch.iter().map(|_| Err(dead())).collect();
        }
        let ids = batch.iter().map(|request| request.id.clone()).collect();
        self.batches.borrow_mut().push(ids);
        batch
            .iter()
            .map(|request| {
                let text = &request.turns[0].text;
                let number = text
                    .trim_start_matches("Question: ")
                    .split(' ')
                    .next()
                    .unwrap();
                let number: i64 = number.parse().unwrap();
                let text = match number {
                    2 => {
                        return Err(ChatError::Unanswerable {
                            id: request.id.clone(),
                            detail: "no twos".into(),
                        });
                    }
                    3 => "it is 7".to_owned(),
                    1 | 4 => format!("that makes {}", 2 * number),
                    n => format!("it is {}", 2 * n),
                };
                Ok(Reply {
                    text,
                    finish: if number == 5 {
                        Finish::Length
                    } else {
                        Finish::Stop
                    },
                    prompt_tokens: 10,
                    completion_tokens: 3,
                })
            })
            .collect()
    }
}

/// Reads the last word of what it is shown; wrongly where that is 8.
pub struct LastWord(pub Cell<u32>);

impl ChatModel for LastWord {
    fn name(&self) -> &str {
        "judge-1"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
        self.0.set(self.0.get() + batch.len() as u32);
        let read = |request: &Request| {
            assert_eq!(request.temperature, 0.0);
            let word = request.turns[0].text.split(' ').next_back().unwrap();
            Ok(Reply {
                text: if word == "8" { "9" } else { word }.to_owned(),
                finish: Finish::Stop,
                prompt_tokens: 1,
                completion_tokens: 1,
            })
        };
        batch.iter().map(read).collect()
    }
}

pub fn candidate<'m>(model: &'m dyn ChatModel, through: Through<'m>) -> Candidate<'m> {
    Candidate {
        name: "adder".into(),
        model,
        identity: "sha-of-adder".into(),
        place: String::new(),
        temperature: 0.0,
        through,
    }
}

pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

pub fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn run(
    plan: &Plan<'_>,
    model: &dyn ChatModel,
    through: Through<'_>,
    folder: &Path,
) -> Result<BenchmarkScore, Error> {
    let candidate = Candidate {
        model,
        through,
        ..candidate(model, through)
    };
    campaign::run(plan, &candidate, None, folder, Again::default())
}
