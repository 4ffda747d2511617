//! The tokenizer in a GGUF file's metadata: out of it, and into it.
//!
//! `tokenizer.ggml.model` names one of two kinds. `llama` is SentencePiece's BPE by score with
//! bytes for what has no piece; `gpt2` is byte-level BPE by a list of merges, and
//! `tokenizer.ggml.pre` names the way in which its text is cut into words first. A file has no room
//! for that way itself, so both sides need the same table ([`SPLITS`]).

use std::collections::HashMap;

use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::metadata::Metadata;
use super::shapes::token;
use super::write::Put;
use crate::tokenizer::sentencepiece::{Piece, PieceKind, Preparation, build};
use crate::{Error, SpecialTokens, Tokenizer};

/// Llama 3's words: digits in threes.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's words: digits apart.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-2's words.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A way in which text is cut into words.
struct Split {
    /// `tokenizer.ggml.pre`; the first is written.
    names: &'static [&'static str],
    /// As `tokenizer.json` has it.
    steps: fn() -> Value,
    /// Whether a word that is a token is that token, whatever its merges say.
    whole_words: bool,
    /// Whether text is brought into Unicode's composed form first.
    composed: bool,
    /// Whether a text begins with the first token where the file does not say.
    adds_bos: bool,
}

/// The ways that llama.cpp calls by these names (`llama-vocab.cpp`), as the published
/// `tokenizer.json` files have them.
const SPLITS: [Split; 5] = [
    Split {
        names: &["llama-bpe", "llama3", "llama-v3"],
        steps: || json!([pattern(LLAMA3), bytes(false)]),
        whole_words: true,
        composed: false,
        adds_bos: true,
    },
    Split {
        names: &["qwen2"],
        steps: || json!([pattern(QWEN2), bytes(false)]),
        whole_words: false,
        composed: true,
        adds_bos: false,
    },
    Split {
        names: &["smollm"],
        steps: || json!([{"type": "Digits", "individual_digits": true}, bytes(true)]),
        whole_words: false,
        composed: false,
        adds_bos: false,
    },
    Split {
        names: &["gpt-2"],
        steps: || json!([bytes(true)]),
        whole_words: false,
        composed: false,
        adds_bos: false,
    },
    Split {
        names: &["default"],
        steps: || {
            json!([
                pattern(r"[\p{P}\$\+<=>\^~\|]+"),
                pattern(GPT2),
                pattern(r"\p{N}+"),
                pattern("[0-9][0-9][0-9]"),
                bytes(false),
            ])
        },
        whole_words: false,
        composed: false,
        adds_bos: false,
    },
];

fn pattern(regex: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn bytes(words: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
           "use_regex": words})
}

fn wrong(detail: impl std::fmt::Display) -> Error {
    Error::Tokenizer(detail.to_string())
}

/// Makes the tokenizer of a file.
pub(crate) fn read(metadata: Metadata) -> Result<Tokenizer, Error> {
    let model = metadata
        .text("tokenizer.ggml.model")
        .map_err(wrong)?
        .ok_or_else(|| wrong("the file holds none: metadata tokenizer.ggml.model is absent"))?;
    let pieces = pieces(metadata).map_err(wrong)?;
    let (inner, adds_bos) = match model {
        "llama" => sentencepiece(metadata, &pieces)?,
        "gpt2" => byte_level(metadata, &pieces)?,
        other => {
            return Err(wrong(format!(
                "is of kind {other}; llama (SentencePiece) and gpt2 (byte-level BPE) are read"
            )));
        }
    };
    let adds_bos = metadata
        .flag("tokenizer.ggml.add_bos_token")
        .map_err(wrong)?
        .unwrap_or(adds_bos);
    let id = |name| token(metadata, name).map_err(wrong);
    let named = SpecialTokens::by_name(|token| inner.token_to_id(token).map(i64::from));
    let special = SpecialTokens {
        bos: id("bos")?,
        // Where there is a token that ends a turn, it ends a reply.
        eos: id("eot")?.or(id("eos")?).or(named.eos),
        pad: id("padding")?,
        image: named.image,
        adds_bos: Some(adds_bos),
    };
    Tokenizer::with_special(inner, special)
}

/// The vocabulary; a token's id is its place.
fn pieces(metadata: Metadata) -> Result<Vec<Piece>, String> {
    let texts = metadata
        .texts("tokenizer.ggml.tokens")?
        .ok_or("metadata tokenizer.ggml.tokens is absent")?;
    let kinds = metadata.integers("tokenizer.ggml.token_type")?;
    let scores = metadata.floats("tokenizer.ggml.scores")?;
    for (name, length) in [
        ("token_type", kinds.as_ref().map(Vec::len)),
        ("scores", scores.as_ref().map(Vec::len)),
    ] {
        if length.is_some_and(|length| length != texts.len()) {
            return Err(format!(
                "metadata tokenizer.ggml.{name} is not as long as the {} tokens",
                texts.len()
            ));
        }
    }
    texts
        .into_iter()
        .enumerate()
        .map(|(id, text)| {
            let kind = kinds.as_ref().map_or(1, |kinds| kinds[id]);
            Ok(Piece {
                text: text.to_owned(),
                score: scores.as_ref().map_or(0.0, |scores| scores[id]),
                kind: PieceKind::of(kind)
                    .ok_or_else(|| format!("token {id} is of unknown kind {kind}"))?,
            })
        })
        .collect()
}

