//! Ranks that come, and what is said of those that do not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and ranks speak by printing"
)]

mod processes;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use c10d::{Group, Rendezvous};
use processes::{ROLE, end_all, free_port, join, report, start, start_all};

/// Where this process is a rank, its part.
#[test]
fn as_a_rank() {
    match std::env::var(ROLE).as_deref() {
        Ok("joins") => report("joined:", join().and_then(|group| group.barrier())),
        // Until the test ends it.
        Ok("stays") => {
            let _group = join().unwrap();
            println!("there");
            std::thread::sleep(Duration::from_secs(600));
        }
        _ => {}
    }
}

fn place(port: u16, rank: usize, world: usize, seconds: u64) -> Rendezvous {
    Rendezvous {
        timeout: Duration::from_secs(seconds),
        ..Rendezvous::local(port, rank, world)
    }
}

fn refused(place: &Rendezvous) -> String {
    Group::join(place).unwrap_err().to_string()
}

#[test]
fn ranks_may_come_in_any_order() {
    let port = free_port();
    let last = start("joins", 2, 3, port, 60, &[]);
    let middle = start("joins", 1, 3, port, 60, &[]);
    std::thread::sleep(Duration::from_millis(700));
    let first = start("joins", 0, 3, port, 60, &[]);
    for ended in end_all(vec![first, middle, last]) {
        assert_eq!(ended.said("joined:"), "ok");
    }
}

#[test]
fn one_rank_is_a_group_too() {
    let group = Group::join(&place(free_port(), 0, 1, 60)).unwrap();
    assert_eq!(
        (group.rank(), group.world(), group.is_first()),
        (0, 1, true)
    );
    assert_eq!(group.sums(&[2.5]).unwrap(), [2.5]);
    assert_eq!(group.tell(b"x").unwrap(), b"x");
}

#[test]
fn ranks_that_never_come_are_named() {
    let port = free_port();
    let ranks = [0, 2].map(|rank| start("joins", rank, 4, port, 6, &[]));
    for ended in end_all(ranks.into()) {
        let said = ended.said("joined:");
        assert!(
            said.starts_with("ranks 1 and 3 of 4 did not come to 127.0.0.1"),
            "{said}"
        );
    }
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = refused(&place(port, 0, 2, 60));
    assert!(
        said.starts_with(&format!("port {port} is in use")),
        "{said}"
    );
    let everywhere = Rendezvous {
        master_addr: "any.invalid".to_owned(),
        ..place(port, 0, 2, 60)
    };
    assert!(refused(&everywhere).starts_with(&format!("port {port} is in use")));
}

#[test]
fn an_address_where_nothing_answers_is_named_with_the_reason() {
    let port = free_port();
    let said = refused(&place(port, 1, 2, 1));
    assert!(
        said.starts_with(&format!(
            "rank 1 reaches no store at 127.0.0.1:{port} within 1 s"
        )),
        "{said}"
    );
    assert!(said.contains("refused"), "{said}");
    let unknown = Rendezvous {
        master_addr: "no-such-host.invalid".to_owned(),
        ..place(port, 1, 2, 1)
    };
    let said = refused(&unknown);
    assert!(
        said.contains("no-such-host.invalid") && said.contains("lookup"),
        "{said}"
    );
}

#[test]
fn what_listens_but_is_no_store_is_told() {
    // One that answers in another language, and one that never answers.
    for answer in [Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()), None] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if let Some(answer) = answer {
                    let _ = stream.write_all(answer);
                }
                kept.push(stream);
            }
        });
        let said = refused(&place(port, 1, 2, 1));
        let address = format!("127.0.0.1:{port}");
        assert!(said.contains(&address) && said.contains("rank 1"), "{said}");
        let reason = if answer.is_some() {
            "is no store"
        } else {
            "does not speak"
        };
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn two_processes_with_one_number_are_told_of_each_other() {
    let port = free_port();
    let ranks = [0, 1].map(|rank| start("stays", rank, 2, port, 60, &[]));
    for rank in &ranks {
        rank.says("there");
    }
    let said = refused(&place(port, 1, 2, 60));
    assert!(
        said.starts_with("rank 1 is there twice: this process, and process "),
        "{said}"
    );
}

#[test]
fn ranks_that_count_differently_are_told() {
    let port = free_port();
    let ranks = [(0, 2), (1, 3), (2, 3)];
    let ranks = ranks.map(|(rank, world)| start("joins", rank, world, port, 6, &[]));
    let ended = end_all(ranks.into());
    let said = ended[0].said("joined:");
    assert!(
        said.contains("WORLD_SIZE) differs between ranks: rank 0 has \"2\", rank 1 has \"3\""),
        "{said}"
    );
    for ended in &ended[1..] {
        let said = ended.said("joined:");
        assert!(
            said.contains("WORLD_SIZE) differs")
                || said.contains("did not come")
                || said.contains("no store"),
            "{said}"
        );
    }
}

#[test]
fn a_restart_at_a_store_that_lives_on_is_a_group_of_its_own() {
    // The agent of torchrun hosts the store; here a rank of another run does.
    let port = free_port();
    let host = start("stays", 0, 1, port, 60, &[]);
    host.says("there");
    for restart in ["1", "2"] {
        let more = [
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ("TORCHELASTIC_RESTART_COUNT", restart),
        ];
        let ranks = [0, 1].map(|rank| start("joins", rank, 2, port, 60, &more));
        for ended in end_all(ranks.into()) {
            assert_eq!(ended.said("joined:"), "ok", "{}", ended.output);
        }
    }
    drop(host);
}

#[test]
fn whoever_waits_for_others_can_be_stopped() {
    let stopped = Rendezvous {
        interrupted: || true,
        ..place(free_port(), 0, 2, 600)
    };
    assert!(refused(&stopped).contains("stopped"));
}

#[cfg(not(nccl))]
#[test]
fn a_build_without_nccl_says_so() {
    let place = Rendezvous {
        backend: c10d::Backend::Nccl,
        ..place(free_port(), 0, 1, 60)
    };
    assert!(refused(&place).contains("no NCCL"));
}

#[test]
fn ranks_that_leave_end_at_once_and_in_order() {
    for ended in end_all(start_all("joins", 4, 60, &[])) {
        assert!(ended.success);
        assert_eq!(ended.said("joined:"), "ok");
    }
}
