//! `math-llava serve`: models over HTTP, and the studio beside them.

mod listen;
#[cfg(feature = "torch")]
mod own;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chat::fetch::{FetchConfig, Fetcher};
use chat::relay::{Upstream, UpstreamConfig};
use sample::interrupt;
use serve::api::{Api, ApiLimits, Served, router};
use serve::{Metrics, Schedule, ScheduleLimits};
use studio::{Studio, StudioOptions};

pub use listen::open;

use crate::args::Serve;

/// Serves until a stop is asked for.
pub fn run(arguments: &Serve) -> Result<bool> {
    // All that can be wrong with what was typed is said before models are loaded.
    let upstreams = upstreams(arguments)?;
    let fetcher = match arguments.allow_remote_images {
        true => Some(Fetcher::new(FetchConfig {
            allow_hosts: arguments.allow_image_host.clone(),
            ..FetchConfig::default()
        })?),
        false => None,
    };
    check_names(arguments, &upstreams)?;
    let runtime = runtime()?;
    let door = runtime.block_on(open(&arguments.listen))?;
    let metrics = Arc::new(Metrics::default());
    let mut models = own(arguments, &metrics)?;
    models.extend(upstreams.into_iter().map(Served::Upstream));
    // From here on a stop is the server's business; one that came while models were loaded is heeded first.
    interrupt::check()?;
    interrupt::hold();
    let names = models.iter().map(|model| model.id().to_owned()).collect();
    let pages = match &arguments.runs {
        None => None,
        Some(runs) => Some(Studio::open(StudioOptions {
            runs: Some(runs.clone()),
            models: names,
        })?),
    };
    let api = Arc::new(Api {
        models,
        fetcher,
        limits: ApiLimits::default(),
        metrics,
    });
    let mut routes = router(Arc::clone(&api));
    if let Some(pages) = pages {
        routes = routes.merge(studio::router(Arc::new(pages)));
    }
    runtime.block_on(async {
        let stop = Arc::clone(&api);
        let stopping = move || schedules(&stop).for_each(Schedule::stop);
        door.serve(routes, stopping).await;
        // Requests whose connections were closed at the end of the grace are given up, not waited for.
        for schedule in schedules(&api) {
            schedule.stop();
            let _ = tokio::time::timeout(LAST_STEP, schedule.stopped()).await;
        }
        Ok(true)
    })
}

/// The servers of `--upstream`.
fn upstreams(arguments: &Serve) -> Result<Vec<Upstream>> {
    let mut upstreams = Vec::new();
    for text in &arguments.upstream {
        let upstream = Upstream::new(upstream_config(text)?);
        upstreams.push(upstream.with_context(|| format!("--upstream {text:?}"))?);
    }
    Ok(upstreams)
}

/// Refuses two models of one name, and a cache of no size.
fn check_names(arguments: &Serve, upstreams: &[Upstream]) -> Result<()> {
    if arguments
        .cache
        .is_some_and(|gib| !gib.is_finite() || gib <= 0.0)
    {
        bail!("--cache: give the GiB that keys and values may take, more than 0");
    }
    let mut names = Vec::new();
    for model in &arguments.models {
        names.push(named(model)?.0);
    }
    names.extend(upstreams.iter().map(|upstream| upstream.model().to_owned()));
    match (1..names.len()).find(|&n| names[..n].contains(&names[n])) {
        Some(twice) => bail!(
            "two models are called {:?}: give them names, --model NAME=DIR",
            names[twice]
        ),
        None => Ok(()),
    }
}

/// `[NAME=]DIR`: the name that clients give, and the folder or file.
fn named(text: &str) -> Result<(String, PathBuf)> {
    if let Some((name, folder)) = text.split_once('=')
        && !name.is_empty()
        && !Path::new(text).exists()
    {
        return Ok((name.to_owned(), folder.into()));
    }
    let folder = PathBuf::from(text);
    let whole = folder
        .canonicalize()
        .with_context(|| format!("--model {text}"))?;
    let mut names = whole.iter().rev().map(|name| name.to_string_lossy());
    // What a training of a run left is called as its run.
    let last = names.next().unwrap_or_default();
    let name = match (last.as_ref(), names.next().as_deref(), names.next()) {
        ("model", Some("train"), Some(run)) if run != "/" => run.into_owned(),
        _ => last.trim_end_matches(".gguf").to_owned(),
    };
    Ok((name, folder))
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
    fn a_model_is_called_as_its_run_or_its_folder_or_as_the_user_says() {
        let root = tempfile::tempdir().unwrap();
        let of = |folder: &str| {
            let path = root.path().join(folder);
            std::fs::create_dir_all(&path).unwrap();
            named(&path.display().to_string()).unwrap().0
        };
        assert_eq!(of("runs/tiny/train/model"), "tiny");
        assert_eq!(of("llava-1.5-7b-hf"), "llava-1.5-7b-hf");
        assert_eq!(of("train/other"), "other");
        assert_eq!(of("a=b"), "a=b");
        let (name, folder) = named("small=some/where").unwrap();
        assert_eq!((name.as_str(), folder), ("small", "some/where".into()));
        assert!(named("no/where").is_err());
    }

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
