// The loops of fused.cpp for processors with AVX-512.
#pragma once
#include "avx512.h"
#ifdef HAS_AVX512

namespace avx512 {

template <typename T, typename W>
AVX512 void norm_row(const T* x, const W* weight, T* out, int64_t width, float eps) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 64 <= width; i += 64) {
    const __m512 p = load(x + i), q = load(x + i + 16), r = load(x + i + 32), s = load(x + i + 48);
    a = _mm512_fmadd_ps(p, p, a);
    b = _mm512_fmadd_ps(q, q, b);
    c = _mm512_fmadd_ps(r, r, c);
    d = _mm512_fmadd_ps(s, s, d);
  }
  for (; i < width; i += 16) a = _mm512_fmadd_ps(load(x + i), load(x + i), a);
  const float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
  const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(sum / static_cast<float>(width) + eps));
  for (i = 0; i < width; i += 16) store(out + i, _mm512_mul_ps(_mm512_mul_ps(load(x + i), scale), load(weight + i)));
}

template <typename T, typename W>
AVX512 void norm_row_back(
    const T* x, const W* weight, const T* grad, T* to_x, float* to_weight, int64_t width, float eps) {
  __m512 squares[2], along[2];
  for (int64_t k = 0; k < 2; k++) squares[k] = along[k] = _mm512_setzero_ps();
  for (int64_t i = 0, k = 0; i < width; i += 16, k = 1 - k) {
    const __m512 value = load(x + i);
    squares[k] = _mm512_fmadd_ps(value, value, squares[k]);
    along[k] = _mm512_fmadd_ps(_mm512_mul_ps(value, load(grad + i)), load(weight + i), along[k]);
  }
  const float n = static_cast<float>(width);
  const float scale = 1.0f / std::sqrt(_mm512_reduce_add_ps(_mm512_add_ps(squares[0], squares[1])) / n + eps);
  const float pull = scale * scale * scale * _mm512_reduce_add_ps(_mm512_add_ps(along[0], along[1])) / n;
  const __m512 scales = _mm512_set1_ps(scale), pulls = _mm512_set1_ps(pull);
  for (int64_t i = 0; i < width; i += 16) {
    const __m512 value = load(x + i), g = _mm512_mul_ps(load(grad + i), scales);
    store(to_weight + i, _mm512_fmadd_ps(g, value, load(to_weight + i)));
    store(to_x + i, _mm512_fnmadd_ps(value, pulls, _mm512_mul_ps(g, load(weight + i))));
  }
}

AVX512 inline __m512 sigmoid(__m512 x) {
  const __m512 power = _mm512_min_ps(_mm512_sub_ps(_mm512_setzero_ps(), x), _mm512_set1_ps(88.0f));
  return _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_add_ps(_mm512_set1_ps(1.0f), exp(power)));
}

// As many as whole vectors hold; gives how many those were.
template <typename T>
AVX512 int64_t swiglu(const T* gate, const T* up, T* out, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 value = load(gate + i);
    store(out + i, _mm512_mul_ps(_mm512_mul_ps(value, sigmoid(value)), load(up + i)));
  }
  return i;
}

template <typename T>
AVX512 int64_t swiglu_back(const T* gate, const T* up, const T* grad, T* to_gate, T* to_up, int64_t count) {
  const __m512 one = _mm512_set1_ps(1.0f);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 value = load(gate + i), g = load(grad + i), open = sigmoid(value);
    const __m512 slope = _mm512_mul_ps(open, _mm512_fmadd_ps(value, _mm512_sub_ps(one, open), one));
    store(to_gate + i, _mm512_mul_ps(_mm512_mul_ps(g, load(up + i)), slope));
    store(to_up + i, _mm512_mul_ps(_mm512_mul_ps(g, value), open));
  }
  return i;
}

template <typename T>
AVX512 void turn_head(const T* x, const T* cos, const T* sin, T* out, int64_t half, bool back) {
  for (int64_t i = 0; i < half; i += 16) {
    const __m512 a = load(x + i), b = load(x + half + i), zero = _mm512_setzero_ps();
    __m512 first = load(sin + i), second = load(sin + half + i);
    if (back) {
      const __m512 kept = first;
      first = _mm512_sub_ps(zero, second);
      second = _mm512_sub_ps(zero, kept);
    }
    store(out + i, _mm512_fnmadd_ps(b, first, _mm512_mul_ps(a, load(cos + i))));
    store(out + half + i, _mm512_fmadd_ps(a, second, _mm512_mul_ps(b, load(cos + half + i))));
  }
}

}  // namespace avx512
#endif
