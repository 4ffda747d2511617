//! Reading images that nobody has vouched for.
//!
//! Every image of every data set comes in through here: sizes are checked from the header before
//! memory is asked for, only the first frame of an animation is read, 16-bit and CMYK become 8-bit
//! RGB, and transparency is laid over white, as on the page it was drawn for. Files are never
//! changed.

use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;
use std::sync::OnceLock;

use image::{DynamicImage, ImageReader, Limits, RgbImage};

use crate::archive;

/// No side may be longer, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// No image may have more pixels: 64 megapixels is beyond any published source.
pub const MAX_PIXELS: u64 = 64_000_000;
/// Neither side may be shorter, in pixels: less cannot show a question's subject.
pub const MIN_SIDE: u32 = 8;
/// No file may be longer, in bytes.
pub const MAX_FILE: u64 = 256 << 20;
/// What a decoder may take beside the pixels, in bytes: for a header, a palette, a colour profile.
const BESIDE: u64 = 8 << 20;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such file.
    #[error("no such image file")]
    Missing,
    /// The file has no bytes.
    #[error("the image file is empty")]
    Empty,
    /// Too few pixels to show anything.
    #[error("{0}x{1} pixels: smaller than {MIN_SIDE} on a side")]
    TooSmall(u32, u32),
    /// More pixels than any honest image has: refused before decoding.
    #[error("{0}x{1} pixels: over the limit of {MAX_SIDE} a side and {MAX_PIXELS} in all")]
    TooLarge(u32, u32),
    /// The file itself is too long.
    #[error("{0} bytes: image files over {MAX_FILE} bytes are not read")]
    TooLong(u64),
    /// Not an image, or broken.
    #[error("cannot be decoded: {0}")]
    Broken(String),
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

impl Fault {
    /// All that [`Fault::reason`] may give.
    pub const REASONS: [&'static str; 6] = [
        "image_missing",
        "image_empty",
        "image_too_small",
        "image_too_large",
        "image_broken",
        "image_unreadable",
    ];

    /// A short fixed word to count by in reject tables.
    pub fn reason(&self) -> &'static str {
        match self {
            Fault::Missing => "image_missing",
            Fault::Empty => "image_empty",
            Fault::TooSmall(..) => "image_too_small",
            Fault::TooLarge(..) | Fault::TooLong(_) => "image_too_large",
            Fault::Broken(_) => "image_broken",
            Fault::Unreadable(_) => "image_unreadable",
        }
    }
}

/// Where images are that no file system has: a store that is asked over the network.
pub trait Store: Send + Sync {
    /// The bytes of `KEY` in `BUCKET`, of which there may be [`MAX_FILE`] at most.
    fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>, Fault>;
}

static STORE: OnceLock<Box<dyn Store>> = OnceLock::new();

/// From now on paths that begin with `s3://` are read from `store`, in this whole process. The first one
/// given counts; gives whether this was it.
pub fn set_store(store: Box<dyn Store>) -> bool {
    STORE.set(store).is_ok()
}

/// Bucket and key of `s3://BUCKET/KEY`. Where a path was taken apart and joined again, one slash is left.
fn in_store(path: &Path) -> Option<(&str, &str)> {
    let rest = path.to_str()?.strip_prefix("s3:/")?;
    rest.trim_start_matches('/').split_once('/')
}

/// The file's bytes, if there are any and not too many. The path may lead through an archive
/// ([`crate::archive`]), or to a store ([`set_store`]).
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    if let Some((bucket, key)) = in_store(path) {
        let store = STORE.get().ok_or_else(|| {
            Fault::Unreadable("this build reads no stores: build with --features cluster".into())
        })?;
        let bytes = store.read(bucket, key)?;
        return if bytes.is_empty() {
            Err(Fault::Empty)
        } else {
            Ok(bytes)
        };
    }
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let (archive, member) = archive::split(path).ok_or(Fault::Missing)?;
            return read_member(&archive, &member);
        }
        Err(e) => return Err(Fault::Unreadable(e.to_string())),
    };
    if !meta.is_file() {
        return Err(Fault::Unreadable("not a file".into()));
    }
    if meta.len() > MAX_FILE {
        return Err(Fault::TooLong(meta.len()));
    }
    let bytes = std::fs::read(path).map_err(|e| Fault::Unreadable(e.to_string()))?;
    if bytes.is_empty() {
        Err(Fault::Empty)
    } else {
        Ok(bytes)
    }
}

