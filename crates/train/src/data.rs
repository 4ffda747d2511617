//! Samples made ready for the step loop: tokens as trees, images as square pixels.
//!
//! Both are made once, before the first step, so that a file that cannot be read stops nothing half
//! way: its pairs are left out, listed and counted. Decoded images stay in memory as bytes up to a
//! limit, past which they are decoded again each time they are shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use model::{Pixels, Preprocessor, Template, Tokenizer, conversation_tokens, train_bpe};
use rayon::prelude::*;
use sample::{Reject, Sample, interrupt, progress, prompt};
use tch::{Device, Tensor};

use crate::tree::{Sequence, Tree, pack};
use crate::{Error, TrainConfig};

/// Images are decoded in groups of this many, between which a stop is noticed.
const GROUP: usize = 256;

/// The images of a run.
pub struct Images {
    files: Vec<PathBuf>,
    /// As samples write them, in the files' order.
    paths: Vec<String>,
    /// The first of the files, decoded.
    cached: Vec<Pixels>,
    preprocessor: Preprocessor,
}

impl Images {
    /// The pixels of some images as the model takes them: `[images, 3, side, side]`.
    pub fn pixels(&self, indices: &[usize], device: Device) -> Result<Tensor, Error> {
        let fresh: Vec<Option<Pixels>> = indices
            .par_iter()
            .map(|&i| match self.cached.get(i) {
                Some(_) => Ok(None),
                None => self
                    .preprocessor
                    .open(&self.files[i])
                    .map(Some)
                    .map_err(|fault| {
                        Error::Model(model::Error::Image {
                            path: self.files[i].clone(),
                            fault,
                        })
                    }),
            })
            .collect::<Result<_, Error>>()?;
        let pixels: Vec<&Pixels> = indices
            .iter()
            .zip(&fresh)
            .filter_map(|(&i, fresh)| fresh.as_ref().or_else(|| self.cached.get(i)))
            .collect();
        Ok(self.preprocessor.normalise(&pixels, device)?)
    }

    /// The file of an image, for messages.
    pub fn file(&self, index: usize) -> &Path {
        &self.files[index]
    }

