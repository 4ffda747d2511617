//! The whole HTTP stack over an engine without a model: what clients, pages and load generators are tried
//! against where no model is at hand.
//!
//! `cargo run --release -p serve --example scripted_server -- 8000 [KEY]` answers each conversation with its last
//! message.

use std::sync::Arc;

use serve::api::{Api, ApiLimits, Served, router};
use serve::guard::{Guard, guarded};
use serve::scripted::{Faults, ScriptedEngine, ScriptedModel};
use serve::{Metrics, Schedule, ScheduleLimits, Server, ServerLimits};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap_or_default().parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let metrics = Arc::<Metrics>::default();
        let schedule = Schedule::start(
            Arc::new(ScriptedModel::echo("echo")),
            ScheduleLimits::default(),
            metrics.clone(),
            |mut driver| {
                let _ = driver.drive(&mut ScriptedEngine::new(Faults::default()));
            },
        );
        let api = Api {
            models: vec![Served::Own(schedule)],
            fetcher: None,
            limits: ApiLimits::default(),
            metrics,
        };
        let guard = Guard {
            keys: arguments.collect(),
            hosts: Vec::new(),
            max_body: 64 << 20,
        };
        let router = guarded(router(Arc::new(api)), Arc::new(guard));
        let address = ([127, 0, 0, 1], port).into();
        let server = Server::bind(address, ServerLimits::default()).await?;
        eprintln!("http://{}", server.address());
        server.serve(router, std::future::pending()).await;
        Ok(())
    })
}
