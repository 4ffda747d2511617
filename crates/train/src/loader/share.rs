//! Which of a step's units a rank takes.

/// Shares out units of these costs among `world` ranks, so that each has about as much to do: the dearest
/// first, each to the rank with least so far. Gives the places of rank `rank`'s units, in their order.
///
/// It follows from the costs alone, so every rank knows what the others take.
pub fn share(costs: &[u64], rank: usize, world: usize) -> Vec<usize> {
    if world <= 1 {
        return (0..costs.len()).collect();
    }
    let mut dearest: Vec<usize> = (0..costs.len()).collect();
    dearest.sort_by_key(|&place| (std::cmp::Reverse(costs[place]), place));
    let mut loads = vec![0u64; world];
    let mut own = Vec::new();
    for place in dearest {
        let least = (0..world).min_by_key(|&rank| loads[rank]).unwrap_or(0);
        // A unit that costs nothing must not make one rank take all of them.
        loads[least] += costs[place].max(1);
        if least == rank {
            own.push(place);
        }
    }
    own.sort_unstable();
    own
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_unit_is_one_rank_s_and_no_rank_has_much_more_than_another(
            costs in prop::collection::vec(0u64..10_000, 0..200), world in 1usize..20,
        ) {
            let shares: Vec<Vec<usize>> = (0..world).map(|r| share(&costs, r, world)).collect();
            let mut all: Vec<usize> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..costs.len()).collect::<Vec<_>>());
            let load = |share: &Vec<usize>| share.iter().map(|&at| costs[at].max(1)).sum::<u64>();
            let loads: Vec<u64> = shares.iter().map(load).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            // Taking the dearest first, the last unit a rank took began below every other rank.
            prop_assert!(most - least <= costs.iter().copied().max().unwrap_or(0).max(1));
        }
    }
}
