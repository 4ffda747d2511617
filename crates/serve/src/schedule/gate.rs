//! How many requests are prepared at the same time, fair between clients.
//!
//! Decoding a request's images takes as long as many tokens, so whose request is prepared next is decided
//! as whose is answered next: a semaphore that let in the first to come would have one client's hundred
//! images keep everybody waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Client;
use super::queue::Turns;

/// Lets in so many at a time.
pub(super) struct Gate {
    state: Mutex<State>,
}

struct State {
    free: usize,
    next: u64,
    turns: Turns<oneshot::Sender<Pass>>,
}

/// Permission to prepare, until it is dropped.
pub(super) struct Pass {
    gate: Arc<Gate>,
    client: Client,
    used: bool,
}

/// Leaves the line when the wait is given up.
struct Wait<'a> {
    gate: &'a Gate,
    client: &'a Client,
    number: u64,
}

impl Gate {
    pub(super) fn new(free: usize) -> Arc<Gate> {
        Arc::new(Gate {
            state: Mutex::new(State {
                free: free.max(1),
                next: 0,
                turns: Turns::new(usize::MAX, usize::MAX),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn. How many wait is bounded by the places of the queue behind.
    pub(super) async fn pass(self: &Arc<Gate>, client: &Client) -> Option<Pass> {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            state.next += 1;
            let number = state.next;
            // Without a limit there always is a place.
            state.turns.reserve(client, 1).ok()?;
            state.turns.enter(client, number, 1, 1, sender);
            number
        };
        let _wait = Wait {
            gate: self,
            client,
            number,
        };
        self.let_in();
        receiver.await.ok()
    }

    /// Gives free passes to those whose turn it is.
    fn let_in(self: &Arc<Gate>) {
        loop {
            let mut state = self.lock();
            if state.free == 0 {
                return;
            }
            let Some(turn) = state.turns.take() else {
                return;
            };
            state.free -= 1;
            drop(state);
            let pass = Pass {
                gate: Arc::clone(self),
                client: turn.client,
                used: true,
            };
            let Some(sender) = turn.item else { continue };
            if let Err(mut pass) = sender.send(pass) {
                // Its wait was given up just now. Returned here, so that this loop goes on instead of
                // one inside the drop.
                pass.used = false;
                self.take_back(&pass.client);
            }
        }
    }

    fn take_back(&self, client: &Client) {
        let mut state = self.lock();
        state.free += 1;
        state.turns.ended(client);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.used {
            self.gate.take_back(&self.client);
            self.gate.let_in();
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.gate.lock().turns.remove(self.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn client(name: &str) -> Client {
        Client(name.to_owned())
    }

    #[tokio::test]
    async fn passes_go_round_the_clients() {
        let gate = Gate::new(1);
        let (busy, other) = (client("busy"), client("other"));
        let held = gate.pass(&busy).await.unwrap();
        let mut first = Box::pin(gate.pass(&busy));
        let mut second = Box::pin(gate.pass(&busy));
        let mut third = Box::pin(gate.pass(&other));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        // The busy client's last turn was before the other came.
        drop(held);
        let pass = (&mut first).now_or_never().unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(pass);
        assert!(
            (&mut second).now_or_never().is_none(),
            "it is the other's turn"
        );
        let pass = (&mut third).now_or_never().unwrap();
        drop(pass);
        assert!((&mut second).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_takes_no_pass_with_it() {
        let gate = Gate::new(2);
        let one = client("one");
        let held = (gate.pass(&one).await, gate.pass(&one).await);
        let mut waits: Vec<_> = (0..100).map(|_| Box::pin(gate.pass(&one))).collect();
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        // Half are dropped before and half after passes were sent to the first of them.
        waits.drain(50..);
        drop(held);
        drop(waits);
        assert_eq!(gate.lock().free, 2);
        assert!(gate.lock().turns.is_empty());
        assert!(gate.pass(&one).now_or_never().flatten().is_some());
    }
}
