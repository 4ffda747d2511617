//! Greedy answers to many questions at once.
//!
//! Questions are taken in batches that keep those about one image together. What all rows of a
//! batch share (the system sentence) is run once, what the questions about one image share (the
//! image) once per image, and only the rest per question; then the rows decode together. Rows of
//! different lengths are padded on the right of each of these parts, and padding is masked, so that
//! a batch gives token for token what each question gives alone.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::{
    Error, KvCache, Llava, Pixels, Preprocessor, Template, Tokenizer, conversation_tokens,
};

/// Room that the cache has for new tokens from the start; longer answers make it grow.
const EXPECTED_TOKENS: usize = 256;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Index of its image among the images given, if it has one.
    pub image: Option<usize>,
    /// The human turn, without the image token.
    pub text: String,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The text, trimmed.
    pub text: String,
    /// The tokens, without the end token.
    pub tokens: Vec<i64>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote its end token.
    Stop,
    /// The limit of new tokens, or of the model's context, was reached.
    Length,
}

/// A model made ready to answer.
pub struct Generator {
    model: Llava,
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    template: Template,
}

/// A tokenised prompt.
struct Row {
    ids: Vec<i64>,
    image: Option<usize>,
}

/// Rows that decode together: the cache, and which of its slots each row may see.
struct Batch {
    cache: KvCache,
    seen: Vec<Vec<bool>>,
    /// Tokens of each row so far, which is the position of its next one.
    lengths: Vec<usize>,
}

impl Generator {
    /// Takes a copy of the weights in the model's compute type.
    pub fn new(model: &Llava, tokenizer: Tokenizer) -> Result<Generator, Error> {
        tokenizer.check(model.config())?;
        Ok(Generator {
            preprocessor: Preprocessor::new(model.config()),
            template: model.config().conversation_template,
            model: model.frozen(model.compute)?,
            tokenizer,
        })
    }

