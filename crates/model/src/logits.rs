//! The numbers behind an answer, for anyone who wants to compare them with another program's.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::write_safetensors;
use crate::{Error, Llava, Preprocessor, Tokenizer, conversation_tokens};

/// Runs one prompt about one image through the checkpoint in `dir`, in f32, and writes a
/// safetensors file with `logits` [tokens, vocabulary] (f32), `input_ids` `[tokens]` (i64) and
/// `pixel_values` [1, 3, side, side] (f32).
pub fn write_logits(dir: &Path, image: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let (model, _) = Llava::load(dir, Device::Cpu)?;
    let tokenizer = Tokenizer::load(dir)?;
    tokenizer.check(model.config())?;
    let preprocessor = Preprocessor::load(dir, model.config())?;
    let pixels = preprocessor.open(image).map_err(|fault| Error::Image {
        path: image.to_owned(),
        fault,
    })?;
    let pixel_values = preprocessor.normalise(&[&pixels], Device::Cpu)?;
    let template = model.config().conversation_template;
    let image_tokens = usize::try_from(model.config().image_tokens()).unwrap_or(0);
    let ids = conversation_tokens(&tokenizer, template, image_tokens, prompt, None)?.ids;
    let context = model.config().text_config.max_position_embeddings;
    if ids.len() as i64 > context {
        return Err(Error::Shape(format!(
            "the prompt takes {} tokens, and the model's context is {context}",
            ids.len()
        )));
    }
    let input_ids = Tensor::f_from_slice(&ids)?;
    let logits = tch::no_grad(|| -> Result<Tensor, Error> {
        let features = model.image_features(&pixel_values)?;
        let embeds = model.embed_with_images(&input_ids.f_unsqueeze(0)?, &features)?;
        let positions =
            Tensor::f_arange(ids.len() as i64, (Kind::Int64, Device::Cpu))?.f_unsqueeze(0)?;
        Ok(model
            .logits(&model.decode(&embeds, &positions, None, None)?)?
            .f_squeeze_dim(0)?)
    })?;
    let tensors = [
        ("logits", logits),
        ("input_ids", input_ids),
        ("pixel_values", pixel_values),
    ];
    write_safetensors(out, tensors.into_iter(), None)
}
