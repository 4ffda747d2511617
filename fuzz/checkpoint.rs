//! A checkpoint whose weight files have any content.

/// A decoder so small that its weights are made up where the files lack them.
const CONFIG: &str = r#"{
    "model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 16, "max_position_embeddings": 32
}"#;

/// Opens, plans and loads a folder with these files; only errors may come of it.
pub fn checkpoint(files: &[(&str, &[u8])]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a writable folder");
    };
    write("config.json", CONFIG.as_bytes());
    for (name, bytes) in files {
        write(name, bytes);
    }
    let checkpoint = model::Checkpoint::open(folder.path()).expect("a valid configuration");
    let _ = checkpoint.plan();
    sample::progress::set_quiet(true);
    let _ = checkpoint.load(&model::LoadOptions {
        seed: Some(0),
        ..model::LoadOptions::default()
    });
}
