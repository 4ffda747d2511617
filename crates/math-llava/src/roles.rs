//! Who plays which role: the programs and models behind `trait ChatModel`.

#[cfg(feature = "torch")]
pub use student::Student;

use chat::{ChatModel, Error, Finish, Reply, Request};

/// The program teacher: answers from the scene of a drawn figure, from a published table, logic form
/// or list of objects, and from nothing else.
#[derive(Debug, Clone, Copy)]
pub struct ProgramTeacher;

impl ChatModel for ProgramTeacher {
    fn name(&self) -> &str {
        "program"
    }

    fn reads_subject(&self) -> bool {
        true
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
        use rayon::prelude::*;
        batch
            .par_iter()
            .map(|request| match sources::programs::teach(&request.subject) {
                Ok(text) => Ok(Reply {
                    text,
                    finish: Finish::Stop,
                    // A program reads and writes no tokens.
                    prompt_tokens: 0,
                    completion_tokens: 0,
                }),
                Err(detail) => Err(Error::Unanswerable {
                    id: request.id.clone(),
                    detail,
                }),
            })
            .collect()
    }
}

/// Computes answers from scenes and tables.
#[derive(Debug, Clone, Copy)]
pub struct Programs;

impl synth::Prover for Programs {
    fn prove(&self, scene: &str, question: &str, choices: &[String]) -> Option<sample::Answer> {
        sources::programs::prove(scene, question, choices)
    }
}

#[cfg(feature = "torch")]
mod student {
    //! An own model as a `ChatModel`: teacher, judge or student.

    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use chat::{ChatModel, Error, Finish, Reply, Request, Role};
    use model::{
        Checkpoint, EngineLimits, GenerateOptions, Generated, Generator, LoadOptions, Part, Pixels,
        Quantisation, RequestId, Said, Sampling, Speaker, Turn,
    };

    /// A checkpoint that answers.
    pub struct Student {
        name: String,
        generator: Generator,
        batch_size: usize,
    }

    impl Student {
        /// Loads a checkpoint; `name` goes into scores. It computes in f32 on the CPU: scores must not
        /// depend on the machine, and f32 makes a batch equal to single requests.
        pub fn load(
            folder: &Path,
            name: &str,
            threads: usize,
            batch_size: usize,
        ) -> Result<Student, model::Error> {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
            let checkpoint = Checkpoint::open(folder)?;
            let (llava, _) =
                checkpoint.load_answering(&LoadOptions::default(), Quantisation::None)?;
            let generator = Generator::with(
                llava,
                checkpoint.tokenizer()?,
                checkpoint.preprocessor()?,
                checkpoint.prompt_form()?,
            )?;
            Ok(Student::new(generator, name, batch_size))
        }

        /// A loaded model that answers `batch_size` requests at the same time.
        pub fn new(generator: Generator, name: &str, batch_size: usize) -> Student {
            Student {
                name: name.to_owned(),
                generator,
                batch_size: batch_size.max(1),
            }
        }

        /// Replies, or why there is none for a request; the outer error is the engine's own.
        fn answers(
            &self,
            batch: &[Request],
            images: &HashMap<PathBuf, Result<Arc<Pixels>, String>>,
        ) -> Result<Vec<Result<Generated, String>>, model::Error> {
            let mut engine = self
                .generator
                .engine(EngineLimits::batch(self.batch_size))?;
            // Requests about one image come together, so that it is read once.
            let mut order: Vec<usize> = (0..batch.len()).collect();
            order.sort_by_key(|&index| batch[index].images.first().map(|image| &image.path));
            let mut replies: Vec<Option<Result<Generated, String>>> =
                batch.iter().map(|_| None).collect();
            let mut indices: HashMap<RequestId, usize> = HashMap::new();
            for index in order {
                let admitted = conversation(&batch[index], images)
                    .and_then(|request| engine.admit(&request).map_err(|e| e.to_string()));
                match admitted {
                    Ok(id) => drop(indices.insert(id, index)),
                    Err(detail) => replies[index] = Some(Err(detail)),
                }
            }
            while !engine.is_idle() {
                sample::interrupt::check()?;
                for event in engine.step()? {
                    if let (Some(reply), Some(&index)) = (event.finished, indices.get(&event.id)) {
                        replies[index] = Some(Ok(reply));
                    }
                }
            }
            let missing = || Err("the engine lost it".to_owned());
            Ok(replies
                .into_iter()
                .map(|reply| reply.unwrap_or_else(missing))
                .collect())
        }
    }

