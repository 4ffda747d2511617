//! The studio and the API on one address, with models that follow a script: for looking at pages and for
//! their tests in a browser, where no model is at hand.
//!
//! ```sh
//! cargo run --release -p studio --example preview -- RUNS [PORT]
//! ```
//!
//! The address is the first line on standard output; it serves until it is ended.

// A program that somebody starts in a terminal, and whose address a test reads.
#![allow(clippy::print_stdout)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serve::api::{Api, ApiLimits, Served};
use serve::guard::{Guard, guarded};
use serve::scripted::{Faults, Heard, ScriptedEngine, ScriptedModel};
use serve::{Metrics, Schedule, ScheduleLimits, Server, ServerLimits};
use studio::{Studio, StudioOptions};

/// What is said to a question with an image: all that a page must be able to show.
const WORKED: &str = r"The figure is a *right triangle*, so its area is **half the product** of its legs:

$$A = \frac{1}{2} \cdot 6 \cdot 4 = 12$$

1. Each square costs $5, two of them \$10, which is no maths.
2. With \(x\) squares it is $5x \text{ dollars}$, and `$x$` in code stays.

```python
area = 6 * 4 / 2  # '$' is text here
```

Answer: 12";

/// Models by name, and how long each of their steps takes.
const MODELS: [(&str, u64); 2] = [("scripted", 15), ("scripted-slow", 60)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let runs = arguments.next().map(PathBuf::from);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(preview(runs, port))
}

async fn preview(runs: Option<PathBuf>, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Arc::new(Metrics::default());
    let api = Api {
        models: MODELS
            .iter()
            .map(|(id, step)| scripted(id, Duration::from_millis(*step), &metrics))
            .collect(),
        fetcher: None,
        limits: ApiLimits::default(),
        metrics,
    };
    let studio = Studio::open(StudioOptions {
        runs,
        models: MODELS.iter().map(|(id, _)| (*id).to_owned()).collect(),
    })?;
    let guard = Guard {
        max_body: 64 << 20,
        ..Guard::default()
    };
    let router = studio::router(Arc::new(studio)).merge(serve::api::router(Arc::new(api)));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = Server::bind(address, ServerLimits::default()).await?;
    println!("http://{}", server.address());
    server
        .serve(guarded(router, Arc::new(guard)), std::future::pending())
        .await;
    Ok(())
}

fn scripted(id: &str, step_time: Duration, metrics: &Arc<Metrics>) -> Served {
    let model = Arc::new(ScriptedModel::new(id, answer));
    let body = move |mut driver: serve::Driver<_>| {
        let faults = Faults {
            step_time,
            ..Faults::default()
        };
        // A scripted engine breaks only where it is told to.
        let _ = driver.drive(&mut ScriptedEngine::new(faults));
    };
    let limits = ScheduleLimits::default();
    Served::Own(Schedule::start(model, limits, metrics.clone(), body))
}

fn answer(heard: &Heard) -> String {
    if heard.images > 0 {
        WORKED.to_owned()
    } else {
        heard.text.clone()
    }
}
