//! The numbers behind an answer, for anyone who wants to compare them with another program's.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::write_safetensors;
use crate::{Checkpoint, Error, LoadOptions, Part, Speaker, Turn};

/// Runs one prompt, about one image where there is one, through the checkpoint at `model`, in f32
/// on the CPU, and writes a safetensors file with `logits` [tokens, vocabulary] (f32), `input_ids`
/// `[tokens]` (i64) and, with an image, `pixel_values` [1, 3, side, side] (f32).
///
/// # Errors
/// What cannot be read; a prompt longer than the model's context; an image for a model that reads
/// text only.
pub fn write_logits(
    model: &Path,
    image: Option<&Path>,
    prompt: &str,
    out: &Path,
) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(model)?;
    let config = checkpoint.config();
    let tokenizer = checkpoint.tokenizer()?;
    let mut parts = vec![Part::Text(prompt.to_owned())];
    let pixel_values = match image {
        None => None,
        Some(_) if config.vision_config.is_none() => {
            return Err(Error::Shape(format!(
                "{} reads text only: leave the image away",
                model.display()
            )));
        }
        Some(image) => {
            parts.insert(0, Part::Image);
            let preprocessor = checkpoint.preprocessor()?;
            let pixels = preprocessor.open(image).map_err(|fault| Error::Image {
                path: image.to_owned(),
                fault,
            })?;
            Some(preprocessor.normalise(&[&pixels], Device::Cpu)?)
        }
    };
    let turn = Turn {
        speaker: Speaker::User,
        parts,
    };
    let image_tokens = usize::try_from(config.image_tokens()).unwrap_or(0);
    let form = checkpoint.prompt_form()?;
    let ids = form.encode(&tokenizer, &[turn], image_tokens, true)?.ids;
    let context = config.text_config.max_position_embeddings;
    if ids.len() as i64 > context {
        return Err(Error::Shape(format!(
            "the prompt takes {} tokens, and the model's context is {context}: shorten it",
            ids.len()
        )));
    }
    let (model, _) = checkpoint.load(&LoadOptions::default())?;
    let input_ids = Tensor::f_from_slice(&ids)?;
    let logits = tch::no_grad(|| -> Result<Tensor, Error> {
        let row = input_ids.f_unsqueeze(0)?;
        let embeds = match &pixel_values {
            Some(pixels) => model.embed_with_images(&row, &model.image_features(pixels)?)?,
            None => model.embed(&row)?,
        };
        let positions =
            Tensor::f_arange(ids.len() as i64, (Kind::Int64, Device::Cpu))?.f_unsqueeze(0)?;
        Ok(model
            .logits(&model.decode(&embeds, &positions, None, None)?)?
            .f_squeeze_dim(0)?)
    })?;
    let mut tensors = vec![("logits", logits), ("input_ids", input_ids)];
    tensors.extend(pixel_values.map(|pixels| ("pixel_values", pixels)));
    write_safetensors(out, tensors.into_iter(), None)
}
