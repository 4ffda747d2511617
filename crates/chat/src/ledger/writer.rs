//! The thread that writes, and how many tasks share one commit.
//!
//! A commit waits for the disk, a hundred events more in it cost next to nothing. So the thread
//! takes all that has come while it was busy into one transaction. The queue needs no bound of its
//! own: whoever writes waits for the commit before writing again.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::entry::{self, Ended, Sent};
use super::{Error, locked};

/// Events in one transaction at most, so that the first of them need not wait for long.
const TOGETHER: usize = 2048;

enum Event {
    Sent(Sent),
    Ended(Ended),
    Close,
}

type Acknowledge = oneshot::Sender<Result<(), Error>>;

/// Writes events from any task; each call returns once the event is on disk.
#[derive(Clone)]
pub struct Recorder {
    queue: Sender<(Event, Option<Acknowledge>)>,
    path: Arc<str>,
}

impl Recorder {
    /// Records that a request is about to be sent. Send it after this has returned.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn sent(&self, sent: Sent) -> Result<(), Error> {
        self.write(Event::Sent(sent)).await
    }

    /// Records how a try has ended. Use its reply after this has returned.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn ended(&self, ended: Ended) -> Result<(), Error> {
        self.write(Event::Ended(ended)).await
    }

    async fn write(&self, event: Event) -> Result<(), Error> {
        let closed = || Error::new(&self.path, "it is closed");
        let (acknowledge, acknowledged) = oneshot::channel();
        self.queue
            .send((event, Some(acknowledge)))
            .map_err(|_| closed())?;
        acknowledged.await.map_err(|_| closed())?
    }
}

pub(super) struct Writer {
    pub(super) recorder: Recorder,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Arc<Mutex<Connection>>, path: &str) -> Result<Writer, Error> {
        let (queue, events) = channel();
        let path: Arc<str> = path.into();
        let name = Arc::clone(&path);
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || work(&connection, &events, &name))
            .map_err(|e| Error::new(&path, format!("no thread to write it: {e}")))?;
        Ok(Writer {
            recorder: Recorder { queue, path },
            thread: Some(thread),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Recorders that outlive the ledger do not keep its thread.
        let _ = self.recorder.queue.send((Event::Close, None));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(
    connection: &Mutex<Connection>,
    events: &Receiver<(Event, Option<Acknowledge>)>,
    path: &str,
) {
    let mut closing = false;
    while !closing {
        let Ok(first) = events.recv() else { return };
        let mut together = vec![first];
        together.extend(events.try_iter().take(TOGETHER - 1));
        closing = together.iter().any(|(e, _)| matches!(e, Event::Close));
        let written = commit(&mut locked(connection), &together).map_err(|e| Error::new(path, e));
        for (_, acknowledge) in together {
            if let Some(acknowledge) = acknowledge {
                // Whoever no longer waits was stopped; what it wrote is kept.
                let _ = acknowledge.send(written.clone());
            }
        }
    }
}

fn commit(
    connection: &mut Connection,
    together: &[(Event, Option<Acknowledge>)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (event, _) in together {
        match event {
            Event::Sent(sent) => entry::sent(&transaction, sent)?,
            Event::Ended(ended) => entry::ended(&transaction, ended)?,
            Event::Close => {}
        }
    }
    transaction.commit()
}
