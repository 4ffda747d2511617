//! How long the pages about data take on a run as large as the published data set.
//!
//! Writes a run of 360,000 samples over 40,000 images (as many as the paper's) below the folder that it is
//! given, where there is none yet, then asks each kind of page fifty times, each time for something else, and
//! prints the median and the worst.
//!
//! ```text
//! cargo run --release -p studio --example data_at_scale -- FOLDER [SAMPLES]
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, MadePair, Manifest, Origin, PAIRS, REJECTS, Reject,
    SAMPLES, Sample, Stage, StageKey, TableWriter, Task, sha256_hex,
};
use studio::{Studio, StudioOptions};
use tower::ServiceExt;

type Fault = Box<dyn std::error::Error>;

const SOURCES: [&str; 24] = [
    "clevr-math",
    "geometry3k",
    "tabmwp",
    "iconqa",
    "unigeo",
    "geos",
    "mapqa",
    "chartqa",
    "plotqa",
    "dvqa",
    "figureqa",
    "tqa",
    "ai2d",
    "scienceqa",
    "vqa-as",
    "vqa-rad",
    "pmc-vqa",
    "kvqa",
    "vqa2",
    "docvqa",
    "textvqa",
    "super-clevr",
    "vizwiz",
    "geoqa-plus",
];
const KINDS: [&str; 4] = ["askimg", "compq", "rephq", "simpq"];
const WORDS: [&str; 40] = [
    "triangle",
    "circle",
    "radius",
    "angle",
    "height",
    "value",
    "highest",
    "lowest",
    "difference",
    "bar",
    "line",
    "legend",
    "percent",
    "sum",
    "average",
    "median",
    "perimeter",
    "area",
    "chord",
    "tangent",
    "parallel",
    "slope",
    "year",
    "country",
    "population",
    "temperature",
    "graph",
    "axis",
    "label",
    "colour",
    "cube",
    "sphere",
    "metal",
    "rubber",
    "leaf",
    "stem",
    "orbit",
    "voltage",
    "force",
    "mass",
];
/// Each kind of page is asked for so often.
const TIMES: usize = 50;
const IMAGES_OF_FILES: usize = 64;

/// SplitMix64: the same run every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % n as u64) as usize
    }
}

fn question(numbers: &mut Numbers) -> String {
    let count = 8 + numbers.below(12);
    let mut text = String::from("In the picture shown, what is the");
    for _ in 0..count {
        text.push(' ');
        text.push_str(WORDS[numbers.below(WORDS.len())]);
    }
    format!(
        "{text} when $x_{{{}}} = {}$?",
        numbers.below(90),
        numbers.below(1000)
    )
}

