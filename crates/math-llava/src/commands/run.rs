//! `math-llava run`: all stages of a configuration, each skipped where it is already done; and the
//! verbs that do one stage of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use chat::Ledger;
use sample::{Manifest, Shard, progress};

use crate::args::{On, Run, Select};
use crate::commands::{import, plan};
use crate::config::{Layout, RunConfig, SourceConfig};
use crate::machines::Machines;

/// A configuration with where it runs.
pub struct Pipeline {
    /// What was written.
    pub config: RunConfig,
    /// Where it goes.
    pub layout: Layout,
    /// Where published data sets lie.
    pub root: Option<PathBuf>,
    /// Whether results of other configurations may be replaced.
    pub force: bool,
    /// The part of the requests that this process asks; all by default.
    pub shard: Option<Shard>,
    /// Who opens images and runs plans.
    pub machines: Machines,
}

/// Runs everything, prints the table and where the report is.
pub fn run(arguments: &Run) -> Result<bool> {
    let config = RunConfig::read_with(&arguments.config, &arguments.settings)?;
    let pipeline = Pipeline::new(
        config,
        arguments.out.clone(),
        arguments.root.clone(),
        arguments.force,
    )
    .with_benchmarks(&arguments.benchmarks);
    if arguments.dry_run {
        return plan::print(&pipeline);
    }
    #[cfg(feature = "torch")]
    if c10d::Rendezvous::from_env()?.is_some_and(|place| place.world > 1) {
        bail!(
            "this is one of several ranks (WORLD_SIZE or SLURM_NTASKS is set), and `run` does all stages in one \
             process: do the stages before training on their own, and start `math-llava train` by ranks"
        );
    }
    let pipeline = pipeline.on(&arguments.on)?;
    let started = Instant::now();
    for verb in pipeline.verbs() {
        pipeline.stage(verb)?;
    }
    let results = pipeline.results()?;
    println!("\n{}", report::table(&results));
    println!(
        "\ndone in {}",
        plan::duration(started.elapsed().as_secs_f64())
    );
    println!(
        "report: {}",
        pipeline
            .layout
            .stage("report")
            .join("report.html")
            .display()
    );
    let accuracy = 100.0 * results.overall.model.value;
    if let Some(wanted) = arguments.min_accuracy
        && accuracy < wanted
    {
        eprintln!("math-llava: accuracy {accuracy:.1}% is below --min-accuracy {wanted}%");
        return Ok(false);
    }
    Ok(true)
}

/// Selects, from a configuration.
pub fn select(arguments: &Select) -> Result<bool> {
    let Select { stage, on } = arguments;
    let config = RunConfig::read_with(&stage.config, &stage.settings)?;
    let pipeline = Pipeline::new(config, stage.out.clone(), stage.root.clone(), stage.force)
        .with_benchmarks(&stage.benchmarks);
    if stage.dry_run {
        return plan::print(&pipeline);
    }
    pipeline.on(on)?.stage("select")?;
    Ok(true)
}

impl Pipeline {
    /// Command-line folders win over those of the file.
    pub fn new(
        config: RunConfig,
        out: Option<PathBuf>,
        root: Option<PathBuf>,
        force: bool,
    ) -> Pipeline {
        let run = out.unwrap_or_else(|| config.out.clone());
        let root = root.or_else(|| config.data_root.clone());
        Pipeline {
            config,
            layout: Layout { run },
            root,
            force,
            shard: None,
            machines: Machines::default(),
        }
    }

    /// Only one shard's part of the requests, with its part of the budgets.
    pub fn of_shard(mut self, shard: Option<Shard>) -> Result<Pipeline> {
        self.shard = shard;
        super::shards::divide_budgets(&mut self)?;
        Ok(self)
    }

    /// Finds the cluster that the user named, or else the configuration.
    pub fn on(mut self, on: &On) -> Result<Pipeline> {
        let section = self.config.cluster.as_ref();
        let address = on.cluster.as_ref().or(section.map(|c| &c.address));
        self.machines = Machines::find(address.map(String::as_str))?;
        Ok(self)
    }

