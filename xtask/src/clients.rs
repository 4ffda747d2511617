//! Has OpenAI's own clients, for Python and for Node, speak to the built server.
//!
//! They and their dependencies are pinned in `crates/math-llava/tests/clients/` and installed into the per-user
//! cache. The model is the random one of the tests: what it says means nothing, the form is what is checked.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{libtorch, root, run, target};

/// The name that the server gives the model.
const MODEL: &str = "tiny";
/// The key that the server wants.
const KEY: &str = "key-of-the-client-checks";
/// For the server to end what it is doing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks both clients, and that the server ends well when it is told to.
pub fn check() -> Result<()> {
    let scripts = root().join("crates/math-llava/tests/clients");
    let mut python = Command::new(python(&scripts)?);
    python.arg("-B").arg(scripts.join("check.py"));
    let mut node = Command::new("node");
    node.arg(node_script(&scripts)?);

    let server = Server::start()?;
    let mut failed = Vec::new();
    for client in [&mut python, &mut node] {
        if let Err(error) = run(client.args([server.url.as_str(), MODEL, KEY])) {
            failed.push(format!("{error:#}"));
        }
    }
    let ended = server.stop()?;
    if !ended.success() {
        failed.push(format!("the server did not end well on SIGTERM ({ended})"));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    println!("clients: all checks hold, and the server ended well");
    Ok(())
}

/// The Python of an environment with the pinned packages.
fn python(scripts: &Path) -> Result<PathBuf> {
    let folder = libtorch::cache()?.join("clients/python");
    let python = folder.join("bin/python");
    let pinned = scripts.join("requirements.txt");
    installed(&folder, &pinned, || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&pinned))
    })?;
    Ok(python)
}

/// The script for Node, which finds packages beside itself only.
fn node_script(scripts: &Path) -> Result<PathBuf> {
    let folder = libtorch::cache()?.join("clients/node");
    let lock = scripts.join("package-lock.json");
    installed(&folder, &lock, || {
        fs::create_dir_all(&folder)?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(scripts.join(name), folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        run(npm
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--prefix",
            ])
            .arg(&folder))
    })?;
    let script = folder.join("check.mjs");
    fs::copy(scripts.join("check.mjs"), &script)?;
    Ok(script)
}

/// Installs what the file `pinned` says into `folder`, unless it is there.
fn installed(folder: &Path, pinned: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = fs::read(pinned).with_context(|| format!("cannot read {}", pinned.display()))?;
    let done = folder.join("installed");
    if fs::read(&done).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))
}

/// The server; it ends with the value.
struct Server {
    child: Child,
    /// Of its API.
    url: String,
    /// Open, so that it may say more.
    said: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Result<Server> {
        let program = target().join("release/math-llava");
        if !program.is_file() {
            bail!(
                "{} is not built; run `cargo build --release` first",
                program.display()
            );
        }
        let model = root().join("crates/model/tests/golden/grouped");
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--model")
            .arg(format!("{MODEL}={}", model.display()))
            // Few places, so that a crowd is told to wait.
            .args([
                "--device",
                "cpu",
                "--dtype",
                "f32",
                "--parallel",
                "4",
                "--queue",
                "8",
            ])
            .args(["--port", "0", "--quiet"])
            .env("MATH_LLAVA_KEYS", KEY)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let said = child.stdout.take().context("the server has no output")?;
        let mut server = Server {
            child,
            url: String::new(),
            said: BufReader::new(said),
        };
        // It says where it listens, or ends.
        for line in server.said.by_ref().lines() {
            let line = line.context("cannot read what the server says")?;
            let address = line
                .split_whitespace()
                .find(|word| word.starts_with("http://"));
            if let Some(address) = address {
                server.url = format!(
                    "{}/v1",
                    address
                        .trim_end_matches(['/', '.', ','])
                        .trim_end_matches("/v1")
                );
                return Ok(server);
            }
        }
        bail!("the server said no address before it ended")
    }

    /// Asks it to end, and waits.
    fn stop(mut self) -> Result<ExitStatus> {
        let id = self.child.id().to_string();
        run(Command::new("kill").args(["-TERM", id.as_str()]))?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the server goes on after SIGTERM")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without effect where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
