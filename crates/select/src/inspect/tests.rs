//! The inspection as a stage: faults, near duplicates, benchmarks, resuming.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use sample::workers::{Function, Local};
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, Origin, SAMPLES, Sample, Task, read_table, sha256_hex,
};

use super::*;

/// A bar chart with some words' worth of ticks; each seed draws another one.
fn chart(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let mut random = move |n: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % n
    };
    let bars: Vec<(u32, [u8; 3])> = (0..6)
        .map(|_| {
            let colour = [random(200) as u8, random(200) as u8, random(200) as u8];
            (20 + random(110), colour)
        })
        .collect();
    RgbImage::from_fn(240, 160, |x, y| {
        let (bar, within) = ((x / 36) as usize, x % 36);
        match bars.get(bar) {
            _ if y == 150 || x == 2 => Rgb([0; 3]),
            Some((height, colour)) if within > 6 && y < 150 && 150 - y < *height => Rgb(*colour),
            _ => Rgb([255; 3]),
        }
    })
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(image: &RgbImage) -> Vec<u8> {
    encoded(image, ImageFormat::Png)
}

fn jpeg(image: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))
        .unwrap();
    bytes
}

/// File name, bytes, and the questions about it.
type Picture<'a> = (&'a str, Vec<u8>, Vec<String>);

/// An import folder `name` below `run`.
fn import(run: &Path, name: &str, pictures: &[Picture]) -> PathBuf {
    let folder = run.join("import").join(name);
    std::fs::create_dir_all(folder.join("images")).unwrap();
    let (mut rows, mut samples) = (Vec::new(), Vec::new());
    for (file, bytes, questions) in pictures {
        std::fs::write(folder.join("images").join(file), bytes).unwrap();
        let image = ImageRef {
            path: format!("{name}/{file}"),
            sha256: sha256_hex(bytes),
            width: 240,
            height: 160,
        };
        for (i, question) in questions.iter().enumerate() {
            let row = format!("{file}/{i}");
            samples.push(Sample {
                id: format!("{name}:{row}"),
                image: image.clone(),
                question: question.clone(),
                choices: vec!["Maine".into(), "Ohio".into()],
                answer: Answer::Choice(0),
                unit: None,
                rationale: None,
                task: Task::Fqa,
                language: "en".into(),
                origin: Origin::Source {
                    source: name.to_owned(),
                    row,
                },
                // As adapters write it: the source and the form.
                template: question
                    .starts_with("Has ")
                    .then(|| format!("{name}/Has X the longest bar?")),
            });
        }
        rows.push(ImageRow {
            image,
            source: name.to_owned(),
            family: None,
            clarity: None,
            clarity_score: None,
            complexity: None,
            complexity_score: None,
            scene: None,
        });
    }
    let stage = Stage::begin(&folder, StageKey::new("import", 0, name.into()), true).unwrap();
    write_table(&folder.join(IMAGES), &rows).unwrap();
    write_table(&folder.join(SAMPLES), &samples).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.count("samples", samples.len() as u64);
    manifest
        .image_roots
        .insert(name.to_owned(), "images".into());
    stage.finish(manifest, &[SAMPLES, IMAGES]).unwrap();
    folder
}

fn run(imports: &[PathBuf], benchmarks: &[PathBuf], out: &Path) -> Result<Manifest, Error> {
    progress::set_quiet(true);
    inspect(&InspectConfig::default(), imports, benchmarks, out, false)
}

fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn pairs(out: &Path) -> BTreeSet<(String, String)> {
    let rows: Vec<NearPair> = read_table(&out.join(NEAR)).unwrap();
    rows.into_iter().map(|r| (r.image, r.other)).collect()
}