fn read_member(archive: &Path, member: &str) -> Result<Vec<u8>, Fault> {
    let archive = archive::open(archive).map_err(|e| Fault::Unreadable(e.to_string()))?;
    let size = archive.size(member).ok_or(Fault::Missing)?;
    if size > MAX_FILE {
        return Err(Fault::TooLong(size));
    }
    let mut bytes = Vec::new();
    archive
        .stream(member)
        .and_then(|stream| stream.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|e| match e.kind() {
            ErrorKind::Unsupported => Fault::Unreadable(e.to_string()),
            _ => Fault::Broken(e.to_string()),
        })?;
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    Ok(bytes)
}

/// Whether a PNG or JPEG file ends where it says it ends. Decoders fill what is cut off a JPEG with
/// grey, which would train as if it were the picture.
fn cut_short(bytes: &[u8]) -> bool {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    const END_OF_JPEG: &[u8] = b"\xFF\xD9";
    if bytes.starts_with(b"\xFF\xD8\xFF") {
        // The first half may hold the end of an embedded thumbnail; junk may follow the end.
        return !bytes.ends_with(END_OF_JPEG)
            && !bytes[bytes.len() / 2..]
                .windows(2)
                .any(|w| w == END_OF_JPEG);
    }
    let Some(mut rest) = bytes.strip_prefix(PNG) else {
        return false;
    };
    // A chunk is its length, its name, its data and four bytes of checksum.
    while let Some((head, data)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((_, after)) = length.checked_add(4).and_then(|n| data.split_at_checked(n)) else {
            return true;
        };
        if &head[4..] == b"IEND" {
            return false;
        }
        rest = after;
    }
    true
}

/// Width and height from the header alone, checked against the limits; a file that is visibly cut
/// short is broken.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), Fault> {
    let (width, height) = reader(bytes, BESIDE)?
        .into_dimensions()
        .map_err(|e| Fault::Broken(e.to_string()))?;
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Fault::TooLarge(width, height));
    }
    if width < MIN_SIDE || height < MIN_SIDE {
        return Err(Fault::TooSmall(width, height));
    }
    if cut_short(bytes) {
        return Err(Fault::Broken("the file is cut short".into()));
    }
    Ok((width, height))
}

/// Decodes to 8-bit RGB, transparency over white.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, Fault> {
    Ok(over_white(decode_dynamic(bytes)?))
}

