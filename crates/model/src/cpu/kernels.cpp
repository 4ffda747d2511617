// What inference on a CPU needs of libtorch beyond its C API, and three kernels it lacks.
//
// libtorch packs a linear layer's weights for oneDNN (`mkldnn::_linear_pointwise`, what its own
// compiler emits), but only its dispatcher can be asked for that. The kernels are those where
// libtorch's many small passes cost more than the work: RMSNorm, and the attention of one new token
// per conversation over caches of different lengths. They run on libtorch's own thread pool.
//
// Every function returns null, or false, and an error text to be freed by `math_llava_free`.

#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

// One binary for every processor: the widest version is chosen when it starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define WIDEST
#endif

namespace {

template <typename F>
auto guarded(char** error, F f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("an unknown C++ error");
  }
  return {};
}

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

const std::optional<c10::OperatorHandle>& find(const char* name, const char* overload) {
  thread_local std::optional<c10::OperatorHandle> none;
  static const auto pack = c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_linear_weight", ""});
  static const auto linear = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  static const auto binary = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", "binary"});
  if (std::strcmp(name, "pack") == 0) return pack;
  if (std::strcmp(overload, "binary") == 0) return binary;
  return linear;
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

template <typename T>
inline void rms_norm_row(const T* x, const T* weight, T* out, int64_t width, float eps) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; i++) sum += widen(x[i]) * widen(x[i]);
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
#pragma omp simd
  for (int64_t i = 0; i < width; i++) narrow(widen(x[i]) * scale * widen(weight[i]), out + i);
}

// A part of the keys of one key head, for the queries that share it: running maximum, sum of
// exponentials and weighted values, to be merged with the other parts'.
template <typename T>
inline void attend_part(
    const float* q, int64_t group, int64_t dim, const T* k, const T* v, int64_t keys, float* scores,
    float* most, float* total, float* out) {
  for (int64_t g = 0; g < group; g++) {
    const float* query = q + g * dim;
    float highest = -std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < keys; j++) {
      const T* key = k + j * dim;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < dim; i++) dot += query[i] * widen(key[i]);
      scores[j] = dot;
      highest = std::max(highest, dot);
    }
    float sum = 0;
    for (int64_t j = 0; j < keys; j++) {
      scores[j] = std::exp(scores[j] - highest);
      sum += scores[j];
    }
    float* to = out + g * dim;
    std::fill(to, to + dim, 0.0f);
    for (int64_t j = 0; j < keys; j++) {
      const T* value = v + j * dim;
      const float share = scores[j];
#pragma omp simd
      for (int64_t i = 0; i < dim; i++) to[i] += share * widen(value[i]);
    }
    most[g] = highest;
    total[g] = sum;
  }
}

WIDEST void rms_norm_rows(const float* x, const float* w, float* out, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; r++) rms_norm_row(x + r * width, w, out + r * width, width, eps);
}
WIDEST void rms_norm_rows(const bits* x, const bits* w, bits* out, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; r++) rms_norm_row(x + r * width, w, out + r * width, width, eps);
}
WIDEST void attend_keys(
    const float* q, int64_t group, int64_t dim, const float* k, const float* v, int64_t keys,
    float* scores, float* most, float* total, float* out) {
  attend_part(q, group, dim, k, v, keys, scores, most, total, out);
}
WIDEST void attend_keys(
    const float* q, int64_t group, int64_t dim, const bits* k, const bits* v, int64_t keys,
    float* scores, float* most, float* total, float* out) {
  attend_part(q, group, dim, k, v, keys, scores, most, total, out);
}

// Halves of a head are the pairs that turn; what is returned is rounded to T as it is stored.
template <typename T>
inline void rotate(const T* x, const T* cos, const T* sin, int64_t dim, T* out) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; i++) {
    const float a = widen(x[i]), b = widen(x[i + half]);
    narrow(a * widen(cos[i]) - b * widen(sin[i]), out + i);
    narrow(b * widen(cos[i + half]) + a * widen(sin[i + half]), out + i + half);
  }
}

// Keys of a part: fixed, so that the result does not depend on the number of threads.
constexpr int64_t PART = 256;

