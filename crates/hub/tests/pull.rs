//! Fetching from a hub on this machine, which keeps the protocol and breaks it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hub::{
    Destination, Error, Patience, Plan, Presence, Pulled, RepoKind, Repository, Settings, Token,
    Wanted, fetch, plan,
};
use server::{Fault, Server};
use tempfile::TempDir;

const WEIGHTS: usize = 3_000_000;

/// A hub with one model, a place for its files, and a user.
struct Case {
    folder: TempDir,
    server: Server,
    settings: Settings,
}

/// Bytes that are nowhere alike, so that a piece in a wrong place changes the sum.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

impl Case {
    fn new() -> Case {
        sample::progress::set_quiet(true);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("hub");
        let model = root.join("me/tiny");
        write(&model, "config.json", b"{\"model_type\": \"llava\"}");
        write(&model, "empty.json", b"");
        write(&model, "model.safetensors", &noise(WEIGHTS));
        write(&model, "pytorch_model.bin", &noise(1000));
        write(&model, "additional_chat_templates/tools.jinja", b"{{ x }}");
        write(&model, "odd names/a b%20#?.txt", b"odd");
        let data = root.join("datasets/me/rows");
        write(&data, "data/train.parquet", &noise(5000));
        write(&data, "README.md", b"rows");
        let server = Server::new(&root);
        let settings = Settings {
            endpoint: server.endpoint.clone(),
            token: Token::new("hf_secret"),
            cache: folder.path().join("cache"),
            patience: Patience {
                answer: Duration::from_secs(20),
                silence: Duration::from_secs(20),
                first_pause: Duration::from_millis(1),
                tries: 4,
                ..Patience::default()
            },
        };
        Case {
            folder,
            server,
            settings,
        }
    }

