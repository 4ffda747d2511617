//! Several workers and their ledgers against one: the same files, and no request twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use chat::{ChatModel, Request};
use sample::Manifest;

use super::*;
use crate::config::{Balance, VerifyConfig};
use crate::tests::{Scripted, config, files, good, selection, unverified};
use crate::{SynthConfig, synthesise};

/// Votes too, so that there are rounds.
fn voting() -> SynthConfig {
    SynthConfig {
        balance: Balance::Trim,
        verify: VerifyConfig {
            answers: 3,
            inherited_answers: 1,
            ..unverified()
        },
        ..config()
    }
}

/// Makes pairs, and votes for most of them, at times only in the third round.
fn script(request: &Request) -> Result<String, chat::Error> {
    if request.tag.kind != "verify" {
        return good(request);
    }
    let number = u8::from_str_radix(&sample::sha256_hex(request.id.as_bytes())[..2], 16);
    let vote = if number.is_ok_and(|n| n < 60) { 4 } else { 3 };
    Ok(format!("Let me see.\nThe answer is [{vote}]."))
}

struct World {
    dir: tempfile::TempDir,
    select: PathBuf,
    config: SynthConfig,
}

impl World {
    fn new(images: usize) -> World {
        let dir = tempfile::tempdir().unwrap();
        World {
            select: selection(dir.path(), images),
            config: voting(),
            dir,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            select: &self.select,
            inspect: None,
        }
    }

    fn whole(
        &self,
        teacher: &dyn ChatModel,
        ledger: &Ledger,
        out: &Path,
    ) -> Result<Manifest, Error> {
        let roles = roles(teacher);
        synthesise(&self.config, 7, self.inputs(), roles, ledger, out, false)
    }

    fn part(&self, teacher: &dyn ChatModel, ledger: &Path, which: Shard) -> Result<usize, Error> {
        let ledger = Ledger::open(ledger).unwrap();
        let roles = roles(teacher);
        synthesise_shard(&self.config, 7, self.inputs(), roles, &ledger, which)
    }

    fn standing(&self, ledgers: &[(Shard, PathBuf)]) -> Result<Standing, Error> {
        let teacher = Scripted::new(script);
        standing(&self.config, 7, self.inputs(), roles(&teacher), ledgers)
    }

    fn ledger(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn roles(teacher: &dyn ChatModel) -> Roles<'_> {
    Roles {
        teacher: Some(teacher),
        ..Roles::default()
    }
}

fn shards(of: usize) -> impl Iterator<Item = Shard> {
    Shard::new(1, of).unwrap().all()
}

/// Fails whatever it is asked.
fn nobody(_: &Request) -> Result<String, chat::Error> {
    Err(chat::Error::Failed {
        model: "scripted".into(),
        detail: "asked again".into(),
    })
}

fn once(mut ids: Vec<String>, all: &[String]) {
    let mut all = all.to_vec();
    ids.sort();
    all.sort();
    assert!(ids == all, "{} requests against {}", ids.len(), all.len());
}

#[test]
fn any_number_of_workers_asks_what_one_asks_and_their_ledgers_make_the_same_files() {
    let world = World::new(23);
    let (alone, one) = (world.dir.path().join("alone"), Scripted::new(script));
    let manifest = world
        .whole(&one, &Ledger::in_memory().unwrap(), &alone)
        .unwrap();
    let yields = &manifest.results["yields"]["askimg"];
    assert!(
        yields["rejected"]["not_agreed"].as_u64() > Some(0),
        "{yields}"
    );
    assert!(yields["rejected"]["trimmed"].as_u64() > Some(0), "{yields}");
    let rounds: BTreeMap<&str, usize> = [("?1", 0), ("?2", 0)]
        .into_iter()
        .map(|(end, _)| (end, one.ids().iter().filter(|id| id.ends_with(end)).count()))
        .collect();
    assert!(
        rounds["?2"] > 0 && rounds["?2"] < rounds["?1"],
        "{rounds:?}"
    );

    for of in [1, 2, 3, 5, 30] {
        let (mut asked, mut images) = (Vec::new(), 0);
        let run = Ledger::open(&world.ledger(&format!("run-{of}.sqlite"))).unwrap();
        for which in shards(of) {
            let own = which.file(&world.ledger("ledger.sqlite"));
            let teacher = Scripted::new(script);
            images += world.part(&teacher, &own, which).unwrap();
            asked.extend(teacher.ids());
            run.merge(&own).unwrap();
        }
        assert_eq!(images, 23);
        once(asked, &one.ids());
        let out = world.dir.path().join(format!("out-{of}"));
        world.whole(&Scripted::new(nobody), &run, &out).unwrap();
        assert!(files(&out) == files(&alone), "{of} workers");
        for which in shards(of) {
            let own = which.file(&world.ledger("ledger.sqlite"));
            std::fs::remove_file(own).unwrap();
        }
    }
}

#[test]
fn a_killed_worker_goes_on_and_the_last_pass_asks_what_nobody_did() {
    let world = World::new(80);
    let (alone, one) = (world.dir.path().join("alone"), Scripted::new(script));
    world
        .whole(&one, &Ledger::in_memory().unwrap(), &alone)
        .unwrap();
    let ledgers: Vec<(Shard, PathBuf)> = shards(3)
        .map(|which| (which, which.file(&world.ledger("ledger.sqlite"))))
        .collect();
    let mut asked = Vec::new();
    // The first dies while it makes pairs, and goes on; the second dies in its votes, and stays so.
    for (at, lives) in [(0, 60), (0, usize::MAX), (1, 150)] {
        let left = AtomicUsize::new(lives);
        let teacher = Scripted::new(|request: &Request| {
            match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
                Ok(_) => script(request),
                Err(_) => nobody(request),
            }
        });
        let done = world.part(&teacher, &ledgers[at].1, ledgers[at].0);
        assert_eq!(done.is_ok(), lives == usize::MAX);
        asked.extend(teacher.ids().into_iter().take(lives));
    }
    let found = world.standing(&ledgers[..2]).unwrap();
    let expected = Standing {
        done: vec![ledgers[0].0],
        unfinished: vec![ledgers[1].0],
        missing: vec![ledgers[2].0],
    };
    assert_eq!(found, expected);
    let run = Ledger::open(&world.ledger("run.sqlite")).unwrap();
    for (_, ledger) in &ledgers[..2] {
        run.merge(ledger).unwrap();
    }
    let (out, last) = (world.dir.path().join("out"), Scripted::new(script));
    world.whole(&last, &run, &out).unwrap();
    asked.extend(last.ids());
    once(asked, &one.ids());
    assert!(files(&out) == files(&alone));
}