/// Decodes to what PIL's `convert("RGB")` makes of the file, which is what published models see:
/// transparency is dropped, so that hidden colours show; of 16-bit colours the high byte counts;
/// 16-bit grey is clipped, so that all above 255 is white; the orientation in a photo's EXIF data is
/// not applied.
pub fn decode_as_pil(bytes: &[u8]) -> Result<RgbImage, Fault> {
    let high = |values: &[u16], channels: usize| -> Vec<u8> {
        let pixels = values.chunks_exact(channels);
        pixels
            .flat_map(|pixel| match pixel {
                [grey, _] => [grey >> 8; 3],
                [red, green, blue, ..] => [red >> 8, green >> 8, blue >> 8],
                _ => [0; 3],
            })
            .map(|value| u8::try_from(value).unwrap_or(u8::MAX))
            .collect()
    };
    let image = decode_dynamic(bytes)?;
    let (width, height) = (image.width(), image.height());
    let raw = match &image {
        DynamicImage::ImageLuma16(grey) => grey
            .as_raw()
            .iter()
            .flat_map(|&value| [u8::try_from(value).unwrap_or(u8::MAX); 3])
            .collect(),
        DynamicImage::ImageLumaA16(grey) => high(grey.as_raw(), 2),
        DynamicImage::ImageRgb16(rgb) => high(rgb.as_raw(), 3),
        DynamicImage::ImageRgba16(rgba) => high(rgba.as_raw(), 4),
        DynamicImage::ImageRgba8(rgba) => {
            let (pixels, _) = rgba.as_raw().as_chunks::<4>();
            let mut raw = vec![0; pixels.len() * 3];
            let (to, _) = raw.as_chunks_mut::<3>();
            for (to, [red, green, blue, _]) in to.iter_mut().zip(pixels) {
                *to = [*red, *green, *blue];
            }
            raw
        }
        _ => return Ok(image.into_rgb8()),
    };
    RgbImage::from_raw(width, height, raw)
        .ok_or_else(|| Fault::Broken("its pixels do not fill it".into()))
}

fn decode_dynamic(bytes: &[u8]) -> Result<DynamicImage, Fault> {
    let (width, height) = size(bytes)?;
    // 16-bit RGBA.
    let pixels = u64::from(width) * u64::from(height) * 8;
    let reader = reader(bytes, pixels + BESIDE)?;
    reader.decode().map_err(|e| Fault::Broken(e.to_string()))
}

/// A reader that takes no more than `memory` bytes. A PNG's colour profile is inflated with its header; one that
/// does not fit is left out, and as no profile is applied here, that changes no pixel.
fn reader(bytes: &[u8], memory: u64) -> Result<ImageReader<Cursor<&[u8]>>, Fault> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Fault::Broken(e.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(memory);
    reader.limits(limits);
    Ok(reader)
}

/// Reads and decodes a file.
pub fn open(path: &Path) -> Result<RgbImage, Fault> {
    decode(&read_bytes(path)?)
}

/// [`open`] by [`decode_as_pil`].
pub fn open_as_pil(path: &Path) -> Result<RgbImage, Fault> {
    decode_as_pil(&read_bytes(path)?)
}

fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    let (to, _) = rgb.as_chunks_mut::<3>();
    let (from, _) = rgba.as_chunks::<4>();
    for (to, [red, green, blue, alpha]) in to.iter_mut().zip(from) {
        *to = [*red, *green, *blue];
        // Nearly every pixel of nearly every chart is opaque.
        if *alpha != 255 {
            let alpha = u32::from(*alpha);
            for channel in to {
                let value = (u32::from(*channel) * alpha + 255 * (255 - alpha) + 127) / 255;
                *channel = u8::try_from(value).unwrap_or(255);
            }
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn transparency_lies_over_white() {
        let image = RgbaImage::from_pixel(9, 9, Rgba([200, 0, 0, 0]));
        let rgb = decode(&png(image.into())).unwrap();
        assert_eq!(rgb.get_pixel(4, 4).0, [255, 255, 255]);
    }

    #[test]
    fn a_path_in_a_store_is_read_from_the_store() {
        struct Fixed;
        impl Store for Fixed {
            fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>, Fault> {
                match (bucket, key) {
                    ("b", "a/x.png") => Ok(vec![7]),
                    ("b", "empty") => Ok(Vec::new()),
                    _ => Err(Fault::Missing),
                }
            }
        }
        assert!(matches!(
            read_bytes(Path::new("s3://b/a/x.png")),
            Err(Fault::Unreadable(_))
        ));
        assert!(set_store(Box::new(Fixed)));
        assert!(!set_store(Box::new(Fixed)));
        let root = Path::new("s3://b");
        assert_eq!(read_bytes(&root.join("a/x.png")).unwrap(), [7]);
        assert_eq!(
            read_bytes(
                &root
                    .join("a/x.png")
                    .components()
                    .collect::<std::path::PathBuf>()
            )
            .unwrap(),
            [7]
        );
        assert!(matches!(read_bytes(&root.join("y")), Err(Fault::Missing)));
        assert!(matches!(read_bytes(&root.join("empty")), Err(Fault::Empty)));
        assert!(matches!(read_bytes(Path::new("s3:")), Err(Fault::Missing)));
    }

    #[test]
    fn sixteen_bit_becomes_eight() {
        let image = image::ImageBuffer::from_pixel(9, 9, image::Rgb([65535u16, 0, 257 * 7]));
        let rgb = decode(&png(DynamicImage::ImageRgb16(image))).unwrap();
        assert_eq!(rgb.get_pixel(0, 0).0, [255, 0, 7]);
    }

    #[test]
    fn a_truncated_file_is_broken_and_an_empty_one_empty() {
        let bytes = png(RgbaImage::from_pixel(64, 64, Rgba([1, 2, 3, 255])).into());
        assert!(matches!(
            decode(&bytes[..bytes.len() / 2]),
            Err(Fault::Broken(_))
        ));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(open(&path), Err(Fault::Empty)));
        assert!(matches!(
            open(&dir.path().join("y.png")),
            Err(Fault::Missing)
        ));
        assert!(matches!(open(dir.path()), Err(Fault::Unreadable(_))));
    }

    #[test]
    fn a_bomb_is_refused_from_its_header() {
        // A PNG header that claims 60,000 x 60,000 pixels, with hardly any data behind it.
        let mut bytes = png(RgbaImage::from_pixel(8, 8, Rgba([1, 2, 3, 255])).into());
        bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        // The header's checksum covers bytes 12 to 28.
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(
            decode(&bytes),
            Err(Fault::TooLarge(60_000, 60_000))
        ));
    }

    #[test]
    fn a_profile_that_unfolds_is_left_out_and_costs_no_more_than_its_share() {
        use image::{ExtendedColorType, ImageDecoder, ImageEncoder, codecs::png::PngEncoder};
        let kept = |length: u64| {
            let mut bytes = Vec::new();
            let mut encoder = PngEncoder::new(&mut bytes);
            let profile = vec![0; usize::try_from(length).unwrap()];
            encoder.set_icc_profile(profile).unwrap();
            let pixels = [7; 8 * 8 * 3];
            encoder
                .write_image(&pixels, 8, 8, ExtendedColorType::Rgb8)
                .unwrap();
            assert_eq!(decode(&bytes).unwrap().as_raw(), &pixels);
            let mut decoder = reader(&bytes, BESIDE).unwrap().into_decoder().unwrap();
            decoder.icc_profile().unwrap().is_some()
        };
        assert!(kept(100_000));
        assert!(!kept(10 * BESIDE));
    }

    #[test]
    fn files_cut_anywhere_after_their_header_are_broken() {
        let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 7) as u8, (y * 9) as u8, 3]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).unwrap();
            let bytes = bytes.into_inner();
            assert!(size(&bytes).is_ok(), "{format:?}");
            for cut in [bytes.len() - 1, bytes.len() - 30, bytes.len() * 9 / 10] {
                assert!(
                    matches!(size(&bytes[..cut]), Err(Fault::Broken(_))),
                    "{format:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn one_pixel_is_too_small() {
        let bytes = png(RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 255])).into());
        assert!(matches!(decode(&bytes), Err(Fault::TooSmall(1, 1))));
    }

    fn crc32(data: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in data {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0xEDB8_8320
                } else {
                    crc >> 1
                };
            }
        }
        !crc
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, cut in 0usize..200) {
            let _ = decode(&bytes);
            let mut good = png(RgbaImage::from_pixel(12, 9, Rgba([1, 2, 3, 128])).into());
            good.truncate(cut);
            good.extend_from_slice(&bytes);
            let _ = decode(&good);
        }
    }
}
