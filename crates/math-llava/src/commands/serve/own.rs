//! An own model behind the server: crate `model`'s engine in the server's terms.

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use model::{
    Constraint, EngineLimits, Error, GenerateOptions, Generator, Part, Pixels, Prepared, Prompter,
    Request, RequestId, Said, Speaker, Tokenizer, Turn, Unanswerable,
};
use serve::{
    Ask, Counts, Driver, Engine, EngineId, Fault, Finish, Form, Metrics, Model, ModelCard, Prompt,
    Refusal, RefusalKind, Role, Schedule, Step, TokenLogprob, TokenText,
};

use super::{named, schedule_limits};
use crate::args::{ModelArguments, Serve};
use crate::commands::generate::load;

/// So many engines may break before the model is given up.
const BREAKS: usize = 3;

/// Loads the model of `--model TEXT` and serves it.
pub fn start(arguments: &Serve, text: &str, metrics: &Arc<Metrics>) -> Result<Schedule> {
    let (name, folder) = named(text)?;
    let generator = load(&ModelArguments {
        model: folder.clone(),
        adapter: arguments.adapter.clone(),
        device: arguments.device.clone(),
        dtype: arguments.dtype.clone(),
        template: arguments.template.clone(),
        quantise: arguments.quantise.clone(),
    })?;
    let mut limits = EngineLimits {
        slots: arguments.parallel.max(1),
        chunk_tokens: arguments.chunk_tokens.max(1),
        ..EngineLimits::default()
    };
    if let Some(gib) = arguments.cache {
        limits.cache_bytes = (gib * f64::from(1 << 30)) as u64;
    }
    let prompter = generator.prompter();
    let own = Own {
        card: ModelCard {
            id: name,
            created: created(&folder),
            context: prompter.context(),
            reads_images: prompter.reads_images(),
            description: describe(arguments, &prompter),
        },
        prompter,
    };
    Ok(Schedule::start(
        Arc::new(own),
        schedule_limits(arguments),
        Arc::clone(metrics),
        move |driver| run(&generator, &limits, driver),
    ))
}

/// Drives engines until the server ends, or engine after engine breaks.
fn run(generator: &Generator, limits: &EngineLimits, mut driver: Driver<Question>) {
    for _ in 0..BREAKS {
        let ended = match generator.engine(limits.clone()) {
            Ok(engine) => driver.drive(&mut Answering {
                engine,
                tokenizer: generator.tokenizer(),
                untouched: Default::default(),
            }),
            Err(error) => Err(fault(error)),
        };
        match ended {
            Ok(()) => return,
            Err(fault) => sample::progress::note(&format!("the engine broke: {fault}")),
        }
    }
    sample::progress::note("the engine broke again and again; its model answers nothing any more");
}

/// When the model was written, in seconds since 1970.
fn created(folder: &Path) -> u64 {
    let config = folder.join("config.json");
    let file = if config.exists() { &config } else { folder };
    let written = std::fs::metadata(file).and_then(|facts| facts.modified());
    let since = written
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

fn describe(arguments: &Serve, prompter: &Prompter) -> String {
    let text = &prompter.config().text_config;
    format!(
        "{} layers of {}, vocabulary of {}, on {} in {}, weights {}",
        text.num_hidden_layers,
        text.hidden_size,
        text.vocab_size,
        arguments.device,
        arguments.dtype,
        match arguments.quantise.as_str() {
            "none" => "whole",
            quantised => quantised,
        }
    )
}

/// The side that checks and prepares.
struct Own {
    card: ModelCard,
    prompter: Prompter,
}

/// A question that the engine can take.
struct Question {
    prepared: Prepared,
    seed: u64,
    /// Whether replies lose the space that most models begin with.
    trim: bool,
}

impl Model for Own {
    type Question = Question;

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn prepare(&self, ask: &Ask) -> Result<Question, Refusal> {
        let mut images = Vec::new();
        let said = match &ask.prompt {
            Prompt::Text(text) => Said::Text(text.clone()),
            Prompt::Chat(turns) => Said::Turns(
                turns
                    .iter()
                    .map(|turn| self.turn(turn, &mut images))
                    .collect::<Result<_, _>>()?,
            ),
        };
        let tokenizer = self.prompter.tokenizer();
        let constraint = match &ask.form {
            Form::Free => None,
            Form::Json => Some(Constraint::json_object(tokenizer)),
            Form::Schema(schema) => Some(Constraint::json_schema(tokenizer, schema)),
        };
        let constraint = constraint.transpose().map_err(|error| {
            Refusal::new(RefusalKind::Invalid, error.to_string()).about("response_format")
        })?;
        let request = Request {
            said,
            images,
            options: GenerateOptions {
                max_new_tokens: ask.max_tokens.unwrap_or(usize::MAX),
                sampling: model::Sampling {
                    temperature: ask.sampling.temperature,
                    top_k: ask.sampling.top_k,
                    top_p: ask.sampling.top_p,
                    min_p: ask.sampling.min_p,
                    repetition_penalty: ask.sampling.repetition_penalty,
                    seed: ask.sampling.seed,
                },
                stop: ask.stop.clone(),
                logprobs: ask.logprobs,
                constraint,
            },
        };
        Ok(Question {
            prepared: self.prompter.prepare(&request).map_err(refusal)?,
            seed: ask.sampling.seed,
            trim: matches!(ask.prompt, Prompt::Chat(_)),
        })
    }
}

impl Own {
    /// A turn in the model's terms; its images are decoded and added to `images`.
    fn turn(&self, turn: &serve::Turn, images: &mut Vec<Arc<Pixels>>) -> Result<Turn, Refusal> {
        let mut parts = Vec::new();
        for part in &turn.parts {
            parts.push(match part {
                serve::Part::Text(text) => Part::Text(text.clone()),
                serve::Part::Image(image) => {
                    if !self.card.reads_images {
                        let message = format!(
                            "{} reads text only: leave the image out, or ask a model that is shown images",
                            self.card.id
                        );
                        return Err(Refusal::new(RefusalKind::Invalid, message));
                    }
                    let number = images.len() + 1;
                    let pixels = sample::pixels::decode_as_pil(&image.bytes)
                        .and_then(|decoded| self.prompter.preprocessor().square(&decoded))
                        .map_err(|fault| {
                            Refusal::new(RefusalKind::Invalid, format!("image {number}: {fault}"))
                        })?;
                    images.push(Arc::new(pixels));
                    Part::Image
                }
            });
        }
        Ok(Turn {
            speaker: match turn.role {
                Role::System => Speaker::System,
                Role::User => Speaker::User,
                Role::Assistant => Speaker::Assistant,
            },
            parts,
        })
    }
}

/// The side that answers.
struct Answering<'m> {
    engine: model::Engine<'m>,
    tokenizer: &'m Tokenizer,
    /// Replies of which nothing was shown yet and whose first space is left out.
    untouched: std::collections::HashSet<EngineId>,
}

