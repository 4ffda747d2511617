//! Talking with the models that the same server answers for.
//!
//! The page is a form; its script asks `/v1` of the server it came from, as any client would. What is said
//! stays in the browser.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};

use crate::shell::{Page, Place, parts};
use crate::{Error, Studio};

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new().route("/chat", get(page))
}

/// `?run=` keeps the navigation at a run; one that is gone is no reason not to talk.
async fn page(
    State(studio): State<Arc<Studio>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Result<Response, Error> {
    let has_models = !studio.options.models.is_empty();
    let run = match asked.get("run").cloned() {
        None => None,
        Some(name) => tokio::task::spawn_blocking(move || studio.run(&name).ok())
            .await
            .map_err(|e| Error::Failed(format!("the run could not be looked up: {e}")))?,
    };
    let scripts: &[&str] = if has_models { &["chat.js"] } else { &[] };
    Ok(Page {
        title: "Chat",
        place: Place::Chat,
        run: run.as_ref(),
        scripts,
        body: if has_models { form() } else { nobody() },
    }
    .into_response())
}

fn nobody() -> Markup {
    parts::missing(html! {
        "No model is served here. Start the server with one: "
        code { "math-llava serve --model DIR --runs RUNS" }
    })
}

fn form() -> Markup {
    html! {
        noscript { p.missing { "The chat needs the page's own scripts, which this browser does not run." } }
        div.chat {
            (settings())
            div.talk {
                ol #turns.turns {}
                (composer())
            }
        }
        div #live.hidden-text aria-live="polite" role="log" aria-label="Replies" {}
        (command())
    }
}

fn settings() -> Markup {
    html! {
        form #settings.settings aria-label="Settings" {
            fieldset {
                legend { "Models" }
                div #models.models {}
            }
            label #key-field.field hidden {
                span { "Key (kept in this page only)" }
                input #key type="password" name="key" autocomplete="off" spellcheck="false";
            }
            details #more {
                summary { "Settings" }
                (number("temperature", "Temperature", "the server's default", "decimal"))
                (number("top_p", "Top-p", "0 to 1", "decimal"))
                (number("max_tokens", "Max tokens", "as the context allows", "numeric"))
                (number("seed", "Seed", "any whole number", "numeric"))
                (text("system", "System prompt", 3))
                (text("stop", "Stop texts, one a line", 2))
                (text("schema", "JSON schema of the reply", 3))
            }
        }
    }
}

fn number(name: &str, label: &str, hint: &str, keyboard: &str) -> Markup {
    html! {
        label.field {
            span { (label) }
            input type="text" name=(name) inputmode=(keyboard) placeholder=(hint) autocomplete="off";
        }
    }
}

fn text(name: &str, label: &str, rows: usize) -> Markup {
    html! {
        label.field {
            span { (label) }
            textarea name=(name) rows=(rows) spellcheck="false" {}
        }
    }
}

fn composer() -> Markup {
    html! {
        form #composer.composer aria-label="Ask" {
            ul #attachments.attachments aria-label="Images of the question" hidden {}
            label.field {
                span {
                    "Question"
                    span.wide { " (Ctrl+Enter sends; images can be dropped and pasted)" }
                }
                textarea #question rows="3" {}
            }
            div.buttons {
                button #send.primary type="submit" { "Send" }
                button #stop type="button" hidden { "Stop" }
                label.button.choose {
                    "Add images"
                    input #files.hidden-text type="file" accept="image/*" multiple;
                }
                span.gap {}
                button #export.quiet type="button" { "Export" }
                button #new.quiet type="button" { "Begin anew" }
            }
            p #status.status role="status" {}
        }
    }
}

fn command() -> Markup {
    html! {
        dialog #command aria-labelledby="command-title" {
            h2 #command-title { "The same request with curl" }
            p #command-note.lead {}
            textarea #command-text rows="10" readonly spellcheck="false" aria-label="Command" {}
            div.buttons {
                button #command-copy.primary type="button" { "Copy" }
                button #command-file type="button" hidden { "Download request.json" }
                button #command-close type="button" { "Close" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::StudioOptions;

    async fn shown(options: StudioOptions, path: &str) -> String {
        let studio = Arc::new(Studio::open(options).unwrap());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = crate::router(studio).oneshot(request).await.unwrap();
        assert!(response.status().is_success(), "{path}");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_server_without_models_says_how_to_have_one() {
        let page = shown(StudioOptions::default(), "/chat").await;
        assert!(page.contains("serve --model DIR"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[tokio::test]
    async fn the_navigation_keeps_to_the_run_and_forgets_one_that_is_gone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a b/select")).unwrap();
        let options = StudioOptions {
            runs: Some(root.path().to_owned()),
            models: vec!["m".to_owned()],
        };
        let page = shown(options.clone(), "/chat?run=a%20b").await;
        assert!(page.contains("href=\"/data/a%20b\""), "{page}");
        let page = shown(options, "/chat?run=../..").await;
        assert!(!page.contains("/data/"), "{page}");
        assert!(
            page.contains("chat.js") && page.contains("id=\"composer\""),
            "{page}"
        );
    }
}
