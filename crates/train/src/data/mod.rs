//! Everything a run trains on, looked over once before the first step.
//!
//! Every conversation is tokenised here, for its length and for whether anything in it can be
//! learned, and the tokens are dropped: a step makes its own again, off the training thread, which
//! takes it milliseconds. So 360,000 pairs are in memory as their texts, measured at 0.8 kB each
//! (0.3 GB); as trees they would take 5 kB a pair. Images are decoded here where their pixels will be
//! kept, else it is only checked that their files exist.

mod conversations;
mod example;
pub mod holdout;
mod images;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use model::{Pixels, Preprocessor, Template, Tokenizer, train_bpe};
use rayon::prelude::*;
use sample::pixels::Fault;
use sample::{Reject, archive, interrupt, progress};
use sha2::{Digest, Sha256};

use crate::packing::Layout;
use crate::packing::tree::{Sequence, Tree};
use crate::{Error, TrainConfig};

pub use conversations::{parse_conversations, read_conversations};
pub use example::{Encoding, Example, ExampleImage, Round};
pub use images::Images;

/// Images are looked over in groups of this many, between which a stop is noticed.
const GROUP: usize = 256;

/// Finds the file of an image by its path as examples write it.
pub type Locate<'a> = dyn Fn(&str) -> Result<PathBuf, sample::Error> + Sync + 'a;

/// What the order of an epoch permutes: examples that are always in one step together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Index into [`Images`]; `None` for text alone.
    pub image: Option<usize>,
    /// Indices into [`Data::examples`].
    pub examples: Range<usize>,
    /// Tokens, shared ones once.
    pub tokens: usize,
    /// Tokens that the examples would be as separate sequences.
    pub unpacked: usize,
}

/// Everything a run trains on.
pub struct Data {
    /// Files and pixels.
    pub images: Images,
    /// Those of an image stand together, images in the order of their first appearance.
    pub examples: Vec<Example>,
    /// Over all of `examples`, in their order.
    pub units: Vec<Unit>,
    /// What could not be used, and why.
    pub rejects: Vec<Reject>,
    /// How conversations become tokens.
    pub encoding: Encoding,
    /// How tokens become rows.
    pub layout: Layout,
}

/// Learns a byte-level vocabulary of at most `size` tokens from the examples' own text.
pub fn learn_vocabulary(
    examples: &[Example],
    template: Template,
    size: usize,
) -> Result<Tokenizer, Error> {
    let frame = [
        template.opening().to_owned(),
        template.reply_mark().to_owned(),
        "\n".to_owned(),
    ];
    let texts = examples
        .iter()
        .flat_map(|example| &example.rounds)
        .flat_map(|round| [round.question.clone(), format!(" {}", round.reply)])
        .chain(frame);
    Ok(train_bpe(texts, size)?)
}

impl Data {
    /// Looks over `examples` and their images.
    ///
    /// # Errors
    /// Where nothing is left to train on; [`sample::Error::Interrupted`] on a stop.
    pub fn prepare(
        config: &TrainConfig,
        examples: Vec<Example>,
        locate: &Locate<'_>,
        encoding: Encoding,
        preprocessor: Preprocessor,
    ) -> Result<Data, Error> {
        let given = examples.len();
        let groups = by_image(&examples);
        let layout = Layout::new(config, encoding.tokenizer.image, encoding.patches);
        let image_bytes = 3 * (preprocessor.side * preprocessor.side) as u64;
        // Of a tower that stays as it is, features are kept and not pixels.
        let keep = !config.freeze_tower || config.tower.steps > 0;
        let room = if keep {
            (config.image_cache_mib << 20) / image_bytes.max(1)
        } else {
            0
        };
        let bar = progress::bar("prepare", groups.len() as u64, "images");
        let mut data = Data {
            images: Images::new(preprocessor),
            examples: Vec::with_capacity(given),
            units: Vec::new(),
            rejects: Vec::new(),
            encoding,
            layout,
        };
        let mut examples: Vec<Option<Example>> = examples.into_iter().map(Some).collect();
        for groups in groups.chunks(GROUP) {
            interrupt::check()?;
            let decode = (data.images.len() as u64) < room;
            let ready: Vec<_> = groups
                .par_iter()
                .map(|group| {
                    let group = group.iter().filter_map(|&i| examples[i].as_ref());
                    let ready = data.look_over(&group.collect::<Vec<_>>(), locate, decode);
                    bar.inc(1);
                    ready
                })
                .collect();
            for (group, ready) in groups.iter().zip(ready) {
                let ready = ready?;
                data.rejects.extend(ready.rejects);
                let kept = group
                    .iter()
                    .zip(&ready.usable)
                    .filter(|(_, usable)| **usable);
                let kept: Vec<Example> = kept.filter_map(|(&i, _)| examples[i].take()).collect();
                let Some(first) = kept.first() else {
                    continue;
                };
                let image = first.image.clone().map(|name| {
                    let room = (data.images.len() as u64) < room;
                    let pixels = ready.pixels.filter(|_| room);
                    data.images.push(ready.file, name, pixels);
                    data.images.len() - 1
                });
                data.units
                    .extend(units(config, image, data.examples.len(), &ready.trees));
                data.examples.extend(kept);
            }
        }
        bar.finish();
        if data.examples.is_empty() {
            let why = match data.rejects.first() {
                None => "there are no samples".to_owned(),
                Some(r) => {
                    let first = &r.detail;
                    format!("none of {given} samples can be used; the first: {first}")
                }
            };
            return Err(Error::Data(why));
        }
        Ok(data)
    }

