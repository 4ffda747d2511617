// The inner loops for processors with AVX-512: 16 numbers a step.
//
// Compilers do not find these by themselves: sums must keep several accumulators, and the exponential
// is a library call. Each is a drop-in for the loop of the same name in kernels.cpp.
#pragma once
#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX512
#include <immintrin.h>

#include <cstdint>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))

namespace avx512 {

AVX512 inline __m512 load(const float* from) { return _mm512_loadu_ps(from); }
AVX512 inline __m512 load(const uint16_t* from) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
AVX512 inline void store(float* to, __m512 x) { _mm512_storeu_ps(to, x); }
// Rounded to nearest, ties to even. NaN may lose its payload but not its nature: its upper bits stay.
AVX512 inline void store(uint16_t* to, __m512 x) {
  const __m512i wide = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(wide, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(wide, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc00000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

// e^x for x <= 88, to 2 units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]
// (coefficients of the Cephes library's expf).
AVX512 inline __m512 exp(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-87.0f), x);  // in this order NaN stays
  const __m512 n = _mm512_roundscale_ps(
      _mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_scalef_ps(p, n);
}

// As many of the numbers as whole vectors hold; gives how many those were.
template <typename T>
AVX512 int64_t quick_gelu(const T* x, T* out, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 value = load(x + i);
    const __m512 power = _mm512_min_ps(_mm512_mul_ps(value, _mm512_set1_ps(-1.702f)), _mm512_set1_ps(88.0f));
    store(out + i, _mm512_div_ps(value, _mm512_add_ps(_mm512_set1_ps(1.0f), exp(power))));
  }
  return i;
}

// Softmax of the first `seen` of a row's scores times `scale`, in place; the others become 0. `wide` has
// room for the row.
template <typename T>
AVX512 void softmax_row(T* x, int64_t count, int64_t seen, float scale, float* wide) {
  const auto rest = [](int64_t left) {
    return left >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1 << left) - 1);
  };
  __m512 most = _mm512_set1_ps(-INFINITY);
  int64_t i = 0;
  for (; i + 16 <= seen; i += 16) {
    const __m512 value = _mm512_mul_ps(load(x + i), _mm512_set1_ps(scale));
    _mm512_storeu_ps(wide + i, value);
    most = _mm512_max_ps(most, value);
  }
  for (; i < seen; i++) {
    float one[16] = {};
    T few[16] = {};
    few[0] = x[i];
    store(one, _mm512_mul_ps(load(few), _mm512_set1_ps(scale)));
    wide[i] = one[0];
    most = _mm512_mask_max_ps(most, 1, most, _mm512_set1_ps(one[0]));
  }
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(most));
  __m512 sums = _mm512_setzero_ps();
  for (i = 0; i < seen; i += 16) {
    const __mmask16 in = rest(seen - i);
    const __m512 e = exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, wide + i), top));
    _mm512_mask_storeu_ps(wide + i, in, e);
    sums = _mm512_mask_add_ps(sums, in, sums, e);
  }
  const float share = 1.0f / _mm512_reduce_add_ps(sums);
  for (i = seen; i < count; i++) wide[i] = 0.0f;
  for (i = 0; i + 16 <= count; i += 16) store(x + i, _mm512_mul_ps(_mm512_loadu_ps(wide + i), _mm512_set1_ps(share)));
  if (i < count) {
    T few[16];
    store(few, _mm512_mul_ps(_mm512_maskz_loadu_ps(rest(count - i), wide + i), _mm512_set1_ps(share)));
    __builtin_memcpy(x + i, few, (count - i) * sizeof(T));
  }
}