#[test]
fn every_fault_has_its_word_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let good = png(&chart(1));
    let mut bomb = good.clone();
    bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    let header = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&header.to_be_bytes());
    let pictures: Vec<Picture> = vec![
        ("broken.png", good[..good.len() / 2].to_vec(), vec![]),
        ("changed.png", good.clone(), vec![]),
        ("empty.png", Vec::new(), vec![]),
        ("good.png", good.clone(), vec![]),
        ("large.png", bomb, vec![]),
        ("missing.png", good.clone(), vec![]),
        ("small.png", png(&RgbImage::new(3, 3)), vec![]),
        ("text.png", b"not an image".to_vec(), vec![]),
        ("unreadable.png", good.clone(), vec![]),
    ];
    let folder = import(dir.path(), "a", &pictures);
    let files = folder.join("images");
    std::fs::remove_file(files.join("missing.png")).unwrap();
    std::fs::write(files.join("changed.png"), png(&chart(2))).unwrap();
    std::fs::remove_file(files.join("unreadable.png")).unwrap();
    std::fs::create_dir(files.join("unreadable.png")).unwrap();
    // A row that points out of its source's folder.
    let mut rows: Vec<ImageRow> = read_table(&folder.join(IMAGES)).unwrap();
    rows.push(rows[3].clone());
    rows[9].image.path = "a/../../../outside.png".into();
    write_table(&folder.join(IMAGES), &rows).unwrap();
    let out = dir.path().join("inspect");
    let manifest = run(&[folder], &[], &out).unwrap();
    let found: Vec<Fingerprint> = read_table(&out.join(FINGERPRINTS)).unwrap();
    let found: Vec<(&str, Option<&str>)> = found
        .iter()
        .map(|f| (f.image.as_str(), f.fault.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("a/../../../outside.png", Some("path_outside_root")),
            ("a/broken.png", Some("image_broken")),
            ("a/changed.png", Some("image_changed")),
            ("a/empty.png", Some("image_empty")),
            ("a/good.png", None),
            ("a/large.png", Some("image_too_large")),
            ("a/missing.png", Some("image_missing")),
            ("a/small.png", Some("image_too_small")),
            ("a/text.png", Some("image_broken")),
            ("a/unreadable.png", Some("image_unreadable")),
        ]
    );
    assert_eq!(
        (manifest.counts["images"], manifest.counts["faults"]),
        (10, 9)
    );
    assert_eq!(manifest.results["faults_by_reason"]["image_broken"], 2);
}

fn crc(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
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

/// Copies of a picture as people make them.
fn copies(image: &RgbImage) -> Vec<Picture<'static>> {
    let half = resize(
        image,
        image.width() / 2,
        image.height() / 2,
        FilterType::Lanczos3,
    );
    let alpha = RgbaImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b] = image.get_pixel(x, y).0;
        Rgba([r, g, b, if [r, g, b] == [255; 3] { 0 } else { 255 }])
    });
    let mut transparent = Cursor::new(Vec::new());
    alpha.write_to(&mut transparent, ImageFormat::Png).unwrap();
    vec![
        ("a.png", png(image), vec![]),
        ("bmp.bmp", encoded(image, ImageFormat::Bmp), vec![]),
        ("half.png", png(&half), vec![]),
        ("half70.jpg", jpeg(&half, 70), vec![]),
        ("jpeg70.jpg", jpeg(image, 70), vec![]),
        ("transparent.png", transparent.into_inner(), vec![]),
        ("webp.webp", encoded(image, ImageFormat::WebP), vec![]),
    ]
}

#[test]
fn reencoded_resized_and_flattened_copies_are_found_across_sources() {
    let dir = tempfile::tempdir().unwrap();
    let copies = copies(&chart(5));
    let a = import(dir.path(), "a", &copies[..1]);
    let b = import(dir.path(), "b", &copies[1..]);
    let out = dir.path().join("inspect");
    run(&[a, b], &[], &out).unwrap();
    let found = pairs(&out);
    for (file, ..) in &copies[1..] {
        let pair = ("a/a.png".to_owned(), format!("b/{file}"));
        assert!(found.contains(&pair), "{file}: {found:?}");
    }
    let rows: Vec<NearPair> = read_table(&out.join(NEAR)).unwrap();
    assert!(
        rows.iter()
            .all(|r| r.image < r.other && r.image_sha256 != r.other_sha256)
    );
}

