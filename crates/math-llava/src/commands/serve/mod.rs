//! `math-llava serve`: models over HTTP, and the studio beside them.

mod listen;
#[cfg(feature = "torch")]
mod own;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chat::fetch::{FetchConfig, Fetcher};
use chat::relay::{Upstream, UpstreamConfig};
use sample::interrupt;
use serve::api::{Api, ApiLimits, Served, router};
use serve::{Metrics, Schedule, ScheduleLimits};
use studio::{Studio, StudioOptions};

pub use listen::listen;

use crate::args::Serve;

/// Serves until a stop is asked for.
pub fn run(arguments: &Serve) -> Result<bool> {
    let metrics = Arc::new(Metrics::default());
    let mut models = own(arguments, &metrics)?;
    // From here on a stop is the server's business; one that came while models were loaded is heeded first.
    interrupt::check()?;
    interrupt::hold();
    for upstream in &arguments.upstream {
        models.push(Served::Upstream(Upstream::new(upstream_config(upstream)?)?));
    }
    let names: Vec<String> = models.iter().map(|model| model.id().to_owned()).collect();
    if let Some(twice) = (1..names.len()).find(|&n| names[..n].contains(&names[n])) {
        bail!(
            "two models are called {:?}: give them names, --model NAME=DIR",
            names[twice]
        );
    }
    let fetcher = match arguments.allow_remote_images {
        true => Some(Fetcher::new(FetchConfig {
            allow_hosts: arguments.allow_image_host.clone(),
            ..FetchConfig::default()
        })?),
        false => None,
    };
    let mut pages = None;
    if arguments.runs.is_some() {
        let studio = Studio::open(StudioOptions {
            runs: arguments.runs.clone(),
            models: names,
        })?;
        pages = Some(studio::router(Arc::new(studio)));
    }
    let api = Arc::new(Api {
        models,
        fetcher,
        limits: ApiLimits::default(),
        metrics,
    });
    let mut routes = router(Arc::clone(&api));
    if let Some(pages) = pages {
        routes = routes.merge(pages);
    }
    runtime()?.block_on(async {
        let stop = Arc::clone(&api);
        listen(&arguments.listen, routes, move || {
            for schedule in schedules(&stop) {
                schedule.stop();
            }
        })
        .await?;
        // Requests whose connections were closed at the end of the grace are given up, not waited for.
        for schedule in schedules(&api) {
            schedule.stop();
            let _ = tokio::time::timeout(LAST_STEP, schedule.stopped()).await;
        }
        Ok(true)
    })
}

/// For an engine to see that nobody listens any more.
const LAST_STEP: Duration = Duration::from_secs(5);

fn schedules(api: &Api) -> impl Iterator<Item = &Schedule> {
    api.models.iter().filter_map(|served| match served {
        Served::Own(schedule) => Some(schedule),
        Served::Upstream(_) => None,
    })
}

/// What runs handlers; models and tables have threads of their own.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start the threads that answer requests")
}

/// The own models of the command line, loaded.
#[cfg(feature = "torch")]
fn own(arguments: &Serve, metrics: &Arc<Metrics>) -> Result<Vec<Served>> {
    if arguments.adapter.is_some() && arguments.models.len() != 1 {
        bail!("--adapter goes with one --model; merge it into the others: math-llava convert");
    }
    arguments
        .models
        .iter()
        .map(|model| own::start(arguments, model, metrics).map(Served::Own))
        .collect()
}

#[cfg(not(feature = "torch"))]
fn own(arguments: &Serve, _: &Arc<Metrics>) -> Result<Vec<Served>> {
    match arguments.models.first() {
        None => Ok(Vec::new()),
        Some(model) => bail!(
            "this build has no libtorch and cannot run {model}: build it with the feature torch, or name a \
             server that can with --upstream"
        ),
    }
}

/// How much a schedule takes on.
#[cfg_attr(not(feature = "torch"), allow(dead_code))]
fn schedule_limits(arguments: &Serve) -> ScheduleLimits {
    ScheduleLimits {
        slots: arguments.parallel.max(1),
        queue: arguments.queue.max(1),
        queue_per_client: arguments.queue.max(1),
        request_time: Duration::from_secs(arguments.request_time.max(1)),
        ..ScheduleLimits::default()
    }
}

/// `NAME=URL[,MODEL[,KEY_VARIABLE]]`.
fn upstream_config(text: &str) -> Result<UpstreamConfig> {
    let wrong =
        || format!("--upstream {text:?}: write NAME=URL, as in big=http://gpu-host:8000/v1");
    let (name, rest) = text.split_once('=').with_context(wrong)?;
    let mut parts = rest.split(',').map(str::trim);
    let url = parts
        .next()
        .filter(|url| !url.is_empty())
        .with_context(wrong)?;
    let upstream_model = parts.next().filter(|model| !model.is_empty());
    let key_env = parts.next().filter(|key| !key.is_empty());
    if name.is_empty() || parts.next().is_some() {
        bail!("{}", wrong());
    }
    Ok(UpstreamConfig {
        model: name.to_owned(),
        upstream_model: upstream_model.unwrap_or(name).to_owned(),
        url: url.to_owned(),
        key_env: key_env.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_name_and_an_address() {
        let config = upstream_config("big=http://host:8000/v1").unwrap();
        assert_eq!(config.model, "big");
        assert_eq!(config.upstream_model, "big");
        assert_eq!(config.key_env, None);
        let config = upstream_config("a=https://h/v1?x=1, org/model ,KEY").unwrap();
        assert_eq!(config.url, "https://h/v1?x=1");
        assert_eq!(config.upstream_model, "org/model");
        assert_eq!(config.key_env.as_deref(), Some("KEY"));
        for wrong in ["", "http://host", "=http://host", "a=", "a=u,b,c,d"] {
            assert!(upstream_config(wrong).is_err(), "{wrong}");
        }
    }
}