// `dim` is a multiple of 16, at most 256.
template <typename T>
AVX512 void attend_keys(
    const float* q, int64_t group, int64_t dim, const T* k, const T* v, int64_t keys, float* scores,
    float* most, float* total, float* out) {
  const int64_t steps = dim / 16;
  for (int64_t g = 0; g < group; g++) {
    __m512 query[16], sum[16];
    for (int64_t s = 0; s < steps; s++) query[s] = load(q + g * dim + 16 * s);
    float highest = -INFINITY;
    for (int64_t j = 0; j < keys; j++) {
      const T* key = k + j * dim;
      __m512 a = _mm512_setzero_ps(), b = a;
      for (int64_t s = 0; s + 1 < steps; s += 2) {
        a = _mm512_fmadd_ps(query[s], load(key + 16 * s), a);
        b = _mm512_fmadd_ps(query[s + 1], load(key + 16 * s + 16), b);
      }
      if (steps % 2) a = _mm512_fmadd_ps(query[steps - 1], load(key + dim - 16), a);
      scores[j] = _mm512_reduce_add_ps(_mm512_add_ps(a, b));
      highest = std::max(highest, scores[j]);
    }
    __m512 sums = _mm512_setzero_ps();
    const __m512 top = _mm512_set1_ps(highest);
    for (int64_t j = 0; j < keys; j += 16) {
      const int64_t left = keys - j;
      const __mmask16 in = left >= 16 ? 0xffff : static_cast<__mmask16>((1 << left) - 1);
      const __m512 e = exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, scores + j), top));
      _mm512_mask_storeu_ps(scores + j, in, e);
      sums = _mm512_mask_add_ps(sums, in, sums, e);
    }
    for (int64_t s = 0; s < steps; s++) sum[s] = _mm512_setzero_ps();
    for (int64_t j = 0; j < keys; j++) {
      const __m512 share = _mm512_set1_ps(scores[j]);
      for (int64_t s = 0; s < steps; s++) sum[s] = _mm512_fmadd_ps(share, load(v + j * dim + 16 * s), sum[s]);
    }
    for (int64_t s = 0; s < steps; s++) store(out + g * dim + 16 * s, sum[s]);
    most[g] = highest;
    total[g] = _mm512_reduce_add_ps(sums);
  }
}

// Bytes ahead that are asked for: a few thousand cover the way to memory.
constexpr int64_t AHEAD = 4096;

// A block of eight weight rows, laid out as in kernels.cpp, times N inputs of `in` numbers each that lie
// one after the other: weights are unpacked once for all of them. Gives [N, 8].
template <int N>
AVX512 void dot_int8(const float* x, const int8_t* w, int64_t in, float* out) {
  __m512 sum[N][8];
  for (auto& row : sum)
    for (auto& s : row) s = _mm512_setzero_ps();
  for (int64_t i = 0; i < in; i += 64, w += 512) {
#pragma GCC unroll 8
    for (int64_t r = 0; r < 8; r++) {
      const __m128i* q = reinterpret_cast<const __m128i*>(w + r * 64);
      _mm_prefetch(reinterpret_cast<const char*>(q) + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
      for (int64_t part = 0; part < 4; part++) {
        const __m512 weight = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(q + part)));
#pragma GCC unroll 2
        for (int64_t n = 0; n < N; n++)
          sum[n][r] = _mm512_fmadd_ps(load(x + n * in + i + part * 16), weight, sum[n][r]);
      }
    }
  }
  for (int64_t n = 0; n < N; n++)
    for (int64_t r = 0; r < 8; r++) out[n * 8 + r] = _mm512_reduce_add_ps(sum[n][r]);
}