    /// The images' paths, as samples write them.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// A tree and the image it shows.
pub struct Placed {
    /// The tokens.
    pub tree: Tree,
    /// Index into [`Images`].
    pub image: usize,
}

/// Everything a run trains on.
pub struct Data {
    /// Pixels.
    pub images: Images,
    /// Tokens, in the order of their images' first appearance among the samples.
    pub trees: Vec<Placed>,
    /// What could not be used, and why.
    pub rejects: Vec<Reject>,
}

/// Learns a byte-level vocabulary from the samples' own text.
pub fn learn_vocabulary(config: &TrainConfig, samples: &[Sample]) -> Result<Tokenizer, Error> {
    let template = config.model.template;
    let frame = [
        template.opening().to_owned(),
        template.reply_mark().to_owned(),
        "\n".to_owned(),
    ];
    let texts = samples
        .iter()
        .flat_map(|s| [prompt::query(s), format!(" {}", prompt::response(s))])
        .chain(frame);
    Ok(train_bpe(texts, config.model.text.vocab_size)?)
}

/// Tokenises `samples` and reads their images, as far as both can be done.
///
/// # Errors
/// Where nothing is left to train on; [`sample::Error::Interrupted`] on a stop.
pub fn prepare(
    config: &TrainConfig,
    samples: &[Sample],
    image_file: &(dyn Fn(&Sample) -> Result<PathBuf, sample::Error> + Sync),
    tokenizer: &Tokenizer,
    preprocessor: Preprocessor,
) -> Result<Data, Error> {
    let mut rejects = Vec::new();
    let mut groups: Vec<Vec<&Sample>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for sample in samples {
        let group = *group_of.entry(&sample.image.path).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(sample);
    }
    let image_bytes = 3 * (preprocessor.side * preprocessor.side) as u64;
    let room = (config.image_cache_mib << 20) / image_bytes.max(1);
    let patches = (config.model.vision.image_size / config.model.vision.patch_size).pow(2);
    let bar = progress::bar("prepare", groups.len() as u64, "images");
    let mut images = Images {
        files: Vec::new(),
        paths: Vec::new(),
        cached: Vec::new(),
        preprocessor,
    };
    let mut trees = Vec::new();
    for groups in groups.chunks(GROUP) {
        interrupt::check()?;
        let ready: Vec<_> = groups
            .par_iter()
            .map(|group| {
                let ready = one_image(config, group, image_file, tokenizer, patches, &images);
                bar.inc(1);
                ready
            })
            .collect();
        for (group, ready) in groups.iter().zip(ready) {
            let (file, pixels, packed, unusable) = ready?;
            rejects.extend(unusable);
            if packed.is_empty() {
                continue;
            }
            let image = images.files.len();
            images.files.push(file);
            images.paths.push(
                group
                    .first()
                    .map(|s| s.image.path.clone())
                    .unwrap_or_default(),
            );
            if (image as u64) < room {
                images.cached.extend(pixels);
            }
            trees.extend(packed.into_iter().map(|tree| Placed { tree, image }));
        }
    }
    bar.finish();
    if trees.is_empty() {
        let why = rejects
            .first()
            .map_or("there are no samples".to_owned(), |r| {
                format!(
                    "none of {} samples can be used; the first: {}",
                    samples.len(),
                    r.detail
                )
            });
        return Err(Error::Data(why));
    }
    Ok(Data {
        images,
        trees,
        rejects,
    })
}

type Ready = (PathBuf, Option<Pixels>, Vec<Tree>, Vec<Reject>);

fn one_image(
    config: &TrainConfig,
    group: &[&Sample],
    image_file: &(dyn Fn(&Sample) -> Result<PathBuf, sample::Error> + Sync),
    tokenizer: &Tokenizer,
    patches: usize,
    images: &Images,
) -> Result<Ready, Error> {
    let reject = |sample: &Sample, reason: &str, detail: String| Reject {
        source: sample.origin.source().to_owned(),
        row: sample.id.clone(),
        reason: reason.to_owned(),
        detail,
    };
    let Some(first) = group.first() else {
        return Ok(Default::default());
    };
    let opened = match image_file(first) {
        Ok(file) => match images.preprocessor.open(&file) {
            Ok(pixels) => Ok((file, pixels)),
            Err(fault) => Err((fault.reason(), format!("{}: {fault}", file.display()))),
        },
        Err(error) => Err(("image_path", error.to_string())),
    };
    let (file, pixels) = match opened {
        Ok(opened) => opened,
        Err((reason, detail)) => {
            let unusable = group
                .iter()
                .map(|s| reject(s, reason, detail.clone()))
                .collect();
            return Ok((PathBuf::new(), None, Vec::new(), unusable));
        }
    };
    let (mut sequences, mut unusable) = (Vec::new(), Vec::new());
    let longest = config.model.text.max_length;
    for sample in group {
        let mut sequence = tokens(tokenizer, config.model.template, patches, sample)?;
        let length = sequence.ids.len();
        if sequence.truncate(longest) {
            sequences.push(sequence);
        } else {
            let detail = format!(
                "{length} tokens, of which the first {longest} hold nothing to learn: raise \
                 model.text.max_length"
            );
            unusable.push(reject(sample, "too_long", detail));
        }
    }
    let trees = pack(
        &sequences,
        tokenizer.image.unwrap_or(model::IMAGE_PLACEHOLDER),
        config.weighting,
        config.tree_tokens,
    );
    Ok((file, Some(pixels), trees, unusable))
}

/// The tokens of one pair.
pub fn tokens(
    tokenizer: &Tokenizer,
    template: Template,
    patches: usize,
    sample: &Sample,
) -> Result<Sequence, Error> {
    let (query, response) = (prompt::query(sample), prompt::response(sample));
    let tokens = conversation_tokens(tokenizer, template, patches, &query, Some(&response))?;
    Ok(Sequence {
        ids: tokens.ids,
        labelled: tokens.labels,
    })
}
