//! Images become what PIL and LLaVA make of them.

use std::path::PathBuf;

use image::{Rgb, RgbImage};
use model::{CLIP_MEAN, CLIP_STD, Fit, LlavaConfig, Preprocessor, Resample};
use sample::pixels::Fault;
use tch::Device;

use super::{golden, tensors};

fn preprocessor(side: usize) -> Preprocessor {
    Preprocessor {
        side,
        mean: CLIP_MEAN,
        std: CLIP_STD,
        fit: Fit::Pad,
        resample: Resample::Bicubic,
    }
}

#[test]
fn resizing_is_within_one_level_of_pil_up_and_down() {
    for (name, expected) in tensors(&golden("pil_bicubic.safetensors")) {
        let (picture, side) = name.split_once('.').unwrap();
        let path = golden(&format!("picture_{picture}.png"));
        let found = preprocessor(side.parse().unwrap()).open(&path).unwrap();
        // [side, side, 3] -> [3, side, side]
        let expected = Vec::<u8>::try_from(expected.permute([2, 0, 1]).flatten(0, -1)).unwrap();
        let off = found
            .bytes
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b));
        assert!(off.clone().max().unwrap() <= 1, "{name}");
        let different = off.filter(|&d| d > 0).count();
        assert!(
            different * 20 < expected.len(),
            "{name}: {different} of {}",
            expected.len()
        );
    }
}

#[test]
fn padding_is_the_mean_colour_on_both_sides_of_the_short_edge() {
    let image = RgbImage::from_pixel(16, 8, Rgb([200, 10, 30]));
    let pixels = preprocessor(16).square(&image).unwrap();
    let at = |x: usize, y: usize| [0, 1, 2].map(|c| pixels.bytes[c * 256 + y * 16 + x]);
    assert_eq!(at(3, 0), [122, 116, 104]);
    assert_eq!(at(3, 3), [122, 116, 104]);
    assert_eq!(at(3, 4), [200, 10, 30]);
    assert_eq!(at(3, 11), [200, 10, 30]);
    assert_eq!(at(3, 12), [122, 116, 104]);
}

#[test]
fn many_files_come_back_in_order_and_a_broken_one_costs_only_itself() {
    let paths: Vec<PathBuf> = ["picture_0.png", "texts.json", "picture_1.png", "absent.png"]
        .map(golden)
        .to_vec();
    let preprocessor = preprocessor(28);
    let found = preprocessor.open_all(&paths);
    assert_eq!(
        found[0].as_ref().unwrap(),
        &preprocessor.open(&paths[0]).unwrap()
    );
    assert!(matches!(found[1], Err(Fault::Broken(_))));
    assert_eq!(
        found[2].as_ref().unwrap(),
        &preprocessor.open(&paths[2]).unwrap()
    );
    assert!(matches!(found[3], Err(Fault::Missing)));
}

#[test]
fn pixels_of_another_size_are_refused() {
    let pixels = preprocessor(16).square(&RgbImage::new(16, 16)).unwrap();
    let refused = preprocessor(28)
        .normalise(&[&pixels], Device::Cpu)
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("16 pixels a side for a tower of 28"),
        "{refused}"
    );
}

