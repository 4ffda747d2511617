//! Benchmarks as a user meets them: a server that is asked, killed programs, a judge, and outputs that
//! exist already.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../chat/tests/server/mod.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use server::{Answer, Script, Server};

const CONFIG: &str = r#"
seed = 5
out = "unused"

[[benchmark]]
name = "mathvista"
data = "mathvista"
extraction = "EXTRACTION"

[[candidate]]
name = "school"
server = "school"

[judge]
server = "school"

[teachers.school]
model = "school-1"
endpoints = [{ url = "URL", concurrency = 4 }]
timeout_s = 2.0
max_tries = 50
retry_first_s = 0.01
retry_longest_s = 0.05
price = { input = 1.0, output = 2.0, currency = "USD" }
image_tokens = { fixed = 100 }
"#;

const QUESTIONS: usize = 24;

/// A folder in MathVista's layout: numbers about eight images.
fn write_data(folder: &Path) {
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::create_dir_all(folder.join("data/images")).unwrap();
    let mut problems = serde_json::Map::new();
    for n in 0..QUESTIONS {
        let image = format!("images/{}.png", n % 8);
        image::RgbImage::from_pixel(16, 16, image::Rgb([n as u8 % 8, 9, 9]))
            .save(folder.join("data").join(&image))
            .unwrap();
        let problem = json!({
            "pid": n.to_string(),
            "question": format!("What is {n} plus {n}?"),
            "image": image,
            "choices": null,
            "unit": null,
            "precision": null,
            "answer": (2 * n).to_string(),
            "question_type": "free_form",
            "answer_type": "integer",
            "metadata": {
                "split": "testmini", "language": "english", "img_width": 16, "img_height": 16,
                "source": "sums", "category": "math-targeted-vqa", "task": "math word problem",
                "context": "synthetic scene", "grade": "elementary school",
                "skills": ["arithmetic reasoning"],
            },
        });
        problems.insert(n.to_string(), problem);
    }
    let text = serde_json::to_vec(&problems).unwrap();
    fs::write(folder.join("data/testmini.json"), text).unwrap();
}

fn text_of(body: &Value) -> String {
    match &body["messages"][0]["content"] {
        Value::String(text) => text.clone(),
        parts => parts
            .as_array()
            .unwrap()
            .iter()
            .find_map(|part| part["text"].as_str())
            .unwrap()
            .to_owned(),
    }
}

/// Adds; at times in words that the official rules do not read, and at times wrongly. As a judge it
/// reads the first number of a reply.
fn school(body: &Value) -> String {
    let text = text_of(body);
    if let Some(shown) = text.strip_suffix("\n\nExtracted answer: ") {
        let response = shown.rsplit("\n\n").next().unwrap();
        let mut numbers = response
            .split(' ')
            .filter(|word| word.parse::<u32>().is_ok());
        return numbers.next().unwrap().to_owned();
    }
    let number = text.rsplit("What is ").next().unwrap();
    let number: usize = number.split(' ').next().unwrap().parse().unwrap();
    match number % 5 {
        4 => format!("Well, that makes {} then", 2 * number),
        3 => "The answer is 1".to_owned(),
        _ => format!("{}", 2 * number),
    }
}

struct World {
    dir: tempfile::TempDir,
    server: Server,
}

fn start(latency: Duration) -> World {
    let dir = tempfile::tempdir().unwrap();
    write_data(&dir.path().join("mathvista"));
    let server = Server::start(Script {
        answer: Answer::Of(Arc::new(school)),
        latency,
        ..Script::default()
    });
    let world = World { dir, server };
    world.configure("official");
    world
}

