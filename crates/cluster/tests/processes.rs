//! A scheduler and two executors on loopback, as processes: what they do, and what happens when one of them
//! dies in the middle. The processes are this test program, started again in another role.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ConnectOptions, Error, ExecutorOptions, Functions, SchedulerOptions};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use sample::workers::{Function, Workers};
use select::session::Remote;

const ROLE: &str = "MATH_LLAVA_TEST_ROLE";
/// The test that is not one, but what the other processes run.
const OTHER: &str = "what_the_other_processes_run";

/// Turns an item around, after some time; says no when told to.
struct Turn {
    version: u32,
}

impl Function for Turn {
    fn name(&self) -> &'static str {
        "turn"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let millis = match arguments {
            "no" => return Err("it was told to say no".into()),
            "large" => return Ok(items.iter().map(|_| large()).collect()),
            other => other.parse().map_err(|e| format!("{other:?}: {e}"))?,
        };
        let turned = items.iter().map(|item| {
            std::thread::sleep(Duration::from_millis(millis));
            item.bytes().rev().collect()
        });
        Ok(turned.collect())
    }
}

/// Bytes that do not compress, and do not fit where the disk is full.
fn large() -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..100_000).map(|_| next()).collect()
}

fn functions(version: &str, number: u32) -> Functions {
    Functions::new(version, vec![Arc::new(Turn { version: number })])
}

/// A scheduler or an executor; it goes with the value.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(role: &str) -> Process {
        Process::try_start(role).unwrap_or_else(|said| panic!("{role}: {said}"))
    }

    /// The process, once it listens; or what it said instead.
    fn try_start(role: &str) -> Result<Process, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", OTHER, "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next().map(Result::unwrap).unwrap_or_default();
            if let Some((_, address)) = line.split_once("LISTENS ") {
                let address = address.to_owned();
                std::thread::spawn(move || lines.count());
                return Ok(Process { child, address });
            }
            if let Some((_, error)) = line.split_once("FAILED ") {
                child.wait().unwrap();
                return Err(error.to_owned());
            }
            assert!(
                !(line.is_empty() && child.try_wait().unwrap().is_some()),
                "{role} ended"
            );
        }
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

#[test]
fn what_the_other_processes_run() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.split(' ').collect();
    let listens = |address: std::net::SocketAddr| println!("LISTENS {address}");
    let outcome = match words.as_slice() {
        ["scheduler", version, port] => {
            let options = SchedulerOptions {
                port: port.parse().unwrap(),
                executor_timeout: 7,
                ..SchedulerOptions::new(functions(version, 1))
            };
            cluster::scheduler(&options, listens)
        }
        ["executor", version, number, scheduler, work_dir] => {
            let options = ExecutorOptions {
                port: 0,
                slots: 2,
                memory: 64 << 20,
                wait: Duration::from_secs(2),
                work_dir: Some(work_dir.into()),
                ..ExecutorOptions::new(scheduler, functions(version, number.parse().unwrap()))
            };
            cluster::executor(&options, listens)
        }
        // Is told to stop while it waits for what takes long.
        ["asker", address] => {
            let cluster = connect(address);
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                sample::interrupt::request();
            });
            // Each piece takes minutes: whatever comes back before comes from the stop.
            let stopped = call(&cluster, "1000", 4, 600, &mut |_| {}).unwrap_err();
            println!("LISTENS {stopped}");
            Ok(())
        }
        other => panic!("no role {other:?}"),
    };
    if let Err(error) = outcome {
        println!("FAILED {error}");
    }
}

/// One scheduler and two executors of version 1.
struct Three {
    scheduler: Process,
    executors: Vec<Process>,
    folder: tempfile::TempDir,
}

impl Three {
    fn start() -> Three {
        let folder = tempfile::tempdir().unwrap();
        let scheduler = Process::start("scheduler 1 0");
        let executors = (0..2)
            .map(|number| {
                let work = folder.path().join(format!("work{number}"));
                executor(&scheduler.address, &work)
            })
            .collect();
        Three {
            scheduler,
            executors,
            folder,
        }
    }
}

fn executor(scheduler: &str, work: &Path) -> Process {
    Process::start(&format!("executor 1 1 {scheduler} {}", work.display()))
}

fn options(address: &str) -> ConnectOptions {
    ConnectOptions {
        patience: Duration::from_secs(20),
        ..ConnectOptions::new(address, functions("1", 1))
    }
}

fn connect(address: &str) -> Cluster {
    Cluster::connect(&options(address)).unwrap()
}

