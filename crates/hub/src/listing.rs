//! What a repository holds at one commit, as its endpoint lists it.
//!
//! `GET /api/models/OWNER/NAME/revision/REVISION?blobs=true` answers
//! `{"sha": COMMIT, "siblings": [{"rfilename": "config.json", "size": 950, "blobId": SHA-1},
//! {"rfilename": "model.safetensors", "size": N, "blobId": .., "lfs": {"sha256": .., "size": N}}]}`.
//! A mirror that leaves out sizes or sums is asked for them file by file, by the headers of `HEAD`.

use std::collections::HashSet;

use serde::Deserialize;

use crate::client::{Client, Head};
use crate::retry::persist;
use crate::{Error, Repository, Sum};

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name below the repository's root, with `/` between folders.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its checksum.
    pub sum: Sum,
}

/// A file as listed: what a mirror may leave out is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub path: String,
    pub size: Option<u64>,
    pub sum: Option<Sum>,
}

/// A repository at a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// 40 hex digits.
    pub commit: String,
    pub files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

/// Asks for the listing.
pub(crate) fn list(client: &Client, repository: &Repository) -> Result<Listing, Error> {
    let what = format!("listing {repository}");
    let body = persist(client.patience(), &what, || client.listing(repository))?;
    parse(&body).map_err(|why| {
        Error::Answer(format!(
            "the listing of {repository} is not a hub's: {why}. Is HF_ENDPOINT right?"
        ))
    })
}

fn parse(body: &[u8]) -> Result<Listing, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let Some(Sum::GitBlob(commit)) = Sum::parse(&answer.sha) else {
        return Err(format!("its commit is {:?}", answer.sha));
    };
    let mut seen = HashSet::new();
    let mut files = Vec::with_capacity(answer.siblings.len());
    for sibling in answer.siblings {
        if !seen.insert(sibling.rfilename.clone()) {
            return Err(format!("it lists {:?} twice", sibling.rfilename));
        }
        // Only git's pointer to a large file has the blob's SHA-1, so that is no sum of its bytes.
        let (sum, size) = match sibling.lfs {
            Some(lfs) => {
                let sum = lfs.sha256.as_deref().and_then(Sum::parse);
                let sum = sum.filter(|sum| matches!(sum, Sum::Sha256(_)));
                (sum, lfs.size.or(sibling.size))
            }
            None => (
                sibling.blob_id.as_deref().and_then(Sum::parse),
                sibling.size,
            ),
        };
        files.push(Listed {
            path: sibling.rfilename,
            size,
            sum,
        });
    }
    Ok(Listing { commit, files })
}

/// The file with its size and sum, asking for what the listing left out, once its name is known to
/// be one that stays below a folder.
pub(crate) fn complete(
    client: &Client,
    repository: &Repository,
    commit: &str,
    listed: &Listed,
) -> Result<RemoteFile, Error> {
    let path = listed.path.clone();
    if let Some(why) = unsafe_name(&path) {
        return Err(Error::Answer(format!(
            "{repository} lists a file named {path:?}, {why}; nothing was fetched. --exclude it if \
             you want the others"
        )));
    }
    if let (Some(size), Some(sum)) = (listed.size, listed.sum.clone()) {
        return Ok(RemoteFile { path, size, sum });
    }
    let url = client.file(repository, commit, &path)?;
    let Head { etag, size } = persist(client.patience(), &path, || {
        client.head(repository, &url, &path)
    })?;
    let sum = listed.sum.clone();
    let sum = sum.or_else(|| etag.as_deref().and_then(Sum::parse));
    let size = listed.size.or(size);
    match (size, sum) {
        (Some(size), Some(sum)) => Ok(RemoteFile { path, size, sum }),
        _ => Err(Error::Answer(format!(
            "{path}: neither the listing nor the file's headers state its size and checksum, so it \
             could not be checked. Try another HF_ENDPOINT"
        ))),
    }
}