    /// Benchmarks of the command line, each a path as the user typed it, in place of the file's.
    #[must_use]
    pub fn with_benchmarks(mut self, benchmarks: &[PathBuf]) -> Pipeline {
        if !benchmarks.is_empty() {
            let typed = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            self.config.benchmarks = benchmarks.iter().map(typed).collect();
        }
        self
    }

    /// The stages of this configuration, in order.
    pub fn verbs(&self) -> Vec<&'static str> {
        let all = [
            "import", "inspect", "grade", "select", "synth", "train", "eval", "report",
        ];
        all.into_iter()
            .filter(|verb| *verb != "grade" || self.config.grade.is_some())
            .collect()
    }

    /// Does one stage and says what came out.
    pub fn stage(&self, verb: &str) -> Result<()> {
        let started = Instant::now();
        let says = self.work(verb)?;
        let took = plan::duration(started.elapsed().as_secs_f64());
        println!("{verb:>7}  {says} ({took})");
        Ok(())
    }

    /// Does one stage.
    pub fn quietly(&self, verb: &str) -> Result<()> {
        self.work(verb).map(drop)
    }

    fn work(&self, verb: &str) -> Result<String> {
        match verb {
            "import" => self.import(),
            "inspect" => crate::commands::inspect::stage(self),
            "grade" => self.grade(),
            "select" => self.select(),
            "synth" => super::synth::stage(self),
            "train" => self.train(),
            "eval" => self.eval_all(),
            "report" => self.report(),
            other => bail!("there is no stage {other:?}"),
        }
    }

    /// The folders of all imports that training draws from.
    pub fn imports(&self) -> Vec<PathBuf> {
        let figures = self
            .config
            .figures
            .iter()
            .map(|_| self.layout.import("figures"));
        let sources = self
            .config
            .sources
            .iter()
            .map(|s| self.layout.import(&s.name));
        figures.chain(sources).collect()
    }

    /// Where a published data set lies.
    pub fn source_root(&self, source: &SourceConfig) -> Result<PathBuf> {
        let below = source
            .root
            .clone()
            .unwrap_or_else(|| PathBuf::from(&source.name));
        if below.is_absolute() {
            return Ok(below);
        }
        let root = self.root.as_ref().with_context(|| {
            format!(
                "where does {} lie? Give --root DIR, the folder with {}/, or `data_root` in the \
                 configuration",
                source.name,
                below.display()
            )
        })?;
        Ok(root.join(below))
    }

    fn import(&self) -> Result<String> {
        let mut says = Vec::new();
        if let Some(figures) = &self.config.figures {
            let folder = self.layout.import("figures");
            let manifest = self.replacing(|force| {
                Ok(sources::figures::import(
                    figures,
                    self.config.seed,
                    &folder,
                    force,
                )?)
            })?;
            says.push(format!("figures: {}", import::counts(&manifest)));
        }
        for source in &self.config.sources {
            let adapter = sources::find_source(&source.name)?;
            let root = self.source_root(source)?;
            let options = sources::ImportOptions {
                splits: source.splits.clone(),
                limit: source.limit,
            };
            let folder = self.layout.import(&source.name);
            let manifest = self.replacing(|force| {
                let workers = self.machines.workers();
                Ok(sources::import_with(
                    workers, adapter, &options, &root, &folder, force,
                )?)
            })?;
            says.push(format!("{}: {}", source.name, import::counts(&manifest)));
        }
        if let Some(heldout) = &self.config.heldout {
            let folder = self.layout.heldout();
            let manifest = self.replacing(|force| {
                Ok(sources::figures::import(
                    heldout,
                    self.config.seed,
                    &folder,
                    force,
                )?)
            })?;
            says.push(format!("held out: {}", import::counts(&manifest)));
        }
        Ok(says.join("; "))
    }

    /// Where a benchmark's data lie that candidates are scored on: below the data's root where there
    /// is one, else below the working folder.
    pub fn benchmark_data(&self, folder: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(folder),
            None => folder.to_owned(),
        }
    }

    /// Where the benchmarks lie whose problems must stay out.
    pub fn benchmarks(&self) -> Result<Vec<PathBuf>> {
        let below = |folder: &PathBuf| match (&self.root, folder.is_absolute()) {
            (_, true) => Ok(folder.clone()),
            (Some(root), false) => Ok(root.join(folder)),
            (None, false) => bail!(
                "where does the benchmark {} lie? Give --root DIR, or `data_root` in the \
                 configuration, or its whole path",
                folder.display()
            ),
        };
        self.config.benchmarks.iter().map(below).collect()
    }

    fn select(&self) -> Result<String> {
        let (config, seed) = (&self.config.select, self.config.seed);
        let out = self.layout.stage("select");
        let inputs = self.select_inputs();
        let resources = self.machines.resources();
        let manifest = self.replacing(|force| {
            Ok(select::select_within(
                config, seed, &inputs, &out, force, &resources,
            )?)
        })?;
        Ok(import::counts(&manifest))
    }

    /// The folders that selection reads.
    fn select_inputs(&self) -> select::Inputs {
        let graded = cfg!(feature = "torch") && self.config.grade.is_some();
        select::Inputs {
            imports: self.imports(),
            inspect: self.layout.stage("inspect"),
            grade: graded.then(|| self.layout.stage("grade")),
        }
    }

    /// What is held out, and the benchmarks where there are some.
    fn eval_all(&self) -> Result<String> {
        let mut says = self.eval()?;
        if !self.config.scored.is_empty() {
            let scores = super::eval::campaign(self, &super::eval::Choice::default())?;
            for score in scores {
                says.push_str(&format!("; {}", eval::headline::headline(&score)));
            }
        }
        Ok(says)
    }

    fn report(&self) -> Result<String> {
        let out = self.layout.stage("report");
        report::run(&self.layout.run, &out)?;
        let card = self.layout.run.join("card");
        report::card::write(&self.layout.run, &card)?;
        Ok(format!(
            "{}; data card: {}",
            out.join("report.html").display(),
            card.join(report::card::PAGE).display()
        ))
    }

    /// Where the run's ledger lies.
    pub fn ledger_file(&self) -> PathBuf {
        let own = || self.layout.run.join("ledger.sqlite");
        self.config.ledger.clone().unwrap_or_else(own)
    }

    /// The ledger, open for more, with what shards left; a shard's own where this is one.
    pub fn ledger(&self) -> Result<Ledger> {
        super::shards::ledger(self)
    }

    /// What the evaluation found.
    pub fn results(&self) -> Result<sample::scores::Results> {
        let manifest = Manifest::read(&self.layout.stage("eval"))?;
        serde_json::from_value(manifest.results)
            .context("the evaluation's manifest has no results this version can read")
    }

    /// Does `stage` without force; only where another configuration's result is in the way, and the
    /// user said so, again with it.
    pub fn replacing(&self, stage: impl Fn(bool) -> Result<Manifest>) -> Result<Manifest> {
        match stage(false) {
            Err(error) if self.force && is_conflict(&error) => {
                progress::note(&format!("replacing: {error}"));
                stage(true)
            }
            other => other,
        }
    }

    #[cfg(feature = "torch")]
    fn grade(&self) -> Result<String> {
        crate::commands::grade::stage(self)
    }

    #[cfg(not(feature = "torch"))]
    fn grade(&self) -> Result<String> {
        bail!(
            "this build has no libtorch: build it with the feature torch to grade, or leave [grade] out"
        )
    }

    #[cfg(not(feature = "torch"))]
    fn train(&self) -> Result<String> {
        bail!("this build has no libtorch: build it with the feature torch to train")
    }

    #[cfg(not(feature = "torch"))]
    fn eval(&self) -> Result<String> {
        bail!("this build has no libtorch: build it with the feature torch to evaluate a model")
    }
}

