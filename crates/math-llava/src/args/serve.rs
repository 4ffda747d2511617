//! The verbs that listen: `serve` and `studio`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

/// `math-llava serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the address once it listens. Clients of OpenAI's API are given http://HOST:PORT/v1. Examples:
  math-llava serve --model runs/tiny/train/model
  math-llava serve --model llava-1.5-7b-hf --model small=SmolLM2-135M-Instruct --port 9000
  math-llava serve --model DIR --runs runs          the studio as well, on the same address
  math-llava serve --upstream big=http://gpu-host:8000/v1 --runs runs
  MATH_LLAVA_KEYS=secret math-llava serve --model DIR --host 0.0.0.0 --allow-host my-machine

  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{
    \"model\": \"tiny\", \"messages\": [{\"role\": \"user\", \"content\": \"What is 2+3?\"}]}'

Ctrl-C or SIGTERM ends it: what is being answered is answered, what waits is refused.")]
pub struct Serve {
    /// A model to serve, under the name given or that of its folder (RUN/train/model: the run's); may be given more than once
    #[arg(long = "model", value_name = "[NAME=]DIR", required_unless_present_any = ["upstream", "runs"])]
    pub models: Vec<String>,
    /// A PEFT LoRA adapter to use beside the weights, with one --model
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
    /// Another server that answers for NAME; its address up to and with /v1. The name it knows the model
    /// by may follow after a comma, and the variable that has its key after another
    #[arg(long, value_name = "NAME=URL[,MODEL[,KEY_VARIABLE]]")]
    pub upstream: Vec<String>,
    /// Replies that a model writes at the same time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub parallel: usize,
    /// Prompt tokens that are run at a time: no reply waits longer for others' prompts
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub chunk_tokens: usize,
    /// Memory for keys and values of each model, in GiB (default: a quarter of the machine's)
    #[arg(long, value_name = "GIB")]
    pub cache: Option<f64>,
    /// Requests that may wait for each model; more are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub queue: usize,
    /// Seconds from a request's arrival to its last token
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub request_time: u64,
    /// Fetch images that requests give as http(s) addresses, from public hosts only
    #[arg(long)]
    pub allow_remote_images: bool,
    /// Fetch images from this host too, although its address is private; may be given more than once
    #[arg(long, value_name = "HOST[:PORT]", requires = "allow_remote_images")]
    pub allow_image_host: Vec<String>,
    #[command(flatten)]
    pub listen: Listen,
    /// Show the studio of the runs below this folder
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

/// `math-llava studio`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the address once it listens; open it in a browser. Nothing is written. Examples:
  math-llava studio --runs runs
  math-llava studio --runs runs/tiny --port 9000
  math-llava serve --runs runs --model runs/tiny/train/model     with models to talk with")]
pub struct Studio {
    /// The folder that runs lie in, or one run
    #[arg(long, value_name = "DIR")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub listen: Listen,
}

/// Where to listen, and who may ask.
#[derive(Debug, Args)]
pub struct Listen {
    /// The address to listen on; others than loopback want keys
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// A file with a key a line, of which requests must bring one (default: the variable
    /// MATH_LLAVA_KEYS, separated by commas)
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Listen on other addresses than loopback without keys
    #[arg(long)]
    pub no_keys: bool,
    /// A name of this host that requests may give; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// MiB of a request's body
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub max_body: usize,
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub connections: usize,
}