/// The tokenizer, and whether texts begin with the first token where the file does not say.
type Built = (tokenizers::Tokenizer, bool);

fn sentencepiece(metadata: Metadata, pieces: &[Piece]) -> Result<Built, Error> {
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")
        .map_err(wrong)?;
    let preparation = Preparation {
        dummy_prefix: prefix.unwrap_or(true),
        ..Preparation::default()
    };
    Ok((build(pieces, preparation)?, true))
}

fn byte_level(metadata: Metadata, pieces: &[Piece]) -> Result<Built, Error> {
    let name = metadata
        .text("tokenizer.ggml.pre")
        .map_err(wrong)?
        .unwrap_or("default");
    let split = SPLITS
        .iter()
        .find(|split| split.names.contains(&name))
        .ok_or_else(|| {
            let known: Vec<&str> = SPLITS.iter().flat_map(|s| s.names).copied().collect();
            wrong(format!(
                "cuts its text in the way called {name} (tokenizer.ggml.pre); known are {}",
                known.join(", ")
            ))
        })?;
    let merges = metadata
        .texts("tokenizer.ggml.merges")
        .map_err(wrong)?
        .ok_or_else(|| wrong("metadata tokenizer.ggml.merges is absent"))?;
    let merges = merges
        .into_iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(wrong(format!("the merge {merge:?} is no pair"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut vocabulary = Vocab::with_capacity(pieces.len());
    for (id, piece) in (0u32..).zip(pieces) {
        if vocabulary.insert(piece.text.clone(), id).is_some() {
            return Err(wrong(format!(
                "token {id}, {:?}, is there twice",
                piece.text
            )));
        }
    }
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(split.whole_words)
        .build()
        .map_err(wrong)?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    let steps = json!({"type": "Sequence", "pretokenizers": (split.steps)()});
    let steps: PreTokenizerWrapper = serde_json::from_value(steps).map_err(wrong)?;
    let _ = inner
        .with_pre_tokenizer(Some(steps))
        .with_decoder(Some(ByteLevel::default()));
    if split.composed {
        let _ = inner.with_normalizer(Some(NFC));
    }
    let of_kind = |kinds: &[PieceKind], special: bool| -> Vec<AddedToken> {
        pieces
            .iter()
            .filter(|piece| kinds.contains(&piece.kind))
            .map(|piece| AddedToken::from(piece.text.clone(), special).normalized(false))
            .collect()
    };
    inner.add_special_tokens(&of_kind(&[PieceKind::Control, PieceKind::Unknown], true));
    inner.add_tokens(&of_kind(&[PieceKind::UserDefined], false));
    Ok((inner, split.adds_bos))
}

/// The metadata of a tokenizer for an embedding of `rows` rows.
///
/// # Errors
/// A tokenizer of another kind than the two, or one that cuts its text in a way without a name.
pub(crate) fn entries(tokenizer: &Tokenizer, rows: usize) -> Result<Vec<(String, Put)>, Error> {
    let json: Value = serde_json::from_str(&tokenizer.to_json()?).map_err(wrong)?;
    let model = &json["model"];
    let mut pieces: Vec<Piece> = (0..rows)
        .map(|id| Piece {
            // Rows of the embedding that no token has.
            text: format!("[PAD{id}]"),
            score: 0.0,
            kind: PieceKind::Unused,
        })
        .collect();
    let beyond = || wrong(format!("has ids beyond the embedding's {rows} rows"));
    let mut place = |id: &Value, text: &str, kind: PieceKind| -> Result<(), Error> {
        let at = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let piece = at.and_then(|at| pieces.get_mut(at)).ok_or_else(beyond)?;
        (piece.text, piece.kind) = (text.to_owned(), kind);
        Ok(())
    };
    for (text, id) in model["vocab"].as_object().into_iter().flatten() {
        place(id, text, PieceKind::Normal)?;
    }
    let by_score = model["byte_fallback"] == true;
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let text = added["content"].as_str().unwrap_or_default();
        let kind = match (added["special"] == true, model["unk_token"] == text) {
            (true, true) if by_score => PieceKind::Unknown,
            (true, _) => PieceKind::Control,
            (false, _) => PieceKind::UserDefined,
        };
        place(&added["id"], text, kind)?;
    }
    let merges = merges(model)?;
    let mut list: Vec<(String, Put)> = Vec::new();
    let mut put = |key: &str, value: Put| list.push((format!("tokenizer.ggml.{key}"), value));
    if model["type"] != "BPE" {
        return Err(wrong(format!("{} is no BPE", model["type"])));
    }
    if by_score {
        score(&mut pieces, &merges);
        put("model", Put::Text("llama".into()));
        put("pre", Put::Text("default".into()));
        put(
            "scores",
            Put::F32s(pieces.iter().map(|p| p.score).collect()),
        );
        put("add_space_prefix", Put::Bool(begins_with_space(&json)));
    } else {
        put("model", Put::Text("gpt2".into()));
        put(
            "pre",
            Put::Text(name_of_split(&json["pre_tokenizer"])?.into()),
        );
        let merges = merges.iter().map(|(l, r)| format!("{l} {r}")).collect();
        put("merges", Put::Texts(merges));
    }
    put(
        "token_type",
        Put::I32s(pieces.iter().map(|p| number(p.kind)).collect()),
    );
    put(
        "tokens",
        Put::Texts(pieces.into_iter().map(|p| p.text).collect()),
    );
    for (key, id) in [
        ("bos_token_id", tokenizer.bos),
        ("eos_token_id", Some(tokenizer.eos)),
        // Where there is none of its own, the end token fills rows, and nothing is said.
        (
            "padding_token_id",
            Some(tokenizer.pad).filter(|&pad| pad != tokenizer.eos),
        ),
    ] {
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok()) {
            put(key, Put::U32(id));
        }
    }
    put("add_bos_token", Put::Bool(tokenizer.adds_bos));
    put("add_eos_token", Put::Bool(false));
    Ok(list)
}

/// The merges of a `tokenizer.json`, which writes them in two ways.
fn merges(model: &Value) -> Result<Vec<(String, String)>, Error> {
    let list = model["merges"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|merge| {
            let pair = match merge.as_str() {
                Some(text) => text.split_once(' '),
                None => merge[0].as_str().zip(merge[1].as_str()),
            };
            pair.map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| wrong(format!("the merge {merge} is no pair")))
        })
        .collect()
}

