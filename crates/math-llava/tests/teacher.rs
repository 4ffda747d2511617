//! Synthesis by a teacher behind a server, as a user meets it: what is shown before anything is sent,
//! a server that does everything wrong, and a program that is killed at twenty moments.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../chat/tests/server/mod.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sample::{MadePair, PAIRS, REJECTS, SAMPLES, Sample, read_table};
use serde_json::Value;
use server::{Answer, Script, Server, Trouble};

/// Figures, and a teacher that asks the server at `URL`.
const CONFIG: &str = r#"
seed = 5
out = "unused"

[figures]
count = 60

[select]
total = 40

[teachers.school]
model = "school-1"
endpoints = [{ url = "URL", concurrency = 4 }]
timeout_s = 2.0
max_tries = 50
retry_first_s = 0.01
retry_longest_s = 0.05
breaker_pause_s = 0.02
breaker_longest_s = 0.1
price = { input = 1.0, output = 2.0, currency = "USD" }

[synth]
teacher = "school"

[synth.verify]
proofs = true
answers = 3
"#;

fn digest(text: &str) -> u64 {
    u64::from_str_radix(&sample::sha256_hex(text.as_bytes())[..12], 16).unwrap()
}

/// The line after a label in a prompt.
fn after<'a>(prompt: &'a str, label: &str) -> &'a str {
    let (_, rest) = prompt.split_once(label).unwrap();
    rest.lines().next().unwrap().trim()
}

/// What a school teacher says: true to itself when it answers blind, save for some questions, and now
/// and then with a question that nobody asked for.
fn teach(answers: &BTreeMap<String, String>, body: &Value) -> String {
    let content = &body["messages"][0]["content"];
    let prompt = match content {
        Value::String(text) => text.clone(),
        parts => parts
            .as_array()
            .unwrap()
            .iter()
            .find_map(|part| part["text"].as_str())
            .unwrap()
            .to_owned(),
    };
    let prompt = prompt.as_str();
    let pair = |q: String, a: String| format!("The question is [{q}]. The answer is [{a}].\n");
    let fresh = |question: &str| (digest(question) % 90).to_string();
    if prompt.contains("Write up to") {
        let topic = digest(prompt) % 100_000;
        let question =
            |n| format!("How many items of sort {topic} are in group {n} of the picture?");
        return (1..=5)
            .map(|n| pair(question(n), fresh(&question(n))))
            .collect();
    }
    let question = after(prompt, "Question: ");
    if prompt.contains("End with one line") {
        // A blind answer.
        let answer = match question.strip_prefix("Kindly say: ") {
            Some(original) if digest(original).is_multiple_of(7) => "nobody knows".to_owned(),
            Some(original) => answers[original].clone(),
            None => fresh(question),
        };
        return format!("Let me see.\nThe answer is [{answer}].");
    }
    if prompt.contains("more complex") {
        let new = format!("{question} Double it and add {}.", digest(prompt) % 50);
        return pair(new.clone(), fresh(&new));
    }
    if digest(prompt).is_multiple_of(9) {
        return pair("What is the capital of France?".into(), "Paris".into());
    }
    pair(format!("Kindly say: {question}"), answers[question].clone())
}

struct Run {
    dir: tempfile::TempDir,
    server: Server,
}

