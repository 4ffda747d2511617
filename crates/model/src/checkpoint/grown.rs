//! Embeddings with more rows than their file has, for tokens that a vocabulary got later.
//!
//! New rows are the mean of the others, so that no logit of theirs is ever the largest; where a
//! token stands for an image, features replace its row anyway.

use std::path::Path;

use tch::{Kind, Tensor};

use crate::Error;
use crate::lora::{EMBEDDING, HEAD};
use crate::weights::{Rename, TensorFile, TensorInfo};

/// Embeddings have multiples of this many rows, as in the published conversion of LLaVA.
const ROWS: i64 = 64;

/// Rows of an embedding of `from` rows that token `id` has a place in.
pub(super) fn rows_for(id: i64, from: i64) -> i64 {
    match id >= from {
        true => (id / ROWS + 1) * ROWS,
        false => from,
    }
}

/// Whether a tensor has a row for each token, by the model's name for it.
pub(super) fn has_rows(name: &str) -> bool {
    let module = name.strip_suffix(".weight");
    module.is_some_and(|module| module == EMBEDDING || module == HEAD)
}

/// The same weight [rows, hidden] with rows up to `to`.
pub(super) fn grown(weight: &Tensor, to: i64) -> Result<Tensor, Error> {
    let from = weight.size()[0];
    if to <= from {
        return Ok(weight.shallow_clone());
    }
    let mean = weight
        .f_mean_dim(0i64, true, Kind::Float)?
        .f_to_kind(weight.f_kind()?)?
        .f_expand([to - from, -1], false)?;
    Ok(Tensor::f_cat(&[weight, &mean], 0)?) // [to, hidden]
}

/// A file whose embedding and output layer are longer than they are stored.
pub(super) struct Grown {
    file: Box<dyn TensorFile>,
    infos: Vec<TensorInfo>,
    to: i64,
}

impl Grown {
    /// `rename` says which tensors have a row for each token; those of `from` rows get `to`.
    pub fn new(file: Box<dyn TensorFile>, rename: Rename, (from, to): (i64, i64)) -> Grown {
        let infos = file.tensors().iter().map(|info| {
            let mut info = info.clone();
            let named = rename(&info.name).is_some_and(|name| has_rows(&name));
            if let [rows, _] = info.shape.as_mut_slice()
                && named
                && *rows == from
            {
                *rows = to;
            }
            info
        });
        Grown {
            infos: infos.collect(),
            to,
            file,
        }
    }

    fn grows(&self, index: usize) -> bool {
        self.infos[index].shape != self.file.tensors()[index].shape
    }
}

impl TensorFile for Grown {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    fn read_as(&self, index: usize, kind: Kind) -> Result<(Tensor, bool), Error> {
        let (tensor, finite) = self.file.read_as(index, kind)?;
        match self.grows(index) {
            true => Ok((grown(&tensor, self.to)?, finite)),
            false => Ok((tensor, finite)),
        }
    }

    fn view(&self, index: usize) -> Result<Option<Tensor>, Error> {
        match self.grows(index) {
            true => Ok(None),
            false => self.file.view(index),
        }
    }

    fn give_back(&self, index: usize) {
        self.file.give_back(index);
    }
}
