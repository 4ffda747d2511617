//! `math-llava synth`: the stage, what it would cost, how it stands, what it would say.

use std::path::Path;

use anyhow::{Context, Result, bail};
use chat::money::Forecast;
use chat::{ChatModel, Ledger};
use sample::{Manifest, Shard};
use synth::{Inputs, NO_TEACHER, Roles, Synthesis};

use crate::args::Synth;
use crate::commands::import;
use crate::commands::plan;
use crate::commands::run::Pipeline;
use crate::commands::shards;
use crate::config::RunConfig;
use crate::roles::{ProgramTeacher, Programs};
use crate::teachers::{self, Teacher};

/// What the user asked for.
pub fn run(arguments: &Synth) -> Result<bool> {
    let stage = &arguments.stage;
    let config = RunConfig::read_with(&stage.config, &stage.settings)?;
    let (out, root) = (stage.out.clone(), stage.root.clone());
    let pipeline = Pipeline::new(config, out, root, stage.force)
        .with_benchmarks(&stage.benchmarks)
        .of_shard(arguments.shard)?;
    if arguments.status {
        let whole = pipeline.ledger_file();
        let file = pipeline
            .shard
            .map_or(whole.clone(), |shard| shard.file(&whole));
        return super::ledger::status(&file, false);
    }
    if let Some(kind) = &arguments.show_prompt {
        return show(&pipeline, kind, arguments.sample.as_deref());
    }
    if stage.dry_run {
        let cast = Cast::open(&pipeline.config)?;
        let selected = Manifest::read_if_any(&pipeline.layout.stage("select"))?.is_some();
        if !selected || cast.remote().is_none() {
            return plan::print(&pipeline);
        }
        let ledger = shards::ledger_looked_at(&pipeline)?;
        let costs = cost(&pipeline, &cast, &ledger)?;
        print_plan(&costs);
        if let Some(shard) = pipeline.shard {
            let (own, all) = costs.images;
            println!("shard {shard}: {own} of {all} images; of those:");
        }
        println!("{}", table(&costs.forecast, 1.0));
        for line in budgets(&pipeline.config, &costs.forecast, 1.0) {
            println!("{line}");
        }
        for line in shards::bounds(&pipeline) {
            println!("{line}");
        }
        println!("\nNothing was sent.");
        return Ok(true);
    }
    pipeline.stage("synth")?;
    Ok(true)
}

/// Who plays which part.
pub struct Cast {
    teacher: Option<Player>,
    verifier: Option<Player>,
    judge: Option<Player>,
}

enum Player {
    Program,
    Remote(Box<Teacher>),
}

impl Player {
    fn open(config: &RunConfig, name: &str, place: &str) -> Result<Option<Player>> {
        Ok(match name {
            "" | NO_TEACHER => None,
            "program" => Some(Player::Program),
            name => {
                let section = teachers::find(&config.teachers, name, place)?;
                Some(Player::Remote(Box::new(section.open(name)?)))
            }
        })
    }

    fn model(&self) -> &dyn ChatModel {
        match self {
            Player::Program => &ProgramTeacher,
            Player::Remote(teacher) => teacher.model(),
        }
    }

    fn remote(&self) -> Option<&Teacher> {
        match self {
            Player::Program => None,
            Player::Remote(teacher) => Some(teacher),
        }
    }
}

impl Cast {
    /// Finds everybody that the configuration names.
    pub fn open(config: &RunConfig) -> Result<Cast> {
        let verify = &config.synth.verify;
        let cast = Cast {
            teacher: Player::open(config, &config.synth.teacher, "[synth] teacher")?,
            verifier: Player::open(config, &verify.verifier, "[synth.verify] verifier")?,
            judge: Player::open(config, &verify.judge, "[synth.verify] judge")?,
        };
        for (player, place) in [(&cast.verifier, "verifier"), (&cast.judge, "judge")] {
            if matches!(player, Some(Player::Program)) {
                bail!(
                    "[synth.verify] {place} = \"program\": a program proves what it understands \
                     anyhow (proofs = true); name a [teachers.NAME] section"
                );
            }
        }
        Ok(cast)
    }

