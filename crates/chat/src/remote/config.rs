//! How patient a dispatcher is, and what it may spend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::Settings;
use crate::money::{ImageTokens, Price, Rates};

/// How requests to one model are sent, tried again, and paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteConfig {
    /// Failed tries after which a run gives a request up; a later run tries it again. "Too many
    /// requests" is no failed try.
    pub max_tries: u32,
    /// The wait after a first failed try is drawn from 0 to this many seconds; it doubles each time.
    pub retry_first_s: f64,
    /// No wait is longer.
    pub retry_longest_s: f64,
    /// Faults of a server in a row after which it is left alone for a while.
    pub breaker_faults: u32,
    /// For so many seconds at first; twice as long each time a probe fails.
    pub breaker_pause_s: f64,
    /// No pause is longer.
    pub breaker_longest_s: f64,
    /// Once no server has answered for so many seconds, the run stops.
    pub patience_s: f64,
    /// The run stops after so many seconds; 0 is never.
    pub stage_timeout_s: f64,
    /// How long requests on their way are waited for after a stop was asked for.
    pub grace_s: f64,
    /// What all runs with one ledger may spend on this model together, in the price's currency.
    pub max_budget: Option<f64>,
    /// What tokens cost.
    pub price: Price,
    /// How many tokens an image takes.
    pub image_tokens: ImageTokens,
    /// Budgets are kept as if each prompt had so many times the tokens that were estimated, or more
    /// where prompts of this model have had more.
    pub prompt_margin: f64,
}

impl Default for RemoteConfig {
    fn default() -> RemoteConfig {
        RemoteConfig {
            max_tries: 8,
            retry_first_s: 1.0,
            retry_longest_s: 60.0,
            breaker_faults: 5,
            breaker_pause_s: 2.0,
            breaker_longest_s: 120.0,
            patience_s: 600.0,
            stage_timeout_s: 0.0,
            grace_s: 30.0,
            max_budget: None,
            price: Price::default(),
            image_tokens: ImageTokens::default(),
            prompt_margin: 1.5,
        }
    }
}

/// A century is as good as any longer time, and fits a `Duration`.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 3.2e9))
}

impl RemoteConfig {
    /// What is wrong with it, where something is.
    pub fn wrong(&self) -> Option<String> {
        let times = [
            ("retry_first_s", self.retry_first_s),
            ("retry_longest_s", self.retry_longest_s),
            ("breaker_pause_s", self.breaker_pause_s),
            ("breaker_longest_s", self.breaker_longest_s),
            ("patience_s", self.patience_s),
            ("stage_timeout_s", self.stage_timeout_s),
            ("grace_s", self.grace_s),
            ("max_budget", self.max_budget.unwrap_or(0.0)),
        ];
        if let Some((name, value)) = times
            .into_iter()
            .find(|(_, value)| !value.is_finite() || *value < 0.0)
        {
            return Some(format!("{name} = {value}: must be 0 or more"));
        }
        if self.max_tries == 0 {
            return Some("max_tries = 0: must be 1 or more".into());
        }
        if !(1.0..=100.0).contains(&self.prompt_margin) {
            return Some(format!(
                "prompt_margin = {}: must be between 1 and 100",
                self.prompt_margin
            ));
        }
        self.price.wrong()
    }

    /// What its requests cost, sent directly or in batches.
    pub fn rates(&self, batch: bool) -> Rates {
        Rates {
            price: self.price.clone(),
            image_tokens: self.image_tokens,
            prompt_margin: self.prompt_margin,
            batch,
        }
    }

    pub(super) fn breaker(&self) -> Settings {
        Settings {
            faults: self.breaker_faults.max(1),
            pause: seconds(self.breaker_pause_s),
            longest: seconds(self.breaker_longest_s),
        }
    }
}