fn start(script: Script) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Script::default());
    let config = CONFIG.replace("URL", &server.url());
    fs::write(dir.path().join("run.toml"), config).unwrap();
    let run = Run { dir, server };
    let mut import = Command::new(env!("CARGO_BIN_EXE_math-llava"));
    import.args([
        "import", "--source", "figures", "--count", "60", "--seed", "5", "--out",
    ]);
    let done = import
        .arg(run.out().join("import/figures"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", told(&done));
    for verb in ["inspect", "select"] {
        let done = run.stage(verb);
        assert!(done.status.success(), "{verb}: {}", told(&done));
    }
    let samples: Vec<Sample> = read_table(&run.out().join("select").join(SAMPLES)).unwrap();
    let answers: BTreeMap<String, String> = samples
        .iter()
        .map(|s| (s.question.clone(), s.answer_value()))
        .collect();
    let teach: Arc<dyn Fn(&Value) -> String + Send + Sync> =
        Arc::new(move |body: &Value| teach(&answers, body));
    run.server.change(|now| {
        *now = Script {
            answer: Answer::Of(teach.clone()),
            ..script.clone()
        };
    });
    run
}

impl Run {
    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
        command
            .arg(verb)
            .arg("--config")
            .arg(self.dir.path().join("run.toml"))
            .arg("--out")
            .arg(self.out())
            .stdin(Stdio::null());
        command
    }

    fn stage(&self, verb: &str) -> Output {
        self.command(verb).output().unwrap()
    }

    fn ledger(&self, query: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
        let found = command
            .arg("ledger")
            .arg(self.out())
            .arg(query)
            .arg("--json");
        let found = found.output().unwrap();
        assert!(found.status.success(), "{}", told(&found));
        String::from_utf8(found.stdout).unwrap()
    }

    fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let read = |name| (name, fs::read(self.out().join("synth").join(name)).unwrap());
        [
            SAMPLES,
            REJECTS,
            PAIRS,
            "images.parquet",
            "train.json",
            "manifest.json",
        ]
        .map(read)
        .into()
    }
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn refusing(faults: &[(Trouble, f64)]) -> Script {
    let mut all = vec![(Trouble::Refusal, 0.03)];
    all.extend_from_slice(faults);
    Script {
        seed: 9,
        faults: all,
        ..Script::default()
    }
}