impl Engine<Question> for Answering<'_> {
    fn admit(&mut self, question: &Question, choice: usize) -> Result<EngineId, Refusal> {
        let seed = question.seed.wrapping_add(choice as u64);
        let admitted = self.engine.admit_prepared(&question.prepared, Some(seed));
        let id = EngineId(admitted.map_err(refusal)?.0);
        if question.trim {
            let _ = self.untouched.insert(id);
        }
        Ok(id)
    }

    fn step(&mut self) -> Result<Vec<Step>, Fault> {
        let events = self.engine.step().map_err(fault)?;
        Ok(events.into_iter().map(|event| self.shown(event)).collect())
    }

    fn cancel(&mut self, id: EngineId) -> Result<(), Fault> {
        let _ = self.untouched.remove(&id);
        self.engine.cancel(RequestId(id.0)).map_err(fault)?;
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }

    fn counts(&self) -> Counts {
        let counts = self.engine.counts();
        Counts {
            prefill_computed: counts.prefill.run as u64,
            prefill_cached: counts.prefill.shared as u64,
            images_encoded: counts.prefill.images as u64,
            live: counts.live + counts.filling,
            cache_bytes: counts.cache_bytes,
        }
    }
}

impl Answering<'_> {
    fn shown(&mut self, event: model::Event) -> Step {
        let id = EngineId(event.id.0);
        let mut text = event.text;
        if self.untouched.contains(&id) {
            text = text.trim_start().to_owned();
            if !text.is_empty() || event.finished.is_some() {
                let _ = self.untouched.remove(&id);
            }
        }
        Step {
            id,
            text,
            added: event.token.is_some(),
            token: event.logprobs.map(|logprobs| TokenText {
                chosen: self.token(&logprobs.chosen),
                top: logprobs.top.iter().map(|token| self.token(token)).collect(),
            }),
            prompt: event.prompt.map(|prompt| (prompt.all, prompt.cached)),
            finish: event.finished.map(|reply| match reply.finish {
                model::Finish::Stop => Finish::Stop,
                model::Finish::Length | model::Finish::Cancelled => Finish::Length,
            }),
        }
    }

    fn token(&self, token: &model::TokenLogprob) -> TokenLogprob {
        TokenLogprob {
            id: token.token,
            bytes: self.tokenizer.token_bytes(token.token).unwrap_or_default(),
            logprob: token.logprob,
        }
    }
}

fn refusal(error: Error) -> Refusal {
    let kind = match &error {
        Error::Unanswerable { why, .. } => match why {
            Unanswerable::Meaningless => RefusalKind::Invalid,
            Unanswerable::Context => RefusalKind::ContextLength,
            Unanswerable::Memory => RefusalKind::TooLarge,
        },
        _ => RefusalKind::Failed,
    };
    Refusal::new(kind, error.to_string())
}

fn fault(error: Error) -> Fault {
    Fault(error.to_string())
}
