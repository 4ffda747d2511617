//! LLaMA's older tokenizer files: SentencePiece's `tokenizer.model`.
//!
//! The file is a protocol buffer (`sentencepiece_model.proto`): the pieces with their scores and
//! kinds, and a few settings. Its BPE merges the neighbours whose union has the best score; as
//! merges ranked by that score it is the BPE of `tokenizer.json`, which transformers' conversion
//! makes of it too. Spaces become `▁`, one of which is put before every text, and characters that
//! no piece has are spelled in bytes.
//!
//! GGUF files carry the same pieces, numbered alike; [`build`] makes a tokenizer of them.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::AddedToken;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip as StripDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Sequence, Strip};
use tokenizers::processors::template::TemplateProcessing;

use crate::Error;

/// LLaMA's file has half a megabyte, the largest published ones a few.
const MAX_BYTES: u64 = 64 << 20;
/// Four times the largest published vocabulary.
const MAX_PIECES: usize = 1 << 20;
/// SentencePiece's own limit is far lower; it bounds the search for merges.
const MAX_PIECE_BYTES: usize = 1 << 10;
/// Stands for a space in pieces.
const SPACE: &str = "\u{2581}";

/// One piece of the vocabulary; its id is its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Text, spaces as `▁`.
    pub text: String,
    /// Higher is merged earlier.
    pub score: f32,
    /// What it is for.
    pub kind: PieceKind,
}

/// What a piece is for; the numbers are those of the file, and of GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// 1: text.
    Normal,
    /// 2: what has no piece.
    Unknown,
    /// 3: never found in text, such as `</s>`.
    Control,
    /// 4: found in text before all else.
    UserDefined,
    /// 5: a place kept free.
    Unused,
    /// 6: one byte, written `<0x0A>`.
    Byte,
}

impl PieceKind {
    /// The kind of a number; unknown numbers are an error.
    pub fn of(number: u64) -> Option<PieceKind> {
        Some(match number {
            1 => PieceKind::Normal,
            2 => PieceKind::Unknown,
            3 => PieceKind::Control,
            4 => PieceKind::UserDefined,
            5 => PieceKind::Unused,
            6 => PieceKind::Byte,
            _ => return None,
        })
    }
}

/// How text is prepared before it is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparation {
    /// Whether a space is put before every text.
    pub dummy_prefix: bool,
    /// Whether runs of spaces become one, and none are left at the ends.
    pub remove_extra_whitespaces: bool,
}

impl Default for Preparation {
    /// LLaMA's.
    fn default() -> Self {
        Preparation {
            dummy_prefix: true,
            remove_extra_whitespaces: false,
        }
    }
}

/// Reads a `tokenizer.model`.
pub(super) fn read(path: &Path) -> Result<tokenizers::Tokenizer, Error> {
    let meta = std::fs::metadata(path).map_err(|e| sample::Error::io(path, e))?;
    if meta.len() > MAX_BYTES {
        let detail = format!("{} bytes: not a tokenizer", meta.len());
        return Err(sample::Error::format(path, detail).into());
    }
    let bytes = std::fs::read(path).map_err(|e| sample::Error::io(path, e))?;
    parse(&bytes)
        .and_then(|(pieces, preparation)| build(&pieces, preparation))
        .map_err(|e| sample::Error::format(path, e).into())
}

/// Makes a tokenizer of pieces: BPE by score, with bytes for what has no piece where the
/// vocabulary has all of them.
///
/// # Errors
/// Pieces that are empty, too long, too many or there twice.
pub fn build(pieces: &[Piece], preparation: Preparation) -> Result<tokenizers::Tokenizer, Error> {
    let wrong = |detail: String| Error::Tokenizer(detail);
    if pieces.is_empty() || pieces.len() > MAX_PIECES {
        return Err(wrong(format!("{} pieces: not a vocabulary", pieces.len())));
    }
    let mut ids: HashMap<&str, u32> = HashMap::with_capacity(pieces.len());
    for (id, piece) in (0u32..).zip(pieces) {
        let text = piece.text.as_str();
        if text.is_empty() || text.len() > MAX_PIECE_BYTES {
            let length = text.len();
            return Err(wrong(format!("piece {id} has {length} bytes")));
        }
        if ids.insert(text, id).is_some() {
            return Err(wrong(format!("piece {id}, {text:?}, is there twice")));
        }
    }
    let of_kind = |kind: PieceKind| pieces.iter().filter(move |piece| piece.kind == kind);
    let unknown = of_kind(PieceKind::Unknown).next();
    let vocabulary = ids.iter().map(|(text, &id)| ((*text).to_owned(), id));
    let mut bpe = BPE::builder()
        .vocab_and_merges(
            vocabulary.collect::<tokenizers::models::bpe::Vocab>(),
            merges(pieces, &ids),
        )
        .fuse_unk(true)
        .byte_fallback(of_kind(PieceKind::Byte).count() == 256);
    if let Some(unknown) = unknown {
        bpe = bpe.unk_token(unknown.text.clone());
    }
    let bpe = bpe.build().map_err(|e| wrong(e.to_string()))?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    let special: Vec<AddedToken> = pieces
        .iter()
        .filter(|piece| matches!(piece.kind, PieceKind::Unknown | PieceKind::Control))
        .map(|piece| AddedToken::from(piece.text.clone(), true))
        .collect();
    inner.add_special_tokens(&special);
    let defined: Vec<AddedToken> = of_kind(PieceKind::UserDefined)
        .map(|piece| AddedToken::from(piece.text.replace(SPACE, " "), false).normalized(false))
        .collect();
    inner.add_tokens(&defined);
    let _ = inner
        .with_normalizer(Some(normalizer(preparation)?))
        .with_decoder(Some(decoder(preparation)?));
    // LLaMA's tokenizer begins every text with the first token.
    if let Some(&bos) = ids.get("<s>") {
        let template = TemplateProcessing::builder()
            .try_single("<s> $A")
            .and_then(|b| b.try_pair("<s> $A $B:1"))
            .map_err(|e| wrong(e.clone()))?
            .special_tokens(vec![("<s>", bos)])
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let _ = inner.with_post_processor(Some(template));
    }
    Ok(inner)
}

