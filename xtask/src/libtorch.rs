//! Sets libtorch up: fetched once with pip into a per-user cache, linked into the checkout.
//!
//! PyTorch's wheel carries all of libtorch, but 2 GB of it is CUDA. A CPU build needs the headers,
//! five libraries, and a `libtorch.so` that links to `libtorch_cpu.so` alone, which is made here.
//! Only the libraries are used: no Python runs afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The wheels, pinned. torch 2.11.0 asks for the CUDA toolkit 13.0.2, of which `libtorch_cpu.so`
/// needs these two libraries to load even where there is no GPU.
const WHEELS: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
const VERSION: &str = "libtorch-2.11.0-cpu";
const LIBRARIES: [&str; 5] = [
    "libc10.so",
    "libtorch_cpu.so",
    "libgomp.so.1",
    "libcudart.so.13",
    "libcupti.so.13",
];

/// Unpacks the needed members of a wheel: headers, and the named libraries.
const UNPACK: &str = r"
import os, shutil, sys, zipfile
out, wheels, names = sys.argv[1], sys.argv[2].split(os.pathsep), set(sys.argv[3].split(','))
for wheel in wheels:
    with zipfile.ZipFile(wheel) as z:
        for member in z.namelist():
            base = os.path.basename(member)
            if member.startswith('torch/include/') and base:
                to = os.path.join(out, member[len('torch/'):])
            elif base in names:
                to = os.path.join(out, 'lib', base)
            else:
                continue
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with z.open(member) as f, open(to, 'wb') as g:
                shutil.copyfileobj(f, g, 1 << 20)
";

/// What to do where fetching is not possible.
const OTHERWISE: &str = "\
libtorch could not be set up by itself. Any one of these helps:
  * make `python3 -m pip download torch==2.11.0` work (network, proxy, pip's index settings, about
    1.5 GB of free disk), then run this again;
  * unpack a libtorch 2.11.0 yourself and set LIBTORCH to its folder (with include/ and lib/);
  * install PyTorch 2.11 and set LIBTORCH_USE_PYTORCH=1.";

/// The libtorch folder that builds will use, fetched if it is not there yet.
pub fn set_up(root: &Path) -> Result<PathBuf> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        println!("libtorch: the installed PyTorch's (LIBTORCH_USE_PYTORCH is set)");
        return Ok(PathBuf::new());
    }
    let link = root.join(".libtorch");
    if let Some(own) = std::env::var_os("LIBTORCH").map(PathBuf::from)
        && own != link
    {
        if !own.join("lib").is_dir() {
            bail!(
                "LIBTORCH={} has no lib folder: it must be an unpacked libtorch",
                own.display()
            );
        }
        println!("libtorch: {} (LIBTORCH is set)", own.display());
        return Ok(own);
    }
    let folder = cache()?.join(VERSION);
    if !complete(&folder) {
        fetch(&folder).map_err(|cause| anyhow::anyhow!("{cause:#}\n\n{OTHERWISE}"))?;
    }
    if fs::read_link(&link).ok().as_deref() != Some(&folder) {
        match fs::symlink_metadata(&link) {
            Ok(meta) if meta.file_type().is_symlink() => fs::remove_file(&link)?,
            Ok(_) => bail!("{} is in the way: move it aside", link.display()),
            Err(_) => {}
        }
        symlink(&folder, &link).with_context(|| format!("cannot write {}", link.display()))?;
    }
    Ok(folder)
}

/// The per-user cache folder.
pub fn cache() -> Result<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(own) = from("MATH_LLAVA_CACHE") {
        return Ok(own);
    }
    let base = match from("XDG_CACHE_HOME") {
        Some(dir) => dir,
        None => from("HOME")
            .context("neither HOME nor MATH_LLAVA_CACHE is set: where should libtorch go?")?
            .join(".cache"),
    };
    Ok(base.join("math-llava"))
}

fn complete(folder: &Path) -> bool {
    folder.join("include").is_dir()
        && folder.join("lib/libtorch.so").is_file()
        && LIBRARIES
            .iter()
            .all(|name| folder.join("lib").join(name).is_file())
}

fn fetch(folder: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("only Linux on x86-64 is set up automatically");
    }
    let parent = folder.parent().context("the cache folder has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    // Two set-ups at once each work in their own folder; the first to finish wins.
    let work = parent.join(format!("{VERSION}.{}.tmp", std::process::id()));
    let outcome = fetch_into(&work).and_then(|()| {
        let made = work.join("libtorch");
        if folder.exists() && !complete(folder) {
            fs::remove_dir_all(folder)?;
        }
        match fs::rename(&made, folder) {
            Ok(()) => Ok(()),
            Err(_) if complete(folder) => Ok(()),
            Err(e) => Err(e).with_context(|| format!("cannot write {}", folder.display())),
        }
    });
    let _ = fs::remove_dir_all(&work);
    outcome
}

fn fetch_into(work: &Path) -> Result<()> {
    let wheels = work.join("wheels");
    fs::create_dir_all(&wheels).with_context(|| format!("cannot make {}", wheels.display()))?;
    println!("libtorch: fetching with pip (0.5 GB, once per user) ...");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
    ]);
    // pip matches a platform's number exactly: each wheel has one of these.
    for platform in [
        "manylinux_2_28",
        "manylinux_2_25",
        "manylinux_2_17",
        "manylinux2014",
    ] {
        pip.arg("--platform").arg(format!("{platform}_x86_64"));
    }
    pip.args([
        "--python-version",
        "3.12",
        "--implementation",
        "cp",
        "--dest",
    ])
    .arg(&wheels);
    crate::run(pip.args(WHEELS)).context("fetching the wheels failed")?;

    let found: Vec<String> = fs::read_dir(&wheels)?
        .filter_map(|entry| entry.ok().map(|e| e.path().to_string_lossy().into_owned()))
        .collect();
    let made = work.join("libtorch");
    println!("libtorch: unpacking ...");
    let status = Command::new("python3")
        .args(["-c", UNPACK])
        .arg(&made)
        .arg(found.join(":"))
        .arg(LIBRARIES.join(","))
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("unpacking the wheels failed");
    }
    let source = work.join("anchor.c");
    // A library needs one symbol of its own; torch-sys links against the name libtorch.so.
    fs::write(&source, "void math_llava_libtorch_anchor(void) {}\n")?;
    let lib = made.join("lib");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-o"])
        .arg(lib.join("libtorch.so"))
        .arg(&source)
        .args([
            "-Wl,--no-as-needed",
            "-Wl,--allow-shlib-undefined",
            "-Wl,-rpath,$ORIGIN",
        ])
        .arg("-L")
        .arg(&lib)
        .args(["-ltorch_cpu", "-lc10"])
        .status()
        .with_context(|| format!("cannot start the C compiler `{compiler}` (set CC)"))?;
    if !status.success() {
        bail!("linking libtorch.so with `{compiler}` failed");
    }
    if !complete(&made) {
        bail!("the wheels lack some of {LIBRARIES:?}");
    }
    Ok(())
}