template <typename T>
void attend_new(
    const T* qkv, const T* cos, const T* sin, T* keys, T* values, const int64_t* slots,
    const int64_t* lengths, T* out, int64_t rows, int64_t heads, int64_t kv_heads, int64_t dim,
    int64_t room, float scale) {
  const int64_t group = heads / kv_heads, width = (heads + 2 * kv_heads) * dim;
  std::vector<float> q(rows * heads * dim);
  std::vector<T> turned(dim);
  int64_t parts = 1;
  for (int64_t row = 0; row < rows; row++) {
    const T* in = qkv + row * width;
    const T *c = cos + row * dim, *s = sin + row * dim;
    for (int64_t head = 0; head < heads; head++) {
      rotate(in + head * dim, c, s, dim, turned.data());
      float* to = q.data() + (row * heads + head) * dim;
      for (int64_t i = 0; i < dim; i++) to[i] = widen(turned[i]) * scale;
    }
    for (int64_t head = 0; head < kv_heads; head++) {
      const int64_t at = ((slots[row] * kv_heads + head) * room + lengths[row]) * dim;
      rotate(in + (heads + head) * dim, c, s, dim, keys + at);
      std::memcpy(values + at, in + (heads + kv_heads + head) * dim, dim * sizeof(T));
    }
    parts = std::max(parts, lengths[row] / PART + 1);
  }
  const int64_t tasks = rows * kv_heads * parts;
  std::vector<float> partial(tasks * group * dim), most(tasks * group), total(tasks * group);
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(PART);
    for (int64_t task = begin; task < end; task++) {
      const int64_t part = task % parts, head = task / parts % kv_heads, row = task / parts / kv_heads;
      const int64_t from = part * PART, count = std::min(PART, lengths[row] + 1 - from);
      if (count <= 0) continue;
      const int64_t at = ((slots[row] * kv_heads + head) * room + from) * dim;
      attend_keys(
          q.data() + (row * heads + head * group) * dim, group, dim, keys + at, values + at, count,
          scores.data(), most.data() + task * group, total.data() + task * group,
          partial.data() + task * group * dim);
    }
  });
  for (int64_t row = 0; row < rows; row++) {
    const int64_t used = lengths[row] / PART + 1;
    for (int64_t head = 0; head < heads; head++) {
      const int64_t first = (row * kv_heads + head / group) * parts;
      const auto index = [&](int64_t part) { return (first + part) * group + head % group; };
      float highest = most[index(0)];
      for (int64_t part = 1; part < used; part++) highest = std::max(highest, most[index(part)]);
      float sum = 0;
      std::vector<float> mixed(dim, 0.0f);
      for (int64_t part = 0; part < used; part++) {
        const float weight = std::exp(most[index(part)] - highest);
        sum += weight * total[index(part)];
        const float* from = partial.data() + index(part) * dim;
        for (int64_t i = 0; i < dim; i++) mixed[i] += weight * from[i];
      }
      for (int64_t i = 0; i < dim; i++) narrow(mixed[i] / sum, out + (row * heads + head) * dim + i);
    }
  }
}

bool plain(const at::Tensor& t, at::ScalarType kind) {
  return t.device().is_cpu() && t.scalar_type() == kind && t.is_contiguous();
}

}  // namespace

