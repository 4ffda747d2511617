//! What collectives give, between processes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and ranks speak by printing"
)]

mod processes;

use c10d::{Error, Group, Op};
use processes::{ROLE, end_all, join, start_all};
use tch::{Device, Kind, Tensor};

/// Where this process is a rank, its part.
#[test]
fn as_a_rank() {
    match std::env::var(ROLE).as_deref() {
        Ok("collectives") => collectives(&join().unwrap()),
        Ok("messages") => messages(&join().unwrap()),
        Ok("overlap") => overlap(&join().unwrap()),
        _ => {}
    }
}

#[test]
fn every_collective_gives_the_same_right_bits_on_all_of_one_to_four_ranks() {
    for world in 1..=4 {
        let ended = end_all(start_all("collectives", world, 60, &[]));
        let digest = ended[0].said("digest");
        for (rank, ended) in ended.iter().enumerate() {
            assert!(ended.success, "rank {rank} of {world}: {}", ended.output);
            assert_eq!(ended.said("digest"), digest, "rank {rank} of {world}");
        }
    }
}

#[test]
fn messages_of_any_length_reach_all_ranks_and_differing_digests_are_named() {
    for world in [1, 3] {
        for ended in end_all(start_all("messages", world, 60, &[])) {
            assert!(ended.success, "{}", ended.output);
        }
    }
}

#[test]
fn collectives_under_way_end_in_any_order_of_waiting() {
    for ended in end_all(start_all("overlap", 3, 60, &[])) {
        assert!(ended.success, "{}", ended.output);
    }
}

/// Values of a rank: whole numbers for kinds that have no fractions, few enough to add up without overflow.
fn values(rank: usize, length: i64, kind: Kind) -> Tensor {
    let at = Tensor::arange(length, (Kind::Double, Device::Cpu));
    let whole = (at * (7.0 + rank as f64) + rank as f64).remainder(31.0);
    let whole_numbers = matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int | Kind::Int64);
    if whole_numbers {
        whole.to_kind(kind)
    } else {
        ((whole - 13.0) * 0.123).to_kind(kind)
    }
}

fn bits(tensor: &Tensor) -> Vec<u8> {
    let bytes = tensor.contiguous().view(-1).view_dtype(Kind::Uint8);
    Vec::<u8>::try_from(&bytes).unwrap()
}

fn equal(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.kind() == b.kind() && bits(a) == bits(b)
}

/// Runs them all, compares with what is computed here for all ranks, and prints a digest of the results.
fn collectives(group: &Group) {
    let (rank, world) = (group.rank(), group.world());
    let mut digest = 0_u64;
    let mut absorb = |tensor: &Tensor| {
        for byte in bits(tensor) {
            digest = digest.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
        }
    };
    let kinds = [
        Kind::Float,
        Kind::Double,
        Kind::BFloat16,
        Kind::Half,
        Kind::Uint8,
        Kind::Int8,
        Kind::Int,
        Kind::Int64,
    ];
    for kind in kinds {
        for length in [0, 1, 5, 1000, 70_001] {
            let what = format!("{kind:?}[{length}] on {world}");
            let all: Vec<Tensor> = (0..world).map(|rank| values(rank, length, kind)).collect();
            let stacked = Tensor::stack(&all, 0);

            let sum = all[rank].copy();
            group.all_reduce(&sum, Op::Sum).unwrap();
            absorb(&sum);
            let right = stacked
                .to_kind(Kind::Double)
                .sum_dim_intlist(0, false, Kind::Double);
            let wrong = (sum.to_kind(Kind::Double) - right).abs();
            let allowed = match kind {
                Kind::BFloat16 => 0.1,
                Kind::Half => 0.02,
                Kind::Float => 1e-5,
                Kind::Double => 1e-12,
                _ => 0.0,
            };
            assert!(
                length == 0 || wrong.max().double_value(&[]) <= allowed,
                "sum of {what}"
            );

            for (op, right) in [
                (Op::Min, stacked.amin(0, false)),
                (Op::Max, stacked.amax(0, false)),
            ] {
                let tensor = all[rank].copy();
                group.all_reduce(&tensor, op).unwrap();
                assert!(equal(&tensor, &right), "{op:?} of {what}");
            }

            let gathered = Tensor::zeros([length * world as i64], (kind, Device::Cpu));
            group
                .start_all_gather(&gathered, &all[rank])
                .unwrap()
                .wait()
                .unwrap();
            assert!(equal(&gathered, &Tensor::cat(&all, 0)), "gathered {what}");

            let wholes: Vec<Tensor> = (0..world)
                .map(|rank| values(rank, length * world as i64, kind))
                .collect();
            let part = Tensor::zeros([length], (kind, Device::Cpu));
            group
                .start_reduce_scatter(&part, &wholes[rank])
                .unwrap()
                .wait()
                .unwrap();
            let own = |whole: &Tensor| whole.narrow(0, rank as i64 * length, length);
            assert!(
                equal(&part, &in_order(wholes.iter().map(own))),
                "scattered sum of {what}"
            );

            let from = world - 1;
            let tensor = all[rank].copy();
            group.broadcast(&tensor, from).unwrap();
            assert!(equal(&tensor, &all[from]), "broadcast of {what}");
        }
    }
    // Shapes of more dimensions are the same numbers.
    let square = values(rank, 36, Kind::Float).view([6, 6]);
    group.all_reduce(&square, Op::Sum).unwrap();
    absorb(&square);
    let rows = Tensor::zeros([2 * world as i64, 3], (Kind::Float, Device::Cpu));
    let mine = values(rank, 6, Kind::Float).view([2, 3]);
    group
        .start_all_gather(&rows, &mine)
        .unwrap()
        .wait()
        .unwrap();
    absorb(&rows);
    group.barrier().unwrap();
    refusals(group);
    println!("digest {digest:016x}");
}

