//! One evaluation, question by question, whatever it was of: a run's held-out questions or a benchmark.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use report::components::{Fate, Pictures, Question};
use sample::benchmark::folder::{self, ItemRecord};
use sample::benchmark::{BenchmarkScore, ItemScore};
use sample::scores::{Condition, Results, Score};
use sample::{Manifest, Sample, read_table};

use super::picture::place;
use crate::pipeline::StageFolder;
use crate::runs::{RunFolder, segment};
use crate::{Error, Studio};

/// No longer file of verdicts is read for a page, in bytes.
const LONGEST: u64 = 512 << 20;

/// What is known of a question.
#[derive(Debug, Clone)]
struct Known {
    record: ItemRecord,
    /// Its image's digest, of held-out questions.
    sha256: Option<String>,
}

/// An evaluation with all its verdicts.
#[derive(Debug)]
pub(super) struct Sheet {
    /// The score; of held-out questions that under the first condition.
    pub score: BenchmarkScore,
    /// Who answered, the one that is judged first.
    pub names: Vec<String>,
    /// Questions in their order, with what each of `names` said.
    order: Vec<String>,
    said: Vec<HashMap<String, ItemScore>>,
    known: HashMap<String, Known>,
    /// The folder that relative images lie below, and the roots that absolute ones lie below.
    folder: PathBuf,
    image_roots: BTreeMap<String, PathBuf>,
}

/// The finished evaluation of a run that is called so: `eval`, or a benchmark's folder.
pub(super) fn find<'a>(
    stages: &'a [StageFolder],
    label: &str,
) -> Result<(&'a StageFolder, &'a Manifest), Error> {
    let all = || {
        let finished = stages
            .iter()
            .filter(|s| is_evaluation(s) && s.manifest().is_some());
        let labels: Vec<&str> = finished.take(40).map(|s| s.label.as_str()).collect();
        labels.join(", ")
    };
    let found = stages.iter().find(|s| s.label == label && is_evaluation(s));
    let found = found.and_then(|s| Some((s, s.manifest()?)));
    found.ok_or_else(|| {
        Error::NotFound(format!(
            "this run has no finished evaluation {label:?}; it has: {}",
            all()
        ))
    })
}

/// Whether a stage asks questions and scores the replies.
pub(super) fn is_evaluation(stage: &StageFolder) -> bool {
    matches!(stage.verb.as_str(), "eval" | "benchmark")
}

/// A benchmark run's score, from its manifest.
pub(super) fn benchmark_score(manifest: &Manifest) -> Option<BenchmarkScore> {
    serde_json::from_value(manifest.results.clone()).ok()
}

/// A held-out evaluation's results, from its manifest.
pub(super) fn heldout_results(stage: &StageFolder, manifest: &Manifest) -> Result<Results, Error> {
    serde_json::from_value(manifest.results.clone()).map_err(|e| {
        let detail =
            format!("its manifest's results are not of an evaluation of this version: {e}");
        sample::Error::format(&stage.path, detail).into()
    })
}

impl Studio {
    /// An evaluation's sheet.
    pub(super) fn sheet(
        &self,
        stage: &StageFolder,
        manifest: &Manifest,
    ) -> Result<Arc<Sheet>, Error> {
        let scores = stage.path.join(folder::SCORES);
        let items = stage.path.join(folder::ITEMS);
        let samples = stage.path.join(sample::SAMPLES);
        let own = stage.path.join("manifest.json");
        let name = stage.path.display().to_string();
        self.kept.of(&name, &[&scores, &items, &samples, &own], || {
            let length = std::fs::metadata(&scores).map_or(0, |m| m.len());
            if length > LONGEST {
                let detail =
                    format!("{length} bytes, of which a page reads no more than {LONGEST}");
                return Err(sample::Error::format(&scores, detail).into());
            }
            match stage.verb.as_str() {
                "eval" => heldout(stage, manifest, &scores, &samples),
                _ => benchmark(stage, manifest),
            }
        })
    }
}

fn benchmark(stage: &StageFolder, manifest: &Manifest) -> Result<Sheet, Error> {
    let score = benchmark_score(manifest).ok_or_else(|| {
        let detail = "its manifest holds no score of a benchmark run; score it first";
        Error::from(sample::Error::format(&stage.path, detail))
    })?;
    let items = folder::item_scores(&stage.path)?;
    let records = folder::items(&stage.path)?;
    let known = records.into_iter().map(|record| {
        let known = Known {
            sha256: None,
            record,
        };
        (known.record.id.clone(), known)
    });
    let name = match score.model.as_str() {
        "" => stage.label.clone(),
        model => model.to_owned(),
    };
    Ok(Sheet {
        score,
        names: vec![name],
        order: items.iter().map(|i| i.id.clone()).collect(),
        known: known.collect(),
        said: vec![items.into_iter().map(|i| (i.id.clone(), i)).collect()],
        folder: stage.path.clone(),
        image_roots: manifest.image_roots.clone(),
    })
}

