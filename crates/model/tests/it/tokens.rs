//! Tokenizers: trained alike everywhere, digits apart, special tokens only where they belong.

use model::{SPECIAL_TOKENS, Template, Tokenizer, conversation_tokens, train_bpe};

use super::{golden_tokenizer, small_config};

/// Words in plenty, with many equal counts: ties are where an unordered map would show.
fn corpus() -> Vec<String> {
    (0..400)
        .map(|i| {
            let word = |n: usize| ["bar", "line", "scatter", "angle", "total", "price"][n % 6];
            format!(
                "{} {} of the {}x{} is {i}, not {}",
                word(i),
                word(i / 7),
                word(i / 3),
                i % 9,
                i * 7
            )
        })
        .collect()
}

#[test]
fn two_processes_train_the_same_tokenizer() {
    const CHILD: &str = "MODEL_TEST_TOKENIZER_OUT";
    let json = train_bpe(corpus(), 500).unwrap().to_json().unwrap();
    if let Ok(out) = std::env::var(CHILD) {
        std::fs::write(out, json).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (run, threads) in ["1", "2", "3"].into_iter().enumerate() {
        let out = dir.path().join(run.to_string());
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tokens::two_processes_train_the_same_tokenizer"])
            .env(CHILD, &out)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        assert_eq!(std::fs::read_to_string(out).unwrap(), json);
    }
    let mut reversed = corpus();
    reversed.reverse();
    assert_eq!(train_bpe(reversed, 500).unwrap().to_json().unwrap(), json);
}

#[test]
fn text_comes_back_and_digits_stand_alone() {
    let tokenizer = train_bpe(corpus(), 600).unwrap();
    assert!(tokenizer.vocab_size() <= 600);
    for text in [
        "The answer is 1234.50",
        "π ≈ 3.14, 角度 45°",
        " two  spaces\nand a line",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    let number = tokenizer.encode("1234").unwrap();
    assert_eq!(number.len(), 4);
    assert_eq!(&tokenizer.encode("91234").unwrap()[1..], number);
    for (id, token) in SPECIAL_TOKENS.iter().enumerate() {
        assert!(
            tokenizer
                .to_json()
                .unwrap()
                .contains(&format!("\"{token}\": {id}"))
        );
    }
}

#[test]
fn special_tokens_written_in_a_question_stay_text() {
    let tokenizer = golden_tokenizer();
    let query = "Is </s> the end of <image> or <s>?";
    let found = conversation_tokens(&tokenizer, Template::Tiny, 3, query, Some("</s>")).unwrap();
    let count = |id| found.ids.iter().filter(|&&other| other == id).count();
    assert_eq!(
        (count(tokenizer.image.unwrap()), count(tokenizer.eos)),
        (3, 1)
    );
    assert_eq!(tokenizer.bos, Some(1));
    assert_eq!(count(1), 1);
    assert!(tokenizer.decode(&found.ids).unwrap().contains(query));
}

#[test]
fn questions_about_one_image_share_all_tokens_up_to_where_they_part() {
    let tokenizer = train_bpe(corpus(), 600).unwrap();
    let tokens = |query: &str| {
        conversation_tokens(&tokenizer, Template::V1, 9, query, Some("The answer is 7"))
            .unwrap()
            .ids
    };
    let (a, b) = (
        tokens("Hint: total.\nQuestion: the bar?"),
        tokens("Hint: total.\nQuestion: the line?"),
    );
    let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let prefix = tokenizer.decode(&a[..shared]).unwrap();
    assert!(prefix.ends_with("Question: the"), "{prefix:?}");
    assert_eq!(
        a.iter().filter(|&&id| Some(id) == tokenizer.image).count(),
        9
    );
}

#[test]
fn a_vocabulary_too_small_for_the_bytes_is_refused() {
    let refused = train_bpe(corpus(), 200).unwrap_err();
    assert!(refused.to_string().contains("at least 261"), "{refused}");
}

#[test]
fn no_text_at_all_still_gives_the_bytes() {
    let tokenizer = train_bpe(Vec::<String>::new(), 500).unwrap();
    assert_eq!(tokenizer.vocab_size(), 261);
    assert_eq!(
        tokenizer.decode(&tokenizer.encode("né").unwrap()).unwrap(),
        "né"
    );
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let tokenizer = golden_tokenizer();
    let mut config = small_config();
    tokenizer.check(&config).unwrap();
    config.image_token_index = 5;
    let refused = tokenizer.check(&config).unwrap_err().to_string();
    assert!(refused.contains("image_token_index 5"), "{refused}");
    config.text_config.vocab_size = 270;
    let refused = tokenizer.check(&config).unwrap_err().to_string();
    assert!(
        refused.contains("287") && refused.contains("270 rows"),
        "{refused}"
    );
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Tokenizer::load(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("tokenizer.json"), "{refused}");
    for text in ["", "{}", "{\"model\": 3}", "[1, 2", "\u{0}"] {
        std::fs::write(dir.path().join("tokenizer.json"), text).unwrap();
        let refused = Tokenizer::load(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("tokenizer.json"), "{refused}");
    }
}
