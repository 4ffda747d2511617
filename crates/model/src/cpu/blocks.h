// Products of small matrices that lie in the processor's cache, for attention in blocks.
//
// An operand is stored in units: one f32, or a pair of bf16 that the processor multiplies and sums in one
// go, neighbours along the dimension that is summed over. `Single` and `Pair` say which. The left operand
// may be laid out in any way; the right one has the 16 columns of a vector side by side.
#pragma once

#include "kernel.h"

namespace {

struct Single {
  using Store = float;
  using Unit = float;
  static constexpr int64_t STEP = 1;
};

struct Pair {
  using Store = bits;
  using Unit __attribute__((may_alias)) = uint32_t;
  static constexpr int64_t STEP = 2;
};

// Columns of a vector, and rows and columns that operands are rounded up to.
constexpr int64_t LANES = 16;

inline int64_t whole(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Unit (row, step) lies at data[row * along_row + step * along_step].
template <typename U>
struct Left {
  const typename U::Store* data;
  int64_t along_row, along_step;
};

// The 16 units of columns 16 c .. 16 c + 15 at a step begin at data[c * along_columns + step * along_step].
template <typename U>
struct Right {
  const typename U::Store* data;
  int64_t along_columns, along_step;
};

#ifdef HAS_AVX512
#define AVX512BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")))

// R rows times 16 C columns in registers.
template <int R, int C>
AVX512BF16 void product_tile(
    const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_column, int64_t b_step, int64_t steps,
    float* out, int64_t stride, bool add) {
  __m512 sum[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[r][c] = add ? _mm512_loadu_ps(out + r * stride + c * 16) : _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; s++, a += a_step, b += b_step) {
    __m512i right[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) right[c] = _mm512_loadu_si512(b + c * b_column);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      int unit;
      __builtin_memcpy(&unit, a + r * a_row, 4);
      const __m512i left = _mm512_set1_epi32(unit);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) sum[r][c] = _mm512_dpbf16_ps(sum[r][c], (__m512bh)left, (__m512bh)right[c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) _mm512_storeu_ps(out + r * stride + c * 16, sum[r][c]);
}

template <int R, int C>
AVX512 void product_tile(
    const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_column, int64_t b_step, int64_t steps,
    float* out, int64_t stride, bool add) {
  __m512 sum[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[r][c] = add ? _mm512_loadu_ps(out + r * stride + c * 16) : _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; s++, a += a_step, b += b_step) {
    __m512 right[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) right[c] = _mm512_loadu_ps(b + c * b_column);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const __m512 left = _mm512_set1_ps(a[r * a_row]);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) sum[r][c] = _mm512_fmadd_ps(left, right[c], sum[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) _mm512_storeu_ps(out + r * stride + c * 16, sum[r][c]);
}

template <typename Unit, int C>
void product_columns(
    int64_t rows, const Unit* a, int64_t a_row, int64_t a_step, const Unit* b, int64_t b_column, int64_t b_step,
    int64_t steps, float* out, int64_t stride, bool add) {
  const auto tiles = [&](auto count) {
    constexpr int R = decltype(count)::value;
    product_tile<R, C>(a, a_row, a_step, b, b_column, b_step, steps, out, stride, add);
    a += R * a_row;
    out += R * stride;
    rows -= R;
  };
  while (rows >= 6) tiles(std::integral_constant<int, 6>());
  if (rows >= 4) tiles(std::integral_constant<int, 4>());
  if (rows >= 2) tiles(std::integral_constant<int, 2>());
  if (rows >= 1) tiles(std::integral_constant<int, 1>());
}
#endif

// out [rows, columns] = left right, or that added to it, in f32; `columns` is a multiple of 16, a row of
// `out` begins every `stride` numbers. Strides of operands count units.
template <typename U>
void product(
    int64_t rows, int64_t columns, int64_t steps, Left<U> left, Right<U> right, float* out, int64_t stride, bool add) {
  using Unit = typename U::Unit;
#ifdef HAS_AVX512
  if (wide(0)) {
    const auto* a = reinterpret_cast<const Unit*>(left.data);
    const auto* b = reinterpret_cast<const Unit*>(right.data);
    const auto run = [&](auto count, int64_t at) {
      product_columns<Unit, decltype(count)::value>(
          rows, a, left.along_row, left.along_step, b + at / LANES * right.along_columns, right.along_columns,
          right.along_step, steps, out + at, stride, add);
    };
    int64_t at = 0;
    for (; at + 64 <= columns; at += 64) run(std::integral_constant<int, 4>(), at);
    if (columns - at == 48) run(std::integral_constant<int, 3>(), at);
    if (columns - at == 32) run(std::integral_constant<int, 2>(), at);
    if (columns - at == 16) run(std::integral_constant<int, 1>(), at);
    return;
  }
#endif
  if constexpr (U::STEP == 1) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t at = 0; at < columns; at += LANES) {
        float sum[LANES] = {};
        const float *a = left.data + r * left.along_row, *b = right.data + at / LANES * right.along_columns;
        for (int64_t s = 0; s < steps; s++, a += left.along_step, b += right.along_step)
          for (int64_t c = 0; c < LANES; c++) sum[c] += *a * b[c];
        float* to = out + r * stride + at;
        for (int64_t c = 0; c < LANES; c++) to[c] = add ? to[c] + sum[c] : sum[c];
      }
  } else {
    require(false, "this processor does not multiply bf16");
  }
}

// How rows of a tensor are brought into operands; `dim` numbers a row, `room` of them with zeros behind.

// Row by row: [count, room].
template <typename U, typename T>
void lay_rows(const T* x, int64_t stride, int64_t count, int64_t dim, int64_t room, typename U::Store* out) {
  for (int64_t r = 0; r < count; r++, x += stride, out += room) {
    if constexpr (std::is_same_v<T, typename U::Store>) std::memcpy(out, x, dim * sizeof(T));
    else
      for (int64_t i = 0; i < dim; i++) out[i] = widen(x[i]);
    std::fill(out + dim, out + room, typename U::Store(0));
  }
}

// As a right operand that is summed over `dim`, columns being the rows of `x`: tiles [room / STEP, 16, STEP]
// of 16 rows each, the last one filled up with zeros.
template <typename U, typename T>
void lay_columns(const T* x, int64_t stride, int64_t count, int64_t dim, int64_t room, typename U::Store* out) {
  constexpr int64_t S = U::STEP;
  for (int64_t first = 0; first < count; first += LANES, out += LANES * room) {
    const int64_t here = std::min(LANES, count - first);
    if (here < LANES || dim < room) std::fill(out, out + LANES * room, typename U::Store(0));
    for (int64_t j = 0; j < here; j++) {
      const T* row = x + (first + j) * stride;
      if constexpr (S == 1) {
        for (int64_t i = 0; i < dim; i++) out[i * LANES + j] = widen(row[i]);
      } else {
        int64_t i = 0;
        for (; i + S <= dim; i += S) std::memcpy(out + (i / S * LANES + j) * S, row + i, S * sizeof(T));
        for (; i < dim; i++) out[(i / S * LANES + j) * S + i % S] = row[i];
      }
    }
  }
}

// As a right operand that is summed over the rows of `x`, columns being `dim`: [rows / STEP, room, STEP],
// with rows of zeros up to a multiple of 16.
template <typename U, typename T>
void lay_steps(const T* x, int64_t stride, int64_t count, int64_t dim, int64_t room, typename U::Store* out) {
  constexpr int64_t S = U::STEP;
  for (int64_t first = 0; first < whole(count); first += S, out += S * room) {
    if (first + S > count || dim < room) std::fill(out, out + S * room, typename U::Store(0));
    const int64_t here = std::min(S, count - first);
    if constexpr (S == 2) {
      if (here == 2) {
        const T *low = x + first * stride, *high = low + stride;
        for (int64_t i = 0; i < dim; i++) {
          out[2 * i] = low[i];
          out[2 * i + 1] = high[i];
        }
        continue;
      }
    }
    for (int64_t j = 0; j < here; j++)
      for (int64_t i = 0; i < dim; i++)
        if constexpr (std::is_same_v<T, typename U::Store>) out[i * S + j] = x[(first + j) * stride + i];
        else out[i * S + j] = widen(x[(first + j) * stride + i]);
  }
}

}  // namespace