/// Calls `turn` on pieces of numbered items; what came back, piece by piece.
fn call(
    cluster: &Cluster,
    arguments: &str,
    pieces: usize,
    items: usize,
    on_piece: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<Vec<u8>>>, sample::Error> {
    let mut results = vec![Vec::new(); pieces];
    cluster.call(
        "turn",
        arguments,
        pieces,
        &|piece| {
            Ok((0..items)
                .map(|item| format!("{piece}/{item}.png"))
                .collect())
        },
        &mut |piece, result| {
            results[piece] = result;
            on_piece(piece);
            Ok(())
        },
    )?;
    Ok(results)
}

/// What `turn` gives where it is called here.
fn expected(pieces: usize, items: usize) -> Vec<Vec<Vec<u8>>> {
    let turn = |piece: usize, item: usize| format!("{piece}/{item}.png").bytes().rev().collect();
    (0..pieces)
        .map(|piece| (0..items).map(|item| turn(piece, item)).collect())
        .collect()
}

#[test]
fn calls_and_plans_give_what_they_give_here_and_refusals_are_clear() {
    let three = Three::start();
    let at = three.scheduler.address.as_str();
    let cluster = connect(at);
    // Pieces in any order, items in theirs; a piece without items has no result.
    assert_eq!(
        call(&cluster, "0", 23, 7, &mut |_| {}).unwrap(),
        expected(23, 7)
    );
    assert_eq!(
        call(&cluster, "0", 2, 0, &mut |_| {}).unwrap(),
        expected(2, 0)
    );
    assert_eq!(
        call(&cluster, "0", 0, 1, &mut |_| {}).unwrap(),
        expected(0, 1)
    );
    assert_eq!(
        call(&cluster, "0", 1, 9_000, &mut |_| {}).unwrap(),
        expected(1, 9_000)
    );
    // What the function says is said, once and without wrapping.
    let no = call(&cluster, "no", 3, 2, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert_eq!(no, "math-llava function turn: it was told to say no");
    let unknown = cluster
        .call("spin", "", 1, &|_| Ok(Vec::new()), &mut |_, _| Ok(()))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("spin") && unknown.contains("turn"),
        "{unknown}"
    );
    // What who asks says ends it.
    let full = cluster.call("turn", "0", 9, &|_| Ok(vec!["a".into()]), &mut |_, _| {
        Err(sample::Error::Conflict("full".into()))
    });
    assert_eq!(full.unwrap_err().to_string(), "full");
    plans_give_what_they_give_here(&cluster, three.folder.path());

    // Another version of the toolkit, and of a function, on either side.
    for (asker, both) in [
        (functions("2", 1), ["math-llava 1", "math-llava 2"]),
        (functions("1", 2), ["version 1 of turn", "version 2"]),
    ] {
        let asked = ConnectOptions {
            functions: asker,
            ..options(at)
        };
        let error = Cluster::connect(&asked).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        let said = error.to_string();
        assert!(both.iter().all(|part| said.contains(part)), "{said}");
        assert!(
            said.ends_with("start the same version everywhere"),
            "{said}"
        );
    }
    let work = three.folder.path().join("other");
    for (version, number) in [("2", 1), ("1", 2)] {
        let role = format!("executor {version} {number} {at} {}", work.display());
        let said = Process::try_start(&role).map(|_| ()).unwrap_err();
        assert!(said.contains("same version everywhere"), "{said}");
    }
    // A port in use.
    let port = at.rsplit_once(':').unwrap().1;
    let said = Process::try_start(&format!("scheduler 1 {port}"))
        .map(|_| ())
        .unwrap_err();
    assert!(
        said.contains("cannot listen on") && said.contains(port),
        "{said}"
    );
}

fn plans_give_what_they_give_here(cluster: &Cluster, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let table = folder.join("numbers");
    let queries = [
        "select n, name, seeded_rank(7, 'x', name) as r from numbers where n % 3 = 0 order by n",
        "select n % 10 as d, count(*) as c, sum(n) as s from numbers group by n % 10 order by d",
        "select a.n, b.name from numbers a join numbers b on a.n = b.n * 2 order by a.n",
        "select n from numbers where 1 = 0",
    ];
    runtime.block_on(async {
        let here = SessionContext::new();
        select::functions::register(&here);
        here.sql(
            "select value as n, 'name' || value as name from generate_series(1, 5000) order by value",
        )
        .await
        .unwrap()
        .write_parquet(table.to_str().unwrap(), Default::default(), None)
        .await
        .unwrap();
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(SessionConfig::new().with_target_partitions(3))
            .build();
        let there = cluster.context(state).await.unwrap();
        let mut answers = Vec::new();
        for context in [&here, &there] {
            let path = table.to_str().unwrap();
            context
                .register_parquet("numbers", path, ParquetReadOptions::default())
                .await
                .unwrap();
            let mut shown = Vec::new();
            for query in queries {
                let batches = context.sql(query).await.unwrap().collect().await.unwrap();
                let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
                let text = datafusion::arrow::util::pretty::pretty_format_batches(&batches);
                shown.push((rows, text.unwrap().to_string().replace("++\n++", "")));
            }
            answers.push(shown);
        }
        assert_eq!(answers[0][0].0, 1666);
        for (here, there) in answers[0].iter().zip(&answers[1]) {
            assert_eq!(here.0, there.0);
            if here.0 > 0 {
                assert_eq!(here.1, there.1);
            }
        }
        // What is wrong with a plan on an executor is said.
        let wrong = there.sql("select turn('no', name) from numbers").await.unwrap();
        let said = wrong.collect().await.unwrap_err().to_string();
        assert!(said.contains("told to say no"), "{said}");
    });
}

#[test]
fn a_killed_executor_costs_its_pieces_and_a_killed_scheduler_a_clear_error() {
    let mut three = Three::start();
    let cluster = connect(&three.scheduler.address);
    let mut first = three.executors.remove(0);
    let mut done = 0;
    let results = call(&cluster, "25", 24, 10, &mut |_| {
        done += 1;
        if done == 4 {
            first.kill();
        }
    });
    assert_eq!(results.unwrap(), expected(24, 10));

    // The scheduler dies and nobody starts it again: an error, and no hang.
    let address = three.scheduler.address.clone();
    let mut finished = Vec::new();
    let error = call(&cluster, "25", 24, 10, &mut |piece| {
        finished.push(piece);
        if finished.len() == 3 {
            three.scheduler.kill();
        }
    });
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains(&address) && said.contains("repeat the command"),
        "{said}"
    );
    assert!(finished.len() >= 3);
    drop(cluster);
    let gone = Cluster::connect(&options(&address)).unwrap_err();
    assert!(matches!(gone, Error::Unreachable { .. }), "{gone}");

    // Started again, its executor finds it, and the same call goes through; one that comes back in the
    // middle of a call is not even noticed.
    let port = address.rsplit_once(':').unwrap().1.to_owned();
    three.scheduler = Process::start(&format!("scheduler 1 {port}"));
    let cluster = connect(&address);
    let mut done = 0;
    let results = call(&cluster, "25", 12, 10, &mut |_| {
        done += 1;
        if done == 3 {
            three.scheduler.kill();
            three.scheduler = Process::start(&format!("scheduler 1 {port}"));
        }
    });
    assert_eq!(results.unwrap(), expected(12, 10));
}