#[test]
fn different_charts_of_one_kind_are_no_pair_even_where_little_differs() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures: Vec<(String, RgbImage)> =
        (0..60).map(|i| (format!("{i:02}.png"), chart(i))).collect();
    // The same chart with one bar a little higher, one in another colour, one mark more.
    let base = chart(3);
    let mut higher = base.clone();
    let mut other = base.clone();
    let mut marked = base.clone();
    for y in 20..60 {
        for x in 80..100 {
            higher.put_pixel(x, y, Rgb([90, 20, 20]));
        }
    }
    for pixel in other
        .pixels_mut()
        .filter(|p| p.0 != [255; 3] && p.0 != [0; 3])
    {
        pixel.0 = [pixel.0[2], pixel.0[0], pixel.0[1]];
    }
    for y in 40..52 {
        for x in 200..212 {
            marked.put_pixel(x, y, Rgb([20, 20, 20]));
        }
    }
    for (name, image) in [("x1.png", higher), ("x2.png", other), ("x3.png", marked)] {
        pictures.push((name.to_owned(), image));
    }
    let pictures: Vec<Picture> = pictures
        .iter()
        .map(|(name, image)| (name.as_str(), png(image), vec![]))
        .collect();
    let folder = import(dir.path(), "a", &pictures);
    let out = dir.path().join("inspect");
    run(&[folder], &[], &out).unwrap();
    assert_eq!(pairs(&out), BTreeSet::new());
}

#[test]
fn very_many_copies_of_one_picture_stay_one_group_and_a_short_table() {
    let dir = tempfile::tempdir().unwrap();
    let base = chart(7);
    // The same picture with a byte of it different each time.
    let pictures: Vec<(String, Vec<u8>)> = (0..120)
        .map(|i| {
            let mut image = base.clone();
            image.put_pixel(i, 0, Rgb([250; 3]));
            (format!("{i:03}.png"), png(&image))
        })
        .collect();
    let pictures: Vec<Picture> = pictures
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone(), vec![]))
        .collect();
    let folder = import(dir.path(), "a", &pictures);
    let out = dir.path().join("inspect");
    run(&[folder], &[], &out).unwrap();
    let found = pairs(&out);
    assert!(found.len() < 120 * 8, "{}", found.len());
    // Each but the first is tied to an earlier one.
    for (file, ..) in &pictures[1..] {
        let name = format!("a/{file}");
        assert!(found.iter().any(|(_, other)| *other == name), "{name}");
    }
}

fn long(n: u32) -> String {
    format!(
        "A train leaves Springfield with {n} passengers and picks up eleven more at every stop."
    )
}

/// A benchmark folder with three pictures and four questions.
fn benchmark(run: &Path) -> PathBuf {
    let folder = run.join("bench-x");
    std::fs::create_dir_all(folder.join("images")).unwrap();
    for (name, image) in [
        ("1.png", chart(1)),
        ("2.png", chart(2)),
        ("3.png", chart(90)),
    ] {
        std::fs::write(folder.join("images").join(name), png(&image)).unwrap();
    }
    let rows = format!(
        r#"[{{"id": "one", "question": "{}", "image": "images/1.png"}},
            {{"id": "two", "question": "Is dark cyan the maximum?", "image": "images/2.png"}},
            {{"id": "six", "question": "Is dark cyan the maximum?", "image": "images/gone.png"}},
            {{"id": "four", "question": "What is x?"}},
            {{"id": "five", "question": "Has Navy Blue the longest bar?"}}]"#,
        long(12)
    );
    std::fs::write(folder.join("q.json"), rows).unwrap();
    folder
}

