//! An own model as a candidate: named by what its files hold, and loaded when it is first asked, since
//! a campaign that is finished asks nothing.

use std::path::Path;

use anyhow::{Result, bail};
use chat::{ChatModel, Error, Reply, Request};
use eval::campaign::CandidateConfig;

use crate::args::ModelArguments;

/// An own model.
pub struct Own {
    name: String,
    identity: String,
    place: String,
    batch_size: usize,
    #[cfg(feature = "torch")]
    arguments: ModelArguments,
    #[cfg(feature = "torch")]
    loaded: std::cell::OnceCell<Result<crate::roles::Student, String>>,
}

impl Own {
    /// Looks at the model's files; nothing is loaded.
    ///
    /// # Errors
    /// Where there is no such model, or it cannot run here as it is asked to.
    pub fn find(config: &CandidateConfig, model: &Path, batch_size: usize) -> Result<Own> {
        if !model.exists() {
            bail!(
                "[[candidate]] {:?}: there is no model at {}",
                config.name,
                model.display()
            );
        }
        let mut identity = eval::digest::folder(model)?;
        if let Some(adapter) = &config.adapter {
            identity = format!("{identity} with {}", eval::digest::folder(adapter)?);
        }
        let auto = || "auto".to_owned();
        let arguments = ModelArguments {
            model: model.to_owned(),
            adapter: config.adapter.clone(),
            device: config.device.clone().unwrap_or_else(auto),
            dtype: config.dtype.clone().unwrap_or_else(auto),
            template: config.template.clone(),
            quantise: "none".to_owned(),
        };
        Own::with(config, identity, arguments, batch_size)
    }

    #[cfg(feature = "torch")]
    fn with(
        config: &CandidateConfig,
        identity: String,
        arguments: ModelArguments,
        batch_size: usize,
    ) -> Result<Own> {
        let placement = model::Placement::choose(&arguments.device, &arguments.dtype)?;
        let template = match &arguments.template {
            Some(name) => format!(", template {name}"),
            None => String::new(),
        };
        Ok(Own {
            name: config.name.clone(),
            identity,
            place: format!("{:?}, {:?}{template}", placement.device, placement.kind),
            batch_size,
            arguments,
            loaded: std::cell::OnceCell::new(),
        })
    }

    #[cfg(not(feature = "torch"))]
    fn with(
        config: &CandidateConfig,
        _: String,
        arguments: ModelArguments,
        _: usize,
    ) -> Result<Own> {
        bail!(
            "[[candidate]] {:?}: this build has no libtorch and cannot run {}: build it with the \
             feature torch, or name a server",
            config.name,
            arguments.model.display()
        )
    }

    /// A digest of its files.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The device and the type it computes in.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Questions that it answers at the same time.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    #[cfg(feature = "torch")]
    fn answer(&self, batch: &[Request]) -> Result<Vec<Result<Reply, Error>>, String> {
        let load = || {
            let generator = super::generate::load(&self.arguments);
            let generator = generator.map_err(|e| format!("{e:#}"))?;
            Ok(crate::roles::Student::new(
                generator,
                &self.name,
                self.batch_size,
            ))
        };
        match self.loaded.get_or_init(load) {
            Ok(student) => Ok(student.reply(batch)),
            Err(detail) => Err(detail.clone()),
        }
    }

    #[cfg(not(feature = "torch"))]
    fn answer(&self, _: &[Request]) -> Result<Vec<Result<Reply, Error>>, String> {
        Err("this build has no libtorch".to_owned())
    }
}

impl ChatModel for Own {
    fn name(&self) -> &str {
        &self.name
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
        self.answer(batch).unwrap_or_else(|detail| {
            let failed = || Error::Failed {
                model: self.name.clone(),
                detail: detail.clone(),
            };
            batch.iter().map(|_| Err(failed())).collect()
        })
    }
}