extern "C" {

void math_llava_free(char* text) { std::free(text); }

// Whether libtorch was built with oneDNN.
bool math_llava_can_pack() { return find("pack", "") && find("linear", "") && find("linear", "binary"); }

// A linear layer's weight [out, in] in oneDNN's blocks, laid out for products of `rows` rows.
at::Tensor* math_llava_pack(const at::Tensor* weight, int64_t rows, char** error) {
  return guarded(error, [&] {
    torch::jit::Stack stack{*weight, rows};
    find("pack", "")->callBoxed(&stack);
    return new at::Tensor(stack.at(0).toTensor());
  });
}

// `activation(x W^T + b)`; the activation is "none", "swish" or "gelu" with algorithm "none" or
// "tanh".
at::Tensor* math_llava_linear(
    const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, const char* activation,
    const char* algorithm, char** error) {
  return guarded(error, [&] {
    torch::jit::Stack stack{
        *x, *weight, bias ? c10::IValue(*bias) : c10::IValue(), std::string(activation),
        c10::List<std::optional<at::Scalar>>(), std::string(algorithm)};
    find("linear", "")->callBoxed(&stack);
    return new at::Tensor(stack.at(0).toTensor());
  });
}

// `(x W^T + b) + other`, or times it: "add" or "mul".
at::Tensor* math_llava_linear_with(
    const at::Tensor* x, const at::Tensor* other, const at::Tensor* weight, const at::Tensor* bias,
    const char* operation, char** error) {
  return guarded(error, [&] {
    torch::jit::Stack stack{
        *x, *other, *weight, bias ? c10::IValue(*bias) : c10::IValue(), std::string(operation)};
    find("linear", "binary")->callBoxed(&stack);
    return new at::Tensor(stack.at(0).toTensor());
  });
}

// RMSNorm over the last dimension; f32 inside.
at::Tensor* math_llava_rms_norm(const at::Tensor* x, const at::Tensor* weight, double eps, char** error) {
  return guarded(error, [&] {
    const auto kind = x->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "RMSNorm takes f32 or bf16");
    require(plain(*x, kind) && plain(*weight, kind), "RMSNorm takes whole tensors of one type");
    const int64_t width = weight->numel(), rows = width ? x->numel() / width : 0;
    require(x->dim() > 0 && x->size(-1) == width, "RMSNorm of another width");
    at::Tensor out = at::empty(x->sizes(), x->options());
    const float e = static_cast<float>(eps);
    at::parallel_for(0, rows, std::max<int64_t>(1, 32768 / width), [&](int64_t begin, int64_t end) {
      const int64_t at = begin * width;
      if (kind == at::kFloat) {
        rms_norm_rows(
            static_cast<const float*>(x->const_data_ptr()) + at, static_cast<const float*>(weight->const_data_ptr()),
            static_cast<float*>(out.mutable_data_ptr()) + at, end - begin, width, e);
      } else {
        rms_norm_rows(
            static_cast<const bits*>(x->const_data_ptr()) + at, static_cast<const bits*>(weight->const_data_ptr()),
            static_cast<bits*>(out.mutable_data_ptr()) + at, end - begin, width, e);
      }
    });
    return new at::Tensor(out);
  });
}

// One new token of each of several conversations: turns queries and keys of `qkv`
// [rows, (heads + 2 kv_heads) dim] by `cos` and `sin` [rows, dim], writes key and value into the
// caches [slots, kv_heads, room, dim] at slot `slots[row]`, place `lengths[row]`, and attends to all
// up to there: [rows, heads dim].
at::Tensor* math_llava_attend(
    const at::Tensor* qkv, const at::Tensor* cos, const at::Tensor* sin, const at::Tensor* keys,
    const at::Tensor* values, const int64_t* slots, const int64_t* lengths, int64_t heads, char** error) {
  return guarded(error, [&] {
    const auto kind = qkv->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "attention takes f32 or bf16");
    for (const at::Tensor* t : {qkv, cos, sin, keys, values})
      require(plain(*t, kind), "attention takes whole tensors of one type");
    require(keys->dim() == 4 && keys->sizes() == values->sizes(), "caches of different shapes");
    require(qkv->dim() == 2, "queries are [rows, width]");
    const int64_t rows = qkv->size(0), kv_heads = keys->size(1), room = keys->size(2), dim = keys->size(3);
    require(kv_heads > 0 && heads % kv_heads == 0, "heads must be a multiple of the key heads");
    require(qkv->size(1) == (heads + 2 * kv_heads) * dim, "queries of another width");
    require(cos->numel() == rows * dim && sin->numel() == rows * dim, "angles of another shape");
    for (int64_t row = 0; row < rows; row++)
      require(
          slots[row] >= 0 && slots[row] < keys->size(0) && lengths[row] >= 0 && lengths[row] < room,
          "a conversation outside the cache");
    at::Tensor out = at::empty({rows, heads * dim}, qkv->options());
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    const auto run = [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      attend_new<T>(
          static_cast<const T*>(qkv->const_data_ptr()), static_cast<const T*>(cos->const_data_ptr()),
          static_cast<const T*>(sin->const_data_ptr()), static_cast<T*>(keys->mutable_data_ptr()),
          static_cast<T*>(values->mutable_data_ptr()), slots, lengths, static_cast<T*>(out.mutable_data_ptr()),
          rows, heads, kv_heads, dim, room, scale);
    };
    if (kind == at::kFloat) run(static_cast<float*>(nullptr));
    else run(static_cast<bits*>(nullptr));
    return new at::Tensor(out);
  });
}

}  // extern "C"