fn heldout(
    stage: &StageFolder,
    manifest: &Manifest,
    scores: &Path,
    samples: &Path,
) -> Result<Sheet, Error> {
    let results = heldout_results(stage, manifest)?;
    let mut order = Vec::new();
    let mut said: Vec<HashMap<String, ItemScore>> = vec![HashMap::new(); Condition::ALL.len()];
    let text = crate::kept::text(scores, LONGEST)?.unwrap_or_default();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let score: Score = serde_json::from_str(line)
            .map_err(|e| sample::Error::format(scores, format!("line {}: {e}", number + 1)))?;
        let place = Condition::ALL
            .iter()
            .position(|c| *c == score.condition)
            .unwrap_or(0);
        if place == 0 {
            order.push(score.id.clone());
        }
        let _ = said[place].insert(score.id.clone(), item(score));
    }
    let mut known = HashMap::new();
    if samples.is_file() {
        for sample in read_table::<Sample>(samples)? {
            let _ = known.insert(sample.id.clone(), question(sample));
        }
    }
    let right = said[0].values().filter(|i| i.correct).count() as u64;
    Ok(Sheet {
        score: BenchmarkScore {
            benchmark: results.benchmark,
            split: "held out".to_owned(),
            version: results.benchmark_version.to_string(),
            model: results.model.clone(),
            extraction: results.extraction,
            correct: right,
            total: order.len() as u64,
            accuracy: right as f64 / order.len().max(1) as f64,
            ..BenchmarkScore::default()
        },
        names: vec![
            results.model,
            "with a swapped image".to_owned(),
            "blind".to_owned(),
        ],
        order,
        said,
        known,
        folder: stage.path.clone(),
        image_roots: manifest.image_roots.clone(),
    })
}

fn item(score: Score) -> ItemScore {
    ItemScore {
        id: score.id,
        response: Some(score.response),
        reading: score.reading,
        prediction: score.extraction.clone(),
        extraction: score.extraction,
        expected: Some(score.expected),
        correct: score.correct,
        fallback: false,
        truncated: score.truncated,
    }
}

fn question(sample: Sample) -> Known {
    let groups = [
        ("task", sample.task.name().to_owned()),
        ("source", sample.origin.source().to_owned()),
        ("template", sample.template.clone().unwrap_or_default()),
    ];
    let groups = groups.into_iter().filter(|(_, name)| !name.is_empty());
    Known {
        record: ItemRecord {
            answer: Some(sample.answer_value()),
            groups: groups.map(|(d, n)| (d.to_owned(), n)).collect(),
            id: sample.id,
            question: sample.question,
            choices: sample.choices,
            query: None,
            images: vec![PathBuf::from(&sample.image.path)],
        },
        sha256: Some(sample.image.sha256),
    }
}

impl Sheet {
    /// The judged verdicts, in the questions' order.
    pub fn verdicts(&self) -> Vec<ItemScore> {
        let first = self
            .order
            .iter()
            .filter_map(|id| self.said.first()?.get(id));
        first.cloned().collect()
    }

    /// What is known of the questions.
    pub fn records(&self) -> Vec<ItemRecord> {
        let known = self.order.iter().filter_map(|id| self.known.get(id));
        known.map(|k| k.record.clone()).collect()
    }

    /// Questions by what became of them.
    pub fn ids_of(&self, wanted: Option<Fate>) -> Vec<&str> {
        let Some(first) = self.said.first() else {
            return Vec::new();
        };
        let fits = |id: &&String| {
            let verdict = first.get(*id);
            verdict.is_some_and(|v| wanted.is_none_or(|wanted| Fate::of(v) == wanted))
        };
        self.order.iter().filter(fits).map(String::as_str).collect()
    }

    /// A question with what was said to it here and, where there is one, in another sheet.
    pub fn question(&self, id: &str, other: Option<&Sheet>) -> Option<Question> {
        let first = self.said.first()?.get(id)?;
        let known = self.known.get(id).or_else(|| other?.known.get(id));
        let record = known
            .map(|k| k.record.clone())
            .unwrap_or_else(|| ItemRecord {
                id: id.to_owned(),
                answer: first.expected.clone(),
                ..ItemRecord::default()
            });
        let said = match other {
            // Beside each other are the judged replies of both.
            Some(other) => vec![Some(first.clone()), other.said.first()?.get(id).cloned()],
            None => self.said.iter().map(|said| said.get(id).cloned()).collect(),
        };
        Some(Question {
            images: record.images.clone(),
            record,
            said,
        })
    }

    /// Where a page finds a question's images: those of held-out questions among the run's data, a benchmark's
    /// by the question and their place in it.
    pub fn pictures<'a>(&'a self, run: &RunFolder, label: &str, id: &'a str) -> Pictures<'a> {
        let (home, run, label) = (run.path.clone(), run.segment(), segment(label));
        Pictures::linked(move |path, _| {
            let known = self.known.get(id)?;
            if let Some(sha256) = &known.sha256 {
                return Some(format!("/data/{run}/image/{}?side=320", segment(sha256)));
            }
            let mut images = known.record.images.iter();
            let n = images.position(|image| image.to_string_lossy() == path)?;
            // A note says more than a picture that does not come. A path may lead on into an archive: then
            // the part of it that exists is a file.
            let file = self.image(&home, id, n)?.ok()?;
            let part = file.ancestors().find(|part| part.exists());
            let _ = part.filter(|part| part.is_file())?;
            Some(format!(
                "/evaluation/{run}/picture?of={label}&id={}&n={n}",
                segment(id)
            ))
        })
    }

    /// The file of a question's image, where it has so many; `run` is the run's folder.
    pub fn image(&self, run: &Path, id: &str, n: usize) -> Option<Result<PathBuf, Error>> {
        let image = self.known.get(id)?.record.images.get(n)?;
        Some(place(run, &self.folder, &self.image_roots, image))
    }
}
