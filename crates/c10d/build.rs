//! Compiles the binding against the libtorch that torch-sys found, and says whether NCCL's headers are beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/cpp");
    println!("cargo:rerun-if-changed=src/binding.rs");
    println!("cargo:rustc-check-cfg=cfg(nccl)");
    // Set by torch-sys for its direct dependents: the folder with libtorch_cpu.so.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        let lib = PathBuf::from(lib);
        // The link in the checkout may go; the copy in the user's cache stays.
        let lib = lib.canonicalize().unwrap_or(lib);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        binding(&lib);
    }
}

fn binding(lib: &Path) {
    let mut build = cxx_build::bridge("src/binding.rs");
    build
        .std("c++17")
        .opt_level(2)
        .warnings(false)
        // libtorch's headers would make tens of megabytes of it.
        .debug(false)
        .define("USE_C10D_GLOO", None)
        .file("src/cpp/groups.cpp")
        // First, so that what libtorch brings no header for is found here.
        .include("src/cpp/forward");
    if let Ok(abi) = std::env::var("LIBTORCH_CXX11_ABI") {
        build.define("_GLIBCXX_USE_CXX11_ABI", abi.as_str());
    }
    for include in includes(lib) {
        build.include(include.join("torch/csrc/api/include"));
        build.include(include);
    }
    let cuda = cuda_includes(lib);
    if let Some(folders) = &cuda {
        build.define("USE_C10D_NCCL", None).define("USE_CUDA", None);
        for folder in folders {
            build.include(folder);
        }
        println!("cargo:rustc-cfg=nccl");
    }
    build.compile("math_llava_c10d");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    if cuda.is_some() {
        println!("cargo:rustc-link-lib=torch_cuda");
        println!("cargo:rustc-link-lib=c10_cuda");
    }
}

/// The folders with the headers that NCCL's process group needs, where libtorch is CUDA's and all of them are there.
/// PyTorch's wheel brings NCCL's and the runtime's in the wheels beside it; `nvidia-cuda-crt` and `nvidia-cuda-cccl`
/// have the rest, and so has a CUDA toolkit.
fn cuda_includes(lib: &Path) -> Option<Vec<PathBuf>> {
    if !lib.join("libtorch_cuda.so").exists() {
        return None;
    }
    let mut folders = Vec::new();
    if let Some(packages) = lib.parent().and_then(Path::parent) {
        let entries = std::fs::read_dir(packages.join("nvidia"));
        folders.extend(entries.into_iter().flatten().flatten().map(|e| e.path()));
        folders.sort();
    }
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
        folders.extend(std::env::var_os(name).map(PathBuf::from));
    }
    folders.push(PathBuf::from("/usr/local/cuda"));
    let includes = folders.iter().map(|folder| folder.join("include"));
    let includes: Vec<PathBuf> = includes
        .flat_map(|folder| [folder.join("cccl"), folder])
        .filter(|folder| folder.is_dir())
        .collect();
    let has = |name: &&str| includes.iter().any(|folder| folder.join(name).exists());
    let needed = [
        "nccl.h",
        "cuda_runtime_api.h",
        "crt/host_config.h",
        "nv/target",
    ];
    let missing: Vec<&str> = needed.into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Some(includes);
    }
    println!(
        "cargo:warning=c10d is built without NCCL: no header {} found",
        missing.join(", ")
    );
    None
}

/// Where libtorch's headers are: as torch-sys looks for them.
fn includes(lib: &Path) -> Vec<PathBuf> {
    for name in [
        "LIBTORCH_INCLUDE",
        "LIBTORCH",
        "LIBTORCH_USE_PYTORCH",
        "LIBTORCH_CXX11_ABI",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if let Ok(include) = std::env::var("LIBTORCH_INCLUDE") {
        return vec![PathBuf::from(include).join("include")];
    }
    // In a wheel and in an unpacked libtorch alike, `include` stands beside `lib`.
    let beside = lib.with_file_name("include");
    if beside.is_dir() {
        return vec![beside];
    }
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let code =
        "from torch.utils import cpp_extension; print(*cpp_extension.include_paths(), sep='\\n')";
    let printed = Command::new(python).args(["-c", code]).output();
    let text = printed.map(|p| String::from_utf8_lossy(&p.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect()
}
