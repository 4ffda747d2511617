//! Lets this package's own programs and tests find libtorch where they were linked to it.

fn main() {
    // Set by torch-sys for its direct dependents: the folder with libtorch_cpu.so.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        let lib = std::path::PathBuf::from(lib);
        // The link in the checkout may go; the copy in the user's cache stays.
        let lib = lib.canonicalize().unwrap_or(lib);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
