//! Compiles the CPU kernels against the libtorch that torch-sys found, and lets this package's own
//! programs and tests find it where they were linked to it.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/cpu");
    // Set by torch-sys for its direct dependents: the folder with libtorch_cpu.so.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        let lib = PathBuf::from(lib);
        // The link in the checkout may go; the copy in the user's cache stays.
        let lib = lib.canonicalize().unwrap_or(lib);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        kernels(&lib);
    }
}

fn kernels(lib: &std::path::Path) {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .warnings(false)
        .flag_if_supported("-fopenmp")
        .files(["kernels", "fused", "tree_attention"].map(|name| format!("src/cpu/{name}.cpp")));
    for include in includes(lib) {
        build.include(include);
    }
    build.compile("math_llava_kernels");
    // libtorch brings this very library, so both share one pool of threads.
    if cfg!(target_os = "linux") {
        println!("cargo:rustc-link-lib=gomp");
    }
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-lib=torch_cpu");
}

/// Where libtorch's headers are: as torch-sys looks for them.
fn includes(lib: &std::path::Path) -> Vec<PathBuf> {
    for name in ["LIBTORCH_INCLUDE", "LIBTORCH", "LIBTORCH_USE_PYTORCH"] {
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
