//! Ranks that are killed, stopped, late or gone: all others must say which, and end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and ranks speak by printing"
)]

mod processes;

use std::time::Duration;

use c10d::{Error, Group, Op};
use processes::{Ended, ROLE, end_all, join, report, signal_self, start_all};
use tch::{Device, Kind, Tensor};

/// Whom something happens to.
const WHO: &str = "C10D_TEST_WHO";

/// Where this process is a rank, its part.
#[test]
fn as_a_rank() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let group = join().unwrap();
    let named = std::env::var(WHO).ok().and_then(|who| who.parse().ok());
    let chosen = named == Some(group.rank());
    sums(&group, 5, 1000).unwrap();
    println!("ready");
    let result = match role.as_str() {
        // In the middle of a stream of sums that are large enough to be under way for long.
        "killed in" => {
            if chosen {
                std::thread::spawn(|| {
                    std::thread::sleep(Duration::from_millis(300));
                    signal_self("KILL");
                });
            }
            sums(&group, u64::MAX, 4_000_000)
        }
        "killed between" => {
            if chosen {
                signal_self("KILL");
            }
            sums(&group, 5, 1000)
        }
        // The whole process, its signs of life too.
        "stopped" => {
            if chosen {
                signal_self("STOP");
            }
            sums(&group, 5, 1000)
        }
        // Only the thread that should come.
        "late" => {
            if chosen {
                std::thread::sleep(Duration::from_secs(24));
                println!("slept");
            }
            sums(&group, 5, 1000)
        }
        "leaves" if chosen => Ok(()),
        "leaves" => sums(&group, 5, 1000),
        other => panic!("unknown role {other}"),
    };
    report("result:", result);
    if !chosen {
        report("afterwards:", group.barrier());
    }
}

fn sums(group: &Group, times: u64, length: i64) -> Result<(), Error> {
    let tensor = Tensor::ones([length], (Kind::Float, Device::Cpu));
    for _ in 0..times {
        group.all_reduce(&tensor, Op::Max)?;
    }
    Ok(())
}

/// Four ranks, to `who` of which something happens; how the others ended.
fn others(role: &str, who: usize, timeout: u64) -> Vec<(usize, Ended)> {
    let who_text = who.to_string();
    let mut ranks = start_all(role, 4, timeout, &[(WHO, &who_text)]);
    let chosen = ranks.remove(who);
    let numbers = (0..4).filter(|rank| *rank != who);
    let ended = numbers.zip(end_all(ranks)).collect();
    // A stopped process ends by this.
    drop(chosen);
    ended
}

#[test]
fn a_killed_rank_is_named_by_all_others_whether_between_sums_or_in_one() {
    for role in ["killed between", "killed in"] {
        // Rank 0 hosts the store; the others have other neighbours in the ring.
        std::thread::scope(|scope| {
            for who in 0..4 {
                scope.spawn(move || killed(role, who));
            }
        });
    }
}

fn killed(role: &str, who: usize) {
    for (rank, ended) in others(role, who, 600) {
        let said = ended.said("result:");
        let what = format!("{role}, rank {who}, seen from {rank}: {said}");
        assert!(said.contains(&format!("rank {who} (")), "{what}");
        assert!(said.contains("is lost"), "{what}");
        assert!(said.contains("last checkpoint"), "{what}");
        // The test harness's own exit: libtorch's threads, still waiting, must not break it.
        assert!(ended.success, "{what}: {}", ended.output);
        assert!(ended.said("afterwards:").contains("has ended"), "{what}");
    }
}

#[test]
fn a_stopped_rank_is_named_as_silent() {
    for (rank, ended) in others("stopped", 2, 8) {
        let said = ended.said("result:");
        assert!(
            said.contains("rank 2 (") && said.contains("no sign of life"),
            "seen from {rank}: {said}"
        );
        assert!(ended.success, "{}", ended.output);
    }
}

#[test]
fn a_rank_that_lives_but_does_not_come_is_named_with_where_it_is() {
    for (rank, ended) in others("late", 1, 6) {
        let said = ended.said("result:");
        assert!(
            said.contains("rank 1 (")
                && said.contains("is alive but did not come to the 6th collective"),
            "seen from {rank}: {said}"
        );
        assert!(
            said.contains("rank 1 is at the 5th"),
            "seen from {rank}: {said}"
        );
        assert!(ended.success, "{}", ended.output);
    }
}

#[test]
fn a_rank_that_leaves_in_order_is_told_from_one_that_is_lost() {
    for who in [0, 2] {
        for (rank, ended) in others("leaves", who, 600) {
            let said = ended.said("result:");
            let right = format!("rank {who} (");
            assert!(
                said.contains(&right) && said.contains("has left"),
                "seen from {rank}: {said}"
            );
            assert!(!said.contains("lost"), "seen from {rank}: {said}");
            assert!(ended.success, "{}", ended.output);
        }
    }
}
