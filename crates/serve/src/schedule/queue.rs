//! Whose turn it is: a bounded queue of requests that is fair between clients.
//!
//! What is shared out are replies, one at a time, so a request for sixteen replies is sixteen turns. The
//! next goes to the client with the fewest replies being written, and among those to the one that has
//! waited longest since its last turn. With more slots than clients everybody so has the same share of the
//! slots, whatever the replies' length; with fewer, clients take turns. How many requests a client has
//! waiting does not matter to the others.
//!
//! A request takes as many places as it is heavy, since it is memory that the bound is for.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::Client;

/// Requests of type `T` that wait, by client.
pub(super) struct Turns<T> {
    /// Most places in all, and of one client; the last request in may go over by its weight.
    limit: usize,
    limit_per_client: usize,
    lines: HashMap<Client, Line<T>>,
    /// Clients with something waiting: replies being written, the number of their last turn, name.
    order: BTreeSet<(usize, u64, Client)>,
    places: usize,
    /// Requests that have places.
    requests: usize,
    next_turn: u64,
}

/// What one client has.
struct Line<T> {
    /// Replies given out and not ended.
    live: usize,
    /// When it last had a turn, or came.
    turn: u64,
    /// Places of requests that wait or are about to.
    places: usize,
    waiting: VecDeque<Waiting<T>>,
}

struct Waiting<T> {
    request: u64,
    weight: usize,
    /// Taken out with the first reply.
    item: Option<T>,
    given: usize,
    replies: usize,
}

/// A reply whose turn it is.
#[derive(Debug, PartialEq)]
pub(super) struct Turn<T> {
    pub(super) client: Client,
    pub(super) request: u64,
    /// Which of the request's replies, from 0.
    pub(super) choice: usize,
    /// Whether it is the request's last.
    pub(super) last: bool,
    /// The request, with its first reply.
    pub(super) item: Option<T>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The client has all it may.
    Client,
    /// All places are taken.
    Queue,
}

impl<T> Turns<T> {
    pub(super) fn new(limit: usize, limit_per_client: usize) -> Turns<T> {
        Turns {
            limit,
            limit_per_client,
            lines: HashMap::new(),
            order: BTreeSet::new(),
            places: 0,
            requests: 0,
            next_turn: 0,
        }
    }

    /// Changes a client's line and keeps its rank in the order true.
    fn change<R>(&mut self, client: &Client, change: impl FnOnce(&mut Line<T>) -> R) -> R {
        let next_turn = &mut self.next_turn;
        let line = self.lines.entry(client.clone()).or_insert_with(|| {
            *next_turn += 1;
            Line {
                live: 0,
                turn: *next_turn,
                places: 0,
                waiting: VecDeque::new(),
            }
        });
        if !line.waiting.is_empty() {
            self.order.remove(&(line.live, line.turn, client.clone()));
        }
        let result = change(line);
        if !line.waiting.is_empty() {
            self.order.insert((line.live, line.turn, client.clone()));
        } else if line.live == 0 && line.places == 0 {
            self.lines.remove(client);
        }
        result
    }

    /// Takes places for a request that will come.
    pub(super) fn reserve(&mut self, client: &Client, weight: usize) -> Result<(), Full> {
        if self.places >= self.limit {
            return Err(Full::Queue);
        }
        let taken = self.lines.get(client).map_or(0, |line| line.places);
        if taken >= self.limit_per_client {
            return Err(Full::Client);
        }
        self.places += weight;
        self.requests += 1;
        self.change(client, |line| line.places += weight);
        Ok(())
    }

    /// Gives up places that were taken with [`Turns::reserve`] and not used.
    pub(super) fn release(&mut self, client: &Client, weight: usize) {
        self.places -= weight;
        self.requests -= 1;
        self.change(client, |line| line.places -= weight);
    }

    /// Puts a request in the places that were taken for its weight. It keeps them until the turn of its
    /// last reply. Requests are told apart by their numbers.
    pub(super) fn enter(
        &mut self,
        client: &Client,
        request: u64,
        weight: usize,
        replies: usize,
        item: T,
    ) {
        self.change(client, |line| {
            line.waiting.push_back(Waiting {
                request,
                weight,
                item: Some(item),
                given: 0,
                replies: replies.max(1),
            });
        });
    }

    /// Whose turn it is. The reply counts as being written until [`Turns::ended`].
    pub(super) fn take(&mut self) -> Option<Turn<T>> {
        let (_, _, client) = self.order.first()?.clone();
        self.next_turn += 1;
        let number = self.next_turn;
        let mut freed = None;
        let turn = self.change(&client, |line| {
            let first = line.waiting.front_mut()?;
            let choice = first.given;
            first.given += 1;
            let turn = Turn {
                client: client.clone(),
                request: first.request,
                choice,
                last: first.given == first.replies,
                item: first.item.take(),
            };
            line.live += 1;
            line.turn = number;
            if turn.last {
                freed = Some(first.weight);
                line.places -= first.weight;
                line.waiting.pop_front();
            }
            Some(turn)
        })?;
        self.free(freed);
        Some(turn)
    }