#[test]
fn a_stop_does_not_wait_for_what_is_at_work() {
    let three = Three::start();
    let asker = Process::start(&format!("asker {}", three.scheduler.address));
    let said = &asker.address;
    assert!(said.contains("interrupted"), "{said}");
}

#[test]
fn whoever_is_no_scheduler_is_named_within_seconds() {
    // Nobody.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    drop(free);
    // Somebody who hangs up.
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs_up = rude.local_addr().unwrap().to_string();
    std::thread::spawn(move || rude.incoming().for_each(drop));
    // Somebody who speaks something else.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let speaks_other = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in other.incoming().flatten() {
            use std::io::Write;
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
    });
    for address in [nobody, hangs_up, speaks_other] {
        let error = Cluster::connect(&options(&address)).unwrap_err();
        assert!(
            matches!(error, Error::Unreachable { .. }),
            "{address}: {error}"
        );
        assert!(error.to_string().contains(&address), "{error}");
    }
    let error = Cluster::connect(&options("no address")).unwrap_err();
    assert!(matches!(error, Error::Address(_)), "{error}");
    // A scheduler for whom nobody works.
    let scheduler = Process::start("scheduler 1 0");
    let lonely = ConnectOptions {
        patience: Duration::from_secs(1),
        ..options(&scheduler.address)
    };
    let error = Cluster::connect(&lonely).unwrap_err();
    assert!(matches!(error, Error::Idle { .. }), "{error}");
}

#[test]
fn a_full_disk_on_an_executor_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a small disk can be mounted by root alone");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(&small);
    let scheduler = Process::start("scheduler 1 0");
    let _executor = executor(&scheduler.address, &small);
    let cluster = connect(&scheduler.address);
    assert_eq!(
        call(&cluster, "0", 1, 2, &mut |_| {}).unwrap(),
        expected(1, 2)
    );
    let said = call(&cluster, "large", 1, 40, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(said.contains("No space left on device"), "{said}");
}
