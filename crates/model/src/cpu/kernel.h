// What every kernel here needs: the choice of loops, bf16 numbers, and errors that reach Rust as text.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "avx512.h"

namespace {

// Which loops run: one binary serves every processor, and chooses when it starts. MATH_LLAVA_CPU=plain
// or avx512 asks for fewer than the processor has, to try what others get.
enum Loops { PLAIN, WIDE, BF16 };

inline Loops loops() {
#ifdef HAS_AVX512
  static const Loops chosen = [] {
    const char* asked = std::getenv("MATH_LLAVA_CPU");
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!has || (asked && std::strcmp(asked, "plain") == 0)) return PLAIN;
    if (asked && std::strcmp(asked, "avx512") == 0) return WIDE;
    return __builtin_cpu_supports("avx512bf16") ? BF16 : WIDE;
  }();
  return chosen;
#else
  return PLAIN;
#endif
}

inline bool wide(int64_t numbers) { return loops() != PLAIN && numbers % 16 == 0; }

inline bool multiplies_bf16() { return loops() == BF16; }

// What `f` returns; null, or false, and the error's text where it throws.
template <typename F>
auto caught(char** error, F f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("an unknown C++ error");
  }
  return {};
}

// The same for what has no gradients: autograd need not look at it.
template <typename F>
auto guarded(char** error, F f) -> decltype(f()) {
  return caught(error, [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return f();
  });
}

inline void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

using bits = uint16_t;  // of a bf16, which is the upper half of an f32

inline float widen(bits x) {
  uint32_t wide = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
inline float widen(float x) { return x; }

// Round to nearest, ties to even; NaN stays NaN.
inline void narrow(float x, bits* to) {
  uint32_t wide;
  std::memcpy(&wide, &x, 4);
  *to = (x != x) ? bits{0x7fc0} : static_cast<bits>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
}
inline void narrow(float x, float* to) { *to = x; }

inline bool plain(const at::Tensor& t, at::ScalarType kind) {
  return t.device().is_cpu() && t.scalar_type() == kind && t.is_contiguous();
}

}  // namespace
