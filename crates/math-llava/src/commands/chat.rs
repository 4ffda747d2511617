//! `math-llava chat`: a conversation on the terminal, or piped, a line a turn.
//!
//! The engine lives as long as the conversation, so that each turn runs only what is new in it.
//! Ctrl-C stops the reply, which stays in the history as far as it came.

#[cfg(not(feature = "torch"))]
use anyhow::{Result, bail};

/// Says why there is no conversation.
#[cfg(not(feature = "torch"))]
pub fn run(arguments: &crate::args::Chat) -> Result<bool> {
    bail!(
        "this build has no libtorch and cannot run {}: build it with the feature torch",
        arguments.model.model.display()
    );
}

#[cfg(feature = "torch")]
pub use torch::run;

#[cfg(feature = "torch")]
mod torch {
    use std::io::{BufRead, IsTerminal, Write};
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::Result;
    use model::{
        Engine, EngineLimits, GenerateOptions, Generator, Part, Pixels, Request, Said, Speaker,
        Turn,
    };

    use crate::args::Chat;
    use crate::commands::generate::{Writer, image, load, options};

    const HELP: &str = "\
/image PATH   show an image with the next thing you say
/system TEXT  tell the model who it is; without TEXT, nothing
/reset        forget what was said
/help         this
/quit         leave; so does the end of the input
Ctrl-C stops a reply.";

    /// What was said and shown.
    #[derive(Default)]
    struct History {
        system: Option<String>,
        turns: Vec<Turn>,
        images: Vec<Arc<Pixels>>,
        /// Images for the next turn.
        next: Vec<Arc<Pixels>>,
    }

    impl History {
        /// The request that `text` makes of it.
        fn request(&self, text: &str, options: &GenerateOptions) -> Request {
            let system = self.system.iter().map(|text| Turn {
                speaker: Speaker::System,
                parts: vec![Part::Text(text.clone())],
            });
            let mut turns: Vec<Turn> = system.chain(self.turns.iter().cloned()).collect();
            turns.push(self.user(text));
            Request {
                said: Said::Turns(turns),
                images: [&self.images[..], &self.next[..]].concat(),
                options: options.clone(),
            }
        }

        fn user(&self, text: &str) -> Turn {
            let mut parts: Vec<Part> = self.next.iter().map(|_| Part::Image).collect();
            parts.push(Part::Text(text.to_owned()));
            Turn {
                speaker: Speaker::User,
                parts,
            }
        }

        /// Adds what was said and what was answered.
        fn add(&mut self, text: &str, reply: &str) {
            self.turns.push(self.user(text));
            self.images.append(&mut self.next);
            self.turns.push(Turn {
                speaker: Speaker::Assistant,
                parts: vec![Part::Text(reply.trim().to_owned())],
            });
        }
    }

    /// Talks until the input ends.
    pub fn run(arguments: &Chat) -> Result<bool> {
        let generator = load(&arguments.model)?;
        let options = options(&arguments.sampling);
        let mut engine = generator.engine(EngineLimits::default())?;
        let mut history = History {
            system: arguments.system.clone(),
            ..History::default()
        };
        let terminal = std::io::stdin().is_terminal();
        if terminal {
            sample::progress::note("say something; /help lists commands");
        }
        let mut line = String::new();
        loop {
            if terminal {
                let mut out = std::io::stderr();
                let _ = write!(out, "> ");
                let _ = out.flush();
            }
            line.clear();
            if std::io::stdin().lock().read_line(&mut line)? == 0 {
                return Ok(true);
            }
            // A Ctrl-C before a reply has nothing to stop.
            sample::interrupt::clear();
            let said = line.trim();
            match said.split_once(char::is_whitespace).unwrap_or((said, "")) {
                ("", _) => {}
                ("/quit" | "/exit", _) => return Ok(true),
                ("/help", _) => sample::progress::note(HELP),
                ("/reset", _) => {
                    history = History {
                        system: history.system,
                        ..History::default()
                    };
                }
                ("/system", text) => {
                    let text = text.trim();
                    history.system = (!text.is_empty()).then(|| text.to_owned());
                }
                ("/image", path) => match image(&generator, Path::new(path.trim())) {
                    Ok(pixels) => history.next.push(pixels),
                    Err(error) => eprintln!("{error:#}"),
                },
                (command, _) if command.starts_with('/') => {
                    eprintln!("{command} is no command; /help lists them");
                }
                _ => answer(&generator, &mut engine, &mut history, said, &options)?,
            }
        }
    }

    /// Streams the reply to `said` and adds both to the history; what cannot be answered is said so
    /// and forgotten.
    fn answer<'m>(
        generator: &'m Generator,
        engine: &mut Engine<'m>,
        history: &mut History,
        said: &str,
        options: &GenerateOptions,
    ) -> Result<()> {
        let id = match engine.admit(&history.request(said, options)) {
            Ok(id) => id,
            Err(error) => {
                eprintln!("{error}");
                return Ok(());
            }
        };
        let mut writer = Writer::default();
        let reply = loop {
            if sample::interrupt::requested() {
                break engine.cancel(id)?;
            }
            let events = match engine.step() {
                Ok(events) => events,
                Err(error) => {
                    *engine = generator.engine(EngineLimits::default())?;
                    eprintln!("{error}");
                    break None;
                }
            };
            let Some(event) = events.into_iter().find(|event| event.id == id) else {
                continue;
            };
            writer.piece(&event.text)?;
            if event.finished.is_some() {
                break event.finished;
            }
        };
        sample::interrupt::clear();
        writer.end()?;
        if let Some(reply) = reply {
            history.add(said, &reply.text);
        }
        Ok(())
    }
}
