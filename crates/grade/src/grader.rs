//! A trained grader: two classifiers, in a folder that transformers opens too.
//!
//! `clarity/` and `complexity/` are each a whole `ViTForImageClassification`. Where both were
//! trained on one tower, both folders hold that tower; loading notices, keeps one and runs it once
//! for both heads.

use std::path::Path;

use model::{Pixels, Precision, Preprocessor, Vit, WeightKind};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Criterion, Error};

/// The probabilities of an image's grades.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Grades {
    /// Of unclear and clear.
    pub clarity: [f32; 2],
    /// Of the levels 0 to 3.
    pub complexity: [f32; 4],
}

impl Grades {
    /// The probabilities for one criterion.
    pub fn get(&self, criterion: Criterion) -> &[f32] {
        match criterion {
            Criterion::Clarity => &self.clarity,
            Criterion::Complexity => &self.complexity,
        }
    }
}

/// Two classifiers that see an image alike.
pub struct Grader {
    clarity: Vit,
    complexity: Vit,
    shared: bool,
    preprocessor: Preprocessor,
}

impl Grader {
    /// Puts two trained classifiers together for grading.
    ///
    /// # Errors
    /// Where libtorch refuses the cast to `precision`.
    pub fn new(
        clarity: &Vit,
        complexity: &Vit,
        preprocessor: Preprocessor,
        precision: Precision,
    ) -> Result<Grader, Error> {
        let (kind, _) = precision.resolve(clarity.device());
        let shared = clarity.has_tower_of(complexity)?;
        let first = clarity.frozen(kind)?;
        let second = if shared {
            first.with_head_of(complexity)?
        } else {
            complexity.frozen(kind)?
        };
        Ok(Grader {
            clarity: first,
            complexity: second,
            shared,
            preprocessor,
        })
    }

    /// Loads the folder that [`save`] writes, or any with two ViT classifiers of the right numbers
    /// of classes.
    ///
    /// # Errors
    /// A folder that lacks either, or whose classifiers do not see images alike.
    pub fn load(dir: &Path, precision: Precision) -> Result<Grader, Error> {
        let wrong = |detail: String| Error::Grader {
            path: dir.to_owned(),
            detail,
        };
        let mut loaded = Vec::new();
        for criterion in Criterion::ALL {
            let folder = dir.join(criterion.name());
            if !folder.join("config.json").is_file() {
                return Err(wrong(format!(
                    "is no grader: it has no {}/config.json. Give the folder `grade/model` of a \
                     run, or two Hugging Face folders named clarity and complexity",
                    criterion.name()
                )));
            }
            let (vit, _) = Vit::load(&folder, Device::Cpu)?;
            let classes = vit.config().labels.len();
            if classes != criterion.classes() {
                return Err(wrong(format!(
                    "{} has {classes} classes, not {}: it was trained for something else",
                    criterion.name(),
                    criterion.classes()
                )));
            }
            let side = usize::try_from(vit.config().image_size).unwrap_or(1);
            let preprocessor = Preprocessor::load_vit(&folder, side)?;
            loaded.push((vit, preprocessor));
        }
        let [(clarity, preprocessor), (complexity, other)] = loaded.as_slice() else {
            return Err(wrong("needs exactly two classifiers".to_owned()));
        };
        if preprocessor != other {
            return Err(wrong(
                "clarity and complexity differ in image_size or preprocessor_config.json: both \
                 must see an image alike"
                    .to_owned(),
            ));
        }
        Grader::new(clarity, complexity, preprocessor.clone(), precision)
    }

    /// How images become pixels.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Whether one tower serves both heads.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Grades some images in one pass.
    pub fn grade(&self, images: &[&Pixels]) -> Result<Vec<Grades>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        self.grade_normalised(&self.preprocessor.normalise(images, self.clarity.device())?)
    }

    /// Grades some images, as [`Preprocessor::normalise`] gives them, in one pass.
    pub(crate) fn grade_normalised(&self, pixels: &Tensor) -> Result<Vec<Grades>, Error> {
        let (clarity, complexity) = no_grad(|| -> Result<_, Error> {
            let features = self.clarity.features(pixels)?;
            let clarity = self.clarity.classify(&features)?;
            let complexity = if self.shared {
                self.complexity.classify(&features)?
            } else {
                self.complexity.logits(pixels)?
            };
            Ok((clarity, complexity))
        })?;
        // [images, classes], row by row.
        let rows = |logits: Tensor| -> Result<Vec<f32>, Error> {
            let probabilities = logits.f_softmax(-1, Kind::Float)?;
            let flat = probabilities.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
            Ok(Vec::<f32>::try_from(&flat)?)
        };
        let (clarity, complexity) = (rows(clarity)?, rows(complexity)?);
        Ok(clarity
            .chunks_exact(2)
            .zip(complexity.chunks_exact(4))
            .map(|(c, l)| Grades {
                clarity: [c[0], c[1]],
                complexity: [l[0], l[1], l[2], l[3]],
            })
            .collect())
    }
}

/// Writes both classifiers below `dir`.
pub fn save(
    dir: &Path,
    clarity: &Vit,
    complexity: &Vit,
    preprocessor: &Preprocessor,
) -> Result<(), Error> {
    for (criterion, vit) in Criterion::ALL.into_iter().zip([clarity, complexity]) {
        let folder = dir.join(criterion.name());
        vit.save(&folder, preprocessor, WeightKind::Float32)?;
    }
    Ok(())
}
