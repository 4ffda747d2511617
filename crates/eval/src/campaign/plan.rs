//! What a benchmark's questions will be asked with, decided and checked before the first request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use chat::{Image, Request, Role, Tag, Turn};
use rayon::prelude::*;
use sample::{
    Error as SampleError, Shard, interrupt, pixels, progress, seed, sha256_hex, write_atomic,
};

use super::config::{BenchmarkConfig, Shown};
use crate::{Benchmark, Error, Item, Picture, digest, rescore};

/// A benchmark's questions, with their images found and their prompts built.
pub struct Plan<'b> {
    pub(super) benchmark: &'b dyn Benchmark,
    pub(super) config: BenchmarkConfig,
    pub(super) split: &'static str,
    pub(super) seed: u64,
    /// The questions that are asked, as the benchmark has them in order.
    pub(super) items: Vec<Item>,
    /// What each is asked.
    pub(super) prompts: Vec<String>,
    /// What each is shown, or why that cannot be shown.
    pub(super) images: Vec<Result<Vec<Image>, String>>,
    /// The items' places in the order in which they are asked: those of one image come together.
    pub(super) order: Vec<usize>,
    /// Questions of the split, with those that a limit leaves out.
    pub(super) all: usize,
    /// Questions with more than one image.
    pub(super) several_images: usize,
    /// The benchmark's folder: its images lie below it, as the manifest says.
    pub(super) root: PathBuf,
    /// Digests: of the whole split, of what is shown, of what is said.
    pub(super) data: String,
    pub(super) shown: String,
    pub(super) prompt: String,
}

/// Questions that one worker asks, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The items' places.
    pub(super) order: Vec<usize>,
    /// Which of those are asked together.
    pub(super) batches: Vec<Range<usize>>,
}

impl Part {
    /// How many questions it has.
    pub fn questions(&self) -> usize {
        self.order.len()
    }
}

/// Reads a benchmark, draws the questions where there is a limit, finds every image and builds every
/// prompt. Images that have no file of their own are written into `pictures`, by their digests.
///
/// # Errors
/// Where the settings cannot be meant, the data cannot be read, or none of the images can.
pub fn plan<'b>(
    benchmark: &'b dyn Benchmark,
    config: &BenchmarkConfig,
    data: &Path,
    run_seed: u64,
    pictures: &Path,
) -> Result<Plan<'b>, Error> {
    config.check()?;
    let split = rescore::split(benchmark, config.split.as_deref())?;
    let loaded = benchmark.load(data, split)?;
    let wrong = |detail: String| Error::Data {
        path: data.to_owned(),
        detail,
    };
    if loaded.is_empty() {
        return Err(wrong(format!(
            "{} {split} has no questions there",
            benchmark.title()
        )));
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = loaded.iter().find(|item| !ids.insert(&item.id)) {
        return Err(wrong(format!(
            "question {:?} is there twice; replies could not be told apart",
            twice.id
        )));
    }
    let (all, data_digest) = (loaded.len(), digest::items(&loaded));
    let mut items = drawn(loaded, config.limit, run_seed);
    let images = shown(&items, config.images, pictures)?;
    let unshown = |found: &Result<Vec<Image>, String>| found.as_ref().err().cloned();
    if let Some(why) = images.iter().find_map(unshown)
        && !images.iter().flatten().any(|found| !found.is_empty())
    {
        return Err(wrong(format!(
            "not one image of {} can be shown: {why}. Unpack the benchmark's images beside its \
             questions, or set images = \"none\" to ask without looking",
            benchmark.title()
        )));
    }
    let several_images = items.iter().filter(|i| i.pictures.len() > 1).count();
    for (item, images) in items.iter_mut().zip(&images) {
        // Tables of images take hundreds of megabytes, and lie in files now.
        if item.pictures.iter().any(|p| matches!(p, Picture::Bytes(_))) {
            let files = images.iter().flatten();
            item.pictures = files.map(|i| Picture::File(i.path.clone())).collect();
        }
    }
    let prompts = prompts(benchmark, config, data, &items)?;
    Ok(Plan {
        shown: images_digest(&images),
        prompt: prompts_digest(config.system.as_deref(), &items, &prompts),
        order: together(&images),
        several_images,
        root: std::path::absolute(data).unwrap_or_else(|_| data.to_owned()),
        benchmark,
        config: config.clone(),
        split,
        seed: run_seed,
        items,
        prompts,
        images,
        all,
        data: data_digest,
    })
}