/// Every way to put a piece together from two others, the best piece first.
fn merges(pieces: &[Piece], ids: &HashMap<&str, u32>) -> Vec<(String, String)> {
    let mut found: Vec<(f32, u32, u32, &str, &str)> = Vec::new();
    let text = |piece: &&Piece| matches!(piece.kind, PieceKind::Normal | PieceKind::UserDefined);
    for piece in pieces.iter().filter(text) {
        let start = found.len();
        for (at, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                found.push((piece.score, l, r, left, right));
            }
        }
        found[start..].sort_by_key(|&(_, l, r, ..)| (l, r));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
        .into_iter()
        .map(|(_, _, _, left, right)| (left.to_owned(), right.to_owned()))
        .collect()
}

fn normalizer(preparation: Preparation) -> Result<NormalizerWrapper, Error> {
    let replace = |pattern: ReplacePattern, with: &str| {
        Replace::new(pattern, with)
            .map(NormalizerWrapper::from)
            .map_err(|e| Error::Tokenizer(e.to_string()))
    };
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if preparation.remove_extra_whitespaces {
        steps.push(Strip::new(true, true).into());
        steps.push(replace(ReplacePattern::Regex(" {2,}".to_owned()), " ")?);
    }
    if preparation.dummy_prefix {
        steps.push(Prepend::new(SPACE.to_owned()).into());
    }
    steps.push(replace(ReplacePattern::String(" ".to_owned()), SPACE)?);
    Ok(Sequence::new(steps).into())
}

fn decoder(preparation: Preparation) -> Result<DecoderWrapper, Error> {
    let spaces = Replace::new(ReplacePattern::String(SPACE.to_owned()), " ")
        .map_err(|e| Error::Tokenizer(e.to_string()))?;
    let mut steps: Vec<DecoderWrapper> = vec![
        spaces.into(),
        ByteFallback::default().into(),
        Fuse::default().into(),
    ];
    if preparation.dummy_prefix {
        steps.push(StripDecoder::new(' ', 1, 0).into());
    }
    Ok(Decoders::new(steps).into())
}

/// Reads the protocol buffer.
///
/// # Errors
/// Bytes that are none, or a model whose text is not cut by BPE.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Piece>, Preparation), Error> {
    const UNIGRAM: u64 = 1;
    const BPE_MODEL: u64 = 2;
    let mut pieces = Vec::new();
    let mut model = UNIGRAM; // the default of the format
    let mut preparation = Preparation {
        dummy_prefix: true,
        remove_extra_whitespaces: true,
    };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(piece)) => {
                if pieces.len() == MAX_PIECES {
                    return Err(broken("too many pieces"));
                }
                pieces.push(parse_piece(piece, pieces.len())?);
            }
            (2, Value::Bytes(trainer)) => {
                for field in Fields(trainer) {
                    if let (3, Value::Number(number)) = field? {
                        model = number;
                    }
                }
            }
            (3, Value::Bytes(normalizer)) => {
                for field in Fields(normalizer) {
                    match field? {
                        (2, Value::Bytes(rules)) if !rules.is_empty() => {
                            return Err(broken(
                                "it rewrites characters before cutting the text, which is not \
                                 computed here: save the tokenizer as tokenizer.json",
                            ));
                        }
                        (3, Value::Number(on)) => preparation.dummy_prefix = on != 0,
                        (4, Value::Number(on)) => preparation.remove_extra_whitespaces = on != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if pieces.is_empty() {
        return Err(broken("it has no pieces"));
    }
    if model != BPE_MODEL {
        return Err(broken(
            "its model is not BPE: save the tokenizer as tokenizer.json",
        ));
    }
    Ok((pieces, preparation))
}

fn parse_piece(bytes: &[u8], id: usize) -> Result<Piece, Error> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Normal,
    };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => {
                let text = std::str::from_utf8(text);
                let text = text.map_err(|_| broken(format!("piece {id} is not UTF-8")))?;
                text.clone_into(&mut piece.text);
            }
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Number(kind)) => {
                piece.kind = PieceKind::of(kind)
                    .ok_or_else(|| broken(format!("piece {id} is of kind {kind}")))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn broken(detail: impl std::fmt::Display) -> Error {
    Error::Tokenizer(format!("not a SentencePiece model: {detail}"))
}

/// The value of one field, by how it is laid out.
enum Value<'a> {
    Number(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// Eight bytes, which no field read here has.
    Skipped,
}

/// The fields of one message of a protocol buffer: a key (number and layout), then the value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Skipped)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // Nothing after a broken field can be found again.
            self.0 = &[];
        }
        Some(field.ok_or_else(|| broken("a field is cut short")))
    }
}
