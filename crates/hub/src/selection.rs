//! Which files of a repository are fetched.
//!
//! Many repositories hold the same weights several times: as safetensors, as PyTorch files, for
//! other frameworks, in other precisions, whole beside sharded. By default one copy is fetched, with
//! what is needed to read it and the licence. `--include` replaces this default, as it does in the
//! hub's own tool.

use std::collections::HashSet;

use glob::{MatchOptions, Pattern};

use crate::listing::Listed;
use crate::{Error, RepoKind};

/// Files to take and files to leave, as indices into `files`.
///
/// A pattern's `*` also matches `/`; a pattern that ends with `/` means all below that folder.
pub(crate) fn choose(
    kind: RepoKind,
    files: &[Listed],
    include: &[String],
    exclude: &[String],
) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let include = patterns("--include", include)?;
    let exclude = patterns("--exclude", exclude)?;
    let by_default = match kind {
        RepoKind::Model => needed_by_a_model(files),
        // `.gitattributes` says how git stores the files, and nothing about the data.
        RepoKind::Dataset => files.iter().map(|f| f.path != ".gitattributes").collect(),
    };
    Ok((0..files.len()).partition(|&at| {
        let path = &files[at].path;
        let wanted = if include.is_empty() {
            by_default[at]
        } else {
            matches(&include, path)
        };
        wanted && !matches(&exclude, path)
    }))
}

fn patterns(option: &str, texts: &[String]) -> Result<Vec<Pattern>, Error> {
    let parse = |text: &String| {
        let whole = match text.strip_suffix('/') {
            Some(folder) => format!("{folder}/*"),
            None => text.clone(),
        };
        Pattern::new(&whole)
            .map_err(|e| Error::Asked(format!("{option} {text:?} is no pattern: {}", e.msg)))
    };
    texts.iter().map(parse).collect()
}

fn matches(patterns: &[Pattern], path: &str) -> bool {
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: false,
        require_literal_leading_dot: false,
    };
    patterns.iter().any(|p| p.matches_with(path, options))
}

/// The part that a file of weights plays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Role {
    /// `model`, `adapter_model`, `mm_projector`, `consolidated`.
    base: String,
    /// `fp16` of `model.fp16.safetensors`.
    variant: Option<String>,
}

/// What a file is, by its name.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Safetensors(Role),
    PyTorch(Role),
    /// The index of shards of either.
    Index {
        safetensors: bool,
        role: Role,
    },
    /// Configuration, tokenizer, template, licence.
    Beside,
    Other,
}

fn classify(path: &str) -> Class {
    if path.contains('/') {
        let template = path.starts_with("additional_chat_templates/") && path.ends_with(".jinja");
        return if template {
            Class::Beside
        } else {
            Class::Other
        };
    }
    for (safetensors, marker) in [(true, ".safetensors.index."), (false, ".bin.index.")] {
        if let Some((stem, variant)) = path.split_once(marker)
            && let Some(variant) = format!(".{variant}").strip_suffix(".json")
        {
            let role = role(&format!("{stem}{variant}"));
            return Class::Index { safetensors, role };
        }
    }
    if let Some(stem) = path.strip_suffix(".safetensors") {
        return Class::Safetensors(role(stem));
    }
    if let Some(stem) = path.strip_suffix(".bin") {
        // What training leaves to go on from, and no weights.
        let state = ["training_args", "optimizer", "scheduler", "random_states"];
        return if state.iter().any(|name| stem.starts_with(name)) {
            Class::Other
        } else {
            Class::PyTorch(role(stem))
        };
    }
    let upper = path.to_ascii_uppercase();
    let terms = ["README.MD", "LICENSE", "LICENCE", "NOTICE", "USE_POLICY"];
    let read = [".json", ".model", ".jinja", ".tiktoken"];
    let beside = terms.iter().any(|name| upper.starts_with(name))
        || matches!(path, "merges.txt" | "vocab.txt")
        || (read.iter().any(|end| path.ends_with(end)) && path != "trainer_state.json");
    if beside { Class::Beside } else { Class::Other }
}

/// Takes off `-00001-of-00003`, then splits at the first point.
fn role(stem: &str) -> Role {
    let mut name = stem.to_owned();
    if let Some(at) = stem.find("-of-") {
        let (before, after) = (&stem[..at], &stem[at + 4..]);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let count = after.bytes().take_while(u8::is_ascii_digit).count();
        if let Some((plain, number)) = before.rsplit_once('-')
            && digits(number)
            && count > 0
        {
            name = format!("{plain}{}", &after[count..]);
        }
    }
    let (base, variant) = match name.split_once('.') {
        Some((base, variant)) => (base.to_owned(), Some(variant.to_owned())),
        None => (name, None),
    };
    // The same weights have this name in PyTorch's format.
    let base = if base == "pytorch_model" {
        "model".to_owned()
    } else {
        base
    };
    Role { base, variant }
}

fn needed_by_a_model(files: &[Listed]) -> Vec<bool> {
    let classes: Vec<Class> = files.iter().map(|file| classify(&file.path)).collect();
    let mut safetensors = HashSet::new();
    let mut pytorch = HashSet::new();
    for class in &classes {
        match class {
            Class::Safetensors(role) => safetensors.insert(role.clone()),
            Class::PyTorch(role) => pytorch.insert(role.clone()),
            _ => false,
        };
    }
    let plain = |role: &Role| Role {
        base: role.base.clone(),
        variant: None,
    };
    let model = Role {
        base: "model".into(),
        variant: None,
    };
    let keep_safetensors = |role: &Role| {
        let second = role.variant.is_some() && safetensors.contains(&plain(role));
        // Mistral's own layout of the same weights.
        let own = role.base == "consolidated" && safetensors.contains(&model);
        !second && !own
    };
    let keep_pytorch = |role: &Role| {
        let second = role.variant.is_some() && pytorch.contains(&plain(role));
        let better = safetensors.iter().any(|other| other.base == role.base);
        !second && !better
    };
    let keep = |class: &Class| match class {
        Class::Safetensors(role) => keep_safetensors(role),
        Class::PyTorch(role) => keep_pytorch(role),
        Class::Index { safetensors, role } => {
            if *safetensors {
                keep_safetensors(role)
            } else {
                keep_pytorch(role)
            }
        }
        Class::Beside => true,
        Class::Other => false,
    };
    classes.iter().map(keep).collect()
}

