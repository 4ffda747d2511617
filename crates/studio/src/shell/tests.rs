//! The frame as clients see it: headers, faults in both forms, files with their caching.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use tower::ServiceExt;

use crate::{Studio, StudioOptions};

fn router() -> Router {
    let studio = Studio::open(StudioOptions::default()).unwrap();
    crate::router(Arc::new(studio))
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    router().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 22).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |v| v.to_str().unwrap())
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

#[tokio::test]
async fn every_answer_forbids_foreign_scripts_and_frames() {
    for path in [
        "/",
        "/chat",
        "/assets/studio.css",
        "/nowhere",
        "/favicon.ico",
    ] {
        for accept in ["text/html", "*/*"] {
            let response = ask("GET", path, &[("accept", accept)]).await;
            let policy = header(&response, "content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';"),
                "{path}"
            );
            assert_eq!(
                header(&response, "x-content-type-options"),
                "nosniff",
                "{path}"
            );
            assert_eq!(header(&response, "x-frame-options"), "DENY", "{path}");
            assert_eq!(
                header(&response, "referrer-policy"),
                "same-origin",
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn people_get_faults_as_pages_and_programs_as_json() {
    let cases = [
        ("GET", "/nowhere", 404, "there is nothing at /nowhere"),
        ("GET", "/assets/../Cargo.toml", 404, "there is no file"),
        ("GET", "/assets/%2e%2e/Cargo.toml", 404, "there is no file"),
        ("DELETE", "/chat", 405, "method not allowed"),
    ];
    for (method, path, status, says) in cases {
        let response = ask(method, path, &[BROWSER]).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(
            header(&response, "content-type").starts_with("text/html"),
            "{path}"
        );
        let page = text(response).await;
        assert!(
            page.contains(says) && page.contains("</html>"),
            "{path}: {page}"
        );

        let response = ask(method, path, &[]).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(
            header(&response, "content-type"),
            "application/json",
            "{path}"
        );
        let json: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert!(
            json["error"]["message"].as_str().unwrap().contains(says),
            "{json}"
        );
    }
}

#[tokio::test]
async fn markup_in_an_address_is_text_on_the_fault_page() {
    let page = text(
        ask(
            "GET",
            "/assets/%3Cscript%3Ealert(1)%3C/script%3E",
            &[BROWSER],
        )
        .await,
    )
    .await;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
}

#[tokio::test]
async fn files_are_kept_under_their_version_and_asked_for_again_without() {
    let page = text(ask("GET", "/chat", &[BROWSER]).await).await;
    let at = page.find("/assets/").unwrap();
    let address = page[at..].split('"').next().unwrap();
    let versioned = address.replace("icon.svg", "studio.css");
    let response = ask("GET", &versioned, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(header(&response, "cache-control").contains("immutable"));
    assert_eq!(header(&response, "content-type"), "text/css; charset=utf-8");
    let tag = header(&response, "etag").to_owned();

    for path in ["/assets/studio.css", "/assets/0123456789abcdef/studio.css"] {
        let response = ask("GET", path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-cache", "{path}");
        let again = ask("GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert!(text(again).await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_frame_can_be_walked_by_keyboard_and_says_where_one_is() {
    let page = text(ask("GET", "/chat", &[BROWSER]).await).await;
    for piece in [
        "<html lang=\"en\">",
        "<a class=\"skip\" href=\"#main\">",
        "<main id=\"main\"",
        "<a href=\"/chat\" aria-current=\"page\">Chat</a>",
        "name=\"viewport\"",
    ] {
        assert!(page.contains(piece), "{piece}: {page}");
    }
}
