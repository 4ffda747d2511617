//! The studio's pages in a real browser: finds Chromium, installs what drives it, serves, looks, ends.
//!
//! The scripts are in `crates/studio/tests/browser`. npm's packages go into the per-user cache, so the
//! checkout stays as it is; screenshots are left for people to look at.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{libtorch, run};

/// What is installed, and says which versions.
const PACKAGES: [&str; 2] = ["package.json", "package-lock.json"];
/// Tests that need no server.
const UNITS: &str = "units.test.mjs";
/// Tests of the pages that a server shows.
const PAGES: [&str; 3] = ["pages.test.mjs", "data.test.mjs", "chat.test.mjs"];
/// Names that Chromium goes by.
const CHROMIUMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Where things are for the tests.
pub struct Plan<'a> {
    /// The checkout.
    pub root: &'a Path,
    /// A program that serves the studio: its arguments end with the folder of runs and a port, and it says
    /// its address in its first line.
    pub server: &'a Path,
    /// The folder of runs that is shown.
    pub runs: &'a Path,
    /// Where screenshots go.
    pub out: &'a Path,
}

/// Runs all tests in the browser.
///
/// # Errors
/// What is missing and how to get it, or that a test failed.
pub fn test(plan: &Plan<'_>) -> Result<()> {
    let scripts = plan.root.join("crates/studio/tests/browser");
    let chromium = chromium()?;
    let modules = modules(&scripts)?;
    run(&mut node(&scripts, &[UNITS]))?;

    let mut server = Server::start(plan.server, plan.runs)?;
    let outcome = run(node(&scripts, &PAGES)
        .env("ADDRESS", &server.address)
        .env("CHROMIUM", chromium)
        .env("MODULES", modules)
        .env("OUT", plan.out));
    server.stop();
    println!("screenshots: {}", plan.out.display());
    outcome
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
}

impl Server {
    fn start(program: &Path, runs: &Path) -> Result<Server> {
        let mut child = Command::new(program)
            .arg(runs)
            .arg("0")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut address = String::new();
        let out = child.stdout.take().context("the server has no output")?;
        BufReader::new(out).read_line(&mut address)?;
        let address = address.trim().to_owned();
        let mut server = Server { child, address };
        if !server.address.starts_with("http://") {
            server.stop();
            bail!("{} ended without an address", program.display());
        }
        Ok(server)
    }

    fn stop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
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
