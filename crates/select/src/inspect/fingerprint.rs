//! What is kept of an image after one look at it: its digest, whether it can be used, a 64-bit
//! perceptual hash and a small grid of colours.
//!
//! The hash is taken from the grid, and the grid from the decoded pixels in one pass, so that
//! decoding stays nearly the whole cost. Of the hashes that `image_hasher` offers, the gradient of
//! the cosine transform was chosen by measurement (`bench/runs`): charts and tables on white have
//! large flat parts, where hashes of plain brightness collide by the hundred (mean: 114 times as many
//! pairs of different pictures within ten bits as this one) or flip bits with every re-encoding.

use std::path::Path;

use image::{GrayImage, RgbImage};
use image_hasher::{FilterType, HashAlg, Hasher, HasherConfig};
use rayon::prelude::*;
use sample::{pixels, sha256_hex, workers::Function};

use super::grid::Grid;

/// Sides of the grid that is kept, in cells.
pub const SIDE: usize = 32;
/// Bytes of a kept grid.
pub const GRID_BYTES: usize = SIDE * SIDE * 3;

/// One row of the fingerprints table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The image as tables name it, `<source>/<path>`.
    pub image: String,
    /// Of its bytes at import, in hex.
    pub image_sha256: String,
    /// The source's name.
    pub source: String,
    /// In pixels; as imported where the file cannot be used.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Why it cannot be used, in one word to count by.
    pub fault: Option<String>,
    /// The exact trouble, for a person.
    pub detail: Option<String>,
    /// The perceptual hash, where the image can be used.
    pub phash: Option<u64>,
}

/// Perceptual hashing, set up once for each thread.
pub struct PerceptualHasher(Hasher<[u8; 8]>);

impl PerceptualHasher {
    /// The one hash of this toolkit.
    pub fn new() -> Self {
        PerceptualHasher(
            HasherConfig::with_bytes_type::<[u8; 8]>()
                .hash_size(8, 8)
                .hash_alg(HashAlg::Gradient)
                .preproc_dct()
                .resize_filter(FilterType::Triangle)
                .to_hasher(),
        )
    }

    /// Of a grid's brightness.
    pub fn hash(&self, grid: &Grid) -> u64 {
        let luma: Vec<u8> = grid.cells.iter().map(luma).collect();
        match GrayImage::from_raw(grid.width as u32, grid.height as u32, luma) {
            Some(image) => {
                let hash = self.0.hash_image(&image);
                hash.as_bytes()
                    .iter()
                    .rev()
                    .fold(0, |all, byte| all << 8 | u64::from(*byte))
            }
            // A grid has as many cells as it says.
            None => 0,
        }
    }
}

impl Default for PerceptualHasher {
    fn default() -> Self {
        PerceptualHasher::new()
    }
}

/// Brightness of a colour (ITU-R BT.601), 0 to 255.
pub fn luma([r, g, b]: &[u8; 3]) -> u8 {
    let sum = 299 * u32::from(*r) + 587 * u32::from(*g) + 114 * u32::from(*b);
    ((sum + 500) / 1000) as u8
}

/// What a decoded picture is kept as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The perceptual hash.
    pub phash: u64,
    /// [`SIDE`] x [`SIDE`] mean colours.
    pub grid: Grid,
}

/// Looks at a decoded picture.
pub fn look(hasher: &PerceptualHasher, image: &RgbImage) -> Look {
    let grid = Grid::of(image, SIDE, SIDE);
    Look {
        width: image.width(),
        height: image.height(),
        phash: hasher.hash(&grid),
        grid,
    }
}

/// Why an image cannot be used: a word to count by, and the exact trouble.
pub type Unusable = (String, String);

/// Looks at an image file's bytes, which must have the digest `sha256`.
pub fn look_at_bytes(
    hasher: &PerceptualHasher,
    bytes: &[u8],
    sha256: &str,
) -> Result<Look, Unusable> {
    if sha256_hex(bytes) != sha256 {
        return Err((
            "image_changed".into(),
            "its bytes are not those that were imported".into(),
        ));
    }
    match pixels::decode(bytes) {
        Ok(image) => Ok(look(hasher, &image)),
        Err(fault) => Err(unusable(&fault)),
    }
}

fn unusable(fault: &pixels::Fault) -> Unusable {
    (fault.reason().to_owned(), fault.to_string())
}

/// Looks at an image file, whose bytes must have the digest `sha256`.
pub fn look_at_file(
    hasher: &PerceptualHasher,
    file: &Path,
    sha256: &str,
) -> Result<Look, Unusable> {
    let bytes = pixels::read_bytes(file).map_err(|fault| unusable(&fault))?;
    look_at_bytes(hasher, &bytes, sha256)
}

/// The function `fingerprint`: of each item, an image file with its digest, its size and perceptual hash, or why it cannot be used.
pub struct FingerprintImage;

impl Function for FingerprintImage {
    fn name(&self) -> &'static str {
        "fingerprint"
    }

    fn version(&self) -> u32 {
        1
    }

    fn call(&self, _: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let looked = items
            .par_iter()
            .map_init(PerceptualHasher::new, |hasher, item| {
                let (file, sha256): (String, String) =
                    serde_json::from_str(item).map_err(|e| format!("the item {item:?}: {e}"))?;
                encode(&look_at_file(hasher, Path::new(&file), &sha256))
            });
        looked.collect()
    }
}

