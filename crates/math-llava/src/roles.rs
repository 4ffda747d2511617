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
    //! The trained model as a `ChatModel`.

    use std::collections::HashMap;
    use std::path::{Path, PathBuf};

    use chat::{ChatModel, Error, Finish, Reply, Request, Role};
    use model::{Generator, Llava, Preprocessor, Question, Tokenizer};

    /// A checkpoint that answers.
    pub struct Student {
        name: String,
        generator: Generator,
        preprocessor: Preprocessor,
        batch_size: usize,
    }

    impl Student {
        /// Loads a Hugging Face folder; `name` goes into scores.
        pub fn load(
            folder: &Path,
            name: &str,
            threads: usize,
            batch_size: usize,
        ) -> Result<Student, model::Error> {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
            let (mut llava, _) = Llava::load(folder, tch::Device::Cpu)?;
            // Scores must not depend on the machine, and f32 makes a batch equal to single.
            llava.compute = tch::Kind::Float;
            let preprocessor = Preprocessor::load(folder, llava.config())?;
            let tokenizer = Tokenizer::load(folder)?;
            let generator = Generator::new(&llava, tokenizer)?;
            Ok(Student {
                name: name.to_owned(),
                generator,
                preprocessor,
                batch_size,
            })
        }

        fn question(request: &Request, image: Option<usize>) -> Result<Question, Error> {
            match request.turns.as_slice() {
                [turn] if turn.role == Role::User && request.system.is_none() => Ok(Question {
                    image,
                    text: turn.text.clone(),
                }),
                _ => Err(Error::Unanswerable {
                    id: request.id.clone(),
                    detail: "this model answers one user turn and no system prompt".into(),
                }),
            }
        }
    }

    impl ChatModel for Student {
        fn name(&self) -> &str {
            &self.name
        }

        fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
            let failed = |detail: String| Error::Failed {
                model: self.name.clone(),
                detail,
            };
            // Each distinct image is read and encoded once.
            let mut paths: Vec<PathBuf> = batch
                .iter()
                .filter_map(|r| r.images.first().map(|i| i.path.clone()))
                .collect();
            paths.sort();
            paths.dedup();
            let mut images = Vec::new();
            let mut index: HashMap<&PathBuf, Result<usize, String>> = HashMap::new();
            for (path, opened) in paths.iter().zip(self.preprocessor.open_all(&paths)) {
                let entry = match opened {
                    Ok(pixels) => {
                        images.push(pixels);
                        Ok(images.len() - 1)
                    }
                    Err(fault) => Err(format!("{}: {fault}", path.display())),
                };
                index.insert(path, entry);
            }
            let mut questions = Vec::new();
            let mut longest = 1;
            let places: Vec<Result<usize, Error>> = batch
                .iter()
                .map(|request| {
                    let refuse = |detail: String| Error::Unanswerable {
                        id: request.id.clone(),
                        detail,
                    };
                    let image = match request.images.as_slice() {
                        [] => None,
                        [image] => match index.get(&image.path) {
                            Some(Ok(i)) => Some(*i),
                            Some(Err(detail)) => return Err(refuse(detail.clone())),
                            None => return Err(refuse("its image was not read".into())),
                        },
                        _ => return Err(refuse("this model looks at one image".into())),
                    };
                    longest = longest.max(request.max_tokens as usize);
                    questions.push(Student::question(request, image)?);
                    Ok(questions.len() - 1)
                })
                .collect();
            match self
                .generator
                .generate(&images, &questions, longest, self.batch_size)
            {
                Ok(generated) => places
                    .into_iter()
                    .map(|place| {
                        let text = &generated[place?];
                        Ok(Reply {
                            text: text.text.clone(),
                            finish: match text.finish {
                                model::Finish::Stop => Finish::Stop,
                                model::Finish::Length => Finish::Length,
                            },
                            prompt_tokens: u32::try_from(text.prompt_tokens).unwrap_or(u32::MAX),
                            completion_tokens: u32::try_from(text.tokens.len()).unwrap_or(u32::MAX),
                        })
                    })
                    .collect(),
                Err(model::Error::Sample(sample::Error::Interrupted)) => {
                    batch.iter().map(|_| Err(Error::Interrupted)).collect()
                }
                Err(error) => {
                    let text = error.to_string();
                    batch.iter().map(|_| Err(failed(text.clone()))).collect()
                }
            }
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
