//! Images of a benchmark's questions, small enough for a page.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use report::components::encoded_picture;
use sample::{pixels, safe_join};
use serde::Deserialize;

use super::sheet::find;
use crate::kept::blocking;
use crate::{Error, Studio};

/// The longer side of an image on a page, in pixels.
const SIDE: u32 = 640;

#[derive(Deserialize)]
pub(super) struct Wanted {
    of: String,
    id: String,
    #[serde(default)]
    n: usize,
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let (kind, bytes) = blocking(move || {
        let run = studio.run(&name)?;
        let stages = studio.stages(&run);
        let (stage, manifest) = find(&stages, &wanted.of)?;
        let sheet = studio.sheet(stage, manifest)?;
        let none = || {
            Error::NotFound(format!(
                "question {:?} has no image {}",
                wanted.id, wanted.n
            ))
        };
        let path = sheet
            .image(&run.path, &wanted.id, wanted.n)
            .ok_or_else(none)??;
        // A broken image is shown as such by the browser; the page beside it goes on.
        let broken = |fault: pixels::Fault| Error::NotFound(format!("{}: {fault}", path.display()));
        let bytes = pixels::read_bytes(&path).map_err(broken)?;
        let image = pixels::decode(&bytes).map_err(broken)?;
        encoded_picture(&image, SIDE)
            .ok_or_else(|| Error::Failed(format!("{}: cannot be encoded", path.display())))
    })
    .await?;
    // The question's image does not change while the page is looked at.
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "private, max-age=600"),
    ];
    Ok((headers, bytes).into_response())
}

/// The file of an image: below the benchmark run's folder, or as an absolute path below a root that its
/// manifest names or below the run, where images are kept that had no file of their own. No path leads
/// elsewhere.
pub(super) fn place(
    run: &FilePath,
    folder: &FilePath,
    image_roots: &BTreeMap<String, PathBuf>,
    image: &FilePath,
) -> Result<PathBuf, Error> {
    let text = |path: &FilePath| path.to_string_lossy().into_owned();
    if image.is_relative() {
        return Ok(safe_join(folder, &text(image))?);
    }
    let absolute = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    for root in image_roots.values().chain([&absolute]) {
        if let Ok(below) = image.strip_prefix(root) {
            return Ok(safe_join(root, &text(below))?);
        }
    }
    Err(Error::NotFound(
        "the image lies outside of the folders that the benchmark run names; a run of this version \
         names its data's"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_below_the_run_or_a_root_of_its_manifest_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        std::fs::create_dir_all(&root).unwrap();
        let mut roots = BTreeMap::new();
        let run = dir.path().join("run");
        let absolute = root.join("images/1.png");
        let place = |roots: &BTreeMap<String, PathBuf>, image: &FilePath| {
            place(&run, &run.join("b"), roots, image)
        };
        assert!(place(&roots, &absolute).is_err());
        let _ = roots.insert("mathvista".into(), root.clone());
        assert_eq!(place(&roots, &absolute).unwrap(), absolute);
        assert_eq!(
            place(&roots, FilePath::new("1.png")).unwrap(),
            run.join("b/1.png")
        );
        let own = run.join("images/1.png");
        assert_eq!(place(&roots, &own).unwrap(), own);
        for outside in ["/etc/passwd", "../1.png", "a/../../1.png", "", "a\\b"] {
            assert!(place(&roots, FilePath::new(outside)).is_err(), "{outside}");
        }
        let up = root.join("../secret.png");
        assert!(place(&roots, &up).is_err());
    }
}
