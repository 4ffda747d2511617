//! Stages whose work a cluster does, with the program as a user starts it: a scheduler and two executors on
//! loopback leave the same bytes as one process, also where an executor is killed in the middle.

#![cfg(all(feature = "torch", feature = "cluster"))]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Drawn figures, the same again as a ChartQA, graders that are too small to learn much.
const CONFIG: &str = r#"
seed = 11
out = "unused"
benchmarks = ["bench"]

[figures]
count = 160

[[source]]
name = "chartqa"

[grade]
epochs = 1
threads = 1
precision = "float32"
grading_batch = 8
regrade = true

[grade.fresh]
image_size = 32
patch_size = 16
hidden = 24
layers = 1
heads = 2
mlp = 48

[select]
total = 100

[select.holdout]
fraction = 0.1
"#;

/// A scheduler or an executor; it goes with the value.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Process {
        let mut child = program(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("{arguments:?} ended"))
                .unwrap();
            let mut words = line
                .split_whitespace()
                .map(|word| word.trim_end_matches([',', '.', ';']));
            if let Some(found) = words.find(|word| word.starts_with("127.0.0.1:")) {
                break found.to_owned();
            }
        };
        std::thread::spawn(move || lines.count());
        Process { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scheduler() -> Process {
    Process::start(&["cluster", "scheduler", "--port", "0"])
}

fn executor(scheduler: &str) -> Process {
    let to = [
        "cluster",
        "executor",
        "--scheduler",
        scheduler,
        "--port",
        "0",
        "--slots",
        "1",
    ];
    Process::start(&to)
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn done(arguments: &[&str]) -> String {
    let output = program(arguments).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        says(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with the configuration, a benchmark that has two of the figures, and the figures as a ChartQA, some
/// of whose files cannot be used.
fn data(folder: &Path) -> PathBuf {
    let drawn = folder.join("drawn");
    done(&[
        "import",
        "--source",
        "figures",
        "--count",
        "160",
        "--seed",
        "5",
        "--out",
        text(&drawn),
    ]);
    let mut pictures: Vec<PathBuf> = Vec::new();
    let mut open = vec![drawn.join("images")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                pictures.push(path)
            }
        }
    }
    pictures.sort();
    assert_eq!(pictures.len(), 160);
    let (charts, bench) = (folder.join("data/chartqa/train"), folder.join("data/bench"));
    fs::create_dir_all(charts.join("png")).unwrap();
    fs::create_dir_all(bench.join("images")).unwrap();
    let mut rows = Vec::new();
    for (number, picture) in pictures.iter().enumerate() {
        let name = format!("{number:03}.png");
        let file = charts.join("png").join(&name);
        match number % 40 {
            11 => fs::write(&file, "no picture").unwrap(),
            12 => {}
            _ => drop(fs::copy(picture, &file).unwrap()),
        }
        for question in [
            "How many bars are there?",
            "Which bar is the longest of all in this chart?",
        ] {
            rows.push(format!(
                r#"{{"imgname":"{name}","query":"{question}","label":"{}"}}"#,
                number % 7
            ));
        }
    }
    fs::write(
        charts.join("train_human.json"),
        format!("[{}]", rows.join(",")),
    )
    .unwrap();
    for number in [20, 30] {
        fs::copy(
            &pictures[number],
            bench.join(format!("images/{number}.png")),
        )
        .unwrap();
    }
    let asked = r#"[{"id":"one","question":"How many?","image":"images/20.png"},
                    {"id":"two","question":"Which one?","image":"images/30.png"}]"#;
    fs::write(bench.join("q.json"), asked).unwrap();
    fs::write(folder.join("config.toml"), CONFIG).unwrap();
    folder.join("config.toml")
}

/// The stages up to `select` into the run's folder, on a cluster where one is given.
struct Run<'a> {
    folder: &'a Path,
    name: &'a str,
    cluster: Option<&'a str>,
}

