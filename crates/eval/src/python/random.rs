//! CPython's `random.Random`: the generator that official scorers guess with.
//!
//! MMMU's code seeds it with 42 and draws a letter for each reply without one, so a published score
//! can be told again only with the same draws. The generator is MT19937 (Matsumoto and Nishimura,
//! 1998) seeded by `init_by_array`; what is built on it follows CPython's `Lib/random.py`, where
//! `choice` and `shuffle` have drawn by `_randbelow_with_getrandbits` since version 3.2.

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// The generator, with the numbers that `random.Random(seed)` gives.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u32; WORDS],
    at: usize,
}

impl Random {
    /// As `random.Random(seed)`; Python takes a negative seed's absolute value.
    pub fn new(seed: u64) -> Random {
        let key = [seed as u32, (seed >> 32) as u32];
        let used = if key[1] == 0 { 1 } else { 2 };
        Random::by_array(&key[..used])
    }

    fn by_array(key: &[u32]) -> Random {
        let mut state = [0_u32; WORDS];
        state[0] = 19_650_218;
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = 1_812_433_253_u32
                .wrapping_mul(before ^ (before >> 30))
                .wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        let mix = |state: &[u32; WORDS], i: usize, factor: u32| {
            let before = state[i - 1];
            state[i] ^ (before ^ (before >> 30)).wrapping_mul(factor)
        };
        for _ in 0..WORDS.max(key.len()) {
            state[i] = mix(&state, i, 1_664_525)
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i = next(&mut state, i);
            j = (j + 1) % key.len();
        }
        for _ in 1..WORDS {
            state[i] = mix(&state, i, 1_566_083_941).wrapping_sub(i as u32);
            i = next(&mut state, i);
        }
        state[0] = 0x8000_0000;
        Random { state, at: WORDS }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.at == WORDS {
            self.twist();
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (y >> 1) ^ odd;
        }
    }

    /// As `random()`: from 0 up to but not 1, in steps of 2^-53.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// As `getrandbits(bits)`; more than 64 are taken for 64.
    pub fn getrandbits(&mut self, bits: u32) -> u64 {
        match bits.min(64) {
            0 => 0,
            bits @ 1..=32 => u64::from(self.next_u32() >> (32 - bits)),
            bits => {
                // The lower word comes first and is whole.
                let low = u64::from(self.next_u32());
                low | u64::from(self.next_u32() >> (64 - bits)) << 32
            }
        }
    }

    /// As `_randbelow(n)`: from 0 up to but not `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let bits = u64::BITS - n.leading_zeros();
        loop {
            let drawn = self.getrandbits(bits);
            if drawn < n {
                return drawn;
            }
        }
    }

    /// As `choice(items)`; none of no items, for which Python raises an error and draws nothing.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        items.get(self.below(items.len() as u64) as usize)
    }

    /// As `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

/// The place after `i` in the rounds of seeding, which run over all words but the first.
fn next(state: &mut [u32; WORDS], i: usize) -> usize {
    if i + 1 < WORDS {
        return i + 1;
    }
    state[0] = state[WORDS - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed, and what is drawn after it.
    type Golden = (u64, [u32; 3], [f64; 2], [u64; 3]);

    // All numbers here were printed by CPython 3.11.7; those of the first test by
    //   r = random.Random(seed)
    //   [r.getrandbits(32) for _ in range(3)], [r.random() for _ in range(2)],
    //   r.getrandbits(1), r.getrandbits(7), r.getrandbits(64)
    #[test]
    fn numbers_are_those_of_cpython() {
        #[rustfmt::skip]
        let golden: [Golden; 5] = [
            (0, [3626764237, 1654615998, 3255389356], [0.890243920837131, 0.04048437818077755], [1, 65, 7469716379221213669]),
            (1, [577090037, 2444712010, 3639700191], [0.8022650611681835, 0.06310682188770933], [0, 63, 8291646586825371460]),
            (42, [2746317213, 478163327, 107420369], [0.7415504997598329, 0.24489185380347622], [0, 94, 12482902213779070887]),
            (1 << 32, [485306839, 1508871100, 1794561286], [0.9347212762883035, 0.022821848181795], [1, 103, 6115302124401738593]),
            ((1 << 40) + 7, [2635837658, 3209733218, 3500038837], [0.937932416386988, 0.6395236445247433], [1, 60, 17489972064436049798]),
        ];
        for (seed, words, fractions, bits) in golden {
            let mut r = Random::new(seed);
            assert_eq!([(); 3].map(|()| r.getrandbits(32) as u32), words, "{seed}");
            assert_eq!([(); 2].map(|()| r.random()), fractions, "{seed}");
            assert_eq!([1, 7, 64].map(|n| r.getrandbits(n)), bits, "{seed}");
        }
    }

    #[test]
    fn choices_and_shuffles_are_those_of_cpython() {
        let mut r = Random::new(42);
        let letters: String = (0..20)
            .map(|_| *r.choice(&['A', 'B', 'C', 'D']).unwrap())
            .collect();
        assert_eq!(letters, "AACBBBAADAAABBABDBDC");
        let digits: Vec<u8> = (0..10)
            .map(|_| *r.choice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap())
            .collect();
        assert_eq!(digits, [0, 2, 6, 5, 4, 2, 3, 5, 1, 1]);
        let mut r = Random::new(42);
        let mut order: Vec<u8> = (0..12).collect();
        // random.Random(42).shuffle(list(range(12)))
        r.shuffle(&mut order);
        assert_eq!(order, [7, 5, 2, 8, 9, 6, 11, 3, 4, 0, 1, 10]);
    }

    #[test]
    fn the_state_is_renewed_after_its_624_words() {
        let mut r = Random::new(42);
        for _ in 0..5000 {
            r.getrandbits(32);
        }
        assert_eq!(r.getrandbits(32), 3270504139);
    }

    #[test]
    fn nothing_is_drawn_where_there_is_nothing_to_choose() {
        let (mut r, mut untouched) = (Random::new(7), Random::new(7));
        assert_eq!(r.choice::<u8>(&[]), None);
        assert_eq!((r.below(0), r.getrandbits(0)), (0, 0));
        assert_eq!(r.next_u32(), untouched.next_u32());
        // One choice is no draw of zero bits: CPython asks for one bit until it is 0.
        assert_eq!(r.below(1), 0);
    }
}
