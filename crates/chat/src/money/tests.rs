//! Prices, estimates and the budget's bound.

use proptest::prelude::*;

use super::*;
use crate::{Finish, Settled, Tag};

fn price() -> Price {
    Price {
        input: 2.0,
        output: 10.0,
        ..Price::default()
    }
}

#[test]
fn images_are_counted_by_the_rules_that_vendors_publish() {
    let tiles = ImageTokens::default();
    let patch = ImageTokens::Patch {
        size: 14,
        merge: 2,
        max: 1280,
    };
    let cases = [
        // The two examples of OpenAI's guide: 4 tiles, and 6 tiles.
        (tiles, 1024, 1024, 765),
        (tiles, 2048, 4096, 1105),
        (tiles, 512, 512, 255),
        (tiles, 513, 512, 425),
        (tiles, 1, 1, 255),
        (tiles, 10_000, 10, 85 + 170 * 4),
        (ImageTokens::Fixed(576), 3000, 10, 576),
        (patch, 224, 224, 64),
        (patch, 28, 28, 1),
        (patch, 1, 1, 1),
        (patch, 9000, 9000, 1280),
    ];
    for (rule, width, height, tokens) in cases {
        assert_eq!(rule.of(width, height), tokens, "{rule:?} {width}x{height}");
    }
}

#[test]
fn texts_are_estimated_within_a_third_of_what_tokenisers_count() {
    // Counted with cl100k_base, by the PyPI package bpe-openai 0.1.4.
    let cases = [
        ("What is the area of the shaded region in the figure?", 12),
        ("Solve for x: 3x + 5 = 20, where x is a real number.", 22),
        ("如图所示，求三角形的面积", 13),
        (
            "In the bar chart, how much higher was revenue in 2019 than in 2018, in millions of dollars?",
            25,
        ),
        (
            r#"{"questions": [{"question": "How many cubes?", "answer": "12.5"}]}"#,
            20,
        ),
        (
            "Quelle est la différence entre les deux côtés du triangle ?",
            14,
        ),
        (r"x^2 + 3xy - 7 = \frac{1}{2}(a+b)h", 22),
    ];
    for (text, counted) in cases {
        let estimate = text_tokens(text) as f64;
        let ratio = estimate / f64::from(counted);
        assert!(
            (0.66..1.5).contains(&ratio),
            "{text}: {estimate} of {counted}"
        );
    }
    assert_eq!(text_tokens(""), 0);
}

#[test]
fn a_batch_is_half_price_and_a_server_that_counts_nothing_is_not_free() {
    assert_eq!(price().cost(1_000_000, 100_000, false), 3.0);
    assert_eq!(price().cost(1_000_000, 100_000, true), 1.5);
    let uncounted = Reply {
        text: "four words are here".into(),
        finish: Finish::Stop,
        prompt_tokens: 0,
        completion_tokens: 0,
    };
    let cost = price().of(&uncounted, 1000, false);
    assert_eq!(
        cost,
        price().cost(1000, text_tokens(&uncounted.text), false)
    );
    assert!(cost > 0.002);
}

proptest! {
    #[test]
    fn spent_and_in_flight_never_pass_the_bound(
        max in 0.0f64..50.0,
        steps in proptest::collection::vec((0.0f64..3.0, 0.0f64..=1.0, any::<bool>()), 1..200),
    ) {
        let mut budget = Budget::new(Some(max), 0.0);
        let mut flying = std::collections::VecDeque::new();
        let mut spent = 0.0;
        for (worst, share, lands) in steps {
            if lands && let Some((worst, gone)) = flying.pop_front() {
                budget.settle(worst, gone);
                spent += gone;
            }
            if budget.reserve(worst) {
                flying.push_back((worst, worst * share));
            } else {
                let held: f64 = flying.iter().map(|f| f.0).sum();
                prop_assert!(spent + held + worst > max - 1e-9, "it would have fitted");
            }
            let held: f64 = flying.iter().map(|f| f.0).sum();
            prop_assert!(spent + held <= max + 1e-9);
        }
    }

    #[test]
    fn any_text_and_any_size_has_a_finite_estimate(text in ".*", width: u32, height: u32) {
        prop_assert!(text_tokens(&text) <= 2 * text.len() as u64);
        prop_assert!(ImageTokens::default().of(width, height) < 10_000);
    }
}

fn request(n: u32) -> Request {
    Request {
        id: n.to_string(),
        tag: Tag {
            stage: "synth".into(),
            kind: "compq".into(),
            source: "s".into(),
        },
        system: None,
        turns: vec![crate::Turn {
            role: crate::Role::User,
            text: format!("How many squares are in row {n}?"),
        }],
        images: vec![crate::Image {
            path: "x.png".into(),
            sha256: "x".into(),
            width: 512,
            height: 512,
        }],
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 400,
        temperature: 0.0,
        seed: 0,
    }
}

fn rates() -> Rates {
    Rates {
        price: price(),
        image_tokens: ImageTokens::default(),
        prompt_margin: 1.5,
        batch: false,
    }
}

#[test]
fn a_forecast_leaves_out_what_is_known_and_learns_the_length_of_replies() {
    let ledger = Ledger::in_memory().unwrap();
    let digest = |request: &Request| request.digest("teacher", false);
    let foresee = |ledger: &Ledger| {
        let mut requests = (0..50).chain(0..2).map(request);
        forecast(&mut requests, digest, "teacher", ledger, &rates()).unwrap()
    };
    let blind = foresee(&ledger).lines.remove(0);
    assert_eq!(
        (blind.requests, blind.known, blind.measured),
        (52, 2, false)
    );
    assert_eq!(blind.image_tokens, 50 * 255);
    assert_eq!(blind.completion_tokens, 50 * 100);
    assert!(blind.cost < blind.worst);
    let settled = (0..30).map(|n| {
        let reply = Reply {
            text: "x".into(),
            finish: Finish::Stop,
            prompt_tokens: 300,
            completion_tokens: 30,
        };
        (digest(&request(n)), request(n), Settled::Replied(reply))
    });
    ledger.settle_at_once("teacher", settled.collect()).unwrap();
    let learned = foresee(&ledger).lines.remove(0);
    assert_eq!((learned.requests, learned.known), (52, 32));
    assert_eq!(learned.completion_tokens, 20 * 30);
    assert!(learned.measured && learned.cost < blind.cost / 2.0);
}
