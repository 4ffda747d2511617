//! Replies that must have a form: JSON of a schema.
//!
//! A schema becomes a grammar (llguidance's), and the grammar says before each token which tokens of
//! the vocabulary may follow. All others get minus infinity before anything is chosen, so whatever
//! the model thinks, a reply that ends by itself is JSON of that schema. One that is cut short by a
//! limit is the beginning of such JSON.
//!
//! Schemas come from strangers. What one may hold is checked first ([`bounds`]), what its grammar may
//! cost is bounded by llguidance (`tokenizer/tree.rs`), and it is compiled on a thread of its own with
//! a stack for the deepest recursion that those bounds allow. llguidance turns its own panics into
//! errors; a panic elsewhere ends that thread only. Nothing is ever fetched for a `$ref`: those that
//! lead out of the schema are refused, and the crate `referencing`, which looks them up, asks a
//! `Retrieve` that always fails (`DefaultRetriever`) and depends on no crate that could do otherwise.

mod bounds;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher};
use serde_json::{Value, json};

use crate::tokenizer::{TokenTree, on_one_line};
use crate::{Error, Tokenizer};

/// White space that may stand between the parts of JSON: one space, or one line break with so many
/// spaces of indentation. JSON allows any amount, and small models, left to choose, write line breaks
/// without end; none at all would keep them from the `": "` and `", "` that they have learnt.
const WHITE_SPACE: &str = " |\n {0,16}";

/// Stack for compiling a schema. The deepest recursion is a chain of definitions that refer to each
/// other beside other keywords; [`bounds`] lets through at most some thousand, of 20 kB each.
const STACK_BYTES: usize = 256 << 20;

/// A form that replies of one model must have; copies share it.
#[derive(Clone)]
pub struct Constraint(Arc<Compiled>);

struct Compiled {
    /// The schema as it was given.
    schema: String,
    tree: Arc<TokenTree>,
    /// Before the first token.
    start: Matcher,
}

impl Constraint {
    /// JSON of a schema, for a model with this tokenizer.
    ///
    /// Properties come in the schema's order; objects may have others unless `additionalProperties` is
    /// false, as JSON Schema has it. White space is at most a line break and 16 spaces at a place.
    ///
    /// # Errors
    /// A schema that is none, that holds more than one may, that says what cannot be kept to token by
    /// token (such as `uniqueItems` or `not`), or that nothing satisfies; a tokenizer whose tokens have no
    /// bytes of their own.
    pub fn json_schema(tokenizer: &Tokenizer, schema: &Value) -> Result<Constraint, Error> {
        bounds::check(schema).map_err(Error::Schema)?;
        let mut grammar = schema.clone();
        let Some(keywords) = grammar.as_object_mut() else {
            return Err(Error::Schema("it is no object: give one".to_owned()));
        };
        // llguidance takes its options from here, which are not for clients to choose.
        let _ = keywords.remove("x-guidance");
        JsonCompileOptions {
            whitespace_pattern: Some(WHITE_SPACE.to_owned()),
            ..JsonCompileOptions::default()
        }
        .apply_to(&mut grammar);
        let tree = tokenizer.tree()?;
        let start = compile(&tree, grammar).map_err(|e| Error::Schema(in_our_words(e)))?;
        Ok(Constraint(Arc::new(Compiled {
            schema: schema.to_string(),
            tree,
            start,
        })))
    }

    /// Any JSON object, for a model with this tokenizer.
    ///
    /// # Errors
    /// A tokenizer whose tokens have no bytes of their own.
    pub fn json_object(tokenizer: &Tokenizer) -> Result<Constraint, Error> {
        Constraint::json_schema(tokenizer, &json!({"type": "object"}))
    }

    /// The schema that replies follow.
    pub fn schema(&self) -> &str {
        &self.0.schema
    }

    /// A reply's own state. What following the form costs is remembered for each reply by itself: the
    /// bounds on it are then the same for the first reply and the thousandth.
    pub fn begin(&self) -> ConstraintState {
        ConstraintState {
            matcher: self.0.start.deep_clone(),
            end: self.0.tree.end as usize,
        }
    }
}

