//! `math-llava train`: the training stage of a run, or of LLaVA's conversations alone.

#[cfg(feature = "torch")]
pub use trained::{measure, stage, verb};

/// Says why nothing is trained.
#[cfg(not(feature = "torch"))]
pub fn verb(_: &crate::args::Train) -> anyhow::Result<bool> {
    anyhow::bail!("this build has no libtorch: build it with the feature torch to train")
}

#[cfg(feature = "torch")]
mod trained {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use anyhow::{Result, bail};
    use c10d::Group;
    use sample::{
        ImageRow, Manifest, SAMPLES, Sample, StageKey, progress, read_table, resolve_image,
        safe_join,
    };
    use train::data::{Example, read_conversations};
    use train::scaling::{Network, Scaled};

    use crate::args::Train;
    use crate::commands::plan::duration;
    use crate::commands::run::Pipeline;
    use crate::config::RunConfig;

    /// Trains what a configuration says, or says what it would take.
    pub fn verb(arguments: &Train) -> Result<bool> {
        let place = c10d::Rendezvous::from_env()?;
        if let Some(ranks) = arguments.nproc {
            if place.is_some() {
                bail!(
                    "--nproc starts ranks, and this is one already (RANK or SLURM_PROCID is set): leave it out"
                );
            }
            return crate::commands::ranks::spawn(ranks);
        }
        let file = arguments
            .config
            .as_ref()
            .or(arguments.config_option.as_ref());
        let Some(file) = file else {
            bail!("which configuration? Give a file such as configs/tiny.toml");
        };
        let mut settings = Vec::new();
        let mut set = |key: &str, path: &Option<PathBuf>| {
            if let Some(path) = path {
                let quoted = toml::Value::String(path.display().to_string());
                settings.push(format!("{key}={quoted}"));
            }
        };
        set("train.base.model", &arguments.base);
        set("train.data.conversations", &arguments.conversations);
        set("train.data.images", &arguments.images);
        settings.extend(arguments.settings.iter().cloned());
        let config = RunConfig::read_with(file, &settings)?;
        let pipeline = Pipeline::new(config, arguments.out.clone(), None, arguments.force);
        if arguments.dry_run {
            return forecast(&pipeline, arguments);
        }
        if place.is_some_and(|place| place.rank > 0) {
            // The first rank speaks for all.
            progress::set_quiet(true);
            pipeline.quietly("train")?;
            return Ok(true);
        }
        pipeline.stage("train")?;
        println!(
            "model: {}",
            pipeline.layout.stage("train").join(train::MODEL).display()
        );
        Ok(true)
    }

    /// What a stage trains on, read from where the configuration says.
    struct Material {
        samples: Vec<Sample>,
        examples: Vec<Example>,
        rejects: Vec<sample::Reject>,
        facts: train::Facts,
        /// Names the data in the stage's key.
        digest: String,
        locate: Box<train::data::Locate<'static>>,
        /// Images that show the same, by digest: held out together or not at all.
        near: HashMap<String, String>,
    }

    /// What an inspection found, where there was one.
    fn near(inspect: &Path) -> Result<HashMap<String, String>> {
        use select::inspect::{NEAR, NearPair, near_families};
        if !inspect.join(NEAR).is_file() {
            return Ok(HashMap::new());
        }
        let pairs: Vec<NearPair> = read_table(&inspect.join(NEAR))?;
        Ok(near_families(&pairs))
    }

