//! The verbs that fetch, convert and ask models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `math-llava convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
MODEL is a Hugging Face folder (LLaVA's, or of a LLaMA, Mistral or Qwen2 decoder; safetensors or
PyTorch's .bin), a folder of the original LLaVA code, or a GGUF file. What it held is printed:
tensors applied, missing, unused, not finite.

Examples:
  math-llava convert liuhaotian/llava-v1.5-7b llava-1.5-7b-hf --dtype bf16
  math-llava convert llava-1.5-7b-hf merged --adapter my-lora
  math-llava convert llava-1.5-7b-hf llava-q8_0.gguf --to gguf --dtype q8_0
  math-llava convert llava-1.5-7b-hf mmproj.gguf --to mmproj")]
pub struct Convert {
    /// The checkpoint
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The folder or file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// A PEFT folder of a LoRA adapter to merge into the weights
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// What to write: a Hugging Face folder, the decoder as GGUF, or tower and projector as GGUF
    #[arg(long, value_enum, default_value_t = ConvertTo::Hf)]
    pub to: ConvertTo,
    /// Type of the written weights (default: the checkpoint's own; f16 in GGUF)
    #[arg(long, value_enum)]
    pub dtype: Option<ConvertType>,
    /// Only say what the files hold; status 1 where something is missing
    #[arg(long)]
    pub dry_run: bool,
    /// Write over what is at OUT
    #[arg(long)]
    pub force: bool,
}

/// What `convert` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConvertTo {
    /// A folder that transformers opens
    Hf,
    /// A file of the decoder that llama.cpp opens
    Gguf,
    /// A file of tower and projector that llama.cpp opens
    Mmproj,
}

/// Types of written weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConvertType {
    /// 32 bits
    F32,
    /// 16 bits, IEEE's half
    F16,
    /// 16 bits, bfloat16
    Bf16,
    /// 8 bits in blocks, GGUF only
    #[value(name = "q8_0")]
    Q8_0,
}

/// `math-llava pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the folder. What is there with the right checksum is not fetched again, and what was cut goes on.
By default a model's configuration, tokenizer, templates, licence and one copy of its weights are fetched
(safetensors, else PyTorch's .bin); a data set is fetched whole. Examples:
  math-llava pull llava-hf/llava-1.5-7b-hf
  math-llava pull llava-hf/llava-1.5-7b-hf --revision refs/pr/5 --dry-run
  math-llava pull bartowski/SmolLM2-135M-Instruct-GGUF --include '*Q8_0.gguf' --out models/smol
  math-llava pull liuhaotian/LLaVA-Instruct-150K --repo-type dataset --include llava_instruct_150k.json

Read from the environment, as Python's huggingface_hub does: HF_TOKEN (or HF_HOME/token), HF_ENDPOINT,
HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, and the usual proxy variables.")]
pub struct Pull {
    /// The repository, owner/name
    #[arg(value_name = "REPO")]
    pub repo: String,
    /// A branch, a tag, a commit, or refs/pr/N
    #[arg(long, value_name = "REV", default_value = "main")]
    pub revision: String,
    /// The folder to write (default: the cache that Hugging Face's tools share)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Take files with such names instead of the default choice; `*` also matches `/`
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out files with such names
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Say what would be fetched, how large it is and where to, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// model or dataset
    #[arg(long, value_name = "TYPE", default_value = "model")]
    pub repo_type: hub::RepoKind,
}

/// Which model runs, and where.
#[derive(Debug, Args)]
pub struct ModelArguments {
    /// The model: a Hugging Face or original LLaVA folder, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// A PEFT LoRA adapter to use beside the weights
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// auto, cpu, cuda, cuda:N or mps
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// auto (bf16 where the machine computes in it), f32, bf16 or f16
    #[arg(long, value_name = "TYPE", default_value = "auto")]
    pub dtype: String,
    /// How prompts are written: v1, tiny, plain, chatml, llama2 or llama3 (default: as the model says)
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// none, int8 or int4: how the decoder's weights are kept, on a CPU
    #[arg(long, value_name = "HOW", default_value = "none")]
    pub quantise: String,
}

/// How replies are written.
#[derive(Debug, Args)]
pub struct SamplingArguments {
    /// No more than this many tokens
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub max_new_tokens: usize,
    /// 0: the likeliest token, always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f64,
    /// Only the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f64,
    /// Only the N likeliest tokens; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_k: usize,
    /// Only tokens with this share of the likeliest one's probability
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub min_p: f64,
    /// Above 1, tokens that are there already become less likely
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// A reply ends before this text; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Settles the draws, with a temperature
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// `math-llava generate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava generate --model llava-1.5-7b-hf --image chart.png --prompt \"Which bar is tallest?\"
  math-llava generate --model runs/tiny/train/model --image a.png --image b.png --prompt Compare
  math-llava generate --model DIR --prompt Hello --temperature 0.7 --top-p 0.9 --seed 3
  math-llava generate --model SmolLM2-135M-Instruct --prompt \"Hello\" --json --logprobs 5
  math-llava generate --model DIR --image a.png --prompt \"The answer as JSON\" --json-schema answer.json")]
pub struct Generate {
    #[command(flatten)]
    pub model: ModelArguments,
    /// An image, shown before the prompt; may be given more than once
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// The user's words
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// The system prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArguments,
    /// The whole reply as one JSON object, in the end
    #[arg(long)]
    pub json: bool,
    /// Log-probabilities of each token and of the N likeliest in its place
    #[arg(long, value_name = "N", requires = "json")]
    pub logprobs: Option<usize>,
    /// A file with a JSON schema: the reply is JSON that obeys it
    #[arg(long, value_name = "FILE")]
    pub json_schema: Option<PathBuf>,
}

/// `math-llava chat`.
#[derive(Debug, Args)]
#[command(after_help = "\
A line is a turn. /image PATH shows an image with the next turn, /system TEXT sets the system
prompt, /reset forgets what was said, /quit leaves. Ctrl-C stops a reply. Examples:
  math-llava chat --model llava-1.5-7b-hf
  printf '/image chart.png\\nWhat is this?\\n' | math-llava chat --model llava-1.5-7b-hf")]
pub struct Chat {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The system prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArguments,
}

/// `math-llava logits`.
#[derive(Debug, Args)]
pub struct Logits {
    /// The model: a Hugging Face or original LLaVA folder, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The image; without one the prompt is text only
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// The user's words
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// A safetensors file to write: logits [tokens, vocabulary] in f32, input_ids, pixel_values
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