/// Data of which some is the benchmark's.
fn data(run: &Path) -> Vec<PathBuf> {
    let mut pictures: Vec<(String, Vec<u8>, Vec<String>)> = vec![
        ("copy.png".into(), png(&chart(1)), vec!["What is x?".into()]),
        (
            "jpeg.jpg".into(),
            jpeg(&chart(2), 70),
            vec!["Is dark cyan the maximum?".into()],
        ),
        (
            "own.png".into(),
            png(&chart(40)),
            vec![
                format!("Look: {} So what?", long(12).to_uppercase()),
                long(13),
            ],
        ),
    ];
    // A wording common in the data.
    for i in 0..21 {
        pictures.push((
            format!("z{i:02}.png"),
            png(&chart(100 + i)),
            vec![
                "Is Dark Cyan the maximum ?".into(),
                // One wording of a form that is common.
                format!(
                    "Has {} the longest bar?",
                    if i == 3 { "navy blue" } else { "Red" }
                ),
            ],
        ));
    }
    let pictures: Vec<Picture> = pictures
        .iter()
        .map(|(name, bytes, questions)| (name.as_str(), bytes.clone(), questions.clone()))
        .collect();
    vec![import(run, "a", &pictures)]
}

#[test]
fn images_and_questions_of_a_benchmark_are_found_and_common_wordings_only_listed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("inspect");
    let manifest = run(&data(dir.path()), &[benchmark(dir.path())], &out).unwrap();
    let images: Vec<ContaminatedImage> = read_table(&out.join(CONTAMINATED_IMAGES)).unwrap();
    let found: Vec<(&str, &str, Option<&str>, &str)> = images
        .iter()
        .map(|r| {
            (
                r.image.as_str(),
                r.kind.as_str(),
                r.item.as_deref(),
                r.benchmark_image.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("a/copy.png", "exact", Some("one"), "images/1.png"),
            ("a/jpeg.jpg", "near", Some("two"), "images/2.png"),
        ]
    );
    assert!(images.iter().all(|r| r.benchmark == "bench-x"));
    let questions: Vec<ContaminatedQuestion> =
        read_table(&out.join(CONTAMINATED_QUESTIONS)).unwrap();
    let goes: Vec<(&str, &str, f64)> = questions
        .iter()
        .filter(|q| q.dropped)
        .map(|q| (q.id.as_str(), q.item.as_str(), q.overlap))
        .collect();
    // The common wording goes where the image is the benchmark's too.
    assert_eq!(
        goes,
        [("a:jpeg.jpg/0", "two", 1.0), ("a:own.png/0", "one", 1.0)]
    );
    let stays = questions.iter().filter(|q| !q.dropped);
    let form: Vec<&str> = stays
        .clone()
        .filter(|q| q.item == "five")
        .map(|q| q.id.as_str())
        .collect();
    assert_eq!(form, ["a:z03.png/1"]);
    assert_eq!(stays.count(), 22);
    assert_eq!(manifest.counts["contaminated_questions"], 24);
    assert_eq!(manifest.counts["contaminated_questions_dropped"], 2);
    let read = &manifest.results["benchmarks"][0];
    assert!(
        read["warnings"][0].as_str().unwrap().contains("gone.png"),
        "{read}"
    );
    let count = &manifest.results["contamination"][0]["count"];
    let wanted = json!({"images_exact": 1, "images_near": 1, "questions_dropped": 2,
        "questions_listed": 22});
    assert_eq!(*count, wanted);
    let page = std::fs::read_to_string(out.join(REPORT)).unwrap();
    assert!(
        page.matches("data:image/").count() >= 6,
        "both sides are shown"
    );
    assert!(page.contains("gone.png") && !page.contains("<script"));
    let short = std::fs::read_to_string(out.join(REPORT_SHORT)).unwrap();
    assert!(
        short.contains("| a | bench-x | 1 | 1 | 2 | 22 |"),
        "{short}"
    );
}