    impl Material {
        fn read(pipeline: &Pipeline) -> Result<Material> {
            match &pipeline.config.train.data {
                Some(data) => {
                    if !data.conversations.is_file() {
                        bail!(
                            "train.data.conversations: there is no file {}; say where it lies with \
                             --conversations FILE --images DIR",
                            data.conversations.display()
                        );
                    }
                    let source = data.conversations.file_stem().unwrap_or_default();
                    let source = source.to_string_lossy().into_owned();
                    let (examples, rejects) = read_conversations(&data.conversations, &source)?;
                    let images = data.images.clone();
                    Ok(Material {
                        samples: Vec::new(),
                        digest: sample::file_sha256(&data.conversations)?,
                        examples,
                        rejects,
                        facts: train::Facts::new(),
                        locate: Box::new(move |path: &str| safe_join(&images, path)),
                        near: HashMap::new(),
                    })
                }
                None => {
                    let from = pipeline.layout.stage("synth");
                    if !from.join(SAMPLES).is_file() {
                        bail!(
                            "{} has no pairs to train on yet: `math-llava run CONFIG` does all stages in \
                             turn; or train on a file with --conversations FILE --images DIR",
                            from.display()
                        );
                    }
                    let samples: Vec<Sample> = read_table(&from.join(SAMPLES))?;
                    let manifest = Manifest::read(&from)?;
                    Ok(Material {
                        examples: samples.iter().map(Example::from).collect(),
                        samples,
                        rejects: Vec::new(),
                        facts: facts(&from)?,
                        digest: Manifest::digest(&from)?,
                        locate: Box::new(move |path: &str| {
                            resolve_image(&from, &manifest.image_roots, path)
                        }),
                        near: near(&pipeline.layout.stage("inspect"))?,
                    })
                }
            }
        }
    }

    /// Meets the other ranks, where this process is one of several.
    fn meet() -> Result<Rc<Group>> {
        Ok(Rc::new(match c10d::Rendezvous::from_env()? {
            Some(mut place) => {
                place.interrupted = sample::interrupt::requested;
                if place.world > 1 {
                    progress::note(&format!(
                        "rank {} of {}: waiting for the others",
                        place.rank, place.world
                    ));
                }
                Group::join(&place)?
            }
            None => Group::alone(),
        }))
    }

    /// Does the stage.
    pub fn stage(pipeline: &Pipeline) -> Result<String> {
        // Before the data is read: a rank that is missing is found out early.
        let group = meet()?;
        let config = &pipeline.config.train;
        let seed = pipeline.config.seed;
        let mut material = Material::read(pipeline)?;
        let input = if config.data.is_some() {
            "conversations"
        } else {
            "synth"
        };
        let mut key = StageKey::new("train", seed, serde_json::to_value(config)?)
            .input(input, &material.digest);
        if let Some(base) = &config.base {
            let parts = [&base.model, &base.decoder, &base.tower, &base.projector];
            let parts: Vec<&PathBuf> = parts.into_iter().flatten().collect();
            key = key.input("base", &train::identity(&parts)?);
        }
        if config.holdout > 0.0 && !material.near.is_empty() {
            let inspect = pipeline.layout.stage("inspect");
            key = key.input("inspect", &Manifest::digest(&inspect)?);
        }
        let out = pipeline.layout.stage("train");
        let samples = std::mem::take(&mut material.samples);
        let of_id: HashMap<&str, &Sample> = samples.iter().map(|s| (s.id.as_str(), s)).collect();
        let judge = |id: &str, reference: &str, reply: &str| judge(&of_id, id, reference, reply);
        let near = std::mem::take(&mut material.near);
        let page = group.is_first().then(|| LivePage::start(&out));
        let manifest = pipeline.replacing(|force| {
            let data = train::TrainingData {
                examples: material.examples.clone(),
                samples: &samples,
                rejects: material.rejects.clone(),
                near: &near,
                facts: &material.facts,
                locate: &*material.locate,
                judge: Some(&judge),
            };
            let key = key.clone();
            Ok(train::run_among(
                config, seed, data, &out, key, force, &group,
            )?)
        })?;
        drop(page);
        let get = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
        Ok(format!(
            "{} steps over {} pairs of {} images, loss {:.3} to {:.3}",
            get("steps"),
            get("samples"),
            get("images"),
            manifest.results["first_loss"].as_f64().unwrap_or(f64::NAN),
            manifest.results["final_loss"].as_f64().unwrap_or(f64::NAN),
        ))
    }

    /// The page of a training that is at it, written again as long as this lives.
    struct LivePage {
        folder: PathBuf,
        stop: Option<std::sync::mpsc::Sender<()>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl LivePage {
        fn start(folder: &Path) -> LivePage {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let path = folder.to_owned();
            let thread = std::thread::spawn(move || {
                // Until the first step there is nothing to show, which is no fault.
                while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                    stopped.recv_timeout(std::time::Duration::from_secs(10))
                {
                    let _ = write_page(&path, true);
                }
            });
            LivePage {
                folder: folder.to_owned(),
                stop: Some(stop),
                thread: Some(thread),
            }
        }
    }

