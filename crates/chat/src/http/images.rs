//! Images as data URLs, each read and encoded once for all the requests about it.
//!
//! **Invariant:** what is sent are the bytes that the request's digest names: a file that changed
//! since it was imported is not sent.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::Image;
use crate::transport::{Fault, FaultKind};

/// Encoded images, the last used ones kept up to a number of bytes.
pub(super) struct DataUrls {
    max_file: u64,
    max_kept: usize,
    kept: Mutex<Kept>,
}

/// By SHA-256. An entry without bytes is being encoded; whoever comes meanwhile waits for it.
#[derive(Default)]
struct Kept {
    entries: HashMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    url: Arc<OnceCell<Bytes>>,
    used: u64,
    bytes: usize,
}

impl DataUrls {
    pub(super) fn new(max_file: u64, max_kept: usize) -> DataUrls {
        DataUrls {
            max_file,
            max_kept,
            kept: Mutex::default(),
        }
    }

    /// The image's data URL.
    pub(super) async fn get(&self, image: &Image) -> Result<Bytes, Fault> {
        let cell = self.entry(&image.sha256);
        let url = cell
            .get_or_try_init(|| async {
                let (image, max_file) = (image.clone(), self.max_file);
                let encoded = tokio::task::spawn_blocking(move || data_url(&image, max_file));
                encoded
                    .await
                    .unwrap_or_else(|e| Err(fault(format!("cannot be encoded: {e}"))))
            })
            .await
            .cloned();
        self.settle(&image.sha256, &cell, url.as_ref().ok().map(Bytes::len));
        url
    }

    fn entry(&self, sha256: &str) -> Arc<OnceCell<Bytes>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        kept.uses += 1;
        let used = kept.uses;
        kept.by_use.insert(used, sha256.to_owned());
        let entry = kept.entries.entry(sha256.to_owned());
        let entry = entry.or_insert_with(|| Entry {
            url: Arc::default(),
            used,
            bytes: 0,
        });
        if entry.used != used {
            kept.by_use.remove(&entry.used);
            entry.used = used;
        }
        entry.url.clone()
    }

    /// Counts an encoded image, and drops the ones not used for longest while there are too many
    /// bytes. An image that cannot be read is forgotten.
    fn settle(&self, sha256: &str, cell: &Arc<OnceCell<Bytes>>, bytes: Option<usize>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        let Some(entry) = kept.entries.get_mut(sha256) else {
            return;
        };
        if !Arc::ptr_eq(&entry.url, cell) {
            return;
        }
        match bytes {
            Some(bytes) if entry.bytes == 0 => {
                entry.bytes = bytes;
                kept.bytes += bytes;
            }
            Some(_) => return,
            None => {
                kept.by_use.remove(&entry.used);
                kept.entries.remove(sha256);
                return;
            }
        }
        while kept.bytes > self.max_kept {
            let Some((_, oldest)) = kept.by_use.pop_first() else {
                return;
            };
            if let Some(entry) = kept.entries.remove(&oldest) {
                kept.bytes -= entry.bytes;
            }
        }
    }
}

fn fault(detail: String) -> Fault {
    Fault {
        kind: FaultKind::Image,
        detail,
    }
}

fn data_url(image: &Image, max_file: u64) -> Result<Bytes, Fault> {
    encode(&image.path, &image.sha256, max_file)
        .map_err(|detail| fault(format!("{}: {detail}", image.path.display())))
}

fn encode(path: &Path, sha256: &str, max_file: u64) -> Result<Bytes, String> {
    let bytes = sample::pixels::read_bytes(path).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > max_file {
        return Err(format!(
            "{} bytes, over max_image_bytes of {max_file}",
            bytes.len()
        ));
    }
    if sample::sha256_hex(&bytes) != sha256 {
        return Err("the file changed since it was imported; import it again".into());
    }
    let url = match mime(&bytes) {
        Some(mime) => url(mime, &bytes),
        // Servers read few formats; the rest is sent as PNG, which loses nothing.
        None => {
            let pixels = sample::pixels::decode(&bytes).map_err(|e| e.to_string())?;
            let mut png = Cursor::new(Vec::new());
            pixels
                .write_to(&mut png, image::ImageFormat::Png)
                .map_err(|e| format!("cannot be written as PNG: {e}"))?;
            url("image/png", png.get_ref())
        }
    };
    Ok(url)
}

fn url(mime: &str, bytes: &[u8]) -> Bytes {
    let head = format!("data:{mime};base64,");
    let mut url = String::with_capacity(head.len() + bytes.len().div_ceil(3) * 4);
    url.push_str(&head);
    STANDARD.encode_string(bytes, &mut url);
    url.into()
}