#[test]
fn twenty_kills_and_a_server_that_does_everything_wrong_leave_no_trace() {
    let good = start(refusing(&[]));
    let done = good.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    let bad = start(Script {
        most_faults: u64::MAX,
        slow: Duration::from_millis(10),
        retry_after: 0,
        clock_off: Some(40_000_000),
        latency: Duration::from_millis(4),
        // A vendor that knows idempotency keys bills a request once, however often it is sent.
        honours_keys: true,
        ..refusing(&[
            (Trouble::Limited, 0.05),
            (Trouble::LimitedAfter, 0.03),
            (Trouble::Broken, 0.05),
            (Trouble::Burst, 0.01),
            (Trouble::Reset, 0.05),
            (Trouble::Refuse, 0.05),
            (Trouble::Slow, 0.05),
            (Trouble::Truncated, 0.05),
            (Trouble::WrongType, 0.05),
            (Trouble::Empty, 0.05),
            (Trouble::Duplicate, 0.05),
        ])
    });
    let mut killed = 0;
    for n in 0..20u64 {
        let mut command = bad.command("synth");
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Some while it starts, some in the middle of asking.
        std::thread::sleep(Duration::from_millis(20 + digest(&n.to_string()) % 230));
        killed += u64::from(child.try_wait().unwrap().is_none());
        // SIGKILL: nothing is asked of the program.
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed >= 5, "only {killed} of 20 were at work");
    let done = bad.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    for ((name, good), (_, bad)) in good.files().into_iter().zip(bad.files()) {
        assert!(good == bad, "{name} differs");
    }

    // One reply or one reason for each request, and nothing billed twice.
    let open = "select count(*) as n from requests where digest not in (select digest from replies) \
        and digest not in (select digest from refusals)";
    assert_eq!(bad.ledger(open).trim(), r#"{"n":0}"#);
    let counts = bad.server.counts();
    assert!(counts.keys.values().all(|count| count.billed <= 1));
    let twice = "select count(*) as n from (select digest from tries where outcome = 'answered' \
        group by digest having count(*) > 1)";
    assert_eq!(bad.ledger(twice).trim(), r#"{"n":0}"#);

    // What came out is what verification lets through.
    let pairs: Vec<MadePair> = read_table(&bad.out().join("synth").join(PAIRS)).unwrap();
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in &pairs {
        let word = pair.reason.as_deref().unwrap_or(&pair.verdict);
        *words.entry(word).or_default() += 1;
    }
    assert!(
        words["agreed"] > 100 && words["not_agreed"] > 0,
        "{words:?}"
    );
    let samples: Vec<Sample> = read_table(&bad.out().join("synth").join(SAMPLES)).unwrap();
    assert!(
        samples
            .iter()
            .all(|s| !s.question.contains("capital of France"))
    );
}

#[test]
fn a_run_that_was_paid_for_is_not_paid_for_again_whatever_the_concurrency() {
    let run = start(refusing(&[]));
    let done = run.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    let (before, asked) = (run.files(), run.server.counts().asked());
    fs::remove_dir_all(run.out().join("synth")).unwrap();
    let config = fs::read_to_string(run.dir.path().join("run.toml")).unwrap();
    let config = config.replace("concurrency = 4", "concurrency = 40");
    fs::write(run.dir.path().join("run.toml"), config).unwrap();
    let again = run.stage("synth");
    assert!(again.status.success(), "{}", told(&again));
    assert_eq!(run.server.counts().asked(), asked);
    assert!(run.files() == before);
}

#[test]
fn what_it_will_cost_and_say_is_shown_before_anything_is_sent() {
    let run = start(refusing(&[]));
    let plan = run.command("synth").arg("--dry-run").output().unwrap();
    let text = told(&plan);
    assert!(plan.status.success(), "{text}");
    for word in [
        "askimg",
        "verify",
        "USD",
        "at most",
        "figures",
        "Nothing was sent",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let shown = run
        .command("synth")
        .args(["--show-prompt", "compq"])
        .output()
        .unwrap();
    let text = told(&shown);
    assert!(
        text.contains("version 1") && text.contains("more complex"),
        "{text}"
    );
    assert!(text.contains("(open)"), "{text}");
    let none = run.command("synth").arg("--status").output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(
        told(&none).contains("there is no ledger yet"),
        "{}",
        told(&none)
    );
    assert_eq!(run.server.counts().asked(), 0);
    assert!(!run.out().join("ledger.sqlite").exists());
    assert!(!run.out().join("synth").exists());
}

#[test]
fn a_budget_stops_the_stage_before_it_is_passed_and_a_larger_one_goes_on() {
    let run = start(refusing(&[]));
    let file = run.dir.path().join("run.toml");
    let config = fs::read_to_string(&file).unwrap();
    let limited = config.replace("price =", "max_budget = 0.05\nprice =");
    fs::write(&file, &limited).unwrap();
    let stopped = run.stage("synth");
    assert_eq!(stopped.status.code(), Some(2), "{}", told(&stopped));
    assert!(told(&stopped).contains("max_budget"), "{}", told(&stopped));
    let spent = run.ledger("select sum(cost) as n from tries");
    let spent: Value = serde_json::from_str(&spent).unwrap();
    let spent = spent["n"].as_f64().unwrap();
    assert!(spent > 0.0 && spent <= 0.05, "{spent}");
    let status = run.command("synth").arg("--status").output().unwrap();
    assert!(told(&status).contains("askimg"), "{}", told(&status));
    fs::write(&file, limited.replace("0.05\n", "50.0\n")).unwrap();
    let done = run.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
}

#[test]
fn a_teacher_that_cannot_be_asked_is_a_message() {
    let run = start(refusing(&[]));
    let file = run.dir.path().join("run.toml");
    let config = fs::read_to_string(&file).unwrap();
    let url = run.server.url();
    let dead = url.replace(run.server.address.port().to_string().as_str(), "1");
    let cases: [(&str, &str, &str); 6] = [
        (
            "teacher = \"school\"",
            "teacher = \"scool\"",
            "[teachers.scool]",
        ),
        ("max_tries = 50", "max_tires = 50", "max_tires"),
        ("model = \"school-1\"", "", "model"),
        (
            "concurrency = 4",
            "concurrency = 4, key_env = \"MATH_LLAVA_NO_SUCH_KEY\"",
            "MATH_LLAVA_NO_SUCH_KEY",
        ),
        (
            "answers = 3",
            "answers = 3\nverifier = \"program\"",
            "verifier",
        ),
        (&url, &dead, "no reply"),
    ];
    for (from, to, word) in cases {
        let mut changed = config.replacen(from, to, 1);
        if word == "no reply" {
            changed = changed.replace("max_tries = 50", "max_tries = 2\npatience_s = 1.0");
        }
        assert_ne!(changed, config, "{from}");
        fs::write(&file, changed).unwrap();
        let refused = run.stage("synth");
        let text = told(&refused);
        assert_eq!(refused.status.code(), Some(2), "{to}: {text}");
        assert!(text.contains(word), "{to}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn batches_give_what_single_requests_give_and_cost_half() {
    let single = start(Script::default());
    let done = single.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    let batched = start(Script {
        batch_failures: 0.1,
        batch_expires_after: Some(150),
        ..Script::default()
    });
    let file = batched.dir.path().join("run.toml");
    let config = fs::read_to_string(&file).unwrap();
    let batch = "api = \"batch\"\nbatch = { requests = 200, poll_s = 0.05 }\nprice =";
    fs::write(&file, config.replace("price =", batch)).unwrap();
    let mut child = batched.command("synth").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(250));
    let _ = child.kill();
    child.wait().unwrap();
    let done = batched.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    for name in [SAMPLES, PAIRS, "train.json"] {
        let read = |run: &Run| fs::read(run.out().join("synth").join(name)).unwrap();
        assert!(read(&single) == read(&batched), "{name} differs");
    }
    let spent = |run: &Run| {
        let line = run.ledger("select sum(cost) as n from tries where outcome = 'answered'");
        serde_json::from_str::<Value>(&line).unwrap()["n"]
            .as_f64()
            .unwrap()
    };
    let ratio = spent(&batched) / spent(&single);
    assert!((ratio - 0.5).abs() < 0.01, "{ratio}");
}

#[test]
fn workers_with_ledgers_of_their_own_make_the_pairs_of_one_and_pay_once() {
    let alone = start(refusing(&[]));
    let done = alone.stage("synth");
    assert!(done.status.success(), "{}", told(&done));
    let run = start(Script {
        latency: Duration::from_millis(2),
        honours_keys: true,
        ..refusing(&[])
    });
    let part = |which: &str| {
        let mut command = run.command("synth");
        command.args(["--shard", which]);
        command
    };
    let plan = part("1/3").arg("--dry-run").output().unwrap();
    assert!(told(&plan).contains("shard 1/3:"), "{}", told(&plan));
    let mut workers: Vec<_> = ["1/3", "2/3", "3/3"]
        .into_iter()
        .map(|which| {
            let mut command = part(which);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(250));
    let _ = workers[0].kill();
    for worker in &mut workers {
        worker.wait().unwrap();
    }
    let again = part("1/3").output().unwrap();
    assert!(
        told(&again).contains("shard 1/3: all is asked"),
        "{}",
        told(&again)
    );
    assert!(!run.out().join("synth").exists() && !run.out().join("ledger.sqlite").exists());
    let asked = run.server.counts().asked();
    let joined = run.stage("synth");
    assert!(joined.status.success(), "{}", told(&joined));
    assert_eq!(run.server.counts().asked(), asked, "{}", told(&joined));
    for ((name, one), (_, many)) in alone.files().into_iter().zip(run.files()) {
        assert!(one == many, "{name} differs");
    }
    assert!(
        run.server
            .counts()
            .keys
            .values()
            .all(|count| count.billed <= 1)
    );
    let settled = "select count(*) as n from requests where state != 'open'";
    assert_eq!(run.ledger(settled), alone.ledger(settled));

    // Other settings do not take those ledgers for theirs.
    let file = run.dir.path().join("run.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("answers = 3", "answers = 5")).unwrap();
    let refused = run.stage("synth");
    let text = told(&refused);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(
        text.contains("ledger.shard-1-of-3.sqlite") && text.contains("answers: 3 against 5"),
        "{text}"
    );
    assert_eq!(run.server.counts().asked(), asked);
}
