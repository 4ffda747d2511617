//! The settings that go with each plan, and the sessions that are made of them on each side.
//!
//! Beside DataFusion's and Ballista's, there is one of ours: the version of who asks, which the scheduler
//! compares when a session begins and an executor when a task does. So plans that use none of our functions
//! are compared too.

use std::any::Any;
use std::sync::Arc;

use ballista_core::config::{
    BALLISTA_CLIENT_GRPC_CONNECT_TIMEOUT_SECONDS,
    BALLISTA_CLIENT_GRPC_HTTP2_KEEPALIVE_INTERVAL_SECONDS, BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
    BALLISTA_CLIENT_IO_RETRIES_TIMES, BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS,
};
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::default_session_builder;
use datafusion::common::config_err;
use datafusion::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::prelude::SessionConfig;

use crate::functions::Functions;
use crate::{codec, versions};

/// Bytes of a message: a plan holds the items of a piece, which may be some tens of thousands of paths.
pub const LARGEST_MESSAGE: u32 = 64 << 20;

/// Who asks, as it goes with a plan.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    version: String,
}

impl ConfigExtension for Asker {
    const PREFIX: &'static str = "math_llava";
}

impl ExtensionOptions for Asker {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if key != "version" {
            return config_err!("math_llava has no setting {key}");
        }
        value.clone_into(&mut self.version);
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![ConfigEntry {
            key: format!("{}.version", Self::PREFIX),
            value: Some(self.version.clone()),
            description: "the toolkit's version of who asks",
        }]
    }
}

/// The settings of one who asks, in addition to those it has.
pub fn asking(config: SessionConfig, functions: &Functions) -> SessionConfig {
    let asker = Asker {
        version: functions.version().to_owned(),
    };
    let config = config.upgrade_for_ballista().with_option_extension(asker);
    connecting(config, functions, "this client")
}

/// A machine that died is found out soon, and its work is done again.
fn connecting(config: SessionConfig, functions: &Functions, here: &'static str) -> SessionConfig {
    config
        .with_ballista_logical_extension_codec(codec::logical(functions, here))
        .with_ballista_physical_extension_codec(codec::physical(functions, here))
        .set_usize(
            BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
            LARGEST_MESSAGE as usize,
        )
        .set_usize(BALLISTA_CLIENT_GRPC_CONNECT_TIMEOUT_SECONDS, 5)
        .set_usize(BALLISTA_CLIENT_GRPC_HTTP2_KEEPALIVE_INTERVAL_SECONDS, 10)
        .set_usize(BALLISTA_CLIENT_IO_RETRIES_TIMES, 1)
        .set_usize(BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, 500)
}

/// The settings that a scheduler or an executor starts from; those of who asks come over them.
pub fn serving(functions: &Functions, here: &'static str) -> SessionConfig {
    let config = SessionConfig::new_with_ballista().with_option_extension(Asker::default());
    connecting(config, functions, here)
}

/// Refuses settings of another version.
pub fn check(config: &SessionConfig, functions: &Functions, here: &str) -> Result<()> {
    let asker = config.options().extensions.get::<Asker>();
    let theirs = asker.map_or("", |asker| asker.version.as_str());
    versions::same(here, functions.version(), "the plan's sender", theirs)
}

/// A scheduler's session.
pub fn begin(config: SessionConfig, functions: &Functions, here: &str) -> Result<SessionState> {
    check(&config, functions, here)?;
    let mut state = default_session_builder(config)?;
    for (function, _) in functions.iter() {
        state.register_udf(function.clone())?;
    }
    Ok(state)
}

/// What an executor finds functions by where a plan gives their name alone.
pub fn registry(functions: &Functions) -> Arc<BallistaFunctionRegistry> {
    let mut registry = BallistaFunctionRegistry::default();
    for (function, _) in functions.iter() {
        registry
            .scalar_functions
            .insert(function.name().to_owned(), function.clone());
    }
    Arc::new(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballista_core::extension::SessionConfigHelperExt;

    #[test]
    fn the_version_of_who_asks_arrives_with_its_settings() {
        let ours = Functions::new("1.0.0", Vec::new());
        let theirs = Functions::new("2.0.0", Vec::new());
        let sent =
            |functions: &Functions| asking(SessionConfig::new(), functions).to_key_value_pairs();
        let arrived = |sent: &[_]| serving(&ours, "here").update_from_key_value_pair(sent);
        assert!(check(&arrived(&sent(&ours)), &ours, "here").is_ok());
        let other = check(&arrived(&sent(&theirs)), &ours, "here")
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("1.0.0") && other.contains("2.0.0"),
            "{other}"
        );
        let foreign = SessionConfig::new_with_ballista().to_key_value_pairs();
        assert!(check(&arrived(&foreign), &ours, "here").is_err());
    }

    #[test]
    fn a_scheduler_session_knows_the_functions() {
        let ours = Functions::new("1.0.0", Vec::new());
        let config = asking(SessionConfig::new(), &ours);
        let state = begin(config, &ours, "here").unwrap();
        assert!(state.udf("seeded_rank").is_ok());
        assert!(registry(&ours).scalar_functions.contains_key("seeded_rank"));
    }
}
