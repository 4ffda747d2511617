//! `math-llava generate`: one conversation's reply; and how `generate` and `chat` load a model.

#[cfg(feature = "torch")]
pub use torch::{Writer, image, load, options, run};

#[cfg(not(feature = "torch"))]
use anyhow::{Result, bail};

/// Says why there is no reply.
#[cfg(not(feature = "torch"))]
pub fn run(arguments: &crate::args::Generate) -> Result<bool> {
    bail!(
        "this build has no libtorch and cannot run {}: build it with the feature torch",
        arguments.model.model.display()
    );
}

#[cfg(feature = "torch")]
mod torch {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::{Context, Result, bail};
    use model::{
        Checkpoint, Constraint, Finish, GenerateOptions, Generated, Generator, LoadOptions, Part,
        Pixels, Placement, PromptForm, Quantisation, Request, Said, Sampling, Speaker, Template,
        Turn,
    };

    use crate::args::{Generate, ModelArguments, SamplingArguments};

    /// Writes the reply to standard output as it comes.
    pub fn run(arguments: &Generate) -> Result<bool> {
        let generator = load(&arguments.model)?;
        let images = arguments
            .images
            .iter()
            .map(|path| image(&generator, path))
            .collect::<Result<Vec<_>>>()?;
        let mut turns = Vec::new();
        if let Some(system) = &arguments.system {
            turns.push(Turn {
                speaker: Speaker::System,
                parts: vec![Part::Text(system.clone())],
            });
        }
        let mut parts: Vec<Part> = images.iter().map(|_| Part::Image).collect();
        parts.push(Part::Text(arguments.prompt.clone()));
        turns.push(Turn {
            speaker: Speaker::User,
            parts,
        });
        let mut options = options(&arguments.sampling);
        options.logprobs = arguments.logprobs;
        if let Some(path) = &arguments.json_schema {
            options.constraint = Some(form(&generator, path)?);
        }
        let request = Request {
            said: Said::Turns(turns),
            images,
            options,
        };
        let mut writer = Writer::default();
        let mut written = Ok(());
        let reply = generator
            .generate(&[request], 1, |_, piece| {
                if !arguments.json && written.is_ok() {
                    written = writer.piece(piece);
                }
            })?
            .pop()
            .context("no reply")?;
        written?;
        if arguments.json {
            println!("{}", json(&generator, &reply));
        } else {
            writer.end()?;
        }
        Ok(true)
    }

    /// The form that a file asks of a reply.
    fn form(generator: &Generator, path: &Path) -> Result<Constraint> {
        let at = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(at)?;
        let schema = serde_json::from_str(&text).with_context(at)?;
        Constraint::json_schema(generator.tokenizer(), &schema).with_context(at)
    }

    /// Loads a model as the user asked, and says where it runs.
    pub fn load(arguments: &ModelArguments) -> Result<Generator> {
        let placement = Placement::choose(&arguments.device, &arguments.dtype)?;
        let how = match arguments.quantise.as_str() {
            "none" => Quantisation::None,
            "int8" => Quantisation::Int8,
            "int4" => Quantisation::Int4,
            other => bail!("--quantise {other:?} is none of none, int8 and int4"),
        };
        let checkpoint = Checkpoint::open(&arguments.model)?;
        let options = LoadOptions {
            device: placement.device,
            kind: placement.kind,
            adapter: arguments.adapter.clone(),
            ..LoadOptions::default()
        };
        let (model, _) = checkpoint.load_answering(&options, how)?;
        sample::progress::note(&format!(
            "{}: {}",
            arguments.model.display(),
            placement.describe()
        ));
        let form = match &arguments.template {
            Some(name) => PromptForm::Named(template(name)?),
            None => checkpoint.prompt_form()?,
        };
        let (tokenizer, preprocessor) = (checkpoint.tokenizer()?, checkpoint.preprocessor()?);
        Ok(Generator::with(model, tokenizer, preprocessor, form)?)
    }

    fn template(name: &str) -> Result<Template> {
        let known = Template::ALL;
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, template)| *template).with_context(|| {
            let names = known.map(|(name, _)| name).join(", ");
            format!("--template {name:?} is none of {names}")
        })
    }

    /// Reads an image for a model.
    pub fn image(generator: &Generator, path: &Path) -> Result<Arc<Pixels>> {
        if generator.model().config().vision_config.is_none() {
            bail!(
                "{}: this model reads text only and is shown no images",
                path.display()
            );
        }
        let pixels = generator.preprocessor().open(path);
        let pixels = pixels.map_err(|fault| model::Error::Image {
            path: path.to_owned(),
            fault,
        })?;
        Ok(Arc::new(pixels))
    }

    /// How replies are written.
    pub fn options(arguments: &SamplingArguments) -> GenerateOptions {
        GenerateOptions {
            max_new_tokens: arguments.max_new_tokens,
            sampling: Sampling {
                temperature: arguments.temperature,
                top_k: arguments.top_k,
                top_p: arguments.top_p,
                min_p: arguments.min_p,
                repetition_penalty: arguments.repetition_penalty,
                seed: arguments.seed,
            },
            stop: arguments.stop.clone(),
            logprobs: None,
            constraint: None,
        }
    }

    /// Pieces of a reply on standard output, without the space that most models begin with.
    #[derive(Debug, Default)]
    pub struct Writer {
        begun: bool,
    }

    impl Writer {
        /// Writes a piece at once.
        pub fn piece(&mut self, piece: &str) -> std::io::Result<()> {
            let piece = if self.begun {
                piece
            } else {
                piece.trim_start()
            };
            self.begun |= !piece.is_empty();
            let mut out = std::io::stdout().lock();
            out.write_all(piece.as_bytes())?;
            out.flush()
        }

        /// Ends the reply's line.
        pub fn end(&mut self) -> std::io::Result<()> {
            self.begun = false;
            let mut out = std::io::stdout().lock();
            out.write_all(b"\n")?;
            out.flush()
        }
    }

    fn json(generator: &Generator, reply: &Generated) -> serde_json::Value {
        let one = |token: &model::TokenLogprob| {
            let text = generator.tokenizer().decode(&[token.token]);
            serde_json::json!({
                "token": token.token,
                "text": text.unwrap_or_default(),
                "logprob": token.logprob,
            })
        };
        let logprobs: Vec<_> = reply
            .logprobs
            .iter()
            .map(|at| {
                let mut chosen = one(&at.chosen);
                chosen["top"] = at.top.iter().map(one).collect();
                chosen
            })
            .collect();
        serde_json::json!({
            "text": reply.text.trim(),
            "tokens": reply.tokens,
            "finish": match reply.finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
                Finish::Cancelled => "cancelled",
            },
            "prompt_tokens": reply.prompt_tokens,
            "logprobs": logprobs,
        })
    }
}