impl Plan<'_> {
    /// The benchmark, as commands name it.
    pub fn name(&self) -> &str {
        self.benchmark.name()
    }

    /// The name of the benchmark's folder.
    pub fn folder(&self) -> String {
        self.config.folder(self.split)
    }

    /// Questions that are asked.
    pub fn questions(&self) -> usize {
        self.items.len()
    }

    /// Questions that cannot be asked, since an image of theirs cannot be shown.
    pub fn unaskable(&self) -> usize {
        self.images.iter().filter(|found| found.is_err()).count()
    }

    /// Distinct images that are shown.
    pub fn images(&self) -> usize {
        let shown = self.images.iter().flatten().flatten();
        shown
            .map(|image| image.sha256.as_str())
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// What a model is sent, in the order of asking; what cannot be asked is left out.
    pub fn requests(&self, temperature: f32) -> impl Iterator<Item = Request> + Send {
        self.order
            .iter()
            .filter_map(move |&at| self.request(at, temperature).ok())
    }

    /// The questions that are asked one after the other: all, or those of a shard. `batch` is how many
    /// an own model answers at the same time; a server is asked for each by itself.
    ///
    /// A shard has whole batches, so that each is asked in the company that it has when there are no
    /// shards; of what a server is asked, it has all questions about an image or none.
    pub fn part(&self, batch: Option<usize>, shard: Option<Shard>) -> Part {
        let units = match batch {
            Some(size) => self.batches(size),
            None => self.runs(),
        };
        let first = |unit: &Range<usize>| self.items[self.order[unit.start]].id.as_str();
        let own = shard.map(|shard| shard.takes(units.iter().map(first)));
        let mut part = Part {
            order: Vec::new(),
            batches: Vec::new(),
        };
        for (at, unit) in units.into_iter().enumerate() {
            if own.as_ref().is_none_or(|own| own[at]) {
                let start = part.order.len();
                part.order.extend_from_slice(&self.order[unit]);
                part.batches.push(start..part.order.len());
            }
        }
        part
    }

    /// What a model is sent for a part, in the order of asking; what cannot be asked is left out.
    pub fn requests_of(
        &self,
        part: &Part,
        temperature: f32,
    ) -> impl Iterator<Item = Request> + Send {
        let asked = part.order.iter();
        asked.filter_map(move |&at| self.request(at, temperature).ok())
    }

    /// Questions in a row about one image, in the order of asking.
    fn runs(&self) -> Vec<Range<usize>> {
        let image = |place: usize| first_image(&self.images[self.order[place]]);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for place in 0..self.order.len() {
            match runs.last_mut() {
                Some(run) if image(place).is_some() && image(place) == image(place - 1) => {
                    run.end = place + 1;
                }
                _ => runs.push(place..place + 1),
            }
        }
        runs
    }

    /// What a model is sent for one item, or why it cannot be.
    pub(super) fn request(&self, at: usize, temperature: f32) -> Result<Request, String> {
        Ok(Request {
            id: self.items[at].id.clone(),
            tag: Tag {
                stage: "eval".into(),
                kind: "answer".into(),
                source: self.name().to_owned(),
            },
            system: self.config.system.clone(),
            turns: vec![Turn {
                role: Role::User,
                text: self.prompts[at].clone(),
            }],
            images: self.images[at].clone()?,
            subject: serde_json::Value::Null,
            schema: None,
            max_tokens: self.config.max_new_tokens,
            temperature,
            seed: self.seed,
        })
    }

    /// Batches of about `size` questions in the order of asking, of which none ends between two
    /// questions of one image unless it must.
    pub(super) fn batches(&self, size: usize) -> Vec<Range<usize>> {
        let first = |place: usize| first_image(&self.images[self.order[place]]);
        let (size, all) = (size.max(1), self.order.len());
        let mut batches = Vec::new();
        let mut start = 0;
        while start < all {
            let mut end = (start + size).min(all);
            if end < all {
                let same =
                    |place: usize| first(place).is_some() && first(place - 1) == first(place);
                let whole = (start + 1..=end).rev().find(|&place| !same(place));
                end = whole.unwrap_or(end);
            }
            batches.push(start..end);
            start = end;
        }
        batches
    }
}

/// What is asked of each item, without the system prompt.
fn prompts(
    benchmark: &dyn Benchmark,
    config: &BenchmarkConfig,
    data: &Path,
    items: &[Item],
) -> Result<Vec<String>, Error> {
    let around = |query: &str| format!("{}{query}{}", config.before, config.after);
    let Some(file) = &config.queries else {
        let asked = items.par_iter().map(|item| around(&benchmark.query(item)));
        return Ok(asked.collect());
    };
    let path = data.join(file);
    let wrong = |detail: String| Error::Data {
        path: path.clone(),
        detail,
    };
    let bytes = std::fs::read(&path).map_err(|e| SampleError::io(&path, e))?;
    let queries: HashMap<String, String> = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(format!("is not an object of query by question id: {e}")))?;
    let asked = items.iter().map(|item| {
        let query = queries.get(&item.id);
        let query = query.ok_or_else(|| wrong(format!("has no query for question {:?}", item.id)));
        query.map(|query| around(query))
    });
    asked.collect()
}