    impl Drop for LivePage {
        fn drop(&mut self) {
            self.stop = None;
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
            let _ = write_page(&self.folder, false);
        }
    }

    fn write_page(folder: &Path, live: bool) -> Result<(), report::Error> {
        let folders = [folder.to_owned()];
        report::training_page(&folders, &folder.join(report::TRAINING_PAGE), live)
    }

    /// Whether a reply gives the sample's answer, by the rules that score it in the end. Conversations of
    /// other makers have no answer apart from their words, of which what follows "The answer is" counts.
    fn judge(samples: &HashMap<&str, &Sample>, id: &str, reference: &str, reply: &str) -> bool {
        let extract =
            |text: &str| eval::heldout::extract::extract(eval::heldout::extract::Mode::Rule, text);
        let Some(answer) = extract(reply) else {
            return false;
        };
        match samples.get(id) {
            Some(sample) => eval::heldout::answer::matches(sample, &answer),
            None => extract(reference).is_some_and(|wanted| wanted.eq_ignore_ascii_case(&answer)),
        }
    }

    /// What training will cost, measured on its first steps.
    pub fn measure(pipeline: &Pipeline, tries: u64) -> Result<train::Forecast> {
        let material = Material::read(pipeline)?;
        let near = material.near;
        let data = train::TrainingData {
            examples: material.examples,
            samples: &material.samples,
            rejects: material.rejects,
            near: &near,
            facts: &material.facts,
            locate: &*material.locate,
            judge: None,
        };
        Ok(train::forecast(
            &pipeline.config.train,
            pipeline.config.seed,
            data,
            tries,
        )?)
    }

    fn forecast(pipeline: &Pipeline, arguments: &Train) -> Result<bool> {
        let network = Network {
            bytes_per_second: arguments.network_speed * 1e9,
            latency: arguments.network_latency * 1e-6,
        };
        if !(network.bytes_per_second > 0.0 && network.latency >= 0.0) {
            bail!("--network-speed must be above 0 and --network-latency not below");
        }
        let forecast = measure(pipeline, 3)?;
        let of_ranks = arguments
            .ranks
            .iter()
            .map(|&n| forecast.work.on(n, network));
        let scaled: Vec<Scaled> = of_ranks.collect();
        if arguments.json {
            let mut value = serde_json::to_value(&forecast)?;
            value["scaled"] = serde_json::to_value(&scaled)?;
            println!("{}", serde_json::to_string_pretty(&value)?);
            return Ok(true);
        }
        let saves = forecast.tokens_unpacked as f64 / forecast.tokens.max(1) as f64;
        println!("steps     {}", forecast.steps);
        println!(
            "weights   {:.1} M, {:.1} M of them trained",
            forecast.parameters as f64 / 1e6,
            forecast.trained as f64 / 1e6
        );
        println!(
            "data      {} pairs, {} tokens an epoch, {saves:.1} times as many as separate sequences",
            forecast.pairs, forecast.tokens
        );
        println!("memory    {}", forecast.memory.describe());
        println!(
            "a step    {:.2} s{}",
            forecast.seconds_per_step,
            forecast
                .share_of_peak
                .map_or(String::new(), |share| format!(
                    ", {:.0}% of what this machine's products reach",
                    100.0 * share
                ))
        );
        println!(
            "all       {}, without evaluation",
            duration(forecast.seconds)
        );
        for Scaled {
            ranks,
            seconds,
            exposed,
            efficiency,
        } in scaled
        {
            println!(
                "{ranks:>5} ranks  {seconds:.3} s a step, {:.0}% efficiency, {exposed:.3} s of it waiting; all {}",
                100.0 * efficiency,
                duration(forecast.tower_seconds + seconds * forecast.steps as f64)
            );
        }
        println!("\nNothing was written.");
        Ok(true)
    }

    /// What the scenes of drawn images say, for the tower's own training.
    pub fn facts(stage: &Path) -> Result<train::Facts> {
        let rows: Vec<ImageRow> = read_table(&stage.join(sample::IMAGES))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let facts = sources::figures::facts(row.scene.as_deref()?);
                Some((row.image.path, facts))
            })
            .collect())
    }
}
