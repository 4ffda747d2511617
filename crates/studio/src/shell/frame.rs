//! The frame around every page: its head, the navigation that keeps to a run, the footer.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use crate::runs::RunFolder;

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
    /// None of them: a fault.
    None,
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
        Html(self.framed().into_string()).into_response()
    }
}

impl Page<'_> {
    fn framed(self) -> Markup {
        let run = self.run.map(|run| run.name.as_str());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title {
                        (self.title)
                        @if let Some(run) = run.filter(|run| *run != self.title) { " · " (run) }
                        " · math-llava"
                    }
                    link rel="icon" href=(assets::address("icon.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::address("report.css"));
                    link rel="stylesheet" href=(assets::address("studio.css"));
                    @for script in self.scripts {
                        script type="module" src=(assets::address(script)) {}
                    }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.bar {
                        a.brand href="/runs" { "math-llava" }
                        @if let Some(run) = self.run {
                            a.run href={ "/runs/" (run.segment()) } title="The run that the pages are about" {
                                (run.name)
                            }
                        }
                        (navigation(self.place, self.run))
                    }
                    main id="main" tabindex="-1" {
                        h1 { (self.title) }
                        (self.body)
                    }
                    footer {
                        "math-llava " (env!("CARGO_PKG_VERSION"))
                        ". Nothing on this page comes from elsewhere than this server. "
                        a href=(assets::address("katex/LICENSE")) { "Licence of KaTeX" }
                    }
                }
            }
        }
    }
}

/// Links to all places; those about a run only while there is one.
fn navigation(place: Place, run: Option<&RunFolder>) -> Markup {
    let mut links = vec![(Place::Runs, "Runs", "/runs".to_owned())];
    if let Some(run) = run.map(RunFolder::segment) {
        links.extend([
            (Place::Data, "Data", format!("/data/{run}")),
            (Place::Selection, "Selection", format!("/selection/{run}")),
            (Place::Training, "Training", format!("/training?run={run}")),
            (
                Place::Evaluation,
                "Evaluation",
                format!("/evaluation/{run}"),
            ),
            (Place::Chat, "Chat", format!("/chat?run={run}")),
        ]);
    } else {
        links.push((Place::Training, "Training", "/training".to_owned()));
        links.push((Place::Chat, "Chat", "/chat".to_owned()));
    }
    html! {
        nav aria-label="Pages" {
            ul {
                @for (to, name, address) in &links {
                    li {
                        @if *to == place {
                            a href=(address) aria-current="page" { (name) }
                        } @else {
                            a href=(address) { (name) }
                        }
                    }
                }
            }
        }
    }
}