/// The same schema for the same vocabulary.
impl PartialEq for Constraint {
    fn eq(&self, other: &Constraint) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (Arc::ptr_eq(&self.0.tree, &other.0.tree) && self.0.schema == other.0.schema)
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Constraint({})", self.0.schema)
    }
}

fn compile(tree: &TokenTree, schema: Value) -> Result<Matcher, String> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("json-schema".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                let grammar = TopLevelGrammar::from_json_schema(schema);
                let parser = tree.grammars.create_parser(grammar);
                let mut matcher = Matcher::new(parser);
                // What is not compiled yet is now, and a form that nothing has is found out.
                let mask = matcher.compute_mask();
                mask.map(|_| matcher).map_err(|e| on_one_line(&e))
            })
            .map_err(|e| format!("no thread to compile it on: {e}"))?
            .join()
            .map_err(|_| "it cannot be compiled".to_owned())
    })?
}

/// llguidance's messages name its own options where a client has something to do.
fn in_our_words(message: String) -> String {
    if message.contains("coerce_one_of") {
        return "its oneOf has options that may hold at the same time, which cannot be told token by \
                token: write anyOf"
            .to_owned();
    }
    if message.contains("NoExtension") {
        return "nothing satisfies it, or nothing that this model's vocabulary can write"
            .to_owned();
    }
    if message.starts_with("panic") {
        return "it is not well formed".to_owned();
    }
    message
}

/// What of a form is still to come in one reply.
pub struct ConstraintState {
    matcher: Matcher,
    /// The place in a mask that stands for the end of the reply.
    end: usize,
}

impl std::fmt::Debug for ConstraintState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConstraintState")
    }
}

/// Where a token leaves a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formed {
    /// More may follow.
    Open,
    /// Nothing may follow.
    Complete,
    /// It cannot be followed further: the token does not belong to it, or it has become too costly.
    Lost,
}

impl ConstraintState {
    /// The logits with minus infinity for every token that may not follow; the tokens `ends` may where
    /// the form may end. `None` where no token may, or finding out has become too costly.
    pub fn restrict(&mut self, logits: &[f32], ends: &[i64]) -> Option<Vec<f32>> {
        let mask = self.matcher.compute_mask().ok()?;
        let mut scores = vec![f32::NEG_INFINITY; logits.len()];
        let words = mask.as_slice();
        for (at, &word) in words.iter().enumerate().filter(|(_, word)| **word != 0) {
            let tokens = at * 32..(at * 32 + 32).min(self.end).min(logits.len());
            for (bit, token) in tokens.enumerate() {
                if word >> bit & 1 == 1 {
                    scores[token] = logits[token];
                }
            }
        }
        let may_end = words
            .get(self.end / 32)
            .is_some_and(|word| word >> (self.end % 32) & 1 == 1);
        for token in ends.iter().filter_map(|&id| usize::try_from(id).ok()) {
            if let (Some(score), Some(&logit)) = (scores.get_mut(token), logits.get(token)) {
                *score = if may_end { logit } else { f32::NEG_INFINITY };
            }
        }
        // A model whose logits are no numbers chooses nothing.
        let possible = scores.iter().any(|&score| score > f32::NEG_INFINITY);
        possible.then_some(scores)
    }

    /// Adds a token that is none of the ends.
    pub fn accept(&mut self, token: i64) -> Formed {
        let token = u32::try_from(token).ok();
        let Some(token) = token.filter(|&token| (token as usize) < self.end) else {
            return Formed::Lost;
        };
        match self.matcher.consume_token(token) {
            Err(_) => Formed::Lost,
            Ok(()) if !self.matcher.is_stopped() => Formed::Open,
            Ok(()) if self.matcher.stop_reason().is_ok() => Formed::Complete,
            Ok(()) => Formed::Lost,
        }
    }
}
