//! Collectives under way: started now, waited for when the result is needed, so that communication goes on beside
//! computation.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tch::{Kind, Tensor};

use crate::binding::Work;
use crate::error::Error;
use crate::group::Joined;
use crate::watch::{Patience, SLICE};

/// A collective that is under way; its tensors are kept until it is waited for.
///
/// One that is dropped without being waited for goes on, and its result may not be looked at.
#[derive(Default)]
pub struct Pending(Option<Begun>);

struct Begun {
    work: Work,
    joined: Arc<Joined>,
    nth: u64,
    /// Whether waiting is the GPU's stream's and not this thread's.
    on_gpu: bool,
    finish: Finish,
    /// Whether it was waited for with success.
    done: bool,
}

/// What is still to be done here when the ranks' tensors have come.
pub(crate) enum Finish {
    /// The result is in place.
    Nothing,
    /// Memory goes back to the group.
    Return {
        /// Which.
        buffer: Tensor,
    },
    /// `output`, `[n]`, becomes the sum of `rows`, `[ranks, n]`, in their order.
    Sum {
        /// One from each rank.
        rows: Tensor,
        /// Where the sum goes.
        output: Tensor,
        /// What the rows are in, which goes back to the group.
        buffer: Tensor,
    },
}

impl Pending {
    pub(crate) fn of(
        work: Work,
        joined: Arc<Joined>,
        nth: u64,
        on_gpu: bool,
        finish: Finish,
    ) -> Pending {
        Pending(Some(Begun {
            work,
            joined,
            nth,
            on_gpu,
            finish,
            done: false,
        }))
    }

    /// Waits until the result is there. On a GPU, until the current stream will have it before what it is
    /// given next.
    ///
    /// # Errors
    /// A rank that is lost, or does not come within the time limit: it is named.
    pub fn wait(self) -> Result<(), Error> {
        let Some(mut begun) = self.0 else {
            return Ok(());
        };
        begun.wait()?;
        begun.done = true;
        let scratch = &begun.joined.scratch;
        match std::mem::replace(&mut begun.finish, Finish::Nothing) {
            Finish::Nothing => {}
            Finish::Return { buffer } => scratch.give(buffer),
            Finish::Sum {
                rows,
                output,
                buffer,
            } => {
                add_up(&rows, &output)?;
                scratch.give(buffer);
            }
        }
        Ok(())
    }
}

impl Begun {
    fn wait(&self) -> Result<(), Error> {
        let watch = &self.joined.watch;
        let began = Instant::now();
        let mut patience = Patience::default();
        // Zero is libtorch's "no limit": NCCL's works wait on the stream alone then.
        let slice = if self.on_gpu {
            0
        } else {
            SLICE.as_millis() as i64
        };
        loop {
            match self.work.wait_for(slice) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => {
                    let words = failure.what();
                    // Gloo's own limit, on this rank or by another that closed its connections for it.
                    let timed_out = words.contains("Timed out") || words.contains("timeout caused");
                    return Err(watch.explain(self.nth, Some(words), timed_out));
                }
            }
            if watch.hopeless(self.nth, &mut patience) {
                return Err(watch.explain(self.nth, None, false));
            }
            if began.elapsed() > self.joined.timeout {
                return Err(watch.explain(self.nth, None, true));
            }
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.done {
            self.joined.whole.store(false, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nth = self.0.as_ref().map(|begun| begun.nth);
        f.debug_tuple("Pending").field(&nth).finish()
    }
}

/// Rows are added one after another: the order is that of ranks. Halves are added in f32 and rounded once. Piece by
/// piece, so that a piece is still in the cache when the next row is added to it.
fn add_up(rows: &Tensor, output: &Tensor) -> Result<(), Error> {
    const PIECE: i64 = 1 << 16;
    let (ranks, length) = rows.size2()?;
    let halves = matches!(output.kind(), Kind::BFloat16 | Kind::Half);
    tch::no_grad(|| {
        for from in (0..length).step_by(PIECE as usize) {
            let piece = PIECE.min(length - from);
            let row = |rank: i64| rows.f_get(rank)?.f_narrow(0, from, piece);
            let mut sum = output.f_narrow(0, from, piece)?;
            if halves && ranks > 2 {
                let mut wide = row(0)?.f_to_kind(Kind::Float)?;
                for rank in 1..ranks {
                    let _ = wide.f_add_(&row(rank)?)?;
                }
                sum.f_copy_(&wide)?;
            } else if ranks == 1 {
                sum.f_copy_(&row(0)?)?;
            } else {
                let _ = row(0)?.f_add_out(&sum, &row(1)?)?;
                for rank in 2..ranks {
                    let _ = sum.f_add_(&row(rank)?)?;
                }
            }
        }
        Ok(())
    })
}
