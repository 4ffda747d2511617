//! A run's configuration: one TOML file, read strictly, with the defaults of each stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eval::campaign::{BenchmarkConfig, CandidateConfig, JudgeConfig, check_candidates};
use serde::{Deserialize, Serialize};
use sources::figures::FiguresConfig;

use crate::overrides;
use crate::teachers::TeacherConfig;

/// What a run's TOML file may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Every random choice of the run derives from it.
    pub seed: u64,
    /// The run's folder, relative to the working folder.
    pub out: PathBuf,
    /// Where published data sets lie; `--root` overrides it.
    #[serde(default)]
    pub data_root: Option<PathBuf>,
    /// Figures to draw for training.
    #[serde(default)]
    pub figures: Option<FiguresConfig>,
    /// Figures to draw for evaluation; leave out to hold images of the sources out instead
    /// (`[select.holdout]`).
    #[serde(default)]
    pub heldout: Option<FiguresConfig>,
    /// Published data sets to import.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceConfig>,
    /// Folders of benchmarks whose problems must stay out of the training data, below `data_root`
    /// unless absolute; `--benchmark` overrides them.
    #[serde(default)]
    pub benchmarks: Vec<PathBuf>,
    /// The cluster that does the work of the stages up to `select`; `--cluster` overrides it. Without one
    /// this process does.
    #[serde(default)]
    pub cluster: Option<ClusterConfig>,
    /// How images and questions are compared.
    #[serde(default)]
    pub inspect: select::inspect::InspectConfig,
    /// How images are graded; without this section the grades are those that the sources state.
    #[cfg(feature = "torch")]
    #[serde(default)]
    pub grade: Option<grade::GradeConfig>,
    /// Without libtorch the section is read, so that the file is valid, and not used.
    #[cfg(not(feature = "torch"))]
    #[serde(default)]
    pub grade: Option<serde_json::Value>,
    /// Which images to take.
    #[serde(default)]
    pub select: select::SelectConfig,
    /// Models behind servers, by the names that `synth` and `grade` call them.
    #[serde(default)]
    pub teachers: BTreeMap<String, TeacherConfig>,
    /// The file of all requests and replies; by default `ledger.sqlite` in the run's folder. Runs
    /// that share one never pay twice for the same request.
    #[serde(default)]
    pub ledger: Option<PathBuf>,
    /// Which pairs to make.
    #[serde(default)]
    pub synth: synth::SynthConfig,
    /// The model and how to train it.
    #[cfg(feature = "torch")]
    #[serde(default)]
    pub train: train::TrainConfig,
    /// Without libtorch the section is read, so that the file is valid, and not used.
    #[cfg(not(feature = "torch"))]
    #[serde(default)]
    pub train: serde_json::Value,
    /// How to score it on what is held out.
    #[serde(default)]
    pub eval: eval::Config,
    /// Published benchmarks that candidates are scored on.
    #[serde(default, rename = "benchmark")]
    pub scored: Vec<BenchmarkConfig>,
    /// The models that are asked; by default the run's own.
    #[serde(default, rename = "candidate")]
    pub candidates: Vec<CandidateConfig>,
    /// Who reads replies where a benchmark has `extraction = "judge"`.
    #[serde(default)]
    pub judge: Option<JudgeConfig>,
}

/// Machines beside this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Of the scheduler, `HOST:PORT`.
    pub address: String,
}

/// One published data set of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its name; `math-llava sources` lists them.
    pub name: String,
    /// Its folder, below `data_root` unless absolute; by default the name.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Only these splits; empty for all.
    #[serde(default)]
    pub splits: Vec<String>,
    /// At most so many rows.
    #[serde(default)]
    pub limit: Option<usize>,
}

impl RunConfig {
    /// Reads a file and checks what no single stage can check.
    pub fn read(path: &Path) -> Result<RunConfig> {
        RunConfig::read_with(path, &[])
    }

    /// [`RunConfig::read`] with single values changed; see [`overrides`].
    pub fn read_with(path: &Path, settings: &[String]) -> Result<RunConfig> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let config: RunConfig = if settings.is_empty() {
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
        } else {
            let mut table: toml::Table =
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
            overrides::apply(&mut table, settings)?;
            table
                .try_into()
                .with_context(|| format!("in {} with --set", path.display()))?
        };
        config
            .check()
            .with_context(|| format!("in {}", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        #[cfg(feature = "torch")]
        let conversations = self.train.data.is_some();
        #[cfg(not(feature = "torch"))]
        let conversations = !self.train["data"].is_null();
        // A file may be about benchmarks alone.
        if self.figures.is_none()
            && self.sources.is_empty()
            && !conversations
            && self.scored.is_empty()
        {
            bail!("there is nothing to train on: give [figures], or one [[source]] or more");
        }
        check_candidates(&self.candidates)?;
        for (i, benchmark) in self.scored.iter().enumerate() {
            benchmark.check()?;
            let folder = |b: &BenchmarkConfig| b.folder(b.split.as_deref().unwrap_or_default());
            if self.scored[..i]
                .iter()
                .any(|b| folder(b) == folder(benchmark))
            {
                bail!(
                    "[[benchmark]] {:?} is given twice with the same split and limit; their results \
                     would lie in one folder",
                    benchmark.name
                );
            }
        }
        if let (Some(train), Some(heldout)) = (&self.figures, &self.heldout)
            && train.split == heldout.split
        {
            bail!(
                "[figures] and [heldout] have the same split {:?}: held-out figures must be others",
                train.split
            );
        }
        for (i, source) in self.sources.iter().enumerate() {
            if self.sources[..i].iter().any(|s| s.name == source.name) {
                bail!("source {:?} is given twice", source.name);
            }
        }
        Ok(())
    }
}

/// Where the stages of a run lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The run's folder.
    pub run: PathBuf,
}

impl Layout {
    /// The import of one source.
    pub fn import(&self, source: &str) -> PathBuf {
        self.run.join("import").join(source)
    }

    /// The figures drawn for evaluation.
    pub fn heldout(&self) -> PathBuf {
        self.run.join("heldout")
    }

    /// Another stage, by its verb.
    pub fn stage(&self, verb: &str) -> PathBuf {
        self.run.join(verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_that_comes_with_the_program_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let config = RunConfig::read(&path).unwrap_or_else(|e| panic!("{e:#}"));
            #[cfg(feature = "torch")]
            config
                .train
                .check()
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            drop(config);
            read += 1;
        }
        assert!(read >= 8, "{read} configurations");
    }

    #[cfg(feature = "torch")]
    #[test]
    fn the_papers_recipe_is_what_the_paper_says() {
        for size in ["13b", "7b"] {
            let name = format!("../../configs/math-llava-{size}.toml");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let recipe = RunConfig::read(&path).unwrap().train;
            assert_eq!(
                (recipe.lr, recipe.warmup_ratio, recipe.weight_decay),
                (2e-5, 0.03, 0.0)
            );
            assert_eq!(
                (recipe.betas, recipe.eps, recipe.clip),
                ([0.9, 0.999], 1e-8, 1.0)
            );
            assert_eq!(
                (recipe.epochs, recipe.batch_pairs, recipe.max_length),
                (2.0, 128, 2048)
            );
            assert!(recipe.freeze_tower && !recipe.freeze_projector && !recipe.freeze_decoder);
            assert_eq!(recipe.schedule, train::Schedule::Cosine);
        }
    }
}