    /// The same as the stage wants it.
    pub fn roles(&self) -> Roles<'_> {
        Roles {
            teacher: self.teacher.as_ref().map(Player::model),
            verifier: self.verifier.as_ref().map(Player::model),
            judge: self.judge.as_ref().map(Player::model),
            prover: Some(&Programs),
        }
    }

    /// The first that costs money, where anybody does.
    pub fn remote(&self) -> Option<&Teacher> {
        let all = [&self.teacher, &self.verifier, &self.judge];
        all.into_iter().flatten().find_map(Player::remote)
    }
}

/// The stage of a run.
pub fn stage(pipeline: &Pipeline) -> Result<String> {
    let (config, seed) = (&pipeline.config.synth, pipeline.config.seed);
    let (select, inspect) = (
        pipeline.layout.stage("select"),
        pipeline.layout.stage("inspect"),
    );
    let inputs = Inputs {
        select: &select,
        inspect: Some(&inspect),
    };
    let out = pipeline.layout.stage("synth");
    let cast = Cast::open(&pipeline.config)?;
    if let Some(shard) = pipeline.shard {
        return part(pipeline, &cast, inputs, shard);
    }
    let ledger = match cast.teacher {
        Some(_) => {
            let left = shards::ledgers(pipeline)?;
            shards::tell(&synth::standing(config, seed, inputs, cast.roles(), &left)?);
            pipeline.ledger()?
        }
        None => Ledger::in_memory()?,
    };
    let manifest = pipeline.replacing(|force| {
        let roles = cast.roles();
        Ok(synth::synthesise(
            config, seed, inputs, roles, &ledger, &out, force,
        )?)
    })?;
    print!("{}", yields(&manifest));
    let mut says = import::counts(&manifest);
    let spent = ledger.status()?.models.iter().map(|m| m.cost).sum::<f64>();
    if spent > 0.0 {
        says.push_str(&format!(", {spent:.4} spent on this ledger so far"));
    }
    Ok(says)
}

/// One shard of the stage: all that is asked, and nothing written but its ledger.
fn part(pipeline: &Pipeline, cast: &Cast, inputs: Inputs<'_>, shard: Shard) -> Result<String> {
    if cast.teacher.is_none() {
        bail!(
            "--shard {shard}: no teacher is configured, so there is nothing to split; leave --shard out"
        );
    }
    let (config, seed) = (&pipeline.config.synth, pipeline.config.seed);
    let ledger = pipeline.ledger()?;
    let images = synth::synthesise_shard(config, seed, inputs, cast.roles(), &ledger, shard)?;
    let spent = ledger.status()?.models.iter().map(|m| m.cost).sum::<f64>();
    Ok(format!(
        "shard {shard}: all is asked about its {images} images, {spent:.4} spent; the same command without \
         --shard writes the pairs when all {} are done",
        shard.of()
    ))
}

/// What came of the pairs, by kind and source, with the two most frequent reasons that some went.
fn yields(manifest: &Manifest) -> String {
    let mut text = String::new();
    for (kind, sources) in manifest.results["by_source"]
        .as_object()
        .into_iter()
        .flatten()
    {
        for (source, found) in sources.as_object().into_iter().flatten() {
            let n = |field: &str| found[field].as_u64().unwrap_or(0);
            let mut reasons: Vec<(u64, &str)> = found["rejected"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(reason, n)| (n.as_u64().unwrap_or(0), reason.as_str()))
                .collect();
            reasons.sort_by_key(|(n, reason)| (std::cmp::Reverse(*n), *reason));
            let reasons: Vec<String> = reasons
                .iter()
                .take(2)
                .map(|(n, reason)| format!("{reason} {n}"))
                .collect();
            if text.is_empty() {
                text.push_str(&format!(
                    "{:<8} {:<16} {:>9} {:>9} {:>7}  rejected\n",
                    "kind", "source", "asked for", "kept", "share"
                ));
            }
            text.push_str(&format!(
                "{kind:<8} {source:<16} {:>9} {:>9} {:>6.1}%  {}\n",
                n("wanted"),
                n("kept"),
                100.0 * n("kept") as f64 / n("wanted").max(1) as f64,
                reasons.join(", ")
            ));
        }
    }
    text
}