#[cfg(feature = "torch")]
mod learning {
    //! The two stages that need libtorch.

    use std::collections::BTreeMap;
    use std::path::Path;

    use anyhow::{Result, bail};
    use eval::heldout::Family;
    use sample::{ImageRow, Manifest, SAMPLES, Sample, StageKey, read_table, resolve_image};

    use super::Pipeline;
    use crate::roles::Student;

    impl Pipeline {
        pub(super) fn train(&self) -> Result<String> {
            crate::commands::train::stage(self)
        }

        pub(super) fn eval(&self) -> Result<String> {
            let mut held = HeldOut::default();
            let mut key = StageKey::new(
                "eval",
                self.config.seed,
                serde_json::to_value(&self.config.eval)?,
            );
            if self.config.heldout.is_some() {
                let folder = self.layout.heldout();
                held.add(&folder, SAMPLES, sample::IMAGES)?;
                key = key.input("heldout", &Manifest::digest(&folder)?);
            }
            let select = self.layout.stage("select");
            if select.join(select::HELDOUT).is_file() {
                held.add(&select, select::HELDOUT, select::HELDOUT_IMAGES)?;
                key = key.input("select", &Manifest::digest(&select)?);
            }
            if held.items.is_empty() {
                bail!(
                    "nothing is held out to evaluate on: give [heldout] to draw other figures, or \
                     [select.holdout] to set images of the sources aside"
                );
            }
            let (synth, trained) = (self.layout.stage("synth"), self.layout.stage("train"));
            let training: Vec<Sample> = read_table(&synth.join(SAMPLES))?;
            let key = key
                .input("synth", &Manifest::digest(&synth)?)
                .input("train", &Manifest::digest(&trained)?);
            let inputs = eval::Inputs {
                items: &held.items,
                images: &held.files,
                families: &held.families,
                training: &training,
            };
            let plan = eval::plan(&self.config.eval, self.config.seed, &inputs)?;
            let threads = self.config.train.threads;
            let batch_size = self.config.eval.batch_size;
            let student =
                Student::load(&trained.join(train::MODEL), "student", threads, batch_size)?;
            let out = self.layout.stage("eval");
            self.replacing(|force| Ok(eval::run(&plan, &student, &out, key.clone(), force)?))?;
            let overall = self.results()?.overall;
            Ok(format!(
                "{} questions: model {:.1}%, swapped images {:.1}%, blind {:.1}%",
                plan.items(),
                100.0 * overall.model.value,
                100.0 * overall.swapped.value,
                100.0 * overall.blind.value,
            ))
        }
    }