    /// What can be used of one image's examples, or of one example without an image.
    fn look_over(
        &self,
        group: &[&Example],
        locate: &Locate<'_>,
        decode: bool,
    ) -> Result<Ready, Error> {
        let mut ready = Ready::default();
        if let Some(name) = group.first().and_then(|first| first.image.as_ref()) {
            let file = locate(&name.path).map_err(|error| ("image_path", error.to_string()));
            let opened = file.and_then(|file| {
                let preprocessor = self.images.preprocessor();
                let pixels = if decode {
                    preprocessor.open(&file).map(Some)
                } else {
                    exists(&file).map(|()| None)
                };
                match pixels {
                    Ok(pixels) => Ok((file, pixels)),
                    Err(fault) => Err((fault.reason(), format!("{}: {fault}", file.display()))),
                }
            });
            match opened {
                Ok(opened) => (ready.file, ready.pixels) = opened,
                Err((reason, detail)) => {
                    let rejects = group.iter().map(|e| e.reject(reason, detail.clone()));
                    ready.rejects = rejects.collect();
                    ready.usable = vec![false; group.len()];
                    return Ok(ready);
                }
            }
        }
        let mut sequences = Vec::new();
        for example in group {
            let sequence = self.encoding.sequence(example)?;
            ready.usable.push(sequence.labels() > 0);
            if sequence.labels() > 0 {
                sequences.push(sequence);
            } else {
                let (reason, detail) = self.encoding.nothing_to_learn(&sequence);
                ready.rejects.push(example.reject(reason, detail));
            }
        }
        ready.trees = self.layout.trees(&sequences).iter().map(Size::of).collect();
        Ok(ready)
    }

    /// The trees of a unit.
    pub fn trees(&self, unit: &Unit) -> Result<Vec<Tree>, Error> {
        let examples = self.examples.get(unit.examples.clone()).unwrap_or_default();
        let sequences: Vec<Sequence> = examples
            .iter()
            .map(|example| self.encoding.sequence(example))
            .collect::<Result<_, Error>>()?;
        Ok(self.layout.trees(&sequences))
    }

    /// Names what is trained on: SHA-256 in hex over ids, conversations and images' digests (or the
    /// paths and lengths of files whose digest is not known). A checkpoint of other data must not be
    /// gone on from: the order of its epochs would be another.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for (index, name) in self.images.names().iter().enumerate() {
            add(&name.path);
            add(&name.sha256);
            if name.sha256.is_empty() {
                let length =
                    std::fs::metadata(self.images.file(index)).map_or(0, |meta| meta.len());
                add(&length.to_string());
            }
        }
        for unit in &self.units {
            add(&unit.image.map_or(String::new(), |image| image.to_string()));
            for example in self.examples.get(unit.examples.clone()).unwrap_or_default() {
                add(&example.id);
                add(&example.shown_in.to_string());
                add(&example.rounds.len().to_string());
                for round in &example.rounds {
                    add(&round.question);
                    add(&round.reply);
                }
            }
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Tokens of one epoch: shared ones once, and as separate sequences.
    pub fn tokens(&self) -> (usize, usize) {
        let units = self.units.iter();
        units.fold((0, 0), |(tokens, unpacked), unit| {
            (tokens + unit.tokens, unpacked + unit.unpacked)
        })
    }
}

/// One image's examples, looked over.
#[derive(Default)]
struct Ready {
    file: PathBuf,
    pixels: Option<Pixels>,
    /// Of each example.
    usable: Vec<bool>,
    rejects: Vec<Reject>,
    trees: Vec<Size>,
}

/// What is kept of a tree.
struct Size {
    pairs: usize,
    tokens: usize,
    unpacked: usize,
}

impl Size {
    fn of(tree: &Tree) -> Size {
        Size {
            pairs: tree.pairs,
            tokens: tree.len(),
            unpacked: tree.unpacked,
        }
    }
}

/// The units of one image's examples, the first of which is number `first`: all of them where steps
/// are counted in images, else a tree each.
fn units(config: &TrainConfig, image: Option<usize>, first: usize, trees: &[Size]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut next = first;
    for tree in trees {
        let examples = next..next + tree.pairs;
        next = examples.end;
        match units.last_mut() {
            Some(unit) if config.batch_images > 0 => {
                unit.examples.end = examples.end;
                unit.tokens += tree.tokens;
                unit.unpacked += tree.unpacked;
            }
            _ => units.push(Unit {
                image,
                examples,
                tokens: tree.tokens,
                unpacked: tree.unpacked,
            }),
        }
    }
    units
}

/// Indices of examples about the same image, in the order of first appearance; those without an
/// image are alone.
fn by_image(examples: &[Example]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (index, example) in examples.iter().enumerate() {
        let new = groups.len();
        let group = match &example.image {
            Some(image) => *group_of.entry(&image.path).or_insert(new),
            None => new,
        };
        match groups.get_mut(group) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Whether there is such an image file, on its own or in an archive; what is in it is not looked at.
fn exists(file: &Path) -> Result<(), Fault> {
    match std::fs::metadata(file) {
        Ok(meta) if !meta.is_file() => Err(Fault::Unreadable("not a file".to_owned())),
        Ok(meta) if meta.len() == 0 => Err(Fault::Empty),
        Ok(_) => Ok(()),
        Err(_) => {
            let (archive, member) = archive::split(file).ok_or(Fault::Missing)?;
            let archive = archive::open(&archive).map_err(|e| Fault::Unreadable(e.to_string()))?;
            if archive.has(&member) {
                Ok(())
            } else {
                Err(Fault::Missing)
            }
        }
    }
}