    fn wanted(&self, destination: Destination) -> Wanted {
        Wanted {
            repository: Repository::new(RepoKind::Model, "me/tiny", "main").unwrap(),
            destination,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn pull(&self) -> Result<Pulled, Error> {
        let wanted = self.wanted(Destination::Folder(self.out()));
        fetch(&plan(&self.settings, &wanted)?)
    }

    fn weights(&self) -> PathBuf {
        self.out().join("model.safetensors")
    }

    fn requests(&self, part: &str) -> Vec<String> {
        let asked = self.server.asked();
        let asked = asked.iter().filter(|asked| asked.path.contains(part));
        let shown = |a: &server::Asked| {
            let range = a.range.as_deref().unwrap_or("all");
            format!("{} {} {range}", a.who, a.method)
        };
        asked.map(shown).collect()
    }
}

/// All files below a folder, hidden ones too.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_model_comes_into_a_folder_once_and_nothing_else_is_left_there() {
    let case = Case::new();
    let pulled = case.pull().unwrap();
    assert_eq!(pulled.folder, case.out());
    let names = [
        "additional_chat_templates/tools.jinja",
        "config.json",
        "empty.json",
        "model.safetensors",
    ];
    assert!(
        tree(&case.out()).keys().eq(names),
        "{:?}",
        tree(&case.out()).keys()
    );
    assert_eq!(fs::read(case.weights()).unwrap(), noise(WEIGHTS));
    assert_eq!(pulled.received, WEIGHTS as u64 + 23 + 7);

    // What is there with the right sum is not asked for again; what was changed is.
    case.server.forget();
    assert_eq!(case.pull().unwrap().received, 0);
    assert_eq!(case.requests("resolve").len(), 0);
    let mut changed = noise(WEIGHTS);
    changed[WEIGHTS / 2] ^= 1;
    fs::write(case.weights(), changed).unwrap();
    assert_eq!(case.pull().unwrap().received, WEIGHTS as u64);
    assert_eq!(fs::read(case.weights()).unwrap(), noise(WEIGHTS));
}

#[cfg(unix)]
#[test]
fn the_cache_is_laid_out_as_pythons() {
    let case = Case::new();
    let pulled = fetch(&plan(&case.settings, &case.wanted(Destination::Cache)).unwrap()).unwrap();
    let home = case.settings.cache.join("models--me--tiny");
    let commit = fs::read_to_string(home.join("refs/main")).unwrap();
    assert_eq!(pulled.folder, home.join("snapshots").join(&commit));
    let link = fs::read_link(pulled.folder.join("config.json")).unwrap();
    // printf '{"model_type": "llava"}' | git hash-object --stdin
    let sum = "2f7be195b1541a197e15e525f8d23f65278f03c0";
    assert_eq!(link, Path::new("../../blobs").join(sum));
    let deep = pulled.folder.join("additional_chat_templates/tools.jinja");
    assert!(fs::read_link(&deep).unwrap().starts_with("../../../blobs"));
    assert_eq!(fs::read(&deep).unwrap(), b"{{ x }}");
    let weights = fs::canonicalize(pulled.folder.join("model.safetensors")).unwrap();
    assert_eq!(fs::read(&weights).unwrap(), noise(WEIGHTS));
    let sha256 = sample::file_sha256(&weights).unwrap();
    assert_eq!(
        weights,
        home.canonicalize().unwrap().join("blobs").join(sha256)
    );
    let blobs = tree(&home.join("blobs"));
    assert!(
        blobs.keys().all(|name| !name.contains('.')),
        "{:?}",
        blobs.keys()
    );

    // A new commit fetches what changed and links what did not.
    write(
        &case.folder.path().join("hub/me/tiny"),
        "config.json",
        b"{}",
    );
    case.server.forget();
    let again = fetch(&plan(&case.settings, &case.wanted(Destination::Cache)).unwrap()).unwrap();
    assert_eq!(again.received, 2);
    assert_ne!(again.folder, pulled.folder);
    assert_eq!(fs::read(again.folder.join("config.json")).unwrap(), b"{}");
    assert_eq!(
        fs::read(again.folder.join("model.safetensors")).unwrap(),
        noise(WEIGHTS)
    );
}

#[test]
fn the_token_goes_to_the_endpoint_and_never_to_the_store() {
    let case = Case::new();
    case.server.require_token("hf_secret");
    case.pull().unwrap();
    let asked = case.server.asked();
    assert!(asked.iter().any(|asked| asked.who == "store"));
    for asked in asked {
        let told = asked.authorization.as_deref() == Some("Bearer hf_secret");
        assert_eq!(told, asked.who == "hub", "{asked:?}");
        assert!(told || asked.authorization.is_none(), "{asked:?}");
    }
}

#[test]
fn faults_that_pass_are_outlived() {
    let middle = WEIGHTS as u64 / 2;
    let file = "tiny/model.safetensors";
    let cases: Vec<(&str, &str, Fault, usize)> = vec![
        ("a burst of 500", file, Fault::Status(500, ""), 3),
        (
            "429 with a wait",
            file,
            Fault::Status(429, "Retry-After: 0"),
            2,
        ),
        ("503 of the listing", "/api/", Fault::Status(503, ""), 2),
        ("a listing cut short", "/api/", Fault::Cut(100), 2),
        ("a cut body", "signature", Fault::Cut(middle), 1),
        ("many cuts", "signature", Fault::Cut(400_000), 7),
        (
            "a body that stops coming",
            "signature",
            Fault::Stall(middle),
            1,
        ),
        (
            "an expired signature",
            "signature",
            Fault::Status(403, ""),
            1,
        ),
        ("more than was announced", "signature", Fault::TooLong, 1),
        ("a wrong byte", "signature", Fault::Corrupt, 1),
    ];
    for (name, part, fault, times) in cases {
        let mut case = Case::new();
        if let Fault::Stall(_) = fault {
            case.settings.patience.silence = Duration::from_millis(300);
        }
        case.server.fault(part, fault, times);
        let pulled = case.pull().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(pulled.files, 4, "{name}");
        assert_eq!(fs::read(case.weights()).unwrap(), noise(WEIGHTS), "{name}");
        assert_eq!(tree(&case.out()).len(), 4, "{name}");
    }
}

#[test]
fn what_was_received_is_not_received_again() {
    let case = Case::new();
    let part = "me/tiny/model.safetensors?";
    case.server.fault(part, Fault::Cut(1_000_000), 2);
    assert_eq!(case.pull().unwrap().received, WEIGHTS as u64 + 23 + 7);
    assert_eq!(
        case.requests(part),
        [
            "store GET all",
            "store GET bytes=1000000-",
            "store GET bytes=2000000-",
        ]
    );
}

#[test]
fn a_server_that_ignores_or_mistakes_the_range_spoils_nothing() {
    for fault in [
        Fault::IgnoreRange,
        Fault::WrongRange,
        Fault::Status(416, ""),
    ] {
        let case = Case::new();
        let part = "me/tiny/model.safetensors?";
        case.server.fault(part, Fault::Cut(1_000_000), 1);
        case.server.fault(part, fault.clone(), 1);
        let received = case.pull().unwrap().received;
        assert_eq!(
            fs::read(case.weights()).unwrap(),
            noise(WEIGHTS),
            "{fault:?}"
        );
        if let Fault::IgnoreRange = fault {
            // The answer is the whole file, and is taken as that.
            assert_eq!(received, 1_000_000 + WEIGHTS as u64 + 23 + 7);
        }
    }
}

#[test]
fn a_file_that_is_wrong_twice_is_not_kept() {
    let case = Case::new();
    case.server.fault("signature", Fault::Corrupt, 2);
    let error = case.pull().unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert!(
        error.to_string().starts_with("model.safetensors: "),
        "{error}"
    );
    let left = tree(&case.out());
    assert!(
        !left
            .keys()
            .any(|name| name.contains("safetensors") || name.contains("incomplete"))
    );
    // What was right before it stays.
    assert!(left.contains_key("config.json"));
}

#[test]
fn a_server_that_stays_broken_is_given_up_with_what_came_kept() {
    let case = Case::new();
    case.server.fault("signature", Fault::Cut(1_000_000), 1);
    case.server.fault("signature", Fault::Status(500, ""), 100);
    let error = case.pull().unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("gave up after 4 tries") && said.contains("same command"),
        "{said}"
    );
    assert!(
        !said.contains("secret"),
        "neither token nor signature is shown: {said}"
    );
    let wanted = case.wanted(Destination::Folder(case.out()));
    let plan = plan(&case.settings, &wanted).unwrap();
    assert_eq!(plan.missing(), WEIGHTS as u64 - 1_000_000);
    let text = plan.text();
    assert!(
        text.contains("3.0 MB  model.safetensors  1.0 MB are here"),
        "{text}"
    );
    assert!(
        text.contains("4 files, 3.0 MB, of which 2.0 MB to fetch"),
        "{text}"
    );
    assert!(text.contains("left out, 1.0 kB: odd names/"), "{text}");
}