// The same in 4 bits; `sums` [N, in / 32] are the inputs' sums over each group.
template <int N>
AVX512 void dot_int4(
    const float* x, const float* sums, const uint8_t* w, const uint16_t* scales, int64_t in, float* out) {
  // The numbers 0 to 15, so that a lookup turns four bits into an f32.
  const __m512 table = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  __m512 total[N][8], least[N];
  for (int64_t n = 0; n < N; n++) {
    for (auto& t : total[n]) t = _mm512_setzero_ps();
    least[n] = _mm512_setzero_ps();
  }
  for (int64_t g = 0; g < in / 64; g++, w += 256, scales += 32) {
    // Both groups' pairs of all rows: the first group's in the lower half.
    const __m512i pairs = _mm512_loadu_si512(scales);
    _mm_prefetch(reinterpret_cast<const char*>(scales) + AHEAD / 4, _MM_HINT_T0);
    // The least values lie in the upper halves of the pairs.
    const __m512 lowest = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
    for (int64_t n = 0; n < N; n++) {
      const float* of = sums + n * (in / 32) + 2 * g;
      const __m512 both = _mm512_mask_mov_ps(_mm512_set1_ps(of[0]), 0xff00, _mm512_set1_ps(of[1]));
      least[n] = _mm512_fmadd_ps(lowest, both, least[n]);
    }
    const __m512i scale = _mm512_slli_epi32(pairs, 16);
#pragma GCC unroll 8
    for (int64_t r = 0; r < 8; r++) {
      const __m128i* q = reinterpret_cast<const __m128i*>(w + r * 32);
      if (r % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(q) + AHEAD, _MM_HINT_T0);
      const __m512i first = _mm512_cvtepu8_epi32(_mm_loadu_si128(q)), second = _mm512_cvtepu8_epi32(_mm_loadu_si128(q + 1));
      const __m512 a = _mm512_permutexvar_ps(first, table), c = _mm512_permutexvar_ps(second, table);
      const __m512 b = _mm512_permutexvar_ps(_mm512_srli_epi32(first, 4), table);
      const __m512 d = _mm512_permutexvar_ps(_mm512_srli_epi32(second, 4), table);
      const auto own = [&](int64_t lane) __attribute__((target("avx512f"), always_inline)) {
        return _mm512_castsi512_ps(_mm512_permutexvar_epi32(_mm512_set1_epi32(static_cast<int>(lane)), scale));
      };
      const __m512 one = own(r), two = own(r + 8);
#pragma GCC unroll 2
      for (int64_t n = 0; n < N; n++) {
        const float* at = x + n * in + g * 64;
        __m512 p = _mm512_mul_ps(load(at), a), s = _mm512_mul_ps(load(at + 32), c);
        p = _mm512_fmadd_ps(load(at + 16), b, p);
        s = _mm512_fmadd_ps(load(at + 48), d, s);
        total[n][r] = _mm512_fmadd_ps(two, s, _mm512_fmadd_ps(one, p, total[n][r]));
      }
    }
  }
  for (int64_t n = 0; n < N; n++) {
    alignas(64) float lowest[16];
    _mm512_store_ps(lowest, least[n]);
    for (int64_t r = 0; r < 8; r++) out[n * 8 + r] = _mm512_reduce_add_ps(total[n][r]) + lowest[r] + lowest[r + 8];
  }
}

// The inputs of a step as `dot_int4_bf16` wants them: those of low bits, then those of high ones.
inline void arrange_int4(const uint16_t* x, int64_t in, uint16_t* out) {
  for (int64_t g = 0; g < in; g += 64)
    for (int64_t part = 0; part < 2; part++)
      for (int64_t half = 0; half < 2; half++)
        __builtin_memcpy(out + g + half * 32 + part * 16, x + g + part * 32 + half * 16, 32);
}