    /// What evaluation asks, gathered from the folders that hold something out.
    #[derive(Default)]
    struct HeldOut {
        items: Vec<Sample>,
        files: BTreeMap<String, std::path::PathBuf>,
        families: BTreeMap<String, Family>,
    }

    impl HeldOut {
        fn add(&mut self, folder: &Path, samples: &str, images: &str) -> Result<()> {
            let roots = Manifest::read(folder)?.image_roots;
            for row in read_table::<ImageRow>(&folder.join(images))? {
                let file = resolve_image(folder, &roots, &row.image.path)?;
                self.files.insert(row.image.path.clone(), file);
                let family = Family {
                    source: row.source,
                    family: row.family,
                };
                self.families.insert(row.image.path, family);
            }
            self.items
                .extend(read_table::<Sample>(&folder.join(samples))?);
            Ok(())
        }
    }
}

/// Whether another configuration's result is in the way, which `--force` may replace.
fn is_conflict(error: &anyhow::Error) -> bool {
    let conflict = |e: &sample::Error| matches!(e, sample::Error::Conflict(_));
    if let Some(e) = error.downcast_ref::<sources::Error>() {
        return matches!(e, sources::Error::Sample(e) if conflict(e));
    }
    if let Some(e) = error.downcast_ref::<select::Error>() {
        return matches!(e, select::Error::Sample(e) if conflict(e));
    }
    if let Some(e) = error.downcast_ref::<synth::Error>() {
        return matches!(e, synth::Error::Sample(e) if conflict(e));
    }
    #[cfg(feature = "torch")]
    if let Some(e) = error.downcast_ref::<train::Error>() {
        return matches!(e, train::Error::Sample(e) if conflict(e));
    }
    #[cfg(feature = "torch")]
    if let Some(e) = error.downcast_ref::<grade::Error>() {
        return matches!(e, grade::Error::Sample(e) if conflict(e));
    }
    match error.downcast_ref::<eval::Error>() {
        Some(eval::Error::Sample(e)) => conflict(e),
        Some(eval::Error::OtherHalf { .. } | eval::Error::Responses { .. }) => true,
        _ => false,
    }
}