/// Prints a request as it would be sent.
fn show(pipeline: &Pipeline, kind: &str, sample: Option<&str>) -> Result<bool> {
    let select = pipeline.layout.stage("select");
    let inspect = pipeline.layout.stage("inspect");
    let inputs = Inputs {
        select: &select,
        inspect: Some(&inspect),
    };
    let mut config = pipeline.config.synth.clone();
    if config.teacher == NO_TEACHER {
        config.teacher = "nobody yet".to_owned();
    }
    let synthesis = Synthesis::read(&config, pipeline.config.seed, inputs)?;
    let first = synthesis.making().next();
    let id = match (sample, &first) {
        (Some(id), _) => id.to_owned(),
        (None, Some(request)) => request
            .id
            .rsplit_once('#')
            .map_or_else(String::new, |(id, _)| id.to_owned()),
        (None, None) => bail!("the selection has no image to ask about"),
    };
    let shown = synthesis.show(kind, &id)?;
    let request = &shown.request;
    println!("request      {}", request.id);
    println!("prompt       {}", shown.version);
    for image in &request.images {
        println!(
            "image        {} ({} x {})",
            image.path.display(),
            image.width,
            image.height
        );
    }
    println!(
        "sampling     temperature {}, at most {} tokens, seed {}",
        request.temperature, request.max_tokens, request.seed
    );
    match shown.planned {
        0 => println!(
            "plan         this sample is not asked about; pairs are made from another of its image, or of none"
        ),
        n => println!("plan         {n} pairs"),
    }
    let cast = Cast::open(&pipeline.config)?;
    if let Some(teacher) = &cast.teacher {
        let digest = teacher.model().digest(request);
        let known = shards::ledger_looked_at(pipeline)?.settled(&digest)?;
        let known = if known.is_some() { "answered" } else { "open" };
        println!("ledger       {digest} ({known})");
    }
    for turn in &request.turns {
        println!("\n{}", turn.text);
    }
    if let Some(schema) = &request.schema {
        println!("\nschema {}: {}", schema.name, schema.schema);
    }
    Ok(true)
}

/// A ledger to look at; an empty one where there is none yet.
pub fn looked_at(path: &Path) -> Result<Ledger> {
    Ok(if path.is_file() {
        Ledger::read_only(path)?
    } else {
        Ledger::in_memory()?
    })
}

/// What a synthesis is planned to be, and to cost.
pub struct Costs {
    /// Pairs by kind, task and source.
    pub plan: Vec<synth::Line>,
    /// Requests, tokens and money by kind.
    pub forecast: Forecast,
    /// Images that are asked about, and images of the selection.
    pub images: (usize, usize),
}

/// Plans the synthesis of the selection in the pipeline's folder, with its real prompts and images.
pub fn cost(pipeline: &Pipeline, cast: &Cast, ledger: &Ledger) -> Result<Costs> {
    let (select, inspect) = (
        pipeline.layout.stage("select"),
        pipeline.layout.stage("inspect"),
    );
    let inputs = Inputs {
        select: &select,
        inspect: Some(&inspect),
    };
    let mut synthesis = Synthesis::read(&pipeline.config.synth, pipeline.config.seed, inputs)?;
    if let Some(shard) = pipeline.shard {
        synthesis = synthesis.of_shard(shard);
    }
    let roles = cast.roles();
    let mut forecast = Forecast::default();
    let mut add = |player: Option<&Player>, requests: &mut dyn Iterator<Item = chat::Request>| {
        let Some(teacher) = player.and_then(Player::remote) else {
            return anyhow::Ok(());
        };
        let found = teacher.forecast(requests, ledger)?;
        forecast.currency = found.currency;
        forecast.lines.extend(found.lines);
        Ok(())
    };
    add(cast.teacher.as_ref(), &mut synthesis.making())?;
    let blind = cast.verifier.as_ref().or(cast.teacher.as_ref());
    let votes = |r: &chat::Request| r.tag.kind == "verify";
    add(
        blind,
        &mut synthesis.verifying(&roles, ledger).filter(votes),
    )?;
    let judged = |r: &chat::Request| r.tag.kind == "judge";
    let judge = cast.judge.as_ref();
    add(
        judge,
        &mut synthesis.verifying(&roles, ledger).filter(judged),
    )?;
    Ok(Costs {
        images: synthesis.images(),
        plan: synthesis.plan.lines.clone(),
        forecast,
    })
}