#[test]
fn without_a_benchmark_the_manifest_and_the_page_warn() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("inspect");
    let imports = data(dir.path());
    run(&imports, &[benchmark(dir.path())], &out).unwrap();
    assert!(out.join(CONTAMINATED_IMAGES).is_file());
    // Another benchmark is another result, which needs --force; no stale table stays.
    let error = run(&imports, &[], &out).unwrap_err().to_string();
    assert!(error.contains("benchmark bench-x"), "{error}");
    let manifest = inspect(&InspectConfig::default(), &imports, &[], &out, true).unwrap();
    assert!(
        manifest.results["warning"]
            .as_str()
            .unwrap()
            .contains("no benchmark")
    );
    assert!(!out.join(CONTAMINATED_IMAGES).exists() && !out.join(CONTAMINATED_QUESTIONS).exists());
    let page = std::fs::read_to_string(out.join(REPORT)).unwrap();
    assert!(page.contains("no benchmark folder is given"));
}

#[test]
fn neither_threads_nor_the_order_of_inputs_show_in_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut imports = data(dir.path());
    imports.push(import(dir.path(), "b", &copies(&chart(5))));
    let benchmarks = [benchmark(dir.path())];
    let one = dir.path().join("one");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| run(&imports, &benchmarks, &one)).unwrap();
    imports.reverse();
    let four = dir.path().join("four");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(4)
        .build()
        .unwrap();
    pool.install(|| run(&imports, &benchmarks, &four)).unwrap();
    assert_eq!(bytes_of(&one), bytes_of(&four));
    assert!(!one.join(UNFINISHED).exists());
}

#[test]
fn a_stopped_inspection_goes_on_with_what_it_has_and_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let imports = data(dir.path());
    let whole = dir.path().join("whole");
    run(&imports, &[], &whole).unwrap();
    // What a kill after the first piece leaves: the piece, and no manifest.
    let out = dir.path().join("stopped");
    let unfinished = out.join(UNFINISHED);
    std::fs::create_dir_all(&out).unwrap();
    let images = Images::read(&imports).unwrap();
    images
        .fingerprint(None, &unfinished, &out.join(FINGERPRINTS))
        .unwrap();
    std::fs::remove_file(out.join(FINGERPRINTS)).unwrap();
    // The images are gone: were any of them read again, it would be missing.
    let files = dir.path().join("import/a/images");
    let hidden = dir.path().join("hidden");
    std::fs::rename(&files, &hidden).unwrap();
    let looks = images
        .fingerprint(None, &unfinished, &out.join(FINGERPRINTS))
        .unwrap();
    assert!(looks.faults.is_empty());
    std::fs::rename(&hidden, &files).unwrap();
    // A piece that was cut off is done again.
    for entry in std::fs::read_dir(&unfinished).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "grids") {
            std::fs::write(path, b"short").unwrap();
        }
    }
    run(&imports, &[], &out).unwrap();
    assert_eq!(bytes_of(&whole), bytes_of(&out));
}

/// Many small pictures, some of which cannot be used; more than one piece of them.
fn many(dir: &Path) -> PathBuf {
    let pictures: Vec<(String, Vec<u8>)> = (0..300)
        .map(|n| {
            let bytes = match n % 50 {
                7 => b"no picture".to_vec(),
                8 => Vec::new(),
                _ => png(&resize(
                    &chart(n / 2),
                    48 + n % 2 * 16,
                    32,
                    FilterType::Triangle,
                )),
            };
            (format!("{n:03}.png"), bytes)
        })
        .collect();
    let pictures: Vec<Picture> = pictures
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone(), vec!["How many?".to_owned()]))
        .collect();
    let folder = import(dir, "many", &pictures);
    std::fs::remove_file(folder.join("images/011.png")).unwrap();
    std::fs::write(folder.join("images/012.png"), png(&chart(999))).unwrap();
    folder
}

fn local(function: impl Function + 'static) -> Local {
    Local {
        functions: vec![Arc::new(function)],
        at_a_time: 7,
    }
}