    /// The tokenizer it was made with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Answers each question; the answers are in the questions' order.
    ///
    /// # Errors
    /// A question about an image that was not given, or longer than the model's context; libtorch's
    /// own errors; interruption.
    pub fn generate(
        &self,
        images: &[Pixels],
        questions: &[Question],
        max_new_tokens: usize,
        batch_size: usize,
    ) -> Result<Vec<Generated>, Error> {
        let context = usize::try_from(self.model.config().text_config.max_position_embeddings)
            .unwrap_or(usize::MAX);
        let image_tokens = usize::try_from(self.model.config().image_tokens()).unwrap_or(0);
        let rows = questions
            .iter()
            .enumerate()
            .map(|(index, question)| {
                if question.image.is_some_and(|image| image >= images.len()) {
                    return Err(Error::Shape(format!(
                        "question {index} is about image {:?} of {}",
                        question.image,
                        images.len()
                    )));
                }
                let run = question.image.map_or(0, |_| image_tokens);
                let tokens =
                    conversation_tokens(&self.tokenizer, self.template, run, &question.text, None)?;
                if tokens.ids.len() >= context {
                    return Err(Error::Shape(format!(
                        "question {index} takes {} tokens, and the model's context is {context}: \
                         shorten it",
                        tokens.ids.len()
                    )));
                }
                Ok(Row {
                    ids: tokens.ids,
                    image: question.image,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut answers: Vec<Option<Generated>> = questions.iter().map(|_| None).collect();
        let mut features = BTreeMap::new();
        for batch in batches(&rows, batch_size.max(1)) {
            let members: Vec<&Row> = batch.iter().map(|&index| &rows[index]).collect();
            self.encode_images(&members, images, &mut features)?;
            let replies =
                tch::no_grad(|| self.answer(&members, &features, max_new_tokens, context))?;
            for (&index, (tokens, finish)) in batch.iter().zip(replies) {
                let text = self.tokenizer.decode(&tokens)?.trim().to_owned();
                let prompt_tokens = rows[index].ids.len();
                answers[index] = Some(Generated {
                    text,
                    tokens,
                    prompt_tokens,
                    finish,
                });
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Features of the batch's images, [image tokens, hidden] each; those of the batch before are
    /// kept where its last image goes on.
    fn encode_images(
        &self,
        rows: &[&Row],
        images: &[Pixels],
        features: &mut BTreeMap<usize, Tensor>,
    ) -> Result<(), Error> {
        let mut needed: Vec<usize> = rows.iter().filter_map(|row| row.image).collect();
        needed.dedup();
        features.retain(|image, _| needed.contains(image));
        needed.retain(|image| !features.contains_key(image));
        if needed.is_empty() {
            return Ok(());
        }
        let pixels: Vec<&Pixels> = needed.iter().map(|&image| &images[image]).collect();
        let pixels = self.preprocessor.normalise(&pixels, self.model.device())?;
        let encoded = tch::no_grad(|| self.model.image_features(&pixels))?;
        for (place, image) in needed.into_iter().enumerate() {
            features.insert(image, encoded.f_select(0, place as i64)?);
        }
        Ok(())
    }

    fn answer(
        &self,
        rows: &[&Row],
        features: &BTreeMap<usize, Tensor>,
        max_new_tokens: usize,
        context: usize,
    ) -> Result<Vec<(Vec<i64>, Finish)>, Error> {
        let mut replies: Vec<(Vec<i64>, Finish)> =
            rows.iter().map(|_| (Vec::new(), Finish::Length)).collect();
        if max_new_tokens == 0 {
            return Ok(replies);
        }
        let (mut batch, mut hidden) = self.prefill(rows, features, max_new_tokens)?;
        let eos = self.model.config().eos_tokens();
        // Which reply each row of the batch belongs to.
        let mut owners: Vec<usize> = (0..rows.len()).collect();
        let mut live: Vec<bool> = vec![true; rows.len()];
        loop {
            sample::interrupt::check()?;
            let next = self.model.logits(&hidden)?.f_argmax(-1, false)?; // [rows]
            let mut next: Vec<i64> = Vec::try_from(next)?;
            for (row, token) in next.iter().enumerate() {
                if !live[row] {
                    continue;
                }
                let (tokens, finish) = &mut replies[owners[row]];
                if *token == self.tokenizer.eos || eos.contains(token) {
                    *finish = Finish::Stop;
                } else {
                    tokens.push(*token);
                    // The next token would need a position of its own.
                    let room = batch.lengths[row] + 1 < context;
                    if tokens.len() < max_new_tokens && room {
                        continue;
                    }
                }
                live[row] = false;
            }
            let alive = live.iter().filter(|&&l| l).count();
            if alive == 0 {
                return Ok(replies);
            }
            // Rows that are done go on unread until dropping them pays for copying the cache.
            if alive * 2 <= live.len() {
                let keep: Vec<usize> = (0..live.len()).filter(|&row| live[row]).collect();
                let left = max_new_tokens - replies[owners[keep[0]]].0.len();
                let room = batch.slots() + left.min(EXPECTED_TOKENS);
                batch.select(&keep, room)?;
                owners = keep.iter().map(|&row| owners[row]).collect();
                next = keep.iter().map(|&row| next[row]).collect();
                live = vec![true; keep.len()];
            }
            let chunks: Vec<&[i64]> = next.iter().map(std::slice::from_ref).collect();
            let none = vec![None; chunks.len()];
            hidden = self.extend(&mut batch, &chunks, &none)?;
        }
    }

    /// Runs the prompts; gives the hidden state of each row's last token, [rows, hidden].
    fn prefill(
        &self,
        rows: &[&Row],
        features: &BTreeMap<usize, Tensor>,
        max_new_tokens: usize,
    ) -> Result<(Batch, Tensor), Error> {
        // A row that is wholly shared would have no token left to predict from.
        let shared = self.shared_prefix(rows);
        // Each image's questions, in turn, and how many tokens they share.
        let groups: Vec<(&[&Row], usize)> = rows
            .chunk_by(|a, b| a.image.is_some() && a.image == b.image)
            .map(|group| {
                (
                    group,
                    if group.len() == 1 {
                        shared
                    } else {
                        self.shared_prefix(group)
                    },
                )
            })
            .collect();
        let of_row: Vec<usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(index, (group, _))| std::iter::repeat_n(index, group.len()))
            .collect();
        let start = |row: usize| groups[of_row[row]].1;
        let for_image = groups
            .iter()
            .map(|(_, end)| end - shared)
            .max()
            .unwrap_or(0);
        let own = rows
            .iter()
            .enumerate()
            .map(|(row, r)| r.ids.len() - start(row))
            .max();
        let room = shared + for_image + own.unwrap_or(0) + max_new_tokens.min(EXPECTED_TOKENS);

        let mut batch = Batch {
            cache: KvCache::new(0),
            seen: vec![vec![]],
            lengths: vec![0],
        };
        if shared > 0 {
            let image = self.image_at(rows[0], 0, features);
            let _ = self.extend(&mut batch, &[&rows[0].ids[..shared]], &[image])?;
        }
        let regrouped = groups.len() < rows.len();
        let group_room = if regrouped { shared + for_image } else { room };
        batch.select(&vec![0; groups.len()], group_room)?;
        if for_image > 0 {
            let chunks: Vec<&[i64]> = groups
                .iter()
                .map(|(group, end)| &group[0].ids[shared..*end])
                .collect();
            let images: Vec<_> = groups
                .iter()
                .map(|(group, _)| self.image_at(group[0], shared, features))
                .collect();
            let _ = self.extend(&mut batch, &chunks, &images)?;
        }
        if regrouped {
            batch.select(&of_row, room)?;
        }
        let chunks: Vec<&[i64]> = rows
            .iter()
            .enumerate()
            .map(|(row, r)| &r.ids[start(row)..])
            .collect();
        let images: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(row, r)| self.image_at(r, start(row), features))
            .collect();
        let hidden = self.extend(&mut batch, &chunks, &images)?;
        Ok((batch, hidden))
    }

    /// How many tokens at the start all rows share, leaving each at least one of its own.
    fn shared_prefix(&self, rows: &[&Row]) -> usize {
        let Some((first, others)) = rows.split_first() else {
            return 0;
        };
        let mut shared = first.ids.len().saturating_sub(1);
        for other in others {
            let same = first.ids.iter().zip(&other.ids).take_while(|(a, b)| {
                a == b && (Some(**a) != self.tokenizer.image || first.image == other.image)
            });
            shared = shared
                .min(same.count())
                .min(other.ids.len().saturating_sub(1));
        }
        shared
    }

    /// The row's image features, and how many of them stand before token `start`.
    fn image_at<'a>(
        &self,
        row: &Row,
        start: usize,
        features: &'a BTreeMap<usize, Tensor>,
    ) -> Option<(&'a Tensor, usize)> {
        let before = row.ids[..start]
            .iter()
            .filter(|&&id| Some(id) == self.tokenizer.image)
            .count();
        row.image
            .and_then(|image| features.get(&image))
            .map(|f| (f, before))
    }

    /// Appends a chunk of tokens to each row (chunks may be of different lengths, or empty) and
    /// gives the hidden state of each row's last one, [rows, hidden].
    fn extend(
        &self,
        batch: &mut Batch,
        chunks: &[&[i64]],
        images: &[Option<(&Tensor, usize)>],
    ) -> Result<Tensor, Error> {
        let device = self.model.device();
        let rows = chunks.len();
        let width = chunks
            .iter()
            .map(|chunk| chunk.len())
            .max()
            .unwrap_or(0)
            .max(1);
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for (chunk, &length) in chunks.iter().zip(&batch.lengths) {
            ids.extend((0..width).map(|col| chunk.get(col).copied().unwrap_or(self.tokenizer.pad)));
            positions.extend((0..width).map(|col| (length + col.min(chunk.len())) as i64));
        }
        let shape = [rows as i64, width as i64];
        let tensor = |values: &[i64]| -> Result<Tensor, Error> {
            Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
        };
        let mut embeds = self.model.embed(&tensor(&ids)?.f_reshape(shape)?)?;
        self.place_images(&mut embeds, chunks, images, width)?;
        let mask = batch
            .mask(chunks, width)?
            .map(|m| m.f_to_device(device))
            .transpose()?;
        let positions = tensor(&positions)?.f_reshape(shape)?;
        let hidden =
            self.model
                .decode(&embeds, &positions, mask.as_ref(), Some(&mut batch.cache))?;
        for ((seen, length), chunk) in batch.seen.iter_mut().zip(&mut batch.lengths).zip(chunks) {
            seen.extend((0..width).map(|col| col < chunk.len()));
            *length += chunk.len();
        }
        let last: Vec<i64> = chunks
            .iter()
            .enumerate()
            .map(|(row, chunk)| (row * width + chunk.len().saturating_sub(1)) as i64)
            .collect();
        // [rows, width, hidden] -> [rows, hidden]
        Ok(hidden.f_flatten(0, 1)?.f_index_select(0, &tensor(&last)?)?)
    }

    /// Writes image features over the embeddings of image tokens.
    fn place_images(
        &self,
        embeds: &mut Tensor,
        chunks: &[&[i64]],
        images: &[Option<(&Tensor, usize)>],
        width: usize,
    ) -> Result<(), Error> {
        for (row, (chunk, image)) in chunks.iter().zip(images).enumerate() {
            let Some((features, before)) = image else {
                continue;
            };
            let run = chunk
                .iter()
                .filter(|&&id| Some(id) == self.tokenizer.image)
                .count();
            let Some(at) = chunk
                .iter()
                .position(|&id| Some(id) == self.tokenizer.image)
            else {
                continue;
            };
            debug_assert!(at + run <= width);
            // Image tokens stand together, one run a conversation.
            embeds
                .f_select(0, row as i64)?
                .f_narrow(0, at as i64, run as i64)?
                .f_copy_(&features.f_narrow(0, *before as i64, run as i64)?)?;
        }
        Ok(())
    }
}

impl Batch {
    /// Slots of the cache in use.
    fn slots(&self) -> usize {
        self.seen.first().map_or(0, Vec::len)
    }

    /// Makes row `i` a copy of row `rows[i]`, with room for `room` slots.
    fn select(&mut self, rows: &[usize], room: usize) -> Result<(), Error> {
        self.cache
            .select_rows(rows, i64::try_from(room).unwrap_or(i64::MAX))?;
        self.seen = rows.iter().map(|&row| self.seen[row].clone()).collect();
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        Ok(())
    }

    /// [rows, 1, width, slots + width]: true where a token may look; `None` where that is simply
    /// everything before it.
    fn mask(&self, chunks: &[&[i64]], width: usize) -> Result<Option<Tensor>, Error> {
        let padded = chunks.iter().any(|chunk| chunk.len() < width);
        if !padded && self.seen.iter().all(|seen| seen.iter().all(|&s| s)) {
            return Ok(None);
        }
        let slots = self.slots();
        let mut mask = Vec::with_capacity(chunks.len() * width * (slots + width));
        for (chunk, seen) in chunks.iter().zip(&self.seen) {
            for row in 0..width {
                mask.extend_from_slice(seen);
                // Padding sees itself: a row of scores with nothing to see has no softmax.
                mask.extend((0..width).map(|col| col <= row && (col < chunk.len() || col == row)));
            }
        }
        let shape = [chunks.len() as i64, 1, width as i64, (slots + width) as i64];
        Ok(Some(
            Tensor::f_from_slice(&mask)?
                .f_reshape(shape)?
                .f_to_kind(Kind::Bool)?,
        ))
    }
}

/// Indices of rows in batches of at most `size`, those about one image together where they fit.
fn batches(rows: &[Row], size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&index| (rows[index].image, index));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for group in order.chunk_by(|&a, &b| rows[a].image.is_some() && rows[a].image == rows[b].image)
    {
        match batches.last_mut() {
            Some(last) if last.len() + group.len() <= size => last.extend(group),
            _ => batches.extend(group.chunks(size).map(<[usize]>::to_vec)),
        }
    }
    batches
}
