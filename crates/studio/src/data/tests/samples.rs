//! Single samples, their images, and what hostile data tries with them.

use super::*;
use crate::runs::segment;

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
async fn near_duplicates_and_what_benchmarks_have_are_shown_beside_a_sample() {
    let runs = Runs::new(|folder| {
        run(folder);
        let digest = |shade| sha256_hex(&png(shade));
        finish(&folder.join("inspect"), &[], &[], |inspect| {
            let near = select::inspect::NearPair {
                image: "a/0.png".into(),
                image_sha256: digest(0),
                other: "a/2.png".into(),
                other_sha256: digest(180),
                hamming: 3,
                distance: 4.5,
            };
            write_table(&inspect.join(select::inspect::NEAR), &[near]).unwrap();
            let image = select::inspect::ContaminatedImage {
                image: "a/0.png".into(),
                image_sha256: digest(0),
                benchmark: "mathvista".into(),
                item: Some("item <7>".into()),
                benchmark_image: "images/7.jpg".into(),
                kind: "near".into(),
                hamming: 1,
                distance: 2.0,
            };
            write_table(
                &inspect.join(select::inspect::CONTAMINATED_IMAGES),
                &[image],
            )
            .unwrap();
            let question = select::inspect::ContaminatedQuestion {
                id: "a:102".into(),
                image: "a/0.png".into(),
                question: "asked here".into(),
                benchmark: "mathverse".into(),
                item: "item 8".into(),
                benchmark_question: "asked <there>".into(),
                overlap: 0.9,
                dropped: true,
            };
            write_table(
                &inspect.join(select::inspect::CONTAMINATED_QUESTIONS),
                &[question],
            )
            .unwrap();
        });
    });
    // Its image is the first; the third, which looks the same, is held out.
    let page = runs.page("/data/r/sample/a%3A102").await;
    let wanted = [
        "3 bits and 4.5 of 255 apart",
        "held out",
        "mathvista",
        "item &lt;7&gt;",
        "mathverse",
        "asked &lt;there&gt;",
    ];
    for words in wanted {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.contains(&format!("/data/r/image/{}?side=160", sha256_hex(&png(180)))));
    let page = runs.page("/data/r/sample/a%3A100").await;
    assert!(
        !page.contains("Nearly the same") && !page.contains("In benchmarks"),
        "{page}"
    );
}