/// The folder below a destination that holds what is not finished.
pub(crate) const UNFINISHED: &str = ".math-llava-pull";

/// Why a name must not become a path, if so. Strict on every system, so that a folder made on one
/// can be copied to another.
pub(crate) fn unsafe_name(path: &str) -> Option<&'static str> {
    if path.len() > 1024 {
        return Some("which is longer than 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || "\\:".contains(c)) {
        return Some("which has characters that no file's name should");
    }
    let parts = || path.split('/');
    if parts().any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("which would leave the folder");
    }
    if parts().any(|part| part.len() > 255) {
        return Some("which has a part longer than 255 bytes");
    }
    let first = parts().next().unwrap_or_default();
    if first.eq_ignore_ascii_case(".git") || first.eq_ignore_ascii_case(UNFINISHED) {
        return Some("which would write into a program's own folder");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn large_files_have_their_sha256_and_small_ones_gits() {
        let sha256 = "ab".repeat(32);
        let body = json!({
            "id": "a/b", "sha": COMMIT, "gated": false,
            "siblings": [
                {"rfilename": "config.json", "size": 9, "blobId": COMMIT},
                {"rfilename": "model.safetensors", "size": 7, "blobId": COMMIT,
                 "lfs": {"sha256": sha256, "size": 7, "pointerSize": 1}},
                {"rfilename": "a.bin", "lfs": {"oid": sha256}},
                {"rfilename": "bare"},
                {"rfilename": "b.bin", "blobId": COMMIT, "lfs": {"sha256": COMMIT, "size": 7}},
            ]
        });
        let listing = parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(listing.commit, COMMIT);
        let found: Vec<_> = listing
            .files
            .iter()
            .map(|f| (f.path.as_str(), f.size, f.sum.as_ref().map(Sum::hex)))
            .collect();
        assert_eq!(
            found,
            [
                ("config.json", Some(9), Some(COMMIT)),
                ("model.safetensors", Some(7), Some(sha256.as_str())),
                ("a.bin", None, Some(sha256.as_str())),
                ("bare", None, None),
                // A pointer's SHA-1 is no sum of the file.
                ("b.bin", Some(7), None),
            ]
        );
    }

    #[test]
    fn an_answer_that_is_no_listing_is_refused() {
        let twice = json!({"sha": COMMIT, "siblings": [{"rfilename": "a"}, {"rfilename": "a"}]});
        let minus = json!({"sha": COMMIT, "siblings": [{"rfilename": "a", "size": -1}]});
        let commit = json!({"sha": "../..", "siblings": []});
        for (body, why) in [
            ("<html>", "expected value"),
            ("{}", "missing field"),
            (&twice.to_string(), "twice"),
            (&minus.to_string(), "invalid value"),
            (&commit.to_string(), "its commit is"),
        ] {
            let said = parse(body.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{body}: {said}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_known() {
        for name in [
            "config.json",
            "a/b/c.json",
            "..a/b..",
            "é 1.json",
            ".gitattributes",
        ] {
            assert_eq!(unsafe_name(name), None, "{name}");
        }
        let long = "a".repeat(256);
        for name in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "C:\\a",
            "C:a",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            ".git/hooks/x",
            ".GIT/config",
            ".math-llava-pull/x",
            &long,
        ] {
            assert!(unsafe_name(name).is_some(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_let_through_stays_below_its_folder(name in "[a./\\\\:\0é]{0,12}") {
            if unsafe_name(&name).is_none() {
                let root = std::path::Path::new("/root");
                let plain = root.join(&name);
                let all_normal = plain.strip_prefix(root).unwrap().components()
                    .all(|c| matches!(c, std::path::Component::Normal(_)));
                prop_assert!(all_normal && plain != root, "{name:?}");
            }
        }

        #[test]
        fn no_listing_makes_it_panic(body in "[\\[\\]{}\",:a-z0-9]{0,60}") {
            let _ = parse(body.as_bytes());
        }
    }
}