/// Whether a file holds weights that this program reads.
pub(crate) fn is_weights(path: &str) -> bool {
    path.ends_with(".gguf") || matches!(classify(path), Class::Safetensors(_) | Class::PyTorch(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &str) -> Vec<Listed> {
        let file = |path: &str| Listed {
            path: path.to_owned(),
            size: None,
            sum: None,
        };
        paths.split_whitespace().map(file).collect()
    }

    /// The names of what is left out.
    fn left(kind: RepoKind, paths: &str, include: &[&str], exclude: &[&str]) -> String {
        let files = files(paths);
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (_, left) = choose(kind, &files, &own(include), &own(exclude)).unwrap();
        let names: Vec<&str> = left.iter().map(|&at| files[at].path.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn a_model_is_fetched_once_with_all_that_reads_it() {
        let beside = "README.md LICENSE config.json generation_config.json tokenizer.json \
            tokenizer.model tokenizer_config.json special_tokens_map.json preprocessor_config.json \
            processor_config.json chat_template.jinja added_tokens.json merges.txt vocab.json \
            additional_chat_templates/tools.jinja ";
        // Names as they stand in published repositories.
        let cases = [
            (
                "model-00001-of-00003.safetensors model-00003-of-00003.safetensors \
                 model.safetensors.index.json",
                "",
            ),
            (
                "model.safetensors pytorch_model.bin tf_model.h5 flax_model.msgpack \
                 onnx/model.onnx rust_model.ot .gitattributes",
                "pytorch_model.bin tf_model.h5 flax_model.msgpack onnx/model.onnx rust_model.ot \
                 .gitattributes",
            ),
            (
                "pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin \
                 pytorch_model.bin.index.json mm_projector.bin training_args.bin trainer_state.json",
                "training_args.bin trainer_state.json",
            ),
            (
                "model-00001-of-00002.safetensors model.safetensors.index.json \
                 pytorch_model-00001-of-00002.bin pytorch_model.bin.index.json mm_projector.bin",
                "pytorch_model-00001-of-00002.bin pytorch_model.bin.index.json",
            ),
            (
                "consolidated.safetensors model-00001-of-00003.safetensors \
                 model.safetensors.index.json params.json",
                "consolidated.safetensors",
            ),
            ("consolidated.safetensors params.json", ""),
            (
                "model.fp16.safetensors model.safetensors model.fp16-00001-of-00002.safetensors \
                 model.safetensors.index.fp16.json",
                "model.fp16.safetensors model.fp16-00001-of-00002.safetensors \
                 model.safetensors.index.fp16.json",
            ),
            ("model.fp16.safetensors", ""),
            (
                "adapter_model.bin non_lora_trainables.bin adapter_config.json",
                "",
            ),
            (
                "adapter_model.safetensors adapter_model.bin",
                "adapter_model.bin",
            ),
            (
                "original/consolidated.00.pth model.safetensors model-Q4_K_M.gguf modeling.py",
                "original/consolidated.00.pth model-Q4_K_M.gguf modeling.py",
            ),
        ];
        for (weights, out) in cases {
            let paths = format!("{beside} {weights}");
            let out: Vec<&str> = out.split_whitespace().collect();
            assert_eq!(
                left(RepoKind::Model, &paths, &[], &[]),
                out.join(" "),
                "{weights}"
            );
        }
    }

    #[test]
    fn patterns_replace_the_default_and_exclusions_come_last() {
        let paths = "config.json model.safetensors a-Q4_K_M.gguf a-Q8_0.gguf onnx/a.onnx onnx/b/c";
        let left = |include, exclude| left(RepoKind::Model, paths, include, exclude);
        assert_eq!(
            left(&["*Q4*.gguf"], &[]),
            "config.json model.safetensors a-Q8_0.gguf onnx/a.onnx onnx/b/c"
        );
        assert_eq!(left(&["*"], &["onnx/"]), "onnx/a.onnx onnx/b/c");
        assert_eq!(left(&["*"], &["onnx/*.onnx"]), "onnx/a.onnx");
        assert_eq!(
            left(&[], &["*.safetensors"]),
            "model.safetensors a-Q4_K_M.gguf a-Q8_0.gguf onnx/a.onnx onnx/b/c"
        );
        let wrong = choose(RepoKind::Model, &files("a"), &["a[".into()], &[]).unwrap_err();
        assert!(wrong.to_string().contains("--include \"a[\""), "{wrong}");
    }

    #[test]
    fn a_data_set_is_fetched_whole() {
        let paths = "README.md data/train-0.parquet images/a.png .gitattributes x.bin";
        assert_eq!(left(RepoKind::Dataset, paths, &[], &[]), ".gitattributes");
    }

    proptest::proptest! {
        #[test]
        fn no_name_makes_it_panic(path in "[a-o\\-.0-9é/]{0,30}(-of-)?[0-9a.é]{0,6}(\\.bin|\\.safetensors)?") {
            classify(&path);
        }
    }
}