/// The item of [`FingerprintImage`] for a file; a name that is no text cannot be sent.
pub fn item(file: &Path, sha256: &str) -> Result<String, sample::Error> {
    let name = file.to_str().ok_or_else(|| {
        sample::Error::format(file, "its name is no text, so workers cannot be told of it")
    })?;
    serde_json::to_string(&(name, sha256)).map_err(|e| sample::Error::format(file, e))
}

/// What begins a look, and what begins a fault.
const LOOK: u8 = 0;
const FAULT: u8 = 1;
/// A look's bytes before its grid: that it is one, width, height, hash, the least byte first.
const HEAD: usize = 1 + 4 + 4 + 8;

fn encode(look: &Result<Look, Unusable>) -> Result<Vec<u8>, String> {
    match look {
        Ok(look) => {
            let mut bytes = Vec::with_capacity(HEAD + GRID_BYTES);
            bytes.push(LOOK);
            bytes.extend(look.width.to_le_bytes());
            bytes.extend(look.height.to_le_bytes());
            bytes.extend(look.phash.to_le_bytes());
            bytes.extend(look.grid.cells.iter().flatten());
            Ok(bytes)
        }
        Err(unusable) => {
            let text = serde_json::to_vec(unusable).map_err(|e| e.to_string())?;
            Ok([&[FAULT], text.as_slice()].concat())
        }
    }
}

/// Reads what [`FingerprintImage`] gave.
pub fn decode(result: &[u8]) -> Result<Result<Look, Unusable>, sample::Error> {
    let wrong = || sample::Error::Workers(format!("{} bytes are no fingerprint", result.len()));
    match result.split_first() {
        Some((&LOOK, rest)) => {
            let (width, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            let (height, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            let (phash, cells) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            if cells.len() != GRID_BYTES {
                return Err(wrong());
            }
            Ok(Ok(Look {
                width: u32::from_le_bytes(*width),
                height: u32::from_le_bytes(*height),
                phash: u64::from_le_bytes(*phash),
                grid: Grid::of_bytes(cells),
            }))
        }
        Some((&FAULT, rest)) => serde_json::from_slice(rest).map(Err).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn chart(bars: &[u32]) -> RgbImage {
        RgbImage::from_fn(200, 150, |x, y| {
            let bar = (x / 20) as usize;
            match bars.get(bar) {
                Some(height) if x % 20 > 4 && 149 - y < *height => Rgb([30, 90, 200]),
                _ => Rgb([255; 3]),
            }
        })
    }

    #[test]
    fn charts_on_white_do_not_share_a_hash() {
        let hasher = PerceptualHasher::new();
        let hashes: Vec<u64> = [[30, 90, 60], [90, 30, 60], [60, 30, 90], [20, 40, 120]]
            .iter()
            .map(|bars| look(&hasher, &chart(bars)).phash)
            .collect();
        for (i, a) in hashes.iter().enumerate() {
            for b in &hashes[i + 1..] {
                assert!((a ^ b).count_ones() > 4, "{a:x} {b:x}");
            }
        }
    }

    #[test]
    fn a_file_with_other_bytes_than_at_import_is_not_looked_at() {
        let (reason, _) = look_at_bytes(&PerceptualHasher::new(), b"GIF89a", "00").unwrap_err();
        assert_eq!(reason, "image_changed");
    }

    #[test]
    fn what_the_function_gives_is_what_a_look_here_gives() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = std::io::Cursor::new(Vec::new());
        chart(&[30, 90])
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        let bytes = bytes.into_inner();
        let (good, cut) = (dir.path().join("good.png"), dir.path().join("a\tb\"c.png"));
        std::fs::write(&good, &bytes).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let digest = |path: &Path| sha256_hex(&std::fs::read(path).unwrap());
        let cases = [
            (good.clone(), digest(&good)),
            (cut.clone(), digest(&cut)),
            (good.clone(), "00".to_owned()),
            (dir.path().join("gone.png"), "00".to_owned()),
        ];
        let items: Vec<String> = cases.iter().map(|(p, s)| item(p, s).unwrap()).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let hasher = PerceptualHasher::new();
        let results = FingerprintImage.call("", &items).unwrap();
        for ((path, sha256), result) in cases.iter().zip(results) {
            assert_eq!(
                decode(&result).unwrap(),
                look_at_file(&hasher, path, sha256)
            );
        }
        let said = FingerprintImage.call("", &["nonsense"]).unwrap_err();
        assert!(said.contains("nonsense"), "{said}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_from_elsewhere_make_reading_them_panic(mut bytes: Vec<u8>, whole: bool) {
            let first = bytes.first().copied().unwrap_or(0) % 3;
            bytes.insert(0, first);
            if whole {
                bytes.resize(HEAD + GRID_BYTES, 7);
            }
            proptest::prop_assert_eq!(whole && first == LOOK, matches!(decode(&bytes), Ok(Ok(_))));
        }
    }
}