    /// A reply of this client is not being written any more.
    pub(super) fn ended(&mut self, client: &Client) {
        self.change(client, |line| line.live -= 1);
    }

    /// Takes a request out, with the replies whose turn has not come; the request itself, if none had.
    pub(super) fn remove(&mut self, client: &Client, request: u64) -> Option<T> {
        if !self.lines.contains_key(client) {
            return None;
        }
        let gone = self.change(client, |line| {
            let at = line.waiting.iter().position(|w| w.request == request)?;
            let gone = line.waiting.remove(at)?;
            line.places -= gone.weight;
            Some(gone)
        })?;
        self.free(Some(gone.weight));
        gone.item
    }

    /// Takes out all requests of which no reply had its turn.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let clients: Vec<Client> = self.lines.keys().cloned().collect();
        let mut items = Vec::new();
        for client in clients {
            let weights = self.change(&client, |line| {
                let waiting = std::mem::take(&mut line.waiting).into_iter();
                let (begun, gone): (Vec<_>, Vec<_>) = waiting.partition(|w| w.given > 0);
                line.waiting = begun.into();
                let weights: Vec<usize> = gone.iter().map(|waiting| waiting.weight).collect();
                line.places -= weights.iter().sum::<usize>();
                items.extend(gone.into_iter().filter_map(|waiting| waiting.item));
                weights
            });
            self.free(weights);
        }
        items
    }

    /// Requests of these weights have left.
    fn free(&mut self, weights: impl IntoIterator<Item = usize>) {
        for weight in weights {
            self.places -= weight;
            self.requests -= 1;
        }
    }

    /// Requests that wait or are about to.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// Whether no turn can be given.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(name: usize) -> Client {
        Client(format!("client {name}"))
    }

    fn put(turns: &mut Turns<u64>, name: usize, request: u64, replies: usize) {
        turns.reserve(&client(name), 1).unwrap();
        turns.enter(&client(name), request, 1, replies, request);
    }

    #[test]
    fn a_thousand_requests_of_one_client_do_not_keep_another_waiting() {
        let mut turns = Turns::new(2000, 2000);
        for request in 0..1000 {
            put(&mut turns, 0, request, 1);
        }
        assert_eq!(turns.take().unwrap().request, 0);
        put(&mut turns, 1, 5000, 1);
        assert_eq!(turns.take().unwrap().request, 5000);
    }

    #[test]
    fn replies_to_one_request_take_turns_with_other_clients() {
        let mut turns = Turns::new(10, 10);
        put(&mut turns, 0, 1, 4);
        put(&mut turns, 1, 2, 1);
        put(&mut turns, 1, 3, 1);
        let order: Vec<(u64, usize, bool)> = std::iter::from_fn(|| turns.take())
            .map(|turn| (turn.request, turn.choice, turn.last))
            .collect();
        assert_eq!(
            order,
            [
                (1, 0, false),
                (2, 0, true),
                (1, 1, false),
                (3, 0, true),
                (1, 2, false),
                (1, 3, true)
            ]
        );
    }

    #[test]
    fn with_one_slot_clients_take_turns() {
        let mut turns = Turns::new(10, 10);
        for request in 0..3 {
            put(&mut turns, 0, request, 1);
        }
        for request in 10..13 {
            put(&mut turns, 1, request, 1);
        }
        let order: Vec<u64> = std::iter::from_fn(|| {
            let turn = turns.take()?;
            turns.ended(&turn.client);
            Some(turn.request)
        })
        .collect();
        assert_eq!(order, [0, 10, 1, 11, 2, 12]);
    }

    #[test]
    fn a_client_that_holds_slots_long_gets_no_more_of_them() {
        let mut turns = Turns::new(1000, 1000);
        for request in 0..100 {
            put(&mut turns, 0, request, 1);
            put(&mut turns, 1, 1000 + request, 1);
        }
        let (mut long, mut short) = (0, 0);
        // Four slots; the replies of client 0 never end, those of client 1 at once.
        while long + short < 50 {
            let turn = turns.take().unwrap();
            if turn.client == client(0) {
                long += 1;
            } else {
                short += 1;
                turns.ended(&turn.client);
            }
        }
        assert_eq!(
            (long, short),
            (1, 49),
            "client 1 has nothing live and so goes first"
        );
    }

    #[test]
    fn places_are_bounded_for_each_client_and_in_all() {
        let mut turns = Turns::<u64>::new(3, 2);
        assert_eq!(turns.reserve(&client(0), 1), Ok(()));
        assert_eq!(turns.reserve(&client(0), 1), Ok(()));
        assert_eq!(turns.reserve(&client(0), 1), Err(Full::Client));
        assert_eq!(turns.reserve(&client(1), 1), Ok(()));
        assert_eq!(turns.reserve(&client(2), 1), Err(Full::Queue));
        turns.release(&client(0), 1);
        assert_eq!(
            turns.reserve(&client(2), 9),
            Ok(()),
            "the last may be heavier than what is left"
        );
        assert_eq!(turns.reserve(&client(3), 1), Err(Full::Queue));
        turns.release(&client(2), 9);
        assert_eq!(turns.reserve(&client(3), 1), Ok(()));
    }

    #[test]
    fn clearing_leaves_what_is_being_answered() {
        let mut turns = Turns::new(10, 10);
        put(&mut turns, 0, 1, 2);
        put(&mut turns, 0, 2, 1);
        put(&mut turns, 1, 3, 1);
        assert_eq!(turns.take().unwrap().request, 1);
        let mut cleared = turns.clear();
        cleared.sort();
        assert_eq!(cleared, [2, 3]);
        assert_eq!(turns.take().unwrap().choice, 1);
        assert!(turns.is_empty());
        assert_eq!((turns.places, turns.requests()), (0, 0));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Put(usize, usize, usize),
        Take,
        End(usize),
        Remove(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..4_usize, 1..4_usize, 1..3_usize)
                .prop_map(|(name, replies, weight)| Act::Put(name, replies, weight)),
            Just(Act::Take),
            any::<usize>().prop_map(Act::End),
            any::<usize>().prop_map(Act::Remove),
        ]
    }

    proptest! {
        /// Against a plain list: who comes next, in which order, and that nothing is lost or left.
        #[test]
        fn every_reply_has_its_turn_once_in_order_and_nobody_with_less_is_passed_over(
            acts in proptest::collection::vec(act(), 1..200),
        ) {
            let mut turns = Turns::new(8, 3);
            // Waiting requests in the order they came: client, request, replies given, replies,
            // weight.
            let mut waiting: Vec<(usize, u64, usize, usize, usize)> = Vec::new();
            let mut live: Vec<usize> = Vec::new();
            let mut number = 0;
            for act in acts {
                match act {
                    Act::Put(name, replies, weight) => {
                        let own = waiting.iter().filter(|w| w.0 == name).map(|w| w.4).sum();
                        let expected = match (waiting.iter().map(|w| w.4).sum(), own) {
                            (8.., _) => Err(Full::Queue),
                            (_, 3..) => Err(Full::Client),
                            _ => Ok(()),
                        };
                        prop_assert_eq!(turns.reserve(&client(name), weight), expected);
                        if expected.is_ok() {
                            turns.enter(&client(name), number, weight, replies, number);
                            waiting.push((name, number, 0, replies, weight));
                            number += 1;
                        }
                    }
                    Act::Take => {
                        let Some(turn) = turns.take() else {
                            prop_assert!(waiting.is_empty());
                            continue;
                        };
                        let has = |name: usize| live.iter().filter(|l| **l == name).count();
                        let at = waiting.iter().position(|w| w.1 == turn.request).unwrap();
                        let (name, _, given, replies, _) = waiting[at];
                        prop_assert_eq!(&turn.client, &client(name));
                        prop_assert!(waiting[..at].iter().all(|w| w.0 != name), "first come, first served");
                        prop_assert!(waiting.iter().all(|w| has(w.0) >= has(name)), "the fewest live go first");
                        prop_assert_eq!(turn.choice, given);
                        prop_assert_eq!(turn.item.is_some(), given == 0);
                        prop_assert_eq!(turn.last, given + 1 == replies);
                        waiting[at].2 += 1;
                        if turn.last {
                            waiting.remove(at);
                        }
                        live.push(name);
                    }
                    Act::End(which) if !live.is_empty() => {
                        let name = live.swap_remove(which % live.len());
                        turns.ended(&client(name));
                    }
                    Act::Remove(which) if !waiting.is_empty() => {
                        let (name, request, given, ..) = waiting.remove(which % waiting.len());
                        let item = turns.remove(&client(name), request);
                        prop_assert_eq!(item, (given == 0).then_some(request));
                        prop_assert_eq!(turns.remove(&client(name), request), None);
                    }
                    Act::End(_) | Act::Remove(_) => {}
                }
                prop_assert_eq!(turns.requests(), waiting.len());
                prop_assert_eq!(turns.places, waiting.iter().map(|w| w.4).sum::<usize>());
                prop_assert_eq!(turns.is_empty(), waiting.is_empty());
            }
            while let Some(turn) = turns.take() {
                live.push(turn.client.0[7..].parse().unwrap());
            }
            for name in live {
                turns.ended(&client(name));
            }
            prop_assert!(turns.lines.is_empty(), "no client is remembered that has nothing here");
        }
    }
}