#[test]
fn workers_give_the_same_tables_and_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut imports = data(dir.path());
    imports.push(many(dir.path()));
    let benchmarks = [benchmark(dir.path())];
    let own = dir.path().join("own");
    let manifest = run(&imports, &benchmarks, &own).unwrap();
    assert!(manifest.counts["faults"] > 12, "{:?}", manifest.counts);
    let shared = dir.path().join("shared");
    let workers = local(FingerprintImage);
    let config = InspectConfig::default();
    inspect_with(
        Some(&workers),
        &config,
        &imports,
        &benchmarks,
        &shared,
        false,
    )
    .unwrap();
    assert_eq!(bytes_of(&own), bytes_of(&shared));
}

/// The function, until it was called so often.
struct Until(AtomicUsize);

impl Function for Until {
    fn name(&self) -> &'static str {
        FingerprintImage.name()
    }

    fn version(&self) -> u32 {
        FingerprintImage.version()
    }

    fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_err(|_| "the machine is on fire".to_owned())?;
        FingerprintImage.call(arguments, items)
    }
}

#[test]
fn what_workers_finished_before_they_failed_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let imports = [many(dir.path())];
    let own = dir.path().join("own");
    run(&imports, &[], &own).unwrap();
    let out = dir.path().join("out");
    let config = InspectConfig::default();
    // The last of five pieces has 44 images, seven at a time; the one before is broken off.
    let failing = local(Until(AtomicUsize::new(10)));
    let failed = inspect_with(Some(&failing), &config, &imports, &[], &out, false).unwrap_err();
    let said = failed.to_string();
    assert!(said.contains("on fire"), "{said}");
    assert!(
        said.contains("inspect") && said.contains("fingerprint"),
        "{said}"
    );
    assert!(!out.join("manifest.json").exists());
    // 256 images are left.
    let rest = local(Until(AtomicUsize::new(4 * 64usize.div_ceil(7))));
    inspect_with(Some(&rest), &config, &imports, &[], &out, false).unwrap();
    assert_eq!(bytes_of(&own), bytes_of(&out));
    // So it is where the rest is done here.
    let here = dir.path().join("here");
    let failing = local(Until(AtomicUsize::new(10)));
    inspect_with(Some(&failing), &config, &imports, &[], &here, false).unwrap_err();
    run(&imports, &[], &here).unwrap();
    assert_eq!(bytes_of(&own), bytes_of(&here));
}

#[test]
fn settings_that_cannot_be_right_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    type Change = fn(&mut InspectConfig);
    let cases: [(Change, &str); 4] = [
        (|c| c.max_hamming = 40, "max_hamming = 40"),
        (|c| c.max_distance = f64::NAN, "max_distance"),
        (|c| c.ngram = 1, "ngram = 1"),
        (|c| c.min_overlap = 0.0, "min_overlap = 0"),
    ];
    for (change, wanted) in cases {
        let mut config = InspectConfig::default();
        change(&mut config);
        let error = inspect(&config, &[dir.path().into()], &[], dir.path(), false).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let error = run(&[], &[], dir.path()).unwrap_err().to_string();
    assert!(error.contains("no import folder"), "{error}");
    let error = run(&[dir.path().into()], &[], dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("not a finished stage"),
        "{error}"
    );
}

#[test]
fn one_image_in_two_imports_is_refused_and_two_benchmarks_of_one_name_too() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = copies(&chart(5));
    let a = import(dir.path(), "a", &pictures[..1]);
    let again = import(&dir.path().join("again"), "a", &pictures[..1]);
    let out = dir.path().join("out");
    let error = run(&[a.clone(), again], &[], &out).unwrap_err().to_string();
    assert!(error.contains("both hold the image a/a.png"), "{error}");
    let one = benchmark(dir.path());
    let error = run(&[a], &[one.clone(), one], &out)
        .unwrap_err()
        .to_string();
    assert!(error.contains("called bench-x"), "{error}");
}
