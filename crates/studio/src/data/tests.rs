//! The pages as a browser asks for them, on small runs that the tests write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use proptest::prelude::*;
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, MadePair, Manifest, Origin, PAIRS, REJECTS, Reject,
    SAMPLES, Sample, Stage, StageKey, Task, sha256_hex, write_table,
};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::runs::segment;
use crate::{Studio, StudioOptions};

const SCRIPT: &str = "<script>alert('1')</script> & \"<img src=x onerror=alert(2)>";

/// A folder of runs with the studio on it.
struct Runs {
    folder: TempDir,
    router: Router,
}

impl Runs {
    fn new(write: impl FnOnce(&Path)) -> Runs {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("r"));
        let options = StudioOptions {
            runs: Some(folder.path().to_owned()),
            models: Vec::new(),
        };
        let studio = Arc::new(Studio::open(options).unwrap());
        Runs {
            folder,
            router: crate::router(studio),
        }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    async fn ask(&self, address: &str) -> Response {
        let request = Request::get(address)
            .header(header::ACCEPT, "text/html")
            .body(Body::empty())
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn text(&self, address: &str) -> (StatusCode, String) {
        let response = self.ask(address).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn page(&self, address: &str) -> String {
        let (status, text) = self.text(address).await;
        assert_eq!(status, StatusCode::OK, "{address}: {text}");
        text
    }
}

fn finish(folder: &Path, roots: &[(&str, &str)], files: &[&str], write: impl FnOnce(&Path)) {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let stage = Stage::begin(
        folder,
        StageKey::new(&name, 1, serde_json::Value::Null),
        true,
    )
    .unwrap();
    write(folder);
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.image_roots = roots
        .iter()
        .map(|(k, v)| ((*k).to_owned(), PathBuf::from(v)))
        .collect();
    manifest.results =
        serde_json::json!({ "title": format!("Title of {SCRIPT}"), "licence": "CC BY 4.0" });
    stage.finish(manifest, files).unwrap();
}

fn png(shade: u8) -> Vec<u8> {
    let image =
        image::RgbImage::from_fn(400, 300, |x, y| image::Rgb([shade, (x / 2) as u8, y as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn image(run: &Path, path: &str, bytes: &[u8]) -> ImageRef {
    let file = run.join("import/a/images").join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, bytes).unwrap();
    ImageRef {
        path: format!("a/{path}"),
        sha256: sha256_hex(bytes),
        width: 400,
        height: 300,
    }
}

fn sample(n: usize, image: &ImageRef) -> Sample {
    let choice = n.is_multiple_of(3);
    Sample {
        id: format!("a:{n}"),
        image: image.clone(),
        question: format!("What is number {n} of the chart in $x^{n}$?"),
        choices: if choice {
            vec!["Elm".into(), "Oak".into()]
        } else {
            Vec::new()
        },
        answer: if choice {
            Answer::Choice(1)
        } else {
            Answer::Integer(n as i64)
        },
        unit: n.is_multiple_of(2).then(|| "cm".into()),
        rationale: None,
        task: Task::ALL[n % 5],
        language: "en".into(),
        origin: Origin::Source {
            source: if n.is_multiple_of(4) { "a" } else { "b" }.into(),
            row: format!("row {n}"),
        },
        template: None,
    }
}

fn made(parent: &Sample, n: usize, kind: &str) -> Sample {
    Sample {
        id: format!("{}#{kind}{n}", parent.id),
        question: format!("A made question {n} of {kind}"),
        origin: Origin::Synth {
            source: parent.origin.source().into(),
            augmentation: kind.into(),
            parent: parent.id.clone(),
            teacher: "the teacher".into(),
            prompt_digest: "ab".repeat(32),
        },
        ..parent.clone()
    }
}

fn pair(made: &Sample, parent: &Sample, reason: Option<&str>) -> MadePair {
    MadePair {
        id: made.id.clone(),
        kind: made.origin.kind().into(),
        source: made.origin.source().into(),
        task: made.task.name().into(),
        image: made.image.path.clone(),
        image_sha256: made.image.sha256.clone(),
        parent: parent.id.clone(),
        parent_question: parent.question.clone(),
        parent_answer: parent.answer_value(),
        question: made.question.clone(),
        choices: made.choices.clone(),
        answer: made.answer.text(),
        given: Some("the teacher's own".into()),
        votes: vec!["vote one".into(), "vote two".into()],
        verdict: if reason.is_some() {
            "rejected"
        } else {
            "agreed"
        }
        .into(),
        reason: reason.map(str::to_owned),
        detail: reason.map(|_| format!("why: {SCRIPT}")),
        digest: "ab".repeat(32),
    }
}

fn image_row(image: &ImageRef, level: Option<u8>, clarity: Option<u8>) -> ImageRow {
    ImageRow {
        image: image.clone(),
        source: "a".into(),
        family: None,
        clarity,
        clarity_score: None,
        complexity: level,
        complexity_score: None,
        scene: None,
    }
}

fn reject(row: &str, reason: &str) -> Reject {
    Reject {
        source: "a".into(),
        row: row.into(),
        reason: reason.into(),
        detail: format!("detail: {SCRIPT}"),
    }
}

/// 130 imported samples of three images, the last of them in the selection too, and two made pairs, one of
/// which was rejected.
fn run(run: &Path) {
    let images: Vec<ImageRef> = (0..3)
        .map(|n| image(run, &format!("{n}.png"), &png(n * 90)))
        .collect();
    let samples: Vec<Sample> = (0..130).map(|n| sample(n, &images[n % 3])).collect();
    let rows: Vec<ImageRow> = images
        .iter()
        .zip([Some(0), Some(3), None])
        .map(|(image, level)| image_row(image, level, level.map(|_| 1)))
        .collect();
    finish(&run.join("import/a"), &[("a", "images")], &[], |folder| {
        write_table(&folder.join(SAMPLES), &samples).unwrap();
        write_table(&folder.join(IMAGES), &rows).unwrap();
        write_table(&folder.join(REJECTS), &[reject("row 900", "image_missing")]).unwrap();
    });
    finish(
        &run.join("select"),
        &[("a", "../import/a/images")],
        &[],
        |folder| {
            write_table(&folder.join(SAMPLES), &samples[100..]).unwrap();
            write_table(&folder.join(IMAGES), &rows[..2]).unwrap();
            write_table(&folder.join(select::HELDOUT_IMAGES), &rows[2..]).unwrap();
            write_table(
                &folder.join(REJECTS),
                &[
                    reject("a:7", "duplicate_question"),
                    reject("a/2.png", "unclear"),
                ],
            )
            .unwrap();
        },
    );
    finish(
        &run.join("synth"),
        &[("a", "../import/a/images")],
        &[],
        |folder| {
            let parent = &samples[100];
            let (kept, gone) = (made(parent, 1, "askimg"), made(parent, 2, "compq"));
            let pairs = [
                pair(&kept, parent, None),
                pair(&gone, parent, Some("same_as_sibling")),
            ];
            write_table(&folder.join(PAIRS), &pairs).unwrap();
            let mut all = samples[100..].to_vec();
            all.push(kept);
            write_table(&folder.join(SAMPLES), &all).unwrap();
            write_table(&folder.join(IMAGES), &rows[..2]).unwrap();
        },
    );
}

/// The run that tests which write nothing share.
static SHARED: LazyLock<Runs> = LazyLock::new(|| Runs::new(run));

fn names(fragment: &str) -> Vec<String> {
    let pieces = fragment.split("<code>").skip(1);
    let names = pieces.map(|piece| piece.split("</code>").next().unwrap().to_owned());
    names.filter(|name| name.contains(':')).collect()
}

#[tokio::test]
async fn the_last_data_stages_samples_are_listed_with_counts_and_a_table_can_be_chosen() {
    let page = SHARED.page("/data/r").await;
    assert!(
        page.contains("<strong>31</strong> rows in <code>synth/samples</code>"),
        "{page}"
    );
    assert!(
        page.contains(">askimg</label><span class=\"n\">1</span>"),
        "{page}"
    );
    assert!(
        page.contains(">agreed</label><span class=\"n\">1</span>"),
        "{page}"
    );
    let page = SHARED.page("/data/r?table=import%2Fa%2Fsamples").await;
    assert!(page.contains("<strong>130</strong> rows"), "{page}");
    for table in [
        "select/samples",
        "synth/pairs",
        "import/a/rejects",
        "select/rejects",
    ] {
        assert!(
            page.contains(&format!("<option value=\"{table}\"")),
            "{table}"
        );
    }
    let page = SHARED.page("/data/r?table=select/rejects").await;
    assert!(
        page.contains("duplicate_question") && page.contains("/data/r/sample/a%3A7\""),
        "{page}"
    );
    assert!(!page.contains("/sample/a%2F2.png"), "{page}");
}

#[tokio::test]
async fn filters_leave_the_rows_that_have_one_of_the_values_of_each_column() {
    let table = "/data/r?table=import/a/samples";
    let cases: [(&str, usize); 9] = [
        ("&source=a", 33),
        ("&source=a&source=b", 130),
        ("&task=FQA&source=a", 7),
        ("&level=3", 43),
        ("&level=(none)", 43),
        ("&clarity=clear", 87),
        ("&q=NUMBER%2017%20OF", 1),
        ("&q=oak", 44),
        ("&nonsense=1", 130),
    ];
    for (filter, wanted) in cases {
        let page = SHARED.page(&format!("{table}{filter}")).await;
        let says = format!("<strong>{wanted}</strong>");
        assert!(
            page.contains(&says),
            "{filter}: {}",
            page.split("id=\"found\"").nth(1).unwrap()
        );
    }
    // The counts of a column are those that another choice in it would give.
    let page = SHARED.page(&format!("{table}&source=a")).await;
    assert!(
        page.contains(">b</label><span class=\"n\">97</span>"),
        "{page}"
    );
    let page = SHARED
        .page(&format!("{table}&source=nothing&q=zebra"))
        .await;
    assert!(page.contains("No row is like that"), "{page}");
    // A whole name finds its row, though names are not searched.
    let page = SHARED.page(&format!("{table}&q=a%3A17")).await;
    assert_eq!(names(&page), ["a:17"]);
}

#[tokio::test]
async fn orders_are_orders_of_the_same_rows() {
    let mut lists = BTreeMap::new();
    for (_, key, _) in super::index::Order::ALL {
        let page = SHARED
            .page(&format!("/data/r/rows?table=select/samples&order={key}"))
            .await;
        lists.insert(key, names(&page));
    }
    let sorted = |key: &str| lists[key].iter().cloned().collect::<BTreeSet<_>>();
    for key in lists.keys() {
        assert_eq!(
            (lists[key].len(), sorted(key)),
            (30, sorted("table")),
            "{key}"
        );
    }
    // Of the three images the second is level 3, the first 0, the third has none.
    assert_eq!(
        (lists["hardest"][0].as_str(), lists["easiest"][0].as_str()),
        ("a:100", "a:102")
    );
    assert_ne!(lists["shuffled"], lists["table"]);
}

async fn walk(filter: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut address = format!("/data/r/rows?table=import/a/samples{filter}");
    loop {
        let fragment = SHARED.page(&address).await;
        assert!(!fragment.contains("<html"), "{fragment}");
        let rows = names(&fragment);
        assert!(rows.len() <= super::browse::ROWS && (!rows.is_empty() || all.is_empty()));
        all.extend(rows);
        let Some(next) = fragment.split("data-rows=\"").nth(1) else {
            return all;
        };
        address = next.split('"').next().unwrap().replace("&amp;", "&");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn going_on_with_a_list_meets_every_row_once(
        sources in prop::collection::vec(prop_oneof!["a", "b", "c"], 0..3),
        tasks in prop::collection::vec(prop_oneof!["FQA", "GPS", "VQA"], 0..3),
        words in prop_oneof!["", "number 1", "oak", "cm"],
        order in 0..super::index::Order::ALL.len(),
    ) {
        let mut filter = format!("&q={}&order={}", segment(&words), super::index::Order::ALL[order].1);
        sources.iter().for_each(|s| filter.push_str(&format!("&source={s}")));
        tasks.iter().for_each(|t| filter.push_str(&format!("&task={t}")));
        let wanted: BTreeSet<String> = (0..130)
            .map(|n| sample(n, &ImageRef { path: String::new(), sha256: String::new(), width: 0, height: 0 }))
            .filter(|s| sources.is_empty() || sources.iter().any(|x| x == s.origin.source()))
            .filter(|s| tasks.is_empty() || tasks.iter().any(|x| x == s.task.name()))
            .filter(|s| {
                let unit = s.unit.clone().unwrap_or_default();
                let text = format!("{}\n{}\n{unit}\n{}", s.question, s.answer.text(), s.choices.join("\n"));
                text.to_lowercase().contains(&words)
            })
            .map(|s| s.id)
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let met = runtime.block_on(walk(&filter));
        prop_assert_eq!(met.len(), wanted.len());
        prop_assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_cannot_be_meant_is_refused() {
    let digest = "0".repeat(64);
    let cases = [
        ("/data/nothing".to_owned(), 404),
        ("/data/..%2Fr".to_owned(), 404),
        ("/data/r?table=gone/samples".to_owned(), 404),
        ("/data/r?table=..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        ("/data/r/sample/a%3A9999".to_owned(), 404),
        ("/data/r/sample/..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        (format!("/data/r/image/{digest}"), 404),
        ("/data/r/image/..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        ("/data/r/image/abc".to_owned(), 404),
        ("/data/nothing/sql".to_owned(), 404),
        ("/data/nothing/rows".to_owned(), 404),
        ("/data/r?order=sideways".to_owned(), 400),
        ("/data/r/rows?after=00000000.50".to_owned(), 400),
        ("/data/r/rows?after=x".to_owned(), 400),
        (format!("/data/r?q={}", "x".repeat(501)), 400),
        ("/data/r/sql?q=select%201&format=exe".to_owned(), 400),
    ];
    for (address, wanted) in cases {
        let (status, text) = SHARED.text(&address).await;
        assert_eq!(status.as_u16(), wanted, "{address}: {text}");
    }
}

#[tokio::test]
async fn a_samples_page_shows_it_with_its_lineage_and_its_neighbours_in_the_list() {
    let page = SHARED.page("/data/r/sample/a%3A100%23askimg1").await;
    let wanted = [
        "A made question 1 of askimg",
        "<code>a:100#askimg1</code>",
        "href=\"/data/r/sample/a%3A100\"",
        "What is number 100 of the chart",
        "row <code>row 100</code>",
        "teacher the teacher",
        "not on the run's ledger",
        "vote one",
        "The teacher said",
        "agreed",
        "its image is selected",
        "licence: CC BY 4.0",
        "Others about this image",
    ];
    for words in wanted {
        assert!(page.contains(words), "{words}: {page}");
    }
    // The list it was opened from goes on around it, in the order of the list.
    let list = "?table=import%2Fa%2Fsamples&source=a&order=table";
    let page = SHARED.page(&format!("/data/r/sample/a%3A8{list}")).await;
    assert!(page.contains("<span class=\"n\">3 of 33</span>"), "{page}");
    let query = "?table=import%2Fa%2Fsamples&amp;source=a";
    assert!(
        page.contains(&format!(
            "rel=\"prev\" href=\"/data/r/sample/a%3A4{query}\""
        )),
        "{page}"
    );
    assert!(
        page.contains(&format!(
            "rel=\"next\" href=\"/data/r/sample/a%3A12{query}\""
        )),
        "{page}"
    );
    // Rejects by its name and by its image's path.
    let page = SHARED
        .page("/data/r/sample/a%3A7?table=import/a/samples")
        .await;
    assert!(
        page.contains("rejected by select") && page.contains("duplicate question"),
        "{page}"
    );
    let page = SHARED
        .page("/data/r/sample/a%3A8?table=import/a/samples")
        .await;
    assert!(
        page.contains("unclear") && page.contains("its image is held out"),
        "{page}"
    );
    // A pair that became no sample has a page too.
    let page = SHARED
        .page("/data/r/sample/a%3A100%23compq2?table=synth/pairs")
        .await;
    assert!(
        page.contains("same as sibling") && page.contains("vote two"),
        "{page}"
    );
    assert!(page.contains("A made question 2 of compq"), "{page}");
}

#[tokio::test]
async fn a_right_choice_is_marked_and_maths_is_marked_for_setting() {
    let page = SHARED
        .page("/data/r/sample/a%3A102?table=select/samples")
        .await;
    assert!(
        page.contains("(B) Oak <span class=\"right\">✓ the answer</span>"),
        "{page}"
    );
    assert!(
        page.contains("<h2 class=\"math-text\">What is number 102 of the chart in $x^102$?</h2>"),
        "{page}"
    );
}

#[tokio::test]
async fn images_come_smaller_and_are_kept_for_good() {
    let bytes = png(90);
    let digest = sha256_hex(&bytes);
    let address = format!("/data/r/image/{digest}?side=160");
    let response = SHARED.ask(&address).await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name| {
        response
            .headers()
            .get(name)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert!(header(header::CONTENT_TYPE).starts_with("image/"));
    assert!(header(header::CACHE_CONTROL).contains("immutable"));
    let tag = header(header::ETAG);
    let small = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let small = image::load_from_memory(&small).unwrap();
    assert_eq!((small.width(), small.height()), (160, 120));
    let again = Request::get(&address)
        .header(header::IF_NONE_MATCH, &tag)
        .body(Body::empty())
        .unwrap();
    let again = SHARED.router.clone().oneshot(again).await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    // Small ones are not blown up; the side is a number within bounds.
    let whole = SHARED.ask(&format!("/data/r/image/{digest}")).await;
    let whole =
        image::load_from_memory(&to_bytes(whole.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!((whole.width(), whole.height()), (400, 300));
    assert_eq!(
        SHARED
            .ask(&format!("/data/r/image/{digest}?side=0"))
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn broken_changed_and_outside_images_show_a_note_and_never_their_bytes() {
    let runs = Runs::new(|run| {
        let broken = image(run, "broken.png", b"this is no image at all, but a text");
        let changed = image(run, "changed.png", &png(1));
        std::fs::write(run.join("import/a/images/changed.png"), png(2)).unwrap();
        let secret = b"a secret beside the images";
        std::fs::write(run.join("import/secret.txt"), secret).unwrap();
        let outside = ImageRef {
            path: "a/../../secret.txt".into(),
            sha256: sha256_hex(secret),
            width: 9,
            height: 9,
        };
        let absolute = ImageRef {
            path: "a//etc/passwd".into(),
            sha256: "1".repeat(64),
            width: 9,
            height: 9,
        };
        let unknown = ImageRef {
            path: "b/x.png".into(),
            sha256: "2".repeat(64),
            width: 9,
            height: 9,
        };
        let images = [broken, changed, outside, absolute, unknown];
        let samples: Vec<Sample> = images
            .iter()
            .enumerate()
            .map(|(n, i)| sample(n, i))
            .collect();
        let rows: Vec<ImageRow> = images.iter().map(|i| image_row(i, None, None)).collect();
        finish(&run.join("import/a"), &[("a", "images")], &[], |folder| {
            write_table(&folder.join(SAMPLES), &samples).unwrap();
            write_table(&folder.join(IMAGES), &rows).unwrap();
        });
    });
    let digests = [
        (
            sha256_hex(b"this is no image at all, but a text"),
            "cannot be decoded",
        ),
        (sha256_hex(&png(1)), "has changed"),
        (sha256_hex(b"a secret beside the images"), "leads out"),
        ("1".repeat(64), "leads out"),
        ("2".repeat(64), "no stage says"),
    ];
    for (n, (digest, why)) in digests.iter().enumerate() {
        let (status, text) = runs.text(&format!("/data/r/image/{digest}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{digest}");
        assert!(
            text.contains(why) && !text.contains("secret beside"),
            "{digest}: {text}"
        );
        let page = runs.page(&format!("/data/r/sample/a%3A{n}")).await;
        assert!(
            page.contains("cannot be shown") && page.contains(why),
            "{why}: {page}"
        );
    }
    let root = runs.folder.path().display().to_string();
    assert!(!runs.page("/data/r/sample/a%3A2").await.contains(&root));
}

#[tokio::test]
async fn text_from_data_is_never_markup() {
    let id = format!("a:{SCRIPT}#../../x?q=1");
    let runs = Runs::new(|run| {
        let own = image(run, "0.png", &png(3));
        let hostile = Sample {
            id: id.clone(),
            question: SCRIPT.into(),
            choices: vec![SCRIPT.into(), SCRIPT.into()],
            answer: Answer::Choice(0),
            unit: Some(SCRIPT.into()),
            rationale: Some(SCRIPT.into()),
            template: Some(SCRIPT.into()),
            language: SCRIPT.into(),
            origin: Origin::Source {
                source: SCRIPT.into(),
                row: SCRIPT.into(),
            },
            image: ImageRef {
                path: format!("a/{SCRIPT}"),
                ..own.clone()
            },
            ..sample(0, &own)
        };
        let mut pair = pair(&made(&hostile, 1, SCRIPT), &hostile, Some(SCRIPT));
        pair.id = "a:pair".into();
        finish(
            &run.join("select"),
            &[("a", "../import/a/images")],
            &[],
            |folder| {
                write_table(&folder.join(SAMPLES), &[hostile.clone(), sample(1, &own)]).unwrap();
                write_table(&folder.join(IMAGES), &[image_row(&own, Some(1), None)]).unwrap();
                write_table(&folder.join(PAIRS), &[pair]).unwrap();
                let mut rejected = reject(&id, SCRIPT);
                rejected.source = SCRIPT.into();
                write_table(&folder.join(REJECTS), &[rejected]).unwrap();
            },
        );
    });
    let query = format!("q={}&source={}", segment("<"), segment(SCRIPT));
    let sql = format!(
        "select id, question, '{}' as \"<b>\" from samples",
        SCRIPT.replace('\'', "''")
    );
    let addresses = [
        "/data/r".to_owned(),
        format!("/data/r?{query}"),
        format!("/data/r/rows?{query}"),
        "/data/r?table=select/pairs".to_owned(),
        "/data/r?table=select/rejects".to_owned(),
        format!("/data/r/sample/{}", segment(&id)),
        "/data/r/sample/a%3Apair".to_owned(),
        format!("/data/r/sql?q={}", segment(&sql)),
    ];
    for address in addresses {
        let page = runs.page(&address).await;
        for bad in ["<script>alert", "<img src=x", "<b>", "onerror=alert(2)>"] {
            // Where it is text its brackets are escaped.
            let page = page.replace("onerror=alert(2)&gt;", "");
            assert!(!page.contains(bad), "{address}: {bad}");
        }
        assert!(page.contains("&lt;script&gt;"), "{address}: {page}");
    }
    for address in [
        format!("/data/{}", segment(SCRIPT)),
        format!("/data/r/sample/{}", segment("<script>x")),
    ] {
        let (status, text) = runs.text(&address).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(!text.contains("<script>"), "{text}");
    }
}

#[tokio::test]
async fn a_stage_that_is_begun_is_absent_and_one_that_is_written_again_is_seen() {
    let runs = Runs::new(run);
    assert!(
        runs.page("/data/r")
            .await
            .contains("<strong>31</strong> rows")
    );
    let next = runs.page("/data/r/rows?table=import/a/samples").await;
    let next = next
        .split("data-rows=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let synth = runs.run().join("synth");
    let stage = Stage::begin(
        &synth,
        StageKey::new("synth", 2, serde_json::Value::Null),
        true,
    )
    .unwrap();
    let page = runs.page("/data/r").await;
    assert!(
        page.contains("select/samples</code>") && !page.contains("synth/samples"),
        "{page}"
    );
    write_table(
        &synth.join(SAMPLES),
        &[sample(5, &image(&runs.run(), "0.png", &png(0)))],
    )
    .unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest
        .image_roots
        .insert("a".into(), "../import/a/images".into());
    stage.finish(manifest, &[]).unwrap();
    assert!(
        runs.page("/data/r")
            .await
            .contains("<strong>1</strong> rows")
    );
    // A list that was loaded before does not go on in another one.
    let (status, text) = runs.text(&next).await;
    assert_eq!(
        (status, text.contains("load the list again")),
        (StatusCode::BAD_REQUEST, true),
        "{text}"
    );
    // The older list's place is only good for what it was made of; the new one goes on.
    let fresh = runs.page("/data/r/rows?table=import/a/samples").await;
    assert!(fresh.contains("data-rows="));
}

#[tokio::test]
async fn a_run_that_is_only_begun_says_so() {
    let runs = Runs::new(|run| {
        let import = run.join("import");
        std::fs::create_dir_all(&import).unwrap();
        let key = StageKey::new("import", 1, serde_json::Value::Null);
        let _ = Stage::begin(&import.join("a"), key, false).unwrap();
        write_table(
            &import.join("a").join(REJECTS),
            &[reject("row 1", "image_missing")],
        )
        .unwrap();
    });
    assert!(
        runs.page("/data/r")
            .await
            .contains("No stage of this run has finished")
    );
    assert_eq!(runs.text("/data/r/rows").await.0, StatusCode::NOT_FOUND);
    assert_eq!(runs.text("/data/r/sql").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_table_that_is_broken_is_a_fault_with_its_name() {
    let runs = Runs::new(run);
    let file = runs.run().join("select").join(SAMPLES);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (status, text) = runs.text("/data/r?table=select/samples").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("samples.parquet"), "{text}");
    // Others are still shown.
    runs.page("/data/r").await;
    // Mended, it is read again.
    std::fs::write(&file, bytes).unwrap();
    assert!(
        runs.page("/data/r?table=select/samples")
            .await
            .contains("<strong>30</strong>")
    );
}

#[tokio::test]
async fn sql_is_answered_on_the_page_and_as_files() {
    let page = SHARED.page("/data/r/sql").await;
    for words in [
        "<code>select_samples</code>",
        "question",
        "Questions by source and task",
        "made pairs",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let ask = |sql: &str| format!("/data/r/sql?q={}", segment(sql));
    let page = SHARED
        .page(&ask("select count(*) as n from import_samples"))
        .await;
    assert!(
        page.contains("<th scope=\"col\">n</th>") && page.contains("<td>130</td>"),
        "{page}"
    );
    let page = SHARED
        .page(&ask("select id from samples order by id"))
        .await;
    assert!(page.contains("href=\"/data/r/sample/a%3A100\""), "{page}");
    let many = "select a.id from import_samples a, import_samples b";
    let page = SHARED.page(&ask(many)).await;
    assert!(page.contains("200 rows of more"), "{page}");
    assert_eq!(page.matches("<tr>").count(), 201);
    let (status, csv) = SHARED.text(&format!("{}&format=csv", ask(many))).await;
    assert_eq!(
        (status, csv.lines().count()),
        (StatusCode::OK, 130 * 130 + 1)
    );
    let (_, json) = SHARED
        .text(&format!(
            "{}&format=json",
            ask("select id from samples where id = 'a:101'")
        ))
        .await;
    assert_eq!(json, "{\"id\":\"a:101\"}\n");
}

#[tokio::test]
async fn sql_that_writes_reads_files_or_takes_too_much_is_refused() {
    let run = SHARED.run();
    let file = run.join("select/samples.parquet").display().to_string();
    let out = SHARED
        .folder
        .path()
        .join("written.csv")
        .display()
        .to_string();
    let statements = [
        format!("copy samples to '{out}'"),
        format!("copy (select 1) to '{out}' stored as csv"),
        format!("create external table t stored as parquet location '{file}'"),
        "create table t as select 1".to_owned(),
        "create view v as select 1".to_owned(),
        "insert into samples select * from samples".to_owned(),
        "delete from samples".to_owned(),
        "update samples set id = 'x'".to_owned(),
        "drop table samples".to_owned(),
        "truncate table samples".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "reset datafusion.execution.batch_size".to_owned(),
        format!("explain analyze copy samples to '{out}'"),
        "select 1; drop table samples".to_owned(),
        format!("select * from '{file}'"),
        "select * from '/etc/passwd'".to_owned(),
        format!("select * from read_parquet('{file}')"),
        format!("select * from read_csv('{file}')"),
        "select * from read_json('/etc/passwd')".to_owned(),
        format!("select * from parquet_metadata('{file}')"),
        "select * from generate_series(1, 1000000000000)".to_owned(),
        "select * from range(1, 1000000000000)".to_owned(),
        "select repeat('x', 1000000000)".to_owned(),
        "select lpad('x', 1000000000)".to_owned(),
        "select array_repeat(1, 1000000000)".to_owned(),
        "select * from nothing".to_owned(),
        "not a query".to_owned(),
        format!("select '{}'", "x".repeat(10_000)),
    ];
    for sql in statements {
        let (status, text) = SHARED
            .text(&format!("/data/r/sql?q={}", segment(&sql)))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{sql}: {text}");
    }
    assert!(!SHARED.folder.path().join("written.csv").exists());
    // What is longer than a page may be is refused and not held.
    let wide = "select string_agg(a.question || b.question, ' ') from import_samples a, import_samples b, \
                (select 1 from samples limit 3) c";
    let (status, text) = SHARED
        .text(&format!("/data/r/sql?q={}", segment(wide)))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("longer than 1 MiB"), "{text}");
    assert!(
        SHARED
            .page("/data/r/sql?q=select+count(*)+from+samples")
            .await
            .contains("<td>31</td>")
    );
}
