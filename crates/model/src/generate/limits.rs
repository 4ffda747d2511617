//! How much an engine does and keeps at a time, and how much it did.

/// How much an engine does and keeps at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineLimits {
    /// Requests that are answered at the same time.
    pub slots: usize,
    /// Bytes of keys and values, those of past conversations included.
    pub cache_bytes: u64,
    /// Prompt tokens in one pass through the model, which bounds its memory.
    pub prefill_tokens: usize,
    /// Prompt tokens in one step, which bounds how long live replies wait for their next token, and
    /// short prompts behind long ones for their first.
    pub chunk_tokens: usize,
    /// So many slots must be free before prompts join live replies, where so many wait: prompts that
    /// are run together take less time, and the first of them gets its first token later.
    pub company: usize,
}

impl Default for EngineLimits {
    fn default() -> EngineLimits {
        EngineLimits {
            slots: 32,
            cache_bytes: a_quarter_of_memory(),
            prefill_tokens: 2048,
            chunk_tokens: 512,
            company: 1,
        }
    }
}

impl EngineLimits {
    /// Limits for who waits for all replies and for no one's first token: prompts are run in steps of
    /// their own, as many as there are slots for.
    pub fn batch(slots: usize) -> EngineLimits {
        EngineLimits {
            slots,
            chunk_tokens: usize::MAX,
            company: slots.div_ceil(4),
            ..EngineLimits::default()
        }
    }
}

/// What an engine holds now, and what it did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Requests that have no slot yet.
    pub waiting: usize,
    /// Requests whose prompts are being run.
    pub filling: usize,
    /// Replies that are being written.
    pub live: usize,
    /// Bytes of keys and values, those of past conversations included.
    pub cache_bytes: u64,
    /// What became of all prompt tokens so far.
    pub prefill: PrefillCounts,
}

/// What became of prompt tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefillCounts {
    /// Run through the model.
    pub run: usize,
    /// Not run, because another prompt, live or past, had them.
    pub shared: usize,
    /// Images encoded.
    pub images: usize,
}

/// A quarter of the machine's memory; 4 GiB where that is not known.
fn a_quarter_of_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    total.map_or(4 << 30, |kib| kib * 1024 / 4)
}