/// By the first bytes, as names of files lie.
fn mime(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xFF\xD8\xFF") {
        Some("image/jpeg")
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some("image/gif")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, RgbImage};
    use std::path::PathBuf;

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> Image {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        image(path, bytes)
    }

    fn image(path: PathBuf, bytes: &[u8]) -> Image {
        Image {
            path,
            sha256: sample::sha256_hex(bytes),
            width: 9,
            height: 9,
        }
    }

    fn picture(format: ImageFormat, shade: u8) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let pixels = RgbImage::from_pixel(9, 9, image::Rgb([shade, 2, 3]));
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn the_form_is_told_by_the_bytes_and_rare_ones_become_png() {
        let folder = tempfile::tempdir().unwrap();
        let urls = DataUrls::new(1 << 20, 1 << 20);
        let cases = [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::Gif, "image/gif"),
            (ImageFormat::WebP, "image/webp"),
            (ImageFormat::Bmp, "image/png"),
        ];
        for (format, mime) in cases {
            let bytes = picture(format, 200);
            let url = run(urls.get(&file(folder.path(), "x.txt", &bytes))).unwrap();
            let head = format!("data:{mime};base64,");
            let body = url.strip_prefix(head.as_bytes()).unwrap();
            let sent = STANDARD.decode(body).unwrap();
            if format == ImageFormat::Bmp {
                assert_eq!(
                    sample::pixels::decode(&sent).unwrap().get_pixel(4, 4).0,
                    [200, 2, 3]
                );
            } else {
                assert_eq!(sent, bytes);
            }
        }
    }

    #[test]
    fn a_file_that_changed_is_gone_or_too_long_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let urls = DataUrls::new(1000, 1 << 20);
        let detail = |image: &Image| {
            let fault = run(urls.get(image)).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Image);
            fault.detail
        };
        let mut changed = file(folder.path(), "a.png", &picture(ImageFormat::Png, 1));
        changed.sha256 = "0".repeat(64);
        assert!(detail(&changed).contains("changed since"));
        let gone = image(folder.path().join("none.png"), b"");
        assert!(detail(&gone).contains("none.png: no such image file"));
        let long = file(folder.path(), "b.png", &[0; 1001]);
        assert!(detail(&long).contains("over max_image_bytes of 1000"));
        let junk = file(folder.path(), "c.png", &[1; 50]);
        assert!(detail(&junk).contains("cannot be decoded"));
    }

    #[test]
    fn a_file_is_read_once_for_all_who_ask_and_what_failed_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let urls = DataUrls::new(1 << 20, 1 << 20);
        let bytes = picture(ImageFormat::Png, 1);
        let image = image(folder.path().join("a.png"), &bytes);
        assert!(run(urls.get(&image)).is_err());
        std::fs::write(&image.path, &bytes).unwrap();
        let all = run(async { tokio::join!(urls.get(&image), urls.get(&image), urls.get(&image)) });
        let first = all.0.unwrap();
        for url in [all.1, all.2] {
            assert_eq!(url.unwrap().as_ptr(), first.as_ptr());
        }
        std::fs::remove_file(&image.path).unwrap();
        assert_eq!(run(urls.get(&image)).unwrap(), first);
    }

    #[test]
    fn the_longest_unused_images_are_dropped_first() {
        let folder = tempfile::tempdir().unwrap();
        let images: Vec<Image> = (0..4)
            .map(|n| {
                file(
                    folder.path(),
                    &format!("{n}.png"),
                    &picture(ImageFormat::Png, n),
                )
            })
            .collect();
        let unbounded = DataUrls::new(1 << 20, 1 << 20);
        let lengths: Vec<usize> = (0..4)
            .map(|n| run(unbounded.get(&images[n])).unwrap().len())
            .collect();
        let longest = lengths.iter().max().unwrap();
        let urls = DataUrls::new(1 << 20, 3 * longest);
        for n in [0, 1, 2, 0, 3] {
            run(urls.get(&images[n])).unwrap();
        }
        for image in &images {
            std::fs::remove_file(&image.path).unwrap();
        }
        let there: Vec<bool> = (0..4).map(|n| run(urls.get(&images[n])).is_ok()).collect();
        assert_eq!(there, [true, false, true, true]);
        let kept = urls.kept.lock().unwrap();
        assert_eq!(kept.entries.len(), kept.by_use.len());
        assert_eq!(kept.bytes, lengths[0] + lengths[2] + lengths[3]);
    }
}
