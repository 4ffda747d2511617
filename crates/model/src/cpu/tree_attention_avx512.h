// The softmax of tree_attention.cpp and its gradient, for processors with AVX-512: 16 keys a step.
#pragma once
#include "avx512.h"
#ifdef HAS_AVX512

namespace avx512 {

// Which of the keys from `first` on query `i` sees.
AVX512 inline __mmask16 seen(const int32_t* ends, int64_t first, int64_t i) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i key = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first)));
  const __m512i query = _mm512_set1_epi32(static_cast<int>(i));
  return _mm512_mask_cmpgt_epi32_mask(_mm512_cmple_epi32_mask(key, query), _mm512_loadu_si512(ends), query);
}

// Scales the scores of a run in place; those that are not seen become minus infinity. Gives the highest.
AVX512 inline float scale_seen(float* scores, const int32_t* ends, int64_t first, int64_t count, int64_t i, float scale) {
  const __m512 never = _mm512_set1_ps(-INFINITY), factor = _mm512_set1_ps(scale);
  __m512 most = never;
  for (int64_t j = 0; j < count; j += 16) {
    const __m512 score = _mm512_mask_mul_ps(never, seen(ends + j, first + j, i), load(scores + j), factor);
    store(scores + j, score);
    most = _mm512_max_ps(most, score);
  }
  return _mm512_reduce_max_ps(most);
}

// e^(score - most), 0 where the score is minus infinity, into `shares`; gives the sum before rounding.
template <typename S>
AVX512 float exponentials(const float* scores, int64_t count, float most, S* shares) {
  const __m512 top = _mm512_set1_ps(most), never = _mm512_set1_ps(-INFINITY);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < count; j += 16) {
    const __m512 score = load(scores + j);
    const __mmask16 in = _mm512_cmp_ps_mask(score, never, _CMP_NEQ_UQ);
    const __m512 share = _mm512_maskz_mov_ps(in, exp(_mm512_sub_ps(score, top)));
    sum = _mm512_add_ps(sum, share);
    store(shares + j, share);
  }
  return _mm512_reduce_add_ps(sum);
}

// One query's shares of 16 keys, and the gradients of its scores.
AVX512 inline void gradients_of(
    const float* scores, const float* values, __mmask16 in, float scale, float kept, float along, __m512* share,
    __m512* grad) {
  const __m512 factor = _mm512_set1_ps(scale);
  *share = _mm512_maskz_mov_ps(in, exp(_mm512_fmsub_ps(load(scores), factor, _mm512_set1_ps(kept))));
  const __m512 pull = _mm512_sub_ps(load(values), _mm512_set1_ps(along));
  *grad = _mm512_maskz_mul_ps(in, _mm512_mul_ps(*share, factor), pull);
}

// One query, in f32.
AVX512 inline void score_gradients(
    const float* scores, const float* values, int64_t, const int32_t* ends, int64_t first, int64_t count, int64_t i,
    float scale, const float* kept, const float* along, float* shares, float* grads, float* rows) {
  for (int64_t j = 0; j < count; j += 16) {
    __m512 share, grad;
    gradients_of(scores + j, values + j, seen(ends + j, first + j, i), scale, *kept, *along, &share, &grad);
    store(shares + j, share);
    store(grads + j, grad);
    store(rows + j, grad);
  }
}

// Rounded to bf16, still in the upper halves.
AVX512 inline __m512i upper(__m512 x) {
  const __m512i wide = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(wide, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(wide, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}

// Two queries, in bf16: each key's two numbers lie side by side in `shares` and `grads`.
AVX512 inline void score_gradients(
    const float* scores, const float* values, int64_t stride, const int32_t* ends, int64_t first, int64_t count,
    int64_t i, float scale, const float* kept, const float* along, uint16_t* shares, uint16_t* grads, uint16_t* rows) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  for (int64_t j = 0; j < count; j += 16) {
    __m512 share[2], grad[2];
    for (int64_t s = 0; s < 2; s++) {
      const int64_t at = s * stride + j;
      gradients_of(scores + at, values + at, seen(ends + j, first + j, i + s), scale, kept[s], along[s], share + s, grad + s);
      store(rows + at, grad[s]);
    }
    const __m512i shared = _mm512_or_si512(_mm512_srli_epi32(upper(share[0]), 16), _mm512_and_si512(upper(share[1]), high));
    const __m512i pulled = _mm512_or_si512(_mm512_srli_epi32(upper(grad[0]), 16), _mm512_and_si512(upper(grad[1]), high));
    _mm512_storeu_si512(shares + 2 * j, shared);
    _mm512_storeu_si512(grads + 2 * j, pulled);
  }
}

}  // namespace avx512
#endif