#[test]
fn refusals_say_what_to_do() {
    let gated = "X-Error-Code: GatedRepo|X-Error-Message: Access is restricted.";
    let cases: &[(u16, &'static str, bool, &str)] = &[
        (403, gated, false, "accept the licence, then set HF_TOKEN"),
        (403, gated, true, "the account of this token has no access"),
        (401, "", false, "set HF_TOKEN"),
        (401, "", true, "the token was refused"),
        (404, "X-Error-Code: RepoNotFound", false, "check the name"),
        (
            404,
            "X-Error-Code: RevisionNotFound",
            false,
            "has no revision \"main\"",
        ),
        (403, "X-Error-Message: not\there", false, "may not be read"),
        (404, "", false, "check the name"),
        (418, "", false, "no answer of a hub"),
    ];
    for (status, headers, token, advice) in cases {
        let mut case = Case::new();
        case.settings.token = Token::new("hf_secret").filter(|_| *token);
        case.server
            .fault("/api/", Fault::Status(*status, headers), 1);
        let error = case.pull().unwrap_err();
        assert!(
            matches!(error, Error::Refused(_)),
            "{status} {headers}: {error:?}"
        );
        let said = error.to_string();
        assert!(said.contains(advice) && said.contains("me/tiny"), "{said}");
        assert!(!said.contains("hf_secret"), "{said}");
        assert_eq!(
            case.server.asked().len(),
            1,
            "a refusal is not asked for again"
        );
    }
    let case = Case::new();
    let mut wanted = case.wanted(Destination::Cache);
    wanted.repository = Repository::new(RepoKind::Model, "me/other", "main").unwrap();
    let error = plan(&case.settings, &wanted).err().unwrap().to_string();
    assert!(error.contains("no public model me/other"), "{error}");
}

#[test]
fn a_file_that_is_listed_and_not_there_is_named() {
    let case = Case::new();
    case.server.list_also("vanished.json");
    let error = case.pull().unwrap_err().to_string();
    assert!(error.contains("no file vanished.json"), "{error}");
}

#[test]
fn evil_names_are_refused_before_anything_is_written() {
    for name in [
        "../evil.json",
        "/tmp/evil.json",
        "a/../../evil.json",
        "..\\evil.json",
    ] {
        let case = Case::new();
        case.server.list_also(name);
        let mut wanted = case.wanted(Destination::Folder(case.out()));
        wanted.include = vec!["*".into()];
        let error = plan(&case.settings, &wanted).err().unwrap().to_string();
        assert!(error.contains(&format!("{name:?}")), "{error}");
        assert!(!case.out().exists() && !case.settings.cache.exists());
        // The others can be had.
        wanted.exclude = vec!["*evil*".into()];
        fetch(&plan(&case.settings, &wanted).unwrap()).unwrap();
        assert_eq!(
            fs::read(case.out().join("odd names/a b%20#?.txt")).unwrap(),
            b"odd"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_of_the_folder_is_not_written_through() {
    let case = Case::new();
    let outside = case.folder.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(case.out()).unwrap();
    std::os::unix::fs::symlink(&outside, case.out().join("additional_chat_templates")).unwrap();
    assert!(
        case.pull()
            .unwrap_err()
            .to_string()
            .contains("leaves the folder")
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_mirror_that_lists_only_names_is_asked_for_sums() {
    let case = Case::new();
    case.server.list_nothing_but_names();
    assert_eq!(case.pull().unwrap().files, 4);
    assert_eq!(fs::read(case.weights()).unwrap(), noise(WEIGHTS));
    assert_eq!(
        case.requests("me/tiny/model.safetensors?"),
        ["store GET all"]
    );
    assert_eq!(
        case.requests("resolve")
            .iter()
            .filter(|a| a.contains("HEAD"))
            .count(),
        4
    );
}

#[test]
fn answers_that_are_no_hubs_are_refused() {
    let elsewhere = |to: &str| Fault::Redirect(to.to_owned());
    let cases = [
        (Fault::Body("<html>".into()), "Is HF_ENDPOINT right?"),
        (elsewhere("ftp://example.com/x"), "which is not https"),
        (elsewhere("file:///etc/passwd"), "which is not https"),
        (elsewhere("http://"), "redirects to no address"),
    ];
    for (fault, why) in cases {
        let case = Case::new();
        case.server.fault("/api/", fault, 1);
        let error = case.pull().unwrap_err();
        assert!(matches!(error, Error::Answer(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let case = Case::new();
    case.server.fault(
        "/api/",
        elsewhere(&format!("{}/api/", case.server.endpoint)),
        100,
    );
    let error = case.pull().unwrap_err().to_string();
    assert!(error.contains("redirects on and on"), "{error}");
}

#[test]
fn sizes_that_no_disk_holds_are_refused_before_anything_is_asked_for() {
    for (sizes, why) in [
        (&[1_u64 << 60][..], "1152.9 PB are needed"),
        (&[u64::MAX, 1][..], "longer together than any disk"),
    ] {
        let case = Case::new();
        let named = sizes.iter().enumerate();
        let siblings: Vec<String> = named
            .map(|(at, size)| {
                let sum = "0".repeat(40);
                format!(r#"{{"rfilename":"{at}.json","size":{size},"blobId":"{sum}"}}"#)
            })
            .collect();
        let (commit, siblings) = ("1".repeat(40), siblings.join(","));
        let listing = format!(r#"{{"sha":"{commit}","siblings":[{siblings}]}}"#);
        case.server.fault("/api/", Fault::Body(listing), 1);
        let error = case.pull().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(case.server.asked().len(), 1);
        assert!(!case.out().exists());
    }
}

#[test]
fn a_renamed_repository_is_followed_with_the_token() {
    let case = Case::new();
    case.server.require_token("hf_secret");
    let new = "/api/models/me/tiny/revision/main?blobs=true";
    case.server
        .fault("/api/models/me/old", Fault::Redirect(new.into()), 1);
    let mut wanted = case.wanted(Destination::Cache);
    wanted.repository = Repository::new(RepoKind::Model, "me/old", "main").unwrap();
    let plan = plan(&case.settings, &wanted).unwrap();
    assert_eq!(plan.entries.len(), 4);
}

#[test]
fn a_data_set_and_a_commit_are_named_as_such() {
    let case = Case::new();
    let mut wanted = case.wanted(Destination::Cache);
    wanted.repository = Repository::new(RepoKind::Dataset, "me/rows", "main").unwrap();
    let pulled = fetch(&plan(&case.settings, &wanted).unwrap()).unwrap();
    assert_eq!(
        fs::read(pulled.folder.join("data/train.parquet")).unwrap(),
        noise(5000)
    );
    assert!(
        pulled
            .folder
            .starts_with(case.settings.cache.join("datasets--me--rows"))
    );
    let commit = pulled.folder.file_name().unwrap().to_str().unwrap();
    wanted.repository = Repository::new(RepoKind::Dataset, "me/rows", commit).unwrap();
    let again = fetch(&plan(&case.settings, &wanted).unwrap()).unwrap();
    assert_eq!((again.received, &again.folder), (0, &pulled.folder));
}

#[test]
fn endpoints_that_are_no_servers_are_refused() {
    let mut case = Case::new();
    for endpoint in [
        "",
        "huggingface.co",
        "ftp://a.b",
        "https://me:word@a.b",
        "https://a.b/?c",
    ] {
        endpoint.clone_into(&mut case.settings.endpoint);
        let error = case.pull().unwrap_err();
        assert!(matches!(error, Error::Asked(_)), "{endpoint}: {error:?}");
        assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
    }
}

#[test]
fn nothing_chosen_shows_what_there_is() {
    let case = Case::new();
    let mut wanted = case.wanted(Destination::Cache);
    wanted.include = vec!["*.gguf".into()];
    case.server.list_also("\u{1b}[2Jx");
    let error = plan(&case.settings, &wanted).err().unwrap().to_string();
    assert!(
        error.contains("config.json") && error.contains("--include '*'"),
        "{error}"
    );
}

#[test]
fn two_at_once_fetch_each_byte_once() {
    let case = Case::new();
    let slow = Fault::Slow(100_000, Duration::from_millis(5));
    case.server.fault("signature", slow, 1);
    let plans: Vec<Plan> = (0..2)
        .map(|_| plan(&case.settings, &case.wanted(Destination::Cache)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let both: Vec<_> = plans
            .iter()
            .map(|plan| scope.spawn(move || fetch(plan)))
            .collect();
        for one in both {
            let folder = one.join().unwrap().unwrap().folder;
            assert_eq!(
                fs::read(folder.join("model.safetensors")).unwrap(),
                noise(WEIGHTS)
            );
        }
    });
    assert_eq!(case.requests("me/tiny/model.safetensors?").len(), 1);
}

const ENDPOINT: &str = "MATH_LLAVA_PULL_TEST_ENDPOINT";
const OUT: &str = "MATH_LLAVA_PULL_TEST_OUT";
const STOP: &str = "MATH_LLAVA_PULL_TEST_STOP";

/// What the killed process does; a test of its own only where it was started for that.
#[test]
fn a_pull_that_the_other_test_kills() {
    let (Some(endpoint), Some(out)) = (std::env::var_os(ENDPOINT), std::env::var_os(OUT)) else {
        return;
    };
    let settings = Settings {
        endpoint: endpoint.into_string().unwrap(),
        token: None,
        cache: PathBuf::from(&out).join("cache"),
        patience: Patience::default(),
    };
    let wanted = Wanted {
        repository: Repository::new(RepoKind::Model, "me/tiny", "main").unwrap(),
        destination: Destination::Folder(out.into()),
        include: Vec::new(),
        exclude: Vec::new(),
    };
    let plan = plan(&settings, &wanted).unwrap();
    if std::env::var_os(STOP).is_none() {
        fetch(&plan).unwrap();
        return;
    }
    // As the signal's handler does.
    let out = PathBuf::from(std::env::var_os(OUT).unwrap());
    std::thread::spawn(move || {
        half_way(&out);
        sample::interrupt::request();
    });
    let stopped = fetch(&plan);
    assert!(
        matches!(stopped, Err(Error::Sample(sample::Error::Interrupted))),
        "{stopped:?}"
    );
}

/// Bytes of the file that is not finished below `out`.
fn unfinished(out: &Path) -> u64 {
    let found = fs::read_dir(out.join(".math-llava-pull"));
    let files = found.into_iter().flatten().flatten();
    let partial = files.filter(|f| f.file_name().to_string_lossy().ends_with(".incomplete"));
    partial
        .map(|f| f.metadata().map_or(0, |data| data.len()))
        .sum()
}

/// Waits until a good part of the weights is there.
fn half_way(out: &Path) {
    let patience = Instant::now();
    while unfinished(out) < 500_000 && patience.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a pull in a process of its own, from a server that takes its time.
fn child(case: &Case, stops: bool) -> Child {
    let slow = Fault::Slow(50_000, Duration::from_millis(20));
    case.server.fault("signature", slow, 1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_pull_that_the_other_test_kills"])
        .env(ENDPOINT, &case.server.endpoint)
        .env(OUT, case.out())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if stops {
        command.env(STOP, "1");
    }
    command.spawn().unwrap()
}

/// The same command again fetches what is missing, and no more.
fn goes_on(case: &Case) {
    let there = unfinished(&case.out());
    assert!(
        (500_000..WEIGHTS as u64).contains(&there),
        "{there} bytes when it ended"
    );
    let wanted = case.wanted(Destination::Folder(case.out()));
    let again = plan(&case.settings, &wanted).unwrap();
    let weights = again
        .entries
        .iter()
        .find(|e| e.file.path == "model.safetensors");
    assert_eq!(weights.unwrap().presence, Presence::Partial(there));
    case.server.forget();
    assert_eq!(fetch(&again).unwrap().received, WEIGHTS as u64 - there);
    assert_eq!(
        case.requests("me/tiny/model.safetensors?"),
        [format!("store GET bytes={there}-")]
    );
    assert_eq!(fs::read(case.weights()).unwrap(), noise(WEIGHTS));
    assert_eq!(tree(&case.out()).len(), 4);
}

#[test]
fn a_killed_pull_goes_on_from_its_last_byte() {
    let case = Case::new();
    let mut child = child(&case, false);
    half_way(&case.out());
    child.kill().unwrap();
    child.wait().unwrap();
    goes_on(&case);
}

#[test]
fn a_pull_that_is_asked_to_stop_keeps_what_it_has() {
    let case = Case::new();
    assert!(child(&case, true).wait().unwrap().success());
    goes_on(&case);
}
