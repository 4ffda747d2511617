//! Held-out questions and a student that answers them, for tests of the held-out evaluation.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chat::{ChatModel, Error as ChatError, Finish, Reply, Request};
use eval::heldout::Family;
use eval::{Config, Error, Inputs};
use sample::scores::{Results, Score};
use sample::{Answer, ImageRef, Manifest, Origin, Sample, StageKey, Task};

/// Held-out and training questions about bars and lines, three to an image.
pub struct World {
    pub items: Vec<Sample>,
    pub images: BTreeMap<String, PathBuf>,
    pub families: BTreeMap<String, Family>,
    pub training: Vec<Sample>,
}

pub const WORDS: [&str; 4] = ["Oak", "Elm", "Ash", "Fir"];

pub fn questions(image: usize, part: &str) -> Vec<Sample> {
    let family = if image.is_multiple_of(2) {
        "bar"
    } else {
        "line"
    };
    let base = |q: usize, template: &str, choices: &[&str], answer: Answer| Sample {
        id: format!("figures:{part}/{image}#{q}"),
        image: ImageRef {
            path: format!("figures/{part}/{image}.png"),
            sha256: format!("{part}-{image}"),
            width: 64,
            height: 64,
        },
        question: format!("{template} of {image}?"),
        choices: choices.iter().map(|c| (*c).to_owned()).collect(),
        answer,
        unit: None,
        rationale: None,
        task: if family == "bar" {
            Task::Fqa
        } else {
            Task::Mwp
        },
        language: "en".into(),
        origin: Origin::Source {
            source: "figures".into(),
            row: format!("{part}/{image}#{q}"),
        },
        template: Some(format!("{family}/{template}")),
    };
    vec![
        base(0, "which", &WORDS, Answer::Choice(image * 7 % 4)),
        base(1, "count", &[], Answer::Integer((image as i64 * 5) % 9)),
        base(
            2,
            "rises",
            &[],
            Answer::Text(if image.is_multiple_of(3) { "no" } else { "yes" }.into()),
        ),
    ]
}

pub fn world(images: usize) -> World {
    let items: Vec<Sample> = (0..images).flat_map(|i| questions(i, "test")).collect();
    let training = (100..100 + 2 * images)
        .flat_map(|i| questions(i, "train"))
        .collect();
    let mut world = World {
        items,
        images: BTreeMap::new(),
        families: BTreeMap::new(),
        training,
    };
    for item in &world.items {
        let path = item.image.path.clone();
        let family = item
            .template
            .as_ref()
            .and_then(|t| t.split('/').next())
            .map(str::to_owned);
        world
            .images
            .insert(path.clone(), PathBuf::from("/images").join(&path));
        world.families.insert(
            path,
            Family {
                source: "figures".into(),
                family,
            },
        );
    }
    world
}

impl World {
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            items: &self.items,
            images: &self.images,
            families: &self.families,
            training: &self.training,
        }
    }
}

/// Called with the item, whether its own image is shown, and the count of requests before.
pub type Script<'a> = Box<dyn Fn(&Sample, bool, usize) -> Result<Reply, ChatError> + 'a>;

/// A student made of a function from item, shown file and its own file.
pub struct Student<'a> {
    items: BTreeMap<String, &'a Sample>,
    answer: Script<'a>,
    pub asked: Cell<usize>,
}

pub fn said(text: &str) -> Result<Reply, ChatError> {
    Ok(Reply {
        text: text.into(),
        finish: Finish::Stop,
        prompt_tokens: 9,
        completion_tokens: 3,
    })
}

impl<'a> Student<'a> {
    pub fn new(
        world: &'a World,
        answer: impl Fn(&Sample, bool, usize) -> Result<Reply, ChatError> + 'a,
    ) -> Self {
        Student {
            items: world.items.iter().map(|i| (i.id.clone(), i)).collect(),
            answer: Box::new(answer),
            asked: Cell::new(0),
        }
    }

    /// Right whenever it sees the question's own image, else a fixed wrong guess.
    pub fn looking(world: &'a World) -> Self {
        Student::new(world, |item, own, _| {
            said(&if own {
                sample::prompt::response(item)
            } else {
                "The answer is 77".into()
            })
        })
    }
}

impl ChatModel for Student<'_> {
    fn name(&self) -> &str {
        "scripted"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
        batch
            .iter()
            .map(|request| {
                assert_eq!((request.temperature, request.turns.len()), (0.0, 1));
                assert!(request.turns[0].text.starts_with("Hint: "));
                let item = self.items[&request.id];
                let file = PathBuf::from("/images").join(&item.image.path);
                let own = request.images.len() == 1 && request.images[0].path == file;
                let before = self.asked.replace(self.asked.get() + 1);
                (self.answer)(item, own, before)
            })
            .collect()
    }
}

pub fn config() -> Config {
    Config {
        batch_size: 7,
        resamples: 300,
        ..Config::default()
    }
}

pub fn key() -> StageKey {
    StageKey::new("eval", 5, serde_json::to_value(config()).unwrap())
}

pub fn run(world: &World, student: &Student<'_>, folder: &Path) -> Result<Manifest, Error> {
    let plan = eval::plan(&config(), 5, &world.inputs())?;
    eval::run(&plan, student, folder, key(), false)
}

pub fn results(manifest: &Manifest) -> Results {
    serde_json::from_value(manifest.results.clone()).unwrap()
}

pub fn scores(folder: &Path) -> Vec<Score> {
    std::fs::read_to_string(folder.join("scores.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Every file of a folder with its bytes.
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .collect()
}