fn picture(n: usize) -> Result<Vec<u8>, Fault> {
    let shade = u8::try_from(n % 256)?;
    let image = image::RgbImage::from_fn(640, 480, |x, y| {
        image::Rgb([shade, (x % 256) as u8, ((x * y) % 256) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}

fn finish(folder: &Path, write: impl FnOnce(&Path) -> Result<(), Fault>) -> Result<(), Fault> {
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let stage = Stage::begin(
        folder,
        StageKey::new(&name, 1, serde_json::Value::Null),
        true,
    )?;
    write(folder)?;
    let mut manifest = Manifest::new(stage.key().clone());
    for source in SOURCES {
        manifest
            .image_roots
            .insert(source.to_owned(), PathBuf::from("../pictures"));
    }
    stage.finish(manifest, &[])?;
    Ok(())
}

/// Nine samples an image: one of the data set and eight that were made of it.
fn write(run: &Path, samples: usize) -> Result<(), Fault> {
    let mut numbers = Numbers(7);
    std::fs::create_dir_all(run.join("pictures"))?;
    let count = samples.div_ceil(9);
    let mut images = Vec::with_capacity(count);
    for n in 0..count {
        let source = SOURCES[numbers.below(SOURCES.len())];
        let sha256 = if n < IMAGES_OF_FILES {
            let bytes = picture(n)?;
            std::fs::write(run.join(format!("pictures/{n:06}.jpg")), &bytes)?;
            sha256_hex(&bytes)
        } else {
            sha256_hex(n.to_string().as_bytes())
        };
        images.push((
            source,
            ImageRef {
                path: format!("{source}/{n:06}.jpg"),
                sha256,
                width: 640,
                height: 480,
            },
        ));
    }
    let mut tables = Numbers(11);
    let mut rows = |folder: &Path, part: &[(&str, ImageRef)]| -> Result<(), Fault> {
        let mut writer = TableWriter::create(&folder.join(IMAGES))?;
        for (source, image) in part {
            writer.push(ImageRow {
                image: image.clone(),
                source: (*source).to_owned(),
                family: None,
                clarity: Some(u8::from(tables.below(50) > 0)),
                clarity_score: None,
                complexity: u8::try_from(tables.below(4)).ok(),
                complexity_score: None,
                scene: None,
            })?;
        }
        writer.finish()?;
        Ok(())
    };
    finish(&run.join("select"), |folder| {
        rows(folder, &images)?;
        let mut writer = TableWriter::create(&folder.join(REJECTS))?;
        for n in 0..samples / 8 {
            let source = SOURCES[n % SOURCES.len()];
            writer.push(Reject {
                source: source.to_owned(),
                row: format!("{source}:rejected:{n}"),
                reason: ["unclear", "duplicate_question", "duplicate_image"][n % 3].to_owned(),
                detail: format!("row {n} shows or asks what another one does already"),
            })?;
        }
        writer.finish()?;
        Ok(())
    })?;
    finish(&run.join("synth"), |folder| {
        rows(folder, &images)?;
        let mut all = TableWriter::create(&folder.join(SAMPLES))?;
        let mut pairs = TableWriter::create(&folder.join(PAIRS))?;
        for n in 0..samples {
            let (source, image) = &images[n / 9];
            let parent = format!("{source}:train:{:06}:q0", n / 9);
            let digest = sha256_hex(format!("{}", n / 9).as_bytes());
            let choice = numbers.below(3) == 0;
            let mut own = Sample {
                id: parent.clone(),
                image: image.clone(),
                question: question(&mut numbers),
                choices: if choice {
                    WORDS[..4].iter().map(|w| (*w).to_owned()).collect()
                } else {
                    Vec::new()
                },
                answer: if choice {
                    Answer::Choice(numbers.below(4))
                } else {
                    Answer::Integer(numbers.below(10_000) as i64)
                },
                unit: None,
                rationale: (numbers.below(4) == 0).then(|| question(&mut numbers).repeat(3)),
                task: Task::ALL[numbers.below(5)],
                language: "en".to_owned(),
                origin: Origin::Source {
                    source: (*source).to_owned(),
                    row: format!("{n}"),
                },
                template: None,
            };
            if n % 9 > 0 {
                let kind = KINDS[n % KINDS.len()];
                own.id = format!("{parent}#{kind}{}", n % 9);
                own.origin = Origin::Synth {
                    source: (*source).to_owned(),
                    augmentation: kind.to_owned(),
                    parent: parent.clone(),
                    teacher: "teacher".to_owned(),
                    prompt_digest: digest.clone(),
                };
                pairs.push(MadePair {
                    id: own.id.clone(),
                    kind: kind.to_owned(),
                    source: (*source).to_owned(),
                    task: own.task.name().to_owned(),
                    image: image.path.clone(),
                    image_sha256: image.sha256.clone(),
                    parent,
                    parent_question: "What does the picture show?".to_owned(),
                    parent_answer: "a chart".to_owned(),
                    question: own.question.clone(),
                    choices: own.choices.clone(),
                    answer: own.answer.text(),
                    given: None,
                    votes: vec![own.answer.text(), own.answer.text()],
                    verdict: ["proven", "agreed", "inherited", "form"][numbers.below(4)].to_owned(),
                    reason: None,
                    detail: None,
                    digest,
                })?;
            }
            all.push(own)?;
        }
        all.finish()?;
        pairs.finish()?;
        Ok(())
    })
}

async fn ask(router: &Router, address: &str) -> Result<(Duration, StatusCode, usize), Fault> {
    let request = Request::get(address).body(Body::empty())?;
    let begun = Instant::now();
    let response = router.clone().oneshot(request).await?;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await?;
    Ok((begun.elapsed(), status, bytes.len()))
}

/// Asks once, as often as it takes until the table is read.
async fn open(router: &Router, address: &str) -> Result<Duration, Fault> {
    let begun = Instant::now();
    loop {
        let request = Request::get(address).body(Body::empty())?;
        let response = router.clone().oneshot(request).await?;
        if response.headers().get("refresh").is_none() {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn print(line: &str) {
    use std::io::Write;
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Processor time so far, in milliseconds: what a busy machine does not change much. Linux counts it in
/// hundredths of a second, fields 14 and 15 of the process's line, after a name in brackets.
fn processor() -> f64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = line
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() * 10.0
}

async fn measure(router: &Router, what: &str, addresses: Vec<String>) -> Result<(), Fault> {
    let mut times = Vec::new();
    let mut bytes = 0;
    let before = processor();
    for address in &addresses {
        let (time, status, length) = ask(router, address).await?;
        if status != StatusCode::OK {
            return Err(format!("{address}: {status}").into());
        }
        times.push(time);
        bytes += length;
    }
    let processor = (processor() - before) / addresses.len() as f64;
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    print(&format!(
        "| {what} | {:.1} | {:.1} | {processor:.1} | {:.1} |",
        ms(times[times.len() / 2]),
        ms(times[times.len() - 1]),
        bytes as f64 / addresses.len() as f64 / 1000.0
    ));
    Ok(())
}

fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give a folder for the run")?);
    let samples: usize = arguments.next().map_or(Ok(360_000), |n| n.parse())?;
    let run = folder.join("large");
    if !run.join("synth/manifest.json").is_file() {
        write(&run, samples)?;
    }
    let studio = Studio::open(StudioOptions {
        runs: Some(folder),
        models: Vec::new(),
    })?;
    let router = studio::router(Arc::new(studio));
    let at = |rest: &str| format!("/data/large{rest}");
    print(&format!(
        "first page, cold: {:.2} s",
        open(&router, &at("")).await?.as_secs_f64()
    ));
    print(&format!(
        "memory after it: {} MB",
        memory().unwrap_or(0) / 1000
    ));
    let first = format!("{}:train:000000:q0", source_of_first());
    let sample = |n: usize, source: &str| {
        at(&format!(
            "/sample/{source}%3Atrain%3A{n:06}%3Aq0%23{}1",
            KINDS[(n * 9 + 1) % 4]
        ))
    };
    print(&format!("first sample's page, cold: {:.2} s ({first})", {
        let begun = Instant::now();
        let _ = ask(&router, &sample(0, source_of_first())).await?;
        begun.elapsed().as_secs_f64()
    }));
    print(&format!(
        "memory after it: {} MB",
        memory().unwrap_or(0) / 1000
    ));
    print(&format!("first query, cold: {:.2} s", {
        let (time, ..) = ask(&router, &at("/sql?q=select+count(*)+from+samples")).await?;
        time.as_secs_f64()
    }));
    print(
        "\n| page | median, ms | worst of 50, ms | processor, mean ms | KB |\n| --- | --- | --- | --- | --- |",
    );
    let each = |make: &dyn Fn(usize) -> String| (0..TIMES).map(make).collect::<Vec<_>>();
    measure(&router, "list, as it is opened", each(&|_| at(""))).await?;
    let fragment = next(&router, &at("")).await?;
    let stamp = fragment
        .split("after=")
        .nth(1)
        .and_then(|rest| rest.split('.').next())
        .ok_or("no further rows")?
        .to_owned();
    measure(
        &router,
        "50 rows, anywhere",
        each(&|n| at(&format!("/rows?after={stamp}.{}", n * samples / TIMES))),
    )
    .await?;
    measure(
        &router,
        "one filter",
        each(&|n| {
            at(&format!(
                "?source={}&task={}",
                SOURCES[n % 24],
                Task::ALL[n % 5].name()
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "three filters",
        each(&|n| {
            at(&format!(
                "?source={}&source={}&level={}&kind={}",
                SOURCES[n % 24],
                SOURCES[(n + 5) % 24],
                n % 4,
                KINDS[n / 4 % 4]
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "shuffled, one filter",
        each(&|n| {
            at(&format!(
                "?order=shuffled&source={}&level={}",
                SOURCES[n % 24],
                n % 4
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "hardest first, all rows",
        each(&|n| at(&format!("?order=hardest&nothing={n}"))),
    )
    .await?;
    measure(
        &router,
        "search: a common word",
        each(&|n| {
            at(&format!(
                "?q={}",
                WORDS[n % 40][..3].to_owned() + ["", "%20", "?", "e"][n % 4]
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "search: two words",
        each(&|n| {
            at(&format!(
                "?q={}%20{}",
                WORDS[n % 40],
                WORDS[(n * 7 + 3) % 40]
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "search: not there",
        each(&|n| at(&format!("?q=zebra{n}"))),
    )
    .await?;
    measure(
        &router,
        "search: other letters",
        each(&|n| at(&format!("?q=%C3%A4hre{n}"))),
    )
    .await?;
    let ids = ids(&router, &at("?order=shuffled")).await?;
    measure(
        &router,
        "sample with its lineage",
        each(&|n| ids[n % ids.len()].clone()),
    )
    .await?;
    let digests: Vec<String> = (0..TIMES)
        .map(|n| picture(n).map(|bytes| sha256_hex(&bytes)))
        .collect::<Result<_, _>>()?;
    measure(
        &router,
        "thumbnail, made",
        digests
            .iter()
            .map(|d| at(&format!("/image/{d}?side=160")))
            .collect(),
    )
    .await?;
    measure(
        &router,
        "thumbnail, kept",
        digests
            .iter()
            .map(|d| at(&format!("/image/{d}?side=160")))
            .collect(),
    )
    .await?;
    measure(
        &router,
        "SQL: count(*)",
        each(&|n| {
            at(&format!(
                "/sql?q=select+count(*)+from+samples+where+{n}={n}"
            ))
        }),
    )
    .await?;
    measure(
        &router,
        "SQL: count by source and task",
        each(&|n| {
            at(&format!(
                "/sql?q=select+source,task,count(*)+from+samples+where+{n}={n}+group+by+1,2"
            ))
        }),
    )
    .await?;
    print(&format!(
        "\nmemory at the end: {} MB",
        memory().unwrap_or(0) / 1000
    ));
    Ok(())
}

/// The source that the first image is drawn from.
fn source_of_first() -> &'static str {
    SOURCES[Numbers(7).below(SOURCES.len())]
}

async fn next(router: &Router, address: &str) -> Result<String, Fault> {
    let response = router
        .clone()
        .oneshot(Request::get(address).body(Body::empty())?)
        .await?;
    let page = String::from_utf8(to_bytes(response.into_body(), usize::MAX).await?.to_vec())?;
    let link = page
        .split("data-rows=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    Ok(link
        .ok_or("the list has no further rows")?
        .replace("&amp;", "&"))
}

/// The addresses of the samples on a list's page.
async fn ids(router: &Router, address: &str) -> Result<Vec<String>, Fault> {
    let response = router
        .clone()
        .oneshot(Request::get(address).body(Body::empty())?)
        .await?;
    let page = String::from_utf8(to_bytes(response.into_body(), usize::MAX).await?.to_vec())?;
    let links = page.split("href=\"/data/large/sample/").skip(1);
    Ok(links
        .filter_map(|rest| rest.split('"').next())
        .map(|rest| format!("/data/large/sample/{}", rest.replace("&amp;", "&")))
        .collect())
}