/// All items, or `limit` of them drawn by seed, in their own order.
fn drawn(items: Vec<Item>, limit: Option<usize>, run_seed: u64) -> Vec<Item> {
    let Some(limit) = limit.filter(|&limit| limit < items.len()) else {
        return items;
    };
    let mut order: Vec<(u64, usize)> = items
        .iter()
        .enumerate()
        .map(|(i, item)| (seed::derive(run_seed, &["benchmark", "limit", &item.id]), i))
        .collect();
    order.sort_unstable();
    let kept: BTreeSet<usize> = order.into_iter().take(limit).map(|(_, i)| i).collect();
    let numbered = items.into_iter().enumerate();
    numbered
        .filter_map(|(i, item)| kept.contains(&i).then_some(item))
        .collect()
}

/// Finds every item's images: their sizes and digests, and files for those that have none.
fn shown(
    items: &[Item],
    which: Shown,
    pictures: &Path,
) -> Result<Vec<Result<Vec<Image>, String>>, Error> {
    let of = |item: &Item| -> usize {
        match which {
            Shown::All => item.pictures.len(),
            Shown::First => item.pictures.len().min(1),
            Shown::None => 0,
        }
    };
    let paths: BTreeSet<&PathBuf> = items
        .iter()
        .flat_map(|item| &item.pictures[..of(item)])
        .filter_map(|picture| match picture {
            Picture::File(path) => Some(path),
            Picture::Bytes(_) => None,
        })
        .collect();
    let bar = progress::bar("images", (paths.len() + items.len()) as u64, "files");
    let files: HashMap<&PathBuf, Result<Image, String>> = paths
        .into_par_iter()
        .map(|path| {
            interrupt::check()?;
            let image = pixels::read_bytes(path).and_then(|bytes| looked_at(path, &bytes));
            bar.inc(1);
            let named = image.map_err(|fault| format!("{}: {fault}", path.display()));
            Ok::<_, Error>((path, named))
        })
        .collect::<Result<_, _>>()?;
    let mut written = BTreeSet::new();
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        interrupt::check()?;
        let mut images = Ok(Vec::new());
        for (n, picture) in item.pictures[..of(item)].iter().enumerate() {
            let image = match picture {
                Picture::File(path) => files
                    .get(path)
                    .cloned()
                    .unwrap_or_else(|| Err(format!("{}: was not read", path.display()))),
                Picture::Bytes(bytes) => store(bytes, pictures, &mut written)?
                    .map_err(|fault| format!("image {} in the table: {fault}", n + 1)),
            };
            images = images.and_then(|mut images: Vec<Image>| {
                images.push(image?);
                Ok(images)
            });
        }
        bar.inc(1);
        all.push(images);
    }
    bar.finish();
    Ok(all)
}

fn looked_at(path: &Path, bytes: &[u8]) -> Result<Image, pixels::Fault> {
    let (width, height) = pixels::size(bytes)?;
    Ok(Image {
        path: path.to_owned(),
        sha256: sha256_hex(bytes),
        width,
        height,
    })
}

/// Writes an image under its digest, unless it is there.
fn store(
    bytes: &[u8],
    folder: &Path,
    written: &mut BTreeSet<PathBuf>,
) -> Result<Result<Image, pixels::Fault>, Error> {
    let path = folder.join(format!("{}.{}", sha256_hex(bytes), extension(bytes)));
    let image = looked_at(&path, bytes);
    if image.is_ok() && written.insert(path.clone()) && !path.is_file() {
        std::fs::create_dir_all(folder).map_err(|e| SampleError::io(folder, e))?;
        // Workers on several machines may write the same image at the same time.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let moment = now.map_or(0, |since| since.as_nanos());
        let own = path.with_extension(format!("{}-{moment}", std::process::id()));
        write_atomic(&own, bytes)?;
        std::fs::rename(&own, &path).map_err(|e| SampleError::io(&path, e))?;
    }
    Ok(image)
}

fn extension(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, ..] => "jpg",
        [b'G', b'I', b'F', ..] => "gif",
        [b'B', b'M', ..] => "bmp",
        _ => "webp",
    }
}

fn first_image(images: &Result<Vec<Image>, String>) -> Option<&str> {
    Some(images.as_ref().ok()?.first()?.sha256.as_str())
}

/// Items in the order of their first images' first appearance.
fn together(images: &[Result<Vec<Image>, String>]) -> Vec<usize> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keyed: Vec<(usize, usize)> = images
        .iter()
        .enumerate()
        .map(|(at, images)| match first_image(images) {
            Some(first) => (*places.entry(first).or_insert(at), at),
            None => (at, at),
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, at)| at).collect()
}

fn images_digest(images: &[Result<Vec<Image>, String>]) -> String {
    let mut text = String::new();
    for found in images {
        match found {
            Ok(images) => images.iter().for_each(|i| text.push_str(&i.sha256)),
            Err(_) => text.push('-'),
        }
        text.push('\n');
    }
    sha256_hex(text.as_bytes())
}

fn prompts_digest(system: Option<&str>, items: &[Item], prompts: &[String]) -> String {
    let mut text = serde_json::json!([system]).to_string();
    for (item, prompt) in items.iter().zip(prompts) {
        text.push_str(&serde_json::json!([item.id, prompt]).to_string());
    }
    sha256_hex(text.as_bytes())
}
