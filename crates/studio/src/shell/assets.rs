//! Styles, scripts and fonts, inside the program.
//!
//! What can be asked for is what [`FILES`] lists; no path reaches the file system. A page names files below
//! a folder that is called by the digest of all of them, so that browsers may keep them for good and modules
//! that import each other by relative names come from the same version.
//!
//! KaTeX is kept as its package has it (0.19.1: 273 KB of script, 25 KB of style, 260 KB of fonts, of which a
//! browser loads what it shows), without the formats of fonts that only old browsers want.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::Error;

/// A file by its name below `assets/`.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[
            ("report.css", include_bytes!("../../../report/src/style.css")),
            $(($name, include_bytes!(concat!("../../assets/", $name)))),*
        ]
    };
}

/// All of them.
const FILES: &[File] = files![
    "icon.svg",
    "chat.js",
    "chat_images.js",
    "chat_reply.js",
    "chat_request.js",
    "data.css",
    "data.js",
    "dom.js",
    "markdown.js",
    "math.js",
    "math_split.js",
    "runs.js",
    "sql.js",
    "sse.js",
    "studio.css",
    "training.js",
    "zoom.js",
    "katex/LICENSE",
    "katex/fonts/KaTeX_AMS-Regular.woff2",
    "katex/fonts/KaTeX_Caligraphic-Bold.woff2",
    "katex/fonts/KaTeX_Caligraphic-Regular.woff2",
    "katex/fonts/KaTeX_Fraktur-Bold.woff2",
    "katex/fonts/KaTeX_Fraktur-Regular.woff2",
    "katex/fonts/KaTeX_Main-Bold.woff2",
    "katex/fonts/KaTeX_Main-BoldItalic.woff2",
    "katex/fonts/KaTeX_Main-Italic.woff2",
    "katex/fonts/KaTeX_Main-Regular.woff2",
    "katex/fonts/KaTeX_Math-BoldItalic.woff2",
    "katex/fonts/KaTeX_Math-Italic.woff2",
    "katex/fonts/KaTeX_SansSerif-Bold.woff2",
    "katex/fonts/KaTeX_SansSerif-Italic.woff2",
    "katex/fonts/KaTeX_SansSerif-Regular.woff2",
    "katex/fonts/KaTeX_Script-Regular.woff2",
    "katex/fonts/KaTeX_Size1-Regular.woff2",
    "katex/fonts/KaTeX_Size2-Regular.woff2",
    "katex/fonts/KaTeX_Size3-Regular.woff2",
    "katex/fonts/KaTeX_Size4-Regular.woff2",
    "katex/fonts/KaTeX_Typewriter-Regular.woff2",
    "katex/katex.min.css",
    "katex/katex.min.js",
];

/// Letters of the digest in an address.
const DIGEST: usize = 16;

/// The digest of all files with their names.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = String::new();
    for (name, bytes) in FILES {
        all.push_str(name);
        all.push_str(&sample::sha256_hex(bytes));
    }
    let mut digest = sample::sha256_hex(all.as_bytes());
    digest.truncate(DIGEST);
    digest
});

/// The address of a file, by its name below `assets/`.
pub(crate) fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// A file by its address below `/assets/`: as [`address`] gives it, or without a version.
pub(super) async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let (version, name) = match path.split_once('/') {
        Some((first, rest)) if is_version(first) => (Some(first), rest),
        _ => (None, path.as_str()),
    };
    // Another version's page gets what there is now, and asks again next time.
    let keeps = version == Some(VERSION.as_str());
    send(name, keeps, &headers)
}

/// What browsers ask for before they have read a page.
pub(super) async fn icon(headers: HeaderMap) -> Response {
    send("icon.svg", false, &headers)
}

fn is_version(segment: &str) -> bool {
    segment.len() == DIGEST && segment.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn send(name: &str, keeps: bool, headers: &HeaderMap) -> Response {
    let Some((name, bytes)) = FILES.iter().find(|(known, _)| *known == name) else {
        return Error::NotFound(format!("there is no file {name:?} among the pages' files"))
            .into_response();
    };
    let tag = format!("\"{}\"", *VERSION);
    let caching = if keeps {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [(ETAG, tag.clone()), (CACHE_CONTROL, caching.to_owned())];
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(CONTENT_TYPE, content_type(name))], *bytes).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                below(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let mut on_disk = vec!["report.css".to_owned()];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        below(&folder, "", &mut on_disk);
        on_disk.sort();
        let mut listed: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        assert_eq!(on_disk, listed);
    }

    #[test]
    fn every_font_of_katex_is_there() {
        let (_, css) = FILES
            .iter()
            .find(|(n, _)| *n == "katex/katex.min.css")
            .unwrap();
        let css = std::str::from_utf8(css).unwrap();
        let mut fonts = 0;
        for piece in css.split("url(").skip(1) {
            let name = piece.split(')').next().unwrap();
            if name.ends_with(".woff2") {
                let name = format!("katex/{name}");
                assert!(FILES.iter().any(|(known, _)| *known == name), "{name}");
                fonts += 1;
            }
        }
        assert_eq!(fonts, 20);
    }

    #[test]
    fn no_style_or_script_of_ours_loads_from_elsewhere() {
        for (name, bytes) in FILES {
            if name.starts_with("katex/") || name.ends_with(".svg") {
                continue;
            }
            let text = std::str::from_utf8(bytes).unwrap();
            // The name of SVG's elements is an address that nobody asks.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http://", "https://", "@import", "eval("] {
                assert!(!text.contains(foreign), "{name} has {foreign}");
            }
        }
    }
}
