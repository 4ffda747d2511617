//! Serves a folder as a hub, to try `pull` (or any Hugging Face tool) without a network.
//!
//! ```text
//! mkdir -p hub/me/tiny && cp config.json model.safetensors hub/me/tiny/
//! cargo run --release -p hub --example hub_server -- hub 127.0.0.1:8080
//! HF_ENDPOINT=http://127.0.0.1:8080 math-llava pull me/tiny
//! HF_ENDPOINT=http://127.0.0.1:8080 hf download me/tiny
//! ```
//! Data sets lie in `hub/datasets/me/name`. With `HUB_SERVER_FAULT=cut`, every answer of the
//! store breaks off half a megabyte in; with `slow`, it sends 64 kB every tenth of a second.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/server/mod.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use server::{Fault, Server};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), address) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: hub_server FOLDER [ADDRESS:PORT]");
        std::process::exit(2);
    };
    let address = address.unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let server = Server::at(Path::new(&root), &address);
    match std::env::var("HUB_SERVER_FAULT").as_deref() {
        Ok("cut") => server.fault("signature=", Fault::Cut(500_000), usize::MAX),
        Ok("slow") => {
            let pause = Duration::from_millis(100);
            server.fault("signature=", Fault::Slow(64 << 10, pause), usize::MAX);
        }
        _ => {}
    }
    println!("serving {root}; set HF_ENDPOINT={}", server.endpoint);
    let mut seen = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let asked = server.asked();
        for one in &asked[seen..] {
            let range = one.range.as_deref().unwrap_or_default();
            println!("{} {} {} {range}", one.who, one.method, one.path);
        }
        seen = asked.len();
    }
}