/// Scores under which pieces are merged in the order of the merges: a `tokenizer.json` has no
/// others.
fn score(pieces: &mut [Piece], merges: &[(String, String)]) {
    let mut first: HashMap<String, usize> = HashMap::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        first.entry(format!("{left}{right}")).or_insert(rank);
    }
    for piece in pieces {
        let byte = piece.text.len() == 6 && piece.text.starts_with("<0x");
        if piece.kind == PieceKind::Normal && byte {
            piece.kind = PieceKind::Byte;
        }
        // What no merge makes comes last.
        piece.score = -(first.get(&piece.text).copied().unwrap_or(merges.len()) as f32);
    }
}

/// Whether a space is put before every text, in either of the two ways of saying so.
fn begins_with_space(json: &Value) -> bool {
    let steps = |value: &Value, list: &str| match value[list].as_array() {
        Some(steps) => steps.clone(),
        None => vec![value.clone()],
    };
    let prepended = steps(&json["normalizer"], "normalizers")
        .iter()
        .any(|step| step["type"] == "Prepend");
    prepended
        || steps(&json["pre_tokenizer"], "pretokenizers")
            .iter()
            .any(|step| {
                step["type"] == "Metaspace"
                    && step["prepend_scheme"] != "never"
                    && step["add_prefix_space"] != false
            })
}

/// llama.cpp's name for the way in which a `tokenizer.json` cuts text into words.
fn name_of_split(pre_tokenizer: &Value) -> Result<&'static str, Error> {
    let steps = match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps.clone(),
        None => vec![pre_tokenizer.clone()],
    };
    // Offsets are no part of the ids.
    let bare = |steps: &[Value]| -> Vec<Value> {
        let mut steps = steps.to_vec();
        for step in &mut steps {
            if let Some(fields) = step.as_object_mut() {
                fields.remove("trim_offsets");
            }
        }
        steps
    };
    let steps = bare(&steps);
    SPLITS
        .iter()
        .find(|split| {
            let known = (split.steps)();
            known.as_array().map(|known| bare(known)) == Some(steps.clone())
        })
        .map(|split| split.names[0])
        .ok_or_else(|| {
            wrong(
                "cuts text into words in a way that GGUF has no name for here; those of GPT-2, \
                 SmolLM, Llama 3 and Qwen2 have one",
            )
        })
}

/// The number that stands for a kind of token.
fn number(kind: PieceKind) -> i32 {
    match kind {
        PieceKind::Normal => 1,
        PieceKind::Unknown => 2,
        PieceKind::Control => 3,
        PieceKind::UserDefined => 4,
        PieceKind::Unused => 5,
        PieceKind::Byte => 6,
    }
}