/// The sum as it is promised: by rank, halves in f32.
fn in_order(tensors: impl Iterator<Item = Tensor>) -> Tensor {
    let tensors: Vec<Tensor> = tensors.collect();
    let kind = tensors[0].kind();
    let wide = match kind {
        Kind::BFloat16 | Kind::Half => Kind::Float,
        other => other,
    };
    let first = tensors[0].to_kind(wide);
    let sum = tensors[1..].iter().fold(first, |sum, tensor| {
        (sum + tensor.to_kind(wide)).to_kind(wide)
    });
    sum.to_kind(kind)
}

/// What cannot be sent is refused before anything is, so that the ranks stay in step.
fn refusals(group: &Group) {
    let floats = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let refused = |result: Result<(), Error>, word: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    };
    refused(
        group.all_reduce(&floats(&[4, 6]).transpose(0, 1), Op::Sum),
        "contiguous",
    );
    let flags = Tensor::zeros([3], (Kind::Bool, Device::Cpu));
    refused(group.all_reduce(&flags, Op::Sum), "Bool");
    refused(group.broadcast(&floats(&[2]), group.world()), "no rank");
    let world = group.world() as i64;
    let gather = |output: &Tensor, input: &Tensor| group.start_all_gather(output, input).map(drop);
    refused(gather(&floats(&[2 * world + 1]), &floats(&[2])), "elements");
    let doubles = Tensor::zeros([2], (Kind::Double, Device::Cpu));
    refused(gather(&floats(&[2 * world]), &doubles), "Double");
    let part = floats(&[2]);
    refused(
        group
            .start_reduce_scatter(&part, &floats(&[2 * world + 1]))
            .map(drop),
        "elements",
    );
    group.barrier().unwrap();
}

fn messages(group: &Group) {
    let (rank, world) = (group.rank(), group.world());
    for length in [0_usize, 1, 100_000] {
        let mine = vec![rank as u8; length * rank];
        let all = group.gather(&mine).unwrap();
        let right: Vec<Vec<u8>> = (0..world)
            .map(|rank| vec![rank as u8; length * rank])
            .collect();
        assert!(all == right, "gather of {length}");
        assert_eq!(
            group.tell(&vec![7 + rank as u8; length + rank]).unwrap(),
            vec![7; length]
        );
    }
    let (mine, numbers) = (rank as f64, world as f64);
    assert_eq!(
        group.sums(&[mine, 1.0]).unwrap(),
        [numbers * (numbers - 1.0) / 2.0, numbers]
    );
    assert_eq!(group.largest(&[mine, -mine]).unwrap(), [numbers - 1.0, 0.0]);
    let last = if rank + 1 == world { f64::NAN } else { 1.0 };
    assert!(group.largest(&[last]).unwrap()[0].is_nan());
    assert!(group.sums(&[]).unwrap().is_empty());

    group.agree("the digest of the data", "abc").unwrap();
    if world == 3 {
        let error = group.agree(
            "the digest of the data",
            if rank == 2 { "xyz" } else { "abc" },
        );
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "the digest of the data differs between ranks: rank 0 has \"abc\", rank 2 has \"xyz\". All ranks must have the same"
        );
        // Everybody knows, so the group is still in step.
        group.barrier().unwrap();
    }
}

fn overlap(group: &Group) {
    let tensors: Vec<Tensor> = (0..20)
        .map(|i| Tensor::full([10_000], i, (Kind::Float, Device::Cpu)))
        .collect();
    let mut pending: Vec<_> = tensors
        .iter()
        .map(|tensor| group.start_all_reduce(tensor, Op::Sum).unwrap())
        .collect();
    if group.rank() == 1 {
        pending.reverse();
    }
    for pending in pending {
        pending.wait().unwrap();
    }
    for (i, tensor) in tensors.iter().enumerate() {
        assert_eq!(tensor.double_value(&[9_999]), 3.0 * i as f64);
    }
}