fn print_plan(costs: &Costs) {
    println!(
        "{:<8} {:<5} {:<20} {:>9} {:>9}",
        "kind", "task", "source", "requests", "pairs"
    );
    for line in &costs.plan {
        println!(
            "{:<8} {:<5} {:<20} {:>9} {:>9}",
            line.kind, line.task, line.source, line.requests, line.pairs
        );
    }
    println!();
}

/// What it would cost, as a table; all numbers `scale` times what was found.
pub fn table(forecast: &Forecast, scale: f64) -> String {
    let currency = match forecast.currency.as_str() {
        "" => "cost",
        currency => currency,
    };
    let mut text = format!(
        "{:<8} {:>10} {:>9} {:>12} {:>12} {:>12} {:>11} {:>11}\n",
        "kind",
        "requests",
        "on ledger",
        "text tokens",
        "image tokens",
        "reply tokens",
        currency,
        "at most"
    );
    let n = |x: u64| (x as f64 * scale).round();
    for line in &forecast.lines {
        text.push_str(&format!(
            "{:<8} {:>10} {:>9} {:>12} {:>12} {:>12} {:>11.4} {:>11.4}\n",
            line.kind,
            n(line.requests),
            n(line.known),
            n(line.text_tokens),
            n(line.image_tokens),
            n(line.completion_tokens),
            line.cost * scale,
            line.worst * scale
        ));
    }
    text.push_str(&format!(
        "{:<8} {:>10} {:>9} {:>12} {:>12} {:>12} {:>11.4} {:>11.4}\n",
        "total",
        n(forecast.lines.iter().map(|l| l.requests).sum()),
        n(forecast.lines.iter().map(|l| l.known).sum()),
        n(forecast.lines.iter().map(|l| l.text_tokens).sum()),
        n(forecast.lines.iter().map(|l| l.image_tokens).sum()),
        n(forecast.lines.iter().map(|l| l.completion_tokens).sum()),
        forecast.cost() * scale,
        forecast.worst() * scale
    ));
    text.push_str("Votes are counted at their most; a count that is decided early asks for fewer.");
    if forecast.lines.iter().any(|line| !line.measured) {
        text.push_str(
            " Reply lengths are assumed (a quarter of max_tokens) until the ledger has replies of \
             their kind.",
        );
    }
    text
}

/// What budgets say to that.
pub fn budgets(config: &RunConfig, forecast: &Forecast, scale: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, teacher) in &config.teachers {
        let price = &teacher.remote.price;
        if price.input == 0.0 && price.output == 0.0 {
            lines.push(format!(
                "[teachers.{name}] has no price: requests are counted as free"
            ));
        }
        if let Some(max) = teacher.remote.max_budget {
            let cost = forecast.cost() * scale;
            if cost > max {
                lines.push(format!(
                    "[teachers.{name}] max_budget = {max} is below the {cost:.2} expected: the \
                     stage would stop before it is passed"
                ));
            }
        }
    }
    lines
}

/// A forecast of the rehearsal in `rehearsal`, for a whole run's plan.
pub fn rehearsed(rehearsal: &Pipeline, cast: &Cast) -> Result<Costs> {
    let ledger = Ledger::in_memory().context("a ledger in memory")?;
    cost(rehearsal, cast, &ledger)
}