impl Run<'_> {
    fn out(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn import(&self) {
        let out = self.out().join("import");
        done(&[
            "import",
            "--source",
            "figures",
            "--count",
            "160",
            "--seed",
            "9",
            "--out",
            text(&out.join("figures")),
        ]);
        let (root, out) = (self.folder.join("data/chartqa"), out.join("chartqa"));
        let arguments = [
            "import",
            "--source",
            "chartqa",
            "--root",
            text(&root),
            "--out",
            text(&out),
        ];
        self.done(&arguments);
    }

    fn command(&self, verb: &str) -> Command {
        let (config, root) = (self.folder.join("config.toml"), self.folder.join("data"));
        let out = self.out();
        self.with_cluster(&[
            verb,
            "--config",
            text(&config),
            "--root",
            text(&root),
            "--out",
            text(&out),
        ])
    }

    fn with_cluster(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        if let Some(address) = self.cluster {
            command.args(["--cluster", address]);
        }
        command
    }

    fn done(&self, arguments: &[&str]) {
        let output = self.with_cluster(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            says(&output)
        );
    }

    fn stage(&self, verb: &str) {
        let output = self.command(verb).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{verb}: {}", says(&output));
    }

    /// What the stages left, but for what says how long things took.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.out()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("timing.jsonl") || path.ends_with("tensorboard") {
                    continue;
                }
                if path.is_dir() {
                    open.push(path);
                } else {
                    let name = path.strip_prefix(self.out()).unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

fn same(own: &Run, shared: &Run) {
    let (own, shared) = (own.files(), shared.files());
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&own), names(&shared));
    for (name, bytes) in &own {
        assert!(*bytes == shared[name], "{}", name.display());
    }
}

#[test]
fn a_cluster_leaves_the_same_bytes_also_when_an_executor_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    data(folder);
    let own = Run {
        folder,
        name: "own",
        cluster: None,
    };
    own.import();
    let stages = ["inspect", "grade", "select"];
    stages.iter().for_each(|verb| own.stage(verb));
    let manifest = fs::read_to_string(own.out().join("inspect/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    // The benchmark's two and their copies in the other source.
    assert!(
        manifest["contaminated_images"].as_u64().unwrap() >= 2,
        "{manifest}"
    );

    let scheduler = scheduler();
    let at = scheduler.address.clone();
    let (mut first, second) = (executor(&at), executor(&at));
    let shared = Run {
        folder,
        name: "shared",
        cluster: Some(&at),
    };
    shared.import();
    stages.iter().for_each(|verb| shared.stage(verb));
    same(&own, &shared);

    let (mine, theirs) = (own.out(), shared.out());
    let queries = [
        (
            "select source, count(*) as n from images group by 1 order by 1",
            2,
        ),
        // A table without rows.
        (
            "select i.image, r.reason from import_figures_images i left join import_figures_rejects r \
             on r.row = i.image order by 1 limit 5",
            6,
        ),
        ("select count(*) from import_figures_rejects", 2),
    ];
    for (query, lines) in queries {
        let answer = done(&["sql", "--run", text(&mine), "--csv", query]);
        assert!(answer.lines().count() >= lines, "{answer}");
        let asked = ["sql", "--run", text(&theirs), "--csv", query];
        assert_eq!(answer, done(&[&asked[..], &["--cluster", &at]].concat()));
    }

    // Killed when the first piece is there: the other executor does the rest, or the same command goes on.
    let killed = Run {
        folder,
        name: "killed",
        cluster: Some(&at),
    };
    killed.import();
    let mut inspecting = killed.command("inspect").spawn().unwrap();
    let unfinished = killed.out().join("inspect/unfinished");
    let pieces = || fs::read_dir(&unfinished).map_or(0, Iterator::count);
    while pieces() == 0 && inspecting.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    first.kill();
    if !inspecting.wait().unwrap().success() {
        killed.stage("inspect");
    }
    let replacement = executor(&at);
    ["grade", "select"]
        .iter()
        .for_each(|verb| killed.stage(verb));
    same(&own, &killed);
    drop((second, replacement));
}

#[test]
fn an_address_where_nobody_is_and_figures_on_a_cluster_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    data(dir.path());
    let (root, out) = (dir.path().join("data/chartqa"), dir.path().join("out"));
    let (root, out) = (text(&root), text(&out));
    // Nobody listens on port 1.
    let nobody = ["--cluster", "127.0.0.1:1", "--out", out];
    let chartqa = ["import", "--source", "chartqa", "--root", root];
    let figures = ["import", "--source", "figures"];
    for (verb, wanted) in [
        (chartqa.as_slice(), "127.0.0.1:1"),
        (&figures, "leave --cluster out"),
    ] {
        let output = program(&[verb, &nobody].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(says(&output).contains(wanted), "{}", says(&output));
        assert!(!Path::new(out).join("manifest.json").exists());
    }
}