/// Every mode PIL reads, in the four ways that published towers are shown images.
#[test]
fn images_of_every_mode_are_within_one_level_of_the_published_processors() {
    let fits = [
        ("pad", Fit::Pad),
        ("crop", Fit::Crop { shortest: 28 }),
        ("stretch", Fit::Stretch),
        ("dino", Fit::Crop { shortest: 32 }),
    ];
    let expected = tensors(&golden("images/pixels.safetensors"));
    assert_eq!(expected.len(), 18 * fits.len());
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let (file, fit) = name.split_once('/').unwrap();
        let fit = fits.iter().find(|(name, _)| *name == fit).unwrap().1;
        let preprocessor = Preprocessor {
            fit,
            ..preprocessor(28)
        };
        let path = golden(&format!("images/{file}"));
        let found = preprocessor.open(&path).unwrap().bytes;
        let expected = Vec::<u8>::try_from(expected.flatten(0, -1)).unwrap();
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        // Two JPEG decoders differ by a few levels before anything is resized.
        let allowed = if file.ends_with("jpg") { 3 } else { 1 };
        if worst.unwrap() > allowed {
            wrong.push(format!("{name}: {worst:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn padding_without_the_square_is_padding_with_it() {
    let draw = |width: u32, height: u32| {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([
                (x * 37 % 256) as u8,
                (y * 91 % 256) as u8,
                ((x ^ y) * 53 % 256) as u8,
            ])
        })
    };
    for (width, height) in [
        (9, 200),
        (200, 9),
        (65, 64),
        (64, 65),
        (33, 150),
        (8, 9),
        (97, 31),
    ] {
        for side in [14, 28, 100] {
            let image = draw(width, height);
            let longer = width.max(height);
            let mut padded = RgbImage::from_pixel(longer, longer, Rgb([122, 116, 104]));
            let (x, y) = ((longer - width) / 2, (longer - height) / 2);
            image::imageops::replace(&mut padded, &image, i64::from(x), i64::from(y));
            let found = preprocessor(side).square(&image).unwrap();
            assert_eq!(
                found,
                preprocessor(side).square(&padded).unwrap(),
                "{width}x{height}"
            );
        }
    }
}

/// A tower of 28 pixels a side.
fn tower(model_type: &str) -> LlavaConfig {
    let mut config = super::small_config();
    let vision = config.vision_config.as_mut().unwrap();
    vision.image_size = 28;
    model_type.clone_into(&mut vision.model_type);
    config
}

#[test]
fn a_folder_is_preprocessed_as_transformers_would() {
    const SIGLIP: [f64; 3] = [0.5; 3];
    type Found = (usize, Fit, Resample, [f64; 3]);
    let crop = |shortest| Fit::Crop { shortest };
    let cases: [(&str, &str, &str, Found); 12] = [
        (
            "clip_vision_model",
            "",
            "",
            (28, Fit::Pad, Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "clip_vision_model",
            r#"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 28},
                "crop_size": {"height": 28, "width": 28}}"#,
            "{}",
            (28, crop(28), Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "clip_vision_model",
            r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 28, "crop_size": 28,
                "resample": 2, "image_mean": [0.1, 0.2, 0.3]}"#,
            "{}",
            (28, crop(28), Resample::Bilinear, [0.1, 0.2, 0.3]),
        ),
        (
            "clip_vision_model",
            r#"{"image_processor_type": "CLIPImageProcessor", "size": 28, "crop_size": 28}"#,
            r#"{"image_aspect_ratio": "pad"}"#,
            (28, Fit::Pad, Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "clip_vision_model",
            r#"{"image_processor_type": "LlavaImageProcessor", "do_pad": true,
                "size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}"#,
            "{}",
            (28, Fit::Pad, Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "clip_vision_model",
            r#"{"do_pad": true, "size": {"shortest_edge": 28}, "do_center_crop": false}"#,
            "{}",
            (28, Fit::Pad, Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "siglip_vision_model",
            r#"{"image_processor_type": "SiglipImageProcessor", "size": {"height": 28, "width": 28}}"#,
            "{}",
            (28, Fit::Stretch, Resample::Bicubic, SIGLIP),
        ),
        (
            "siglip_vision_model",
            r#"{"size": {"height": 28, "width": 28}}"#,
            "{}",
            (28, Fit::Stretch, Resample::Bicubic, SIGLIP),
        ),
        (
            "vit",
            r#"{"image_processor_type": "ViTImageProcessor", "size": 28}"#,
            "{}",
            (28, Fit::Stretch, Resample::Bilinear, SIGLIP),
        ),
        (
            "dinov2",
            r#"{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224}, "image_mean": [0.485, 0.456, 0.406]}"#,
            "{}",
            (224, crop(256), Resample::Bicubic, [0.485, 0.456, 0.406]),
        ),
        (
            "clip_vision_model",
            r#"{"size": {"height": 28, "width": 28}, "do_normalize": false}"#,
            "{}",
            // 224, the class's own crop, is not this tower's.
            (0, Fit::Pad, Resample::Bicubic, CLIP_MEAN),
        ),
        (
            "clip_vision_model",
            r#"{"size": {"height": 28, "width": 28}, "do_center_crop": false, "do_normalize": false}"#,
            "{}",
            (28, Fit::Stretch, Resample::Bicubic, [0.0; 3]),
        ),
    ];
    for (model_type, file, config, (side, fit, resample, mean)) in cases {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("preprocessor_config.json", file), ("config.json", config)] {
            if !text.is_empty() {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
        }
        let found = Preprocessor::load(dir.path(), &tower(model_type));
        if side == 0 {
            assert!(found.is_err(), "{file}");
            continue;
        }
        let found = found.unwrap();
        let found = (found.side, found.fit, found.resample, found.mean);
        assert_eq!(found, (side, fit, resample, mean), "{file}");
    }
}

#[test]
fn preprocessing_that_no_tower_takes_is_refused() {
    let cases = [
        (r#"{"do_resize": false}"#, "not resized"),
        (r#"{"do_rescale": false}"#, "not rescaled"),
        (r#"{"rescale_factor": 0.5}"#, "rescale_factor is 0.5"),
        (
            r#"{"size": 28, "crop_size": 28, "resample": 1}"#,
            "resample is 1",
        ),
        (r#"{"size": 336, "crop_size": 336}"#, "image_size 28"),
        (
            r#"{"size": {"height": 28, "width": 30}, "crop_size": 28}"#,
            "28x30",
        ),
        (r#"{"size": {"longest_edge": 28}}"#, "longest_edge"),
        (
            r#"{"size": 28, "crop_size": {"height": 28, "width": 30}}"#,
            "crop_size",
        ),
        (r#"{"size": 28, "do_center_crop": false}"#, "not square"),
        (
            r#"{"size": 28, "crop_size": 28, "image_std": [0, 1, 1]}"#,
            "image_std",
        ),
        (
            r#"{"size": 28, "crop_size": 28, "image_mean": [0.5]}"#,
            "image_mean",
        ),
        (
            r#"{"size": 18446744073709551615, "crop_size": 28}"#,
            "preprocessor_config.json",
        ),
        ("[1", "preprocessor_config.json"),
    ];
    for (text, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("preprocessor_config.json"), text).unwrap();
        let refused = Preprocessor::load(dir.path(), &tower("clip_vision_model"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}
