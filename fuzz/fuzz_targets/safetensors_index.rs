//! Any text as an index of shards, and any bytes as its shard: the first two bytes say how long the
//! index is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [low, high, rest @ ..] = bytes else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (index, shard) = rest.split_at(length);
    fuzz::checkpoint(&[
        ("model.safetensors.index.json", index),
        ("a.safetensors", shard),
    ]);
    fuzz::checkpoint(&[("model.safetensors", rest)]);
});