    /// A request in the model's own terms; images are shown before the first turn's text.
    fn conversation(
        request: &Request,
        images: &HashMap<PathBuf, Result<Arc<Pixels>, String>>,
    ) -> Result<model::Request, String> {
        let images = request
            .images
            .iter()
            .map(|image| match images.get(&image.path) {
                Some(read) => read.clone(),
                None => Err("its image was not read".to_owned()),
            })
            .collect::<Result<Vec<_>, String>>()?;
        let system = request.system.iter().map(|text| Turn {
            speaker: Speaker::System,
            parts: vec![Part::Text(text.clone())],
        });
        let said = request.turns.iter().enumerate().map(|(index, turn)| {
            let shown = if index == 0 { images.len() } else { 0 };
            let mut parts = vec![Part::Image; shown];
            parts.push(Part::Text(turn.text.clone()));
            Turn {
                speaker: match turn.role {
                    Role::User => Speaker::User,
                    Role::Assistant => Speaker::Assistant,
                },
                parts,
            }
        });
        Ok(model::Request {
            said: Said::Turns(system.chain(said).collect()),
            images,
            options: GenerateOptions {
                max_new_tokens: request.max_tokens as usize,
                sampling: Sampling {
                    temperature: f64::from(request.temperature),
                    seed: request.seed,
                    ..Sampling::default()
                },
                ..GenerateOptions::default()
            },
        })
    }

    impl ChatModel for Student {
        fn name(&self) -> &str {
            &self.name
        }

        fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
            // Each distinct image is read once.
            let mut paths: Vec<PathBuf> = batch
                .iter()
                .flat_map(|request| request.images.iter().map(|image| image.path.clone()))
                .collect();
            paths.sort();
            paths.dedup();
            let read = self.generator.preprocessor().open_all(&paths);
            let images = paths
                .into_iter()
                .zip(read)
                .map(|(path, read)| {
                    let read = read.map(Arc::new);
                    let read = read.map_err(|fault| format!("{}: {fault}", path.display()));
                    (path, read)
                })
                .collect();
            let replies = match self.answers(batch, &images) {
                Ok(replies) => replies,
                Err(model::Error::Sample(sample::Error::Interrupted)) => {
                    return batch.iter().map(|_| Err(Error::Interrupted)).collect();
                }
                Err(error) => {
                    let failed = || Error::Failed {
                        model: self.name.clone(),
                        detail: error.to_string(),
                    };
                    return batch.iter().map(|_| Err(failed())).collect();
                }
            };
            batch
                .iter()
                .zip(replies)
                .map(|(request, reply)| match reply {
                    Ok(reply) => Ok(Reply {
                        text: reply.text.trim().to_owned(),
                        finish: match reply.finish {
                            model::Finish::Stop => Finish::Stop,
                            model::Finish::Length | model::Finish::Cancelled => Finish::Length,
                        },
                        prompt_tokens: u32::try_from(reply.prompt_tokens).unwrap_or(u32::MAX),
                        completion_tokens: u32::try_from(reply.tokens.len()).unwrap_or(u32::MAX),
                    }),
                    Err(detail) => Err(Error::Unanswerable {
                        id: request.id.clone(),
                        detail,
                    }),
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_image_without_a_scene_gets_no_invented_pair() {
        let request = Request {
            id: "tabmwp:1#askimg".into(),
            tag: chat::Tag::default(),
            system: None,
            turns: Vec::new(),
            images: Vec::new(),
            subject: serde_json::json!({"kind": "askimg", "scene": null, "count": 5, "seed": 1}),
            schema: None,
            max_tokens: 64,
            temperature: 0.0,
            seed: 1,
        };
        let replies = ProgramTeacher.reply(std::slice::from_ref(&request));
        assert!(
            matches!(&replies[..], [Err(Error::Unanswerable { .. })]),
            "{replies:?}"
        );
    }
}
