//! The studio's pages in a real browser: finds Chromium, installs what drives it, serves, looks, ends.
//!
//! The scripts are in `crates/studio/tests/browser`. npm's packages go into the per-user cache, so the
//! checkout stays as it is; screenshots are left for people to look at.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{libtorch, run};

/// What is installed, and says which versions.
const PACKAGES: [&str; 2] = ["package.json", "package-lock.json"];
/// Tests that need no server.
const UNITS: &str = "units.test.mjs";
/// Names that Chromium goes by.
const CHROMIUMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Where things are for the tests.
pub struct Plan<'a> {
    /// The checkout.
    pub root: &'a Path,
    /// The servers that are tried, each with its tests. They say their address on standard output.
    pub servers: Vec<(Command, &'static [&'static str])>,
    /// Where screenshots go.
    pub out: &'a Path,
}

/// All pages, and the chat with models that follow a script.
pub const ALL: &[&str] = &["pages.test.mjs", "data.test.mjs", "chat.test.mjs"];
/// The chat alone, for a server with a trained model.
pub const CHAT: &[&str] = &["chat.test.mjs"];

/// Runs all tests in the browser.
///
/// # Errors
/// What is missing and how to get it, or that a test failed.
pub fn test(plan: Plan<'_>) -> Result<()> {
    let scripts = plan.root.join("crates/studio/tests/browser");
    let chromium = chromium()?;
    let modules = modules(&scripts)?;
    run(&mut node(&scripts, &[UNITS]))?;
    for (at, (command, tests)) in plan.servers.into_iter().enumerate() {
        let server = Server::start(command)?;
        let out = plan.out.join(at.to_string());
        println!("screenshots: {}", out.display());
        run(node(&scripts, tests)
            .env("ADDRESS", &server.address)
            .env("CHROMIUM", &chromium)
            .env("MODULES", &modules)
            .env("OUT", &out))?;
    }
    Ok(())
}

/// `node --test` of these files.
fn node(scripts: &Path, files: &[&str]) -> Command {
    let mut node = Command::new("node");
    // Several browsers at once would make each other slow.
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1"]);
    node.args(files.iter().map(|file| scripts.join(file)));
    node
}

/// A server that ends with this.
struct Server {
    child: Child,
    address: String,
    /// Open, so that it may say more.
    _said: BufReader<ChildStdout>,
}

impl Server {
    fn start(mut command: Command) -> Result<Server> {
        let shown = crate::shown(&command);
        println!("$ {shown}");
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        let mut said = BufReader::new(child.stdout.take().context("the server has no output")?);
        let mut address = None;
        // It says where it listens, or ends.
        for line in said.by_ref().lines() {
            let line = line.context("cannot read what the server says")?;
            let words = line.split_whitespace();
            address = words
                .map(|word| word.trim_end_matches(['/', '.', ',']))
                .find(|word| word.starts_with("http://"))
                .map(|word| word.trim_end_matches("/v1").to_owned());
            if address.is_some() {
                break;
            }
        }
        let mut server = Server {
            child,
            address: String::new(),
            _said: said,
        };
        match address {
            Some(address) => server.address = address,
            None => bail!("`{shown}` ended without an address"),
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without effect where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chromium's program: `CHROMIUM`, or the first on the path; on a Debian machine it is installed.
fn chromium() -> Result<PathBuf> {
    if let Some(own) = std::env::var_os("CHROMIUM").filter(|own| !own.is_empty()) {
        return Ok(own.into());
    }
    if let Some(found) = on_path(&CHROMIUMS) {
        return Ok(found);
    }
    if on_path(&["apt-get"]).is_some() {
        run(Command::new("apt-get").arg("update"))?;
        run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", "chromium"]))
            .context("apt-get could not install chromium: install it, or set CHROMIUM to a Chromium or Chrome")?;
    }
    on_path(&CHROMIUMS)
        .context("there is no Chromium here: install one, or set CHROMIUM to its program")
}

/// The first of these programs that the path has.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// The folder with npm's packages, installed anew when their versions change.
fn modules(scripts: &Path) -> Result<PathBuf> {
    if on_path(&["node"]).is_none() || on_path(&["npm"]).is_none() {
        bail!("the browser is driven by Node 20 or newer with npm: install both");
    }
    let folder = libtorch::cache()?.join("browser");
    let same = PACKAGES.iter().all(|name| {
        let ours = fs::read(scripts.join(name)).ok();
        ours.is_some() && ours == fs::read(folder.join(name)).ok()
    });
    if same && folder.join("node_modules/playwright-core").is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in PACKAGES {
        fs::copy(scripts.join(name), folder.join(name))
            .with_context(|| format!("cannot copy {name} to {}", folder.display()))?;
    }
    // Chromium is the system's: nothing is fetched beside the packages.
    run(Command::new("npm")
        .arg("ci")
        .arg("--ignore-scripts")
        .arg("--prefix")
        .arg(&folder))
    .context("npm could not install what drives the browser")?;
    Ok(folder)
}
