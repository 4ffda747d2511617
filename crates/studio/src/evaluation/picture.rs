//! Images of a benchmark's questions, small enough for a page.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use report::components::encoded_picture;
use sample::{Manifest, pixels, safe_join};
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
        let (folder, image) = sheet.image(&wanted.id, wanted.n).ok_or_else(none)?;
        let path = place(&run.path, folder, manifest, image)?;
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
fn place(
    run: &FilePath,
    folder: &FilePath,
    manifest: &Manifest,
    image: &FilePath,
) -> Result<PathBuf, Error> {
    let text = |path: &FilePath| path.to_string_lossy().into_owned();
    if image.is_relative() {
        return Ok(safe_join(folder, &text(image))?);
    }
    let absolute = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    for root in manifest.image_roots.values().chain([&absolute]) {
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
    use sample::StageKey;

    #[test]
    fn images_lie_below_the_run_or_a_root_of_its_manifest_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        std::fs::create_dir_all(&root).unwrap();
        let mut manifest = Manifest::new(StageKey::new("benchmark", 0, serde_json::Value::Null));
        let run = dir.path().join("run");
        let absolute = root.join("images/1.png");
        let place =
            |manifest: &Manifest, image: &FilePath| place(&run, &run.join("b"), manifest, image);
        assert!(place(&manifest, &absolute).is_err());
        let _ = manifest
            .image_roots
            .insert("mathvista".into(), root.clone());
        assert_eq!(place(&manifest, &absolute).unwrap(), absolute);
        assert_eq!(
            place(&manifest, FilePath::new("1.png")).unwrap(),
            run.join("b/1.png")
        );
        let own = run.join("images/1.png");
        assert_eq!(place(&manifest, &own).unwrap(), own);
        for outside in ["/etc/passwd", "../1.png", "a/../../1.png", "", "a\\b"] {
            assert!(
                place(&manifest, FilePath::new(outside)).is_err(),
                "{outside}"
            );
        }
        let up = root.join("../secret.png");
        assert!(place(&manifest, &up).is_err());
    }
}