// dot_int4 for processors that multiply bf16: half the steps. `x` comes from `arrange_int4`; products are
// exact and summed in f32.
template <int N>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma"))) void dot_int4_bf16(
    const uint16_t* x, const float* sums, const uint8_t* w, const uint16_t* scales, int64_t in, float* out) {
  // bf16 of 0 to 15, twice: a lookup takes five bits, of which the last is another number's.
  alignas(64) static const uint16_t numbers[32] = {
      0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, 0x4100, 0x4110, 0x4120,
      0x4130, 0x4140, 0x4150, 0x4160, 0x4170, 0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0,
      0x40c0, 0x40e0, 0x4100, 0x4110, 0x4120, 0x4130, 0x4140, 0x4150, 0x4160, 0x4170};
  const __m512i table = _mm512_load_si512(numbers);
  const __m512i groups = _mm512_set_epi32(8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0);
  __m512 total[N][8], least[N];
  for (int64_t n = 0; n < N; n++) {
    for (auto& t : total[n]) t = _mm512_setzero_ps();
    least[n] = _mm512_setzero_ps();
  }
  for (int64_t g = 0; g < in / 64; g++, w += 256, scales += 32) {
    const __m512i pairs = _mm512_loadu_si512(scales);
    _mm_prefetch(reinterpret_cast<const char*>(scales) + AHEAD / 4, _MM_HINT_T0);
    const __m512 lowest = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
    __m512bh low[N], high[N];
    for (int64_t n = 0; n < N; n++) {
      const float* of = sums + n * (in / 32) + 2 * g;
      const __m512 both = _mm512_mask_mov_ps(_mm512_set1_ps(of[0]), 0xff00, _mm512_set1_ps(of[1]));
      least[n] = _mm512_fmadd_ps(lowest, both, least[n]);
      low[n] = (__m512bh)_mm512_loadu_si512(x + n * in + g * 64);
      high[n] = (__m512bh)_mm512_loadu_si512(x + n * in + g * 64 + 32);
    }
    const __m512i scale = _mm512_slli_epi32(pairs, 16);
#pragma GCC unroll 8
    for (int64_t r = 0; r < 8; r++) {
      const uint8_t* q = w + r * 32;
      if (r % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(q) + AHEAD, _MM_HINT_T0);
      const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)));
      const __m512bh first = (__m512bh)_mm512_permutexvar_epi16(bytes, table);
      const __m512bh second = (__m512bh)_mm512_permutexvar_epi16(_mm512_srli_epi16(bytes, 4), table);
      const __m512i lanes = _mm512_add_epi32(groups, _mm512_set1_epi32(static_cast<int>(r)));
      const __m512 own = _mm512_castsi512_ps(_mm512_permutexvar_epi32(lanes, scale));
#pragma GCC unroll 2
      for (int64_t n = 0; n < N; n++) {
        // Lanes 0 to 7 hold sums of the first group, 8 to 15 of the second.
        __m512 sum = _mm512_dpbf16_ps(_mm512_setzero_ps(), low[n], first);
        sum = _mm512_dpbf16_ps(sum, high[n], second);
        total[n][r] = _mm512_fmadd_ps(own, sum, total[n][r]);
      }
    }
  }
  for (int64_t n = 0; n < N; n++) {
    alignas(64) float lowest[16];
    _mm512_store_ps(lowest, least[n]);
    for (int64_t r = 0; r < 8; r++) out[n * 8 + r] = _mm512_reduce_add_ps(total[n][r]) + lowest[r] + lowest[r + 8];
  }
}

AVX512 inline void spread_int8(const int8_t* w, const float* scales, uint16_t* out, int64_t in) {
  for (int64_t g = 0; g < in; g += 64)
    for (int64_t r = 0; r < 8; r++, w += 64)
      for (int64_t i = 0; i < 64; i += 16) {
        const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + i));
        const __m512 wide = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
        store(out + r * in + g + i, _mm512_mul_ps(_mm512_set1_ps(scales[r]), wide));
      }
}

AVX512 inline void spread_int4(const uint8_t* w, const uint16_t* scales, uint16_t* out, int64_t in) {
  const __m512 table = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const auto wide = [](uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  };
  for (int64_t at = 0; at < 8 * in / 32; at++, w += 16) {
    const int64_t g = at / 16, r = at / 2 % 8, part = at % 2;
    const uint16_t* s = scales + ((g * 2 + part) * 8 + r) * 2;
    const __m512 values = _mm512_fmadd_ps(_mm512_set1_ps(wide(s[0])), table, _mm512_set1_ps(wide(s[1])));
    const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
    uint16_t* to = out + r * in + g * 64 + part * 32;
    store(to, _mm512_permutexvar_ps(q, values));
    store(to + 16, _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), values));
  }
}

}  // namespace avx512
#endif
