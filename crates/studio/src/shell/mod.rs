//! What all pages share: the frame with its navigation, styles, scripts, faults.

use std::sync::Arc;

use axum::Router;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use crate::runs::RunFolder;
use crate::{Error, Studio};

/// Which page is shown, for the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Runs and their pipelines.
    Runs,
    /// Samples, images, SQL.
    Data,
    /// What was selected, and why.
    Selection,
    /// Curves.
    Training,
    /// Scores.
    Evaluation,
    /// Talking with models.
    Chat,
}

/// A page, ready to be framed.
pub(crate) struct Page<'a> {
    /// Shown as heading and in the window's title.
    pub title: &'a str,
    /// For the navigation.
    pub place: Place,
    /// The run it is about: the navigation keeps to it.
    pub run: Option<&'a RunFolder>,
    /// Scripts of ours to load, by file name below `assets/`: ES modules.
    pub scripts: &'a [&'a str],
    /// What is inside `main`.
    pub body: Markup,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let Page { title, body, .. } = self;
        Html(html! { (maud::DOCTYPE) html lang="en" { head { title { (title) } } body { main { h1 { (title) } (body) } } } }.into_string()).into_response()
    }
}

/// A fault as a page, with its status.
pub(crate) fn fault(error: &Error) -> Response {
    (error.status(), error.to_string()).into_response()
}

/// The front page and what pages load.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new().route("/", get(|| async { Redirect::to("/runs") }))
}