impl World {
    fn configure(&self, extraction: &str) {
        let config = CONFIG.replace("URL", &self.server.url());
        let config = config.replace("EXTRACTION", extraction);
        fs::write(self.dir.path().join("run.toml"), config).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn folder(&self) -> PathBuf {
        self.out().join("benchmarks/mathvista.testmini/school")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
        command
            .arg("eval")
            .arg(self.dir.path().join("run.toml"))
            .arg("--out")
            .arg(self.out())
            .arg("--root")
            .arg(self.dir.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn eval(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let done = self.eval(arguments);
        assert!(done.status.success(), "{}", told(&done));
        String::from_utf8(done.stdout).unwrap()
    }

    fn score(&self, outputs: &Path, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_math-llava"))
            .args(["score", "mathvista", "--data"])
            .arg(self.dir.path().join("mathvista"))
            .arg("--outputs")
            .arg(outputs)
            .args(arguments)
            .output()
            .unwrap()
    }
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_server_is_asked_once_whatever_is_killed_and_its_score_is_the_same() {
    let whole = start(Duration::ZERO);
    let said = whole.good(&[]);
    // Of 24, four end in 4 or 9, and five in 3 or 8.
    let first = said.lines().next().unwrap();
    assert!(
        first.starts_with("mathvista testmini, school: 62.5% (15 of 24); unparsed 9,"),
        "{said}"
    );
    let files = |world: &World| {
        ["responses.jsonl", "extractions.jsonl", "scores.jsonl"]
            .map(|name| fs::read(world.folder().join(name)).unwrap())
    };

    let cut = start(Duration::from_millis(30));
    let mut killed = 0;
    for n in 0..6 {
        let mut command = cut.command(&[]);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + 30 * n));
        killed += u64::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed >= 2, "only {killed} of 6 were at work");
    cut.good(&[]);
    assert!(files(&whole) == files(&cut));
    let settled = cut.server.counts().asked();
    assert!(settled >= QUESTIONS as u64);

    // Finished: nothing is asked, not even with --force, since the ledger has it all.
    for arguments in [&[][..], &["--force"]] {
        cut.good(arguments);
        assert_eq!(cut.server.counts().asked(), settled);
    }
    assert!(files(&whole) == files(&cut));
}

#[test]
fn a_plan_costs_nothing_and_says_what_it_would() {
    let world = start(Duration::ZERO);
    let said = world.good(&["--dry-run"]);
    assert!(
        said.contains("mathvista.testmini by school: 24 questions (0 cannot be asked), 8 images"),
        "{said}"
    );
    assert!(said.contains("2400") && said.contains("USD"), "{said}");
    assert!(said.contains("Nothing was sent"), "{said}");
    assert_eq!(world.server.counts().asked(), 0);
    assert!(!world.out().exists());
    let said = world.good(&["--limit", "3"]);
    assert!(said.contains("3 of 24 questions"), "{said}");
    assert_eq!(world.server.counts().asked(), 3);
    let trial = world
        .out()
        .join("benchmarks/mathvista.testmini.3-questions/school");
    assert!(trial.join("manifest.json").is_file());
    // What the trial paid for is on the ledger.
    world.good(&[]);
    assert_eq!(world.server.counts().asked(), QUESTIONS as u64);
}

#[test]
fn a_judge_reads_the_rest_once_it_is_meant() {
    let world = start(Duration::ZERO);
    world.good(&[]);
    let asked = world.server.counts().asked();
    world.configure("judge");
    let refused = world.eval(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        told(&refused).contains("--from extractions"),
        "{}",
        told(&refused)
    );
    let said = world.good(&["--from", "extractions"]);
    assert!(said.contains("(19 of 24)"), "{said}");
    assert!(said.contains("9 replies were read by the judge"), "{said}");
    assert_eq!(world.server.counts().asked(), asked + 9);
    let manifest = fs::read_to_string(world.folder().join("manifest.json")).unwrap();
    assert!(manifest.contains("school-1, temperature 0"), "{manifest}");
}

#[test]
fn outputs_are_scored_as_one_json_object_and_errors_are_one_line() {
    let world = start(Duration::ZERO);
    world.good(&[]);
    let items = world.dir.path().join("items.jsonl");
    let items = items.to_str().unwrap();
    let done = world.score(&world.folder(), &["--json", "--items", items]);
    assert!(done.status.success(), "{}", told(&done));
    let score: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (score["correct"].as_u64(), score["total"].as_u64()),
        (Some(15), Some(24))
    );
    assert_eq!(score["fallbacks"].as_u64(), Some(0));
    assert_eq!(
        score["groups"]["skills"]["arithmetic reasoning"]["total"].as_u64(),
        Some(24)
    );
    assert_eq!(
        fs::read_to_string(items).unwrap().lines().count(),
        QUESTIONS
    );
    let table = world.score(&world.folder(), &[]);
    let table = told(&table);
    assert!(
        table.starts_with("mathvista testmini, school: 62.5% (15 of 24); "),
        "{table}"
    );

    let nowhere = world.dir.path().join("nowhere.json");
    let split = ["--split", "val"];
    for (outputs, arguments, word) in [
        (&nowhere, &[][..], "nowhere.json"),
        (&world.folder(), &split[..], "no split \"val\""),
    ] {
        let failed = world.score(outputs, arguments);
        assert_eq!(failed.status.code(), Some(2));
        assert!(failed.stdout.is_empty());
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(
            said.contains(word) && said.trim_end().lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn names_that_the_configuration_does_not_have_are_answered_with_those_it_has() {
    let world = start(Duration::ZERO);
    for (arguments, word) in [
        (["--benchmark", "mathvist"], "it has mathvista"),
        (["--candidate", "scool"], "there are school"),
    ] {
        let failed = world.eval(&arguments);
        assert_eq!(failed.status.code(), Some(2));
        assert!(told(&failed).contains(word), "{}", told(&failed));
    }
}

#[test]
fn workers_ask_a_server_at_the_same_time_and_their_score_is_that_of_one() {
    let alone = start(Duration::ZERO);
    let said = alone.good(&[]);
    let files = |world: &World| {
        [
            "asked.json",
            "items.jsonl",
            "responses.jsonl",
            "extractions.jsonl",
            "scores.jsonl",
        ]
        .map(|name| fs::read(world.folder().join(name)).unwrap())
    };
    let world = start(Duration::from_millis(20));
    // Three at once: two by their numbers, one by its rank.
    let mut workers: Vec<_> = ["1/3", "2/3", "rank"]
        .into_iter()
        .map(|which| {
            let mut command = world.command(&["--shard", which]);
            command.env("RANK", "2").env("WORLD_SIZE", "3");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    // One is killed, wherever it is.
    std::thread::sleep(Duration::from_millis(60));
    let _ = workers[1].kill();
    let ended: Vec<bool> = workers
        .iter_mut()
        .map(|worker| worker.wait().unwrap().success())
        .collect();
    assert!(ended[0] && ended[2], "{ended:?}");
    assert!(!world.folder().join("manifest.json").exists());
    let again = world.good(&["--shard", "2/3"]);
    assert!(
        again.contains("shard 2/3") && again.contains("of 24 questions"),
        "{again}"
    );
    let asked = world.server.counts().asked();
    let joined = world.eval(&[]);
    assert!(joined.status.success(), "{}", told(&joined));
    assert_eq!(world.server.counts().asked(), asked, "{}", told(&joined));
    assert_eq!(
        told(&joined)
            .lines()
            .find(|line| line.starts_with("mathvista")),
        said.lines().next()
    );
    let here = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.replace(
            world.dir.path().to_str().unwrap(),
            alone.dir.path().to_str().unwrap(),
        )
    };
    for (own, others) in files(&alone).into_iter().zip(files(&world)) {
        assert_eq!(String::from_utf8(own).unwrap(), here(&others));
    }
    // All that was asked is on the run's ledger.
    let status = Command::new(env!("CARGO_BIN_EXE_math-llava"))
        .arg("ledger")
        .arg(world.out())
        .arg("select count(*) as n from requests where state = 'answered'")
        .arg("--json")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(status.stdout).unwrap().trim(),
        "{\"n\":24}"
    );
}

#[test]
fn a_shard_is_foretold_has_its_part_of_the_budget_and_is_named_where_it_cannot_be() {
    let world = start(Duration::ZERO);
    let file = world.dir.path().join("run.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        config.replace("price =", "max_budget = 9.0\nprice ="),
    )
    .unwrap();
    let said = world.good(&["--dry-run", "--shard", "2/3"]);
    assert!(
        said.contains("shard 2/3: 9 questions") || said.contains("shard 2/3: 6 questions"),
        "{said}"
    );
    assert!(said.contains("max_budget: 3.0000 for shard 2/3"), "{said}");
    assert!(!world.out().exists());
    for (arguments, word) in [
        (&["--shard", "4/3"][..], "I from 1 to N"),
        (&["--shard", "x"][..], "2/8"),
        (
            &["--shard", "1/2", "--from", "scores"][..],
            "cannot be used with",
        ),
    ] {
        let refused = world.eval(arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(told(&refused).contains(word), "{}", told(&refused));
    }
    let mut lost = world.command(&["--shard", "rank"]);
    for name in ["RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"] {
        lost.env_remove(name);
    }
    let refused = lost.output().unwrap();
    assert!(told(&refused).contains("srun"), "{}", told(&refused));

    // Ledgers of another number of shards are not passed over: what they paid for would be paid again.
    world.good(&["--shard", "1/2"]);
    let asked = world.server.counts().asked();
    let refused = world.eval(&["--shard", "1/3"]);
    let text = told(&refused);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    let word = "ledger.shard-1-of-2.sqlite";
    assert!(
        text.contains(word) && text.contains("math-llava ledger merge"),
        "{text}"
    );
    let own = world.out().join(word);
    let merge = |from: &Path| {
        Command::new(env!("CARGO_BIN_EXE_math-llava"))
            .args(["ledger", "merge"])
            .arg(world.out())
            .arg(from)
            .output()
            .unwrap()
    };
    let none = merge(&world.out().join("ledger.shard-2-of-2.sqlite"));
    assert_eq!(none.status.code(), Some(2));
    assert!(told(&none).contains("no such ledger"), "{}", told(&none));
    assert!(!world.out().join("ledger.sqlite").exists());
    let merged = merge(&own);
    assert!(merged.status.success(), "{}", told(&merged));
    assert!(
        told(&merged).contains(&format!("{asked} requests, {asked} settled")),
        "{}",
        told(&merged)
    );
    fs::remove_file(&own).unwrap();
    for which in ["1/3", "2/3", "3/3"] {
        world.good(&["--shard", which]);
    }
    world.good(&[]);
    assert_eq!(world.server.counts().asked(), QUESTIONS as u64);
}
