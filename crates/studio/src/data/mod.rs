//! The tables of a run, looked through: lists with filters, single samples with their lineage, images, SQL.
//!
//! [`listing`] says which tables there are, [`index`] holds one so that lists are quick, [`provenance`]
//! what the run knows of its images, [`opened`] keeps both. [`browse`] is the list, [`one`] a sample's
//! page with its [`lineage`] and what the [`ledger`] says, [`picture`] the images, [`query`] SQL.

mod address;
mod browse;
mod index;
mod ledger;
mod lineage;
mod listing;
mod one;
mod opened;
mod picture;
mod provenance;
mod query;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};
use tokio::sync::Semaphore;

use crate::runs::RunFolder;
use crate::shell::parts::count;
use crate::shell::{Page, Place};
use crate::{Error, Studio};
use index::Index;
use listing::{Listed, StageFolder};
use opened::{Halt, Opened};
use provenance::Provenance;

/// How long a page waits for a table that is read for the first time before it says how far it is.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long one reading waits for another.
const LONG: Duration = Duration::from_secs(600);
/// Memory for tables, in bytes.
const TABLES: usize = 768 << 20;
/// Memory for what is known of images, in bytes.
const IMAGES: usize = 256 << 20;
/// Images that are decoded at a time: a large one takes some hundred megabytes.
const DECODED_AT_ONCE: usize = 2;

/// The pages' routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/data/{run}", get(browse::page))
        .route("/data/{run}/rows", get(browse::rows))
        .route("/data/{run}/sample/{id}", get(one::page))
        .route("/data/{run}/image/{sha256}", get(picture::image))
        .route("/data/{run}/sql", get(query::page))
}

/// Tables of runs that were opened, shared by requests.
pub(crate) struct Tables {
    indexes: Opened<Index>,
    known: Opened<Provenance>,
    queried: Opened<query::Queried>,
    pictures: picture::Pictures,
    decoding: Arc<Semaphore>,
    querying: Arc<Semaphore>,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables {
            indexes: Opened::new(TABLES),
            known: Opened::new(IMAGES),
            queried: Opened::new(query::KEPT),
            pictures: picture::Pictures::default(),
            decoding: Arc::new(Semaphore::new(DECODED_AT_ONCE)),
            querying: Arc::new(Semaphore::new(query::AT_ONCE)),
        }
    }
}

/// A run's finished stages, tables, and what is known of its images, for one request.
struct Opening {
    run: RunFolder,
    stages: Vec<StageFolder>,
    tables: Vec<Listed>,
    known: Arc<Provenance>,
    stamp: u64,
}

impl Studio {
    /// Opens a run, for a thread that may wait.
    fn open_run(&self, name: &str, patience: Duration) -> Result<Opening, Halt> {
        let run = self.run(name)?;
        let stages = listing::stages(&run.path);
        let stamp = listing::whole_stamp(&stages);
        let read = stages.clone();
        let known = self
            .data
            .known
            .get(&run.name, stamp, patience, move |progress| {
                Provenance::read(&read, progress)
            })?;
        Ok(Opening {
            tables: listing::tables(&stages),
            run,
            stages,
            known,
            stamp,
        })
    }

    /// Opens a table of a run, for a thread that may wait.
    fn index(
        &self,
        opening: &Opening,
        listed: &Listed,
        patience: Duration,
    ) -> Result<Arc<Index>, Halt> {
        let name = format!("{}\n{}", opening.run.name, listed.name);
        let (listed, known) = (listed.clone(), Arc::clone(&opening.known));
        self.data
            .indexes
            .get(&name, opening.stamp, patience, move |progress| {
                Index::read(&listed, &known, progress)
            })
    }
}

/// Work that waits for files, on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Halt> + Send + 'static,
) -> Result<T, Halt> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Failed(
            "this page could not be made, by a fault of this program".into(),
        )
        .into()),
    }
}

impl IntoResponse for Halt {
    fn into_response(self) -> Response {
        match self {
            Halt::Error(error) => error.into_response(),
            // For what a page loads: it asks again.
            Halt::Reading(done, total) => {
                let text = format!("being read for the first time: {done} of {total} rows");
                let later = [
                    (header::RETRY_AFTER, "1"),
                    (header::CACHE_CONTROL, "no-store"),
                ];
                (StatusCode::SERVICE_UNAVAILABLE, later, text).into_response()
            }
        }
    }
}

/// For a page that waits: one that says how far it is, and loads itself again.
fn page_or_wait(done: Result<Response, Halt>) -> Response {
    let (read, total) = match done {
        Ok(response) => return response,
        Err(Halt::Reading(read, total)) => (read, total),
        Err(halt) => return halt.into_response(),
    };
    let body = html! {
        p.lead role="status" {
            "This table is being read for the first time: " (count(read)) " of " (count(total)) " rows. "
            "The page shows it as soon as it is there."
        }
        progress aria-label="Rows that are read" max=(total.max(1)) value=(read.min(total)) { (count(read)) " of " (count(total)) }
    };
    let page = Page {
        title: "Data",
        place: Place::Data,
        run: None,
        scripts: &[],
        body,
    };
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(header::REFRESH, HeaderValue::from_static("1"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The style of these pages.
fn style() -> Markup {
    html! { link rel="stylesheet" href=(crate::shell::address("data.css")); }
}

/// The first characters of a text.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
