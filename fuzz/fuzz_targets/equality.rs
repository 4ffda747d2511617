//! Any two texts as answers that may say the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sample::equality::equal;

fuzz_target!(|pair: (&str, &str)| {
    let (a, b) = pair;
    assert_eq!(equal(a, b), equal(b, a));
});