#[test]
fn workers_look_at_what_the_run_paid_for_before() {
    let world = World::new(9);
    let run = world.ledger("ledger.sqlite");
    let teacher = Scripted::new(script);
    let out = world.dir.path().join("out");
    world
        .whole(&teacher, &Ledger::open(&run).unwrap(), &out)
        .unwrap();
    for which in shards(2) {
        let own = Ledger::open(&which.file(&run))
            .unwrap()
            .beside_known(&run)
            .unwrap();
        let teacher = Scripted::new(nobody);
        let roles = roles(&teacher);
        synthesise_shard(&world.config, 7, world.inputs(), roles, &own, which).unwrap();
        assert!(teacher.ids().is_empty());
    }
}

#[test]
fn each_image_is_one_workers() {
    let world = World::new(40);
    for of in [1, 2, 3, 7] {
        let mut places = BTreeSet::new();
        let mut sizes = Vec::new();
        for which in shards(of) {
            let whole = Synthesis::read(&world.config, 7, world.inputs()).unwrap();
            let part = whole.of_shard(which);
            assert_eq!(part.images(), (part.places.len(), 40));
            sizes.push(part.places.len());
            places.extend(part.places);
        }
        assert_eq!((places.len(), sizes.iter().sum::<usize>()), (40, 40));
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn a_ledger_of_another_synthesis_is_named_before_anything_is_asked() {
    let mut world = World::new(4);
    let which = Shard::new(1, 2).unwrap();
    let own = which.file(&world.ledger("ledger.sqlite"));
    world.part(&Scripted::new(script), &own, which).unwrap();
    let ledgers = [(which, own.clone())];
    assert_eq!(world.standing(&ledgers).unwrap().done, [which]);
    assert_eq!(world.standing(&[]).unwrap(), Standing::default());
    world.config.temperature += 0.5;
    let said = world.standing(&ledgers).unwrap_err().to_string();
    for word in ["shard-1-of-2", "temperature", "ledger merge"] {
        assert!(said.contains(word), "{said}");
    }
    // Ledgers of workers that did something else say nothing about it; broken ones do.
    let other = Shard::new(2, 2).unwrap();
    let plain = other.file(&world.ledger("ledger.sqlite"));
    drop(Ledger::open(&plain).unwrap());
    assert_eq!(
        world.standing(&[(other, plain.clone())]).unwrap(),
        Standing::default()
    );
    Ledger::open(&plain).unwrap().note(NOTE, "{}").unwrap();
    let said = world.standing(&[(other, plain)]).unwrap_err().to_string();
    assert!(said.contains("for which synthesis"), "{said}");
}
