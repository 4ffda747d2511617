// What inference on a CPU needs of libtorch beyond its C API, and kernels it lacks.
//
// libtorch packs a linear layer's weights for oneDNN (`mkldnn::_linear_pointwise`, what its own
// compiler emits), but only its dispatcher can be asked for that. The kernels are those where
// libtorch's many small passes cost more than the work: the attention of one new token per
// conversation over caches of different lengths, and products with quantised weights. What has
// gradients is in fused.cpp and tree_attention.cpp. All run on libtorch's own thread pool.
//
// Every function returns null, or false, and an error text to be freed by `math_llava_free`.

#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>

#include <limits>
#include <vector>

#include "kernel.h"

namespace {

const std::optional<c10::OperatorHandle>& find(const char* name, const char* overload) {
  thread_local std::optional<c10::OperatorHandle> none;
  static const auto pack = c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_linear_weight", ""});
  static const auto linear = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  static const auto binary = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", "binary"});
  if (std::strcmp(name, "pack") == 0) return pack;
  if (std::strcmp(overload, "binary") == 0) return binary;
  return linear;
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

template <typename T>
void quick_gelu(const T* x, T* out, int64_t count) {
  int64_t i = 0;
#ifdef HAS_AVX512
  if (wide(0)) i = avx512::quick_gelu(x, out, count);
#endif
  for (; i < count; i++) {
    const float value = widen(x[i]);
    narrow(value / (1.0f + std::exp(-1.702f * value)), out + i);
  }
}

template <typename T>
void softmax_row(T* x, int64_t count, int64_t seen, float scale, float* room) {
#ifdef HAS_AVX512
  if (wide(0)) return avx512::softmax_row(x, count, seen, scale, room);
#endif
  float most = -std::numeric_limits<float>::infinity(), sum = 0;
  for (int64_t i = 0; i < seen; i++) most = std::max(most, room[i] = widen(x[i]) * scale);
  for (int64_t i = 0; i < seen; i++) sum += room[i] = std::exp(room[i] - most);
  for (int64_t i = 0; i < count; i++) narrow(i < seen ? room[i] / sum : 0.0f, x + i);
}

template <typename T>
void attend_keys(
    const float* q, int64_t group, int64_t dim, const T* k, const T* v, int64_t keys, float* scores,
    float* most, float* total, float* out) {
#ifdef HAS_AVX512
  if (wide(dim) && dim <= 256) return avx512::attend_keys(q, group, dim, k, v, keys, scores, most, total, out);
#endif
  attend_part(q, group, dim, k, v, keys, scores, most, total, out);
}

// To the nearest integer, ties to even, for numbers below 2^22: what lies beyond an f32's last bit of
// 1.5 * 2^23 is rounded away.
inline float round_even(float x) {
  constexpr float shift = 12582912.0f;
  return (x + shift) - shift;
}

// How quantised weights are laid out: blocks of ROWS rows, so that sums do not wait for each other;
// in a block steps of STEP inputs, in a step the rows one after the other. So memory is read in one
// line. In 4 bits each GROUP of inputs shares a scale and a least value (as GGUF's Q4_1), a byte holds
// input i of its group in its low bits and input i + HALF in its high ones, and the scales of a step
// are those of its first group, row by row, then those of its second.
constexpr int64_t ROWS = 8, STEP = 64, GROUP = 32, HALF = GROUP / 2;

// out[r] = sum_i x[i] w[r][i] for a block of rows.
void dot_int8(const float* x, const int8_t* w, int64_t in, float* out) {
  std::fill(out, out + ROWS, 0.0f);
  for (int64_t g = 0; g < in; g += STEP)
    for (int64_t r = 0; r < ROWS; r++, w += STEP)
      for (int64_t i = 0; i < STEP; i++) out[r] += x[g + i] * static_cast<float>(w[i]);
}

// out[r] = sum over groups of scale sum_i x[i] q[i] + least sum_i x[i], for a block of rows. `sums`
// has the last factor of each group; `scales` [steps, 2, ROWS, 2] scale and least value.
void dot_int4(
    const float* x, const float* sums, const uint8_t* w, const bits* scales, int64_t in, float* out) {
  std::fill(out, out + ROWS, 0.0f);
  for (int64_t g = 0; g < in / STEP; g++, scales += 4 * ROWS)
    for (int64_t r = 0; r < ROWS; r++)
      for (int64_t part = 0; part < 2; part++, w += HALF) {
        const float *low = x + g * STEP + part * GROUP, *high = low + HALF;
        const bits* s = scales + (part * ROWS + r) * 2;
        float sum = 0;
        for (int64_t i = 0; i < HALF; i++)
          sum += low[i] * static_cast<float>(w[i] & 15) + high[i] * static_cast<float>(w[i] >> 4);
        out[r] += widen(s[0]) * sum + widen(s[1]) * sums[2 * g + part];
      }
}

// A block of rows times `rows` inputs of `in` numbers: out[n][r].
void dots_int8(const float* x, const int8_t* w, int64_t in, int64_t rows, float* out) {
  int64_t n = 0;
#ifdef HAS_AVX512
  if (wide(in)) {
    for (; n + 2 <= rows; n += 2) avx512::dot_int8<2>(x + n * in, w, in, out + n * ROWS);
    for (; n < rows; n++) avx512::dot_int8<1>(x + n * in, w, in, out + n * ROWS);
  }
#endif
  for (; n < rows; n++) dot_int8(x + n * in, w, in, out + n * ROWS);
}

// `narrow` are the same inputs as `arranged` gives them.
void dots_int4(
    const float* x, const bits* narrow, const float* sums, const uint8_t* w, const bits* scales, int64_t in,
    int64_t rows, float* out) {
  const int64_t groups = in / GROUP;
  int64_t n = 0;
#ifdef HAS_AVX512
  if (multiplies_bf16()) {
    for (; n + 2 <= rows; n += 2)
      avx512::dot_int4_bf16<2>(narrow + n * in, sums + n * groups, w, scales, in, out + n * ROWS);
    for (; n < rows; n++)
      avx512::dot_int4_bf16<1>(narrow + n * in, sums + n * groups, w, scales, in, out + n * ROWS);
  } else if (wide(in)) {
    for (; n + 2 <= rows; n += 2)
      avx512::dot_int4<2>(x + n * in, sums + n * groups, w, scales, in, out + n * ROWS);
    for (; n < rows; n++) avx512::dot_int4<1>(x + n * in, sums + n * groups, w, scales, in, out + n * ROWS);
  }
#endif
  for (; n < rows; n++) dot_int4(x + n * in, sums + n * groups, w, scales, in, out + n * ROWS);
}

void widen_row(const bits* x, float* out, int64_t width) {
  for (int64_t i = 0; i < width; i++) out[i] = widen(x[i]);
}

// A block of rows [ROWS, in] into 8 bits: one scale a row, symmetric.
template <typename T>
void quantise_int8(const T* x, int64_t in, int8_t* out, float* scales) {
  float inverse[ROWS];
  for (int64_t r = 0; r < ROWS; r++) {
    float most = 0;
    for (int64_t i = 0; i < in; i++) most = std::max(most, std::fabs(widen(x[r * in + i])));
    scales[r] = most / 127.0f;
    inverse[r] = most > 0 ? 127.0f / most : 0.0f;
  }
  for (int64_t g = 0; g < in; g += STEP)
    for (int64_t r = 0; r < ROWS; r++, out += STEP)
      for (int64_t i = 0; i < STEP; i++) {
        const float q = round_even(widen(x[r * in + g + i]) * inverse[r]);
        out[i] = static_cast<int8_t>(std::min(127.0f, std::max(-127.0f, q)));
      }
}

// A block of rows into 4 bits, rounded to the scales as they are stored.
template <typename T>
void quantise_int4(const T* x, int64_t in, uint8_t* out, bits* scales) {
  for (int64_t at = 0; at < ROWS * in / GROUP; at++, out += HALF) {
      // Bytes go step by step, row by row, group by group; scales step by step, group by group.
      const int64_t g = at / (2 * ROWS), r = at / 2 % ROWS, part = at % 2;
      const T* from = x + r * in + g * STEP + part * GROUP;
      bits* s = scales + ((g * 2 + part) * ROWS + r) * 2;
      float least = widen(from[0]), most = least;
      for (int64_t i = 0; i < GROUP; i++) {
        least = std::min(least, widen(from[i]));
        most = std::max(most, widen(from[i]));
      }
      narrow((most - least) / 15.0f, s);
      narrow(least, s + 1);
      const float scale = widen(s[0]), start = widen(s[1]), inverse = scale > 0 ? 1.0f / scale : 0.0f;
      uint8_t q[GROUP];
      for (int64_t i = 0; i < GROUP; i++) {
        const float near = round_even((widen(from[i]) - start) * inverse);
        q[i] = static_cast<uint8_t>(std::min(15.0f, std::max(0.0f, near)));
      }
      for (int64_t i = 0; i < HALF; i++) out[i] = static_cast<uint8_t>(q[i] | (q[i + HALF] << 4));
    }
}

// A block of rows back in bf16, row by row.
void spread_int8(const int8_t* w, const float* scales, bits* out, int64_t in) {
#ifdef HAS_AVX512
  if (wide(in)) return avx512::spread_int8(w, scales, out, in);
#endif
  for (int64_t g = 0; g < in; g += STEP)
    for (int64_t r = 0; r < ROWS; r++, w += STEP)
      for (int64_t i = 0; i < STEP; i++) narrow(scales[r] * static_cast<float>(w[i]), out + r * in + g + i);
}

void spread_int4(const uint8_t* w, const bits* scales, bits* out, int64_t in) {
#ifdef HAS_AVX512
  if (wide(in)) return avx512::spread_int4(w, scales, out, in);
#endif
  for (int64_t at = 0; at < ROWS * in / GROUP; at++, w += HALF) {
      const int64_t g = at / (2 * ROWS), r = at / 2 % ROWS, part = at % 2;
      const bits* s = scales + ((g * 2 + part) * ROWS + r) * 2;
      // Sixteen values a group: spread them by a table.
      bits values[16];
      for (int64_t q = 0; q < 16; q++) narrow(widen(s[0]) * static_cast<float>(q) + widen(s[1]), values + q);
      bits* to = out + r * in + g * STEP + part * GROUP;
      for (int64_t i = 0; i < HALF; i++) {
        to[i] = values[w[i] & 15];
        to[i + HALF] = values[w[i] >> 4];
      }
    }
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

// Keys of a part at most: fixed, so that the result does not depend on the number of threads.
constexpr int64_t PART = 256;

// Keys and values of one key head that a row sees: some of a shared run of tokens, or of its own.
template <typename T>
struct Seen {
  const T *k, *v;
  int64_t keys, row, head;
};

template <typename T>
struct Cache {
  T *keys, *values;     // [slots, kv_heads, room, dim]
  int64_t kv_heads, room, dim;
};

// A run of tokens that several rows stand on: [1, kv_heads, tokens, dim].
template <typename T>
struct Run {
  const T *keys, *values;
  int64_t tokens;
};

// The parts of `count` keys from `first` on of a head that lies at `k` and `v`.
template <typename T>
void add_parts(std::vector<Seen<T>>& parts, const T* k, const T* v, int64_t first, int64_t count, int64_t dim, int64_t row, int64_t head) {
  for (int64_t at = first; at < count; at += PART)
    parts.push_back({k + at * dim, v + at * dim, std::min(PART, count - at), row, head});
}

template <typename T>
void attend_new(
    const T* qkv, const T* cos, const T* sin, const Cache<T>& cache, const std::vector<Run<T>>& runs,
    const int64_t* starts, const int64_t* of_row, const int64_t* slots, const int64_t* lengths,
    const int64_t* hidden, T* out, int64_t rows, int64_t heads, float scale) {
  const int64_t dim = cache.dim, kv_heads = cache.kv_heads;
  const int64_t group = heads / kv_heads, width = (heads + 2 * kv_heads) * dim;
  std::vector<float> q(rows * heads * dim);
  std::vector<T> turned(dim);
  std::vector<Seen<T>> parts;
  std::vector<int64_t> ends;  // of each row's and key head's parts
  for (int64_t row = 0; row < rows; row++) {
    const T* in = qkv + row * width;
    const T *c = cos + row * dim, *s = sin + row * dim;
    for (int64_t head = 0; head < heads; head++) {
      rotate(in + head * dim, c, s, dim, turned.data());
      float* to = q.data() + (row * heads + head) * dim;
      for (int64_t i = 0; i < dim; i++) to[i] = widen(turned[i]) * scale;
    }
    for (int64_t head = 0; head < kv_heads; head++) {
      const int64_t own = (slots[row] * kv_heads + head) * cache.room * dim, at = own + lengths[row] * dim;
      rotate(in + (heads + head) * dim, c, s, dim, cache.keys + at);
      std::memcpy(cache.values + at, in + (heads + kv_heads + head) * dim, dim * sizeof(T));
      int64_t skip = hidden[row];
      for (int64_t i = starts[row]; i < starts[row + 1]; i++) {
        const Run<T>& run = runs[of_row[i]];
        const int64_t from = head * run.tokens * dim;
        add_parts(parts, run.keys + from, run.values + from, std::min(skip, run.tokens), run.tokens, dim, row, head);
        skip = std::max<int64_t>(0, skip - run.tokens);
      }
      add_parts<T>(parts, cache.keys + own, cache.values + own, std::min(skip, lengths[row]), lengths[row] + 1, dim, row, head);
      ends.push_back(static_cast<int64_t>(parts.size()));
    }
  }
  const int64_t count = static_cast<int64_t>(parts.size());
  std::vector<float> partial(count * group * dim), most(count * group), total(count * group);
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(PART);
    for (int64_t part = begin; part < end; part++) {
      const Seen<T>& seen = parts[part];
      attend_keys(
          q.data() + (seen.row * heads + seen.head * group) * dim, group, dim, seen.k, seen.v, seen.keys,
          scores.data(), most.data() + part * group, total.data() + part * group, partial.data() + part * group * dim);
    }
  });
  std::vector<float> mixed(dim);
  int64_t first = 0;
  for (size_t which = 0; which < ends.size(); first = ends[which++]) {
    const int64_t row = which / kv_heads, head = which % kv_heads;
    for (int64_t g = 0; g < group; g++) {
      float highest = most[first * group + g];
      for (int64_t part = first; part < ends[which]; part++) highest = std::max(highest, most[part * group + g]);
      float sum = 0;
      std::fill(mixed.begin(), mixed.end(), 0.0f);
      for (int64_t part = first; part < ends[which]; part++) {
        const float weight = std::exp(most[part * group + g] - highest);
        sum += weight * total[part * group + g];
        const float* from = partial.data() + (part * group + g) * dim;
        for (int64_t i = 0; i < dim; i++) mixed[i] += weight * from[i];
      }
      T* to = out + (row * heads + head * group + g) * dim;
      for (int64_t i = 0; i < dim; i++) narrow(mixed[i] / sum, to + i);
    }
  }
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

// `activation(x W^T + b)`; the activation is "none" or "gelu" with algorithm "none" or
// "tanh".
at::Tensor* math_llava_linear(
    const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, const char* activation,
    const char* algorithm, char** error) {
  return guarded(error, [&] {
    using Form = at::Tensor(
        const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
        c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
    static const auto op = find("linear", "")->typed<Form>();
    static const c10::List<std::optional<at::Scalar>> none;
    const std::optional<at::Tensor> with = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
    return new at::Tensor(op.call(*x, *weight, with, activation, none, std::string_view(algorithm)));
  });
}

// `(x W^T + b) + other`.
at::Tensor* math_llava_linear_added(
    const at::Tensor* x, const at::Tensor* other, const at::Tensor* weight, const at::Tensor* bias,
    char** error) {
  return guarded(error, [&] {
    using Form = at::Tensor(
        const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view);
    static const auto op = find("linear", "binary")->typed<Form>();
    const std::optional<at::Tensor> with = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
    return new at::Tensor(op.call(*x, *other, *weight, with, "add"));
  });
}

// x sigmoid(1.702 x), CLIP's activation.
at::Tensor* math_llava_quick_gelu(const at::Tensor* x, char** error) {
  return guarded(error, [&] {
    const auto kind = x->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "quick GELU takes f32 or bf16");
    require(plain(*x, kind), "quick GELU takes whole tensors");
    at::Tensor out = at::empty(x->sizes(), x->options());
    const auto run = [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T* from = static_cast<const T*>(x->const_data_ptr());
      T* to = static_cast<T*>(out.mutable_data_ptr());
      at::parallel_for(0, x->numel(), 32768, [&](int64_t begin, int64_t end) {
        quick_gelu(from + begin, to + begin, end - begin);
      });
    };
    if (kind == at::kFloat) run(static_cast<float*>(nullptr));
    else run(static_cast<bits*>(nullptr));
    return new at::Tensor(out);
  });
}

// Softmax over the last dimension of `x` times `scale`, in place. With a `period` row r sees the first
// `first + r % period + 1` scores only: queries that follow one another.
bool math_llava_softmax(const at::Tensor* x, double scale, int64_t period, int64_t first, char** error) {
  return guarded(error, [&] {
    const auto kind = x->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "softmax takes f32 or bf16");
    require(plain(*x, kind) && x->dim() > 0, "softmax takes whole tensors");
    const int64_t count = x->size(-1), rows = count ? x->numel() / count : 0;
    require(period >= 0 && first >= 0 && (period == 0 || first + period <= count), "softmax of another shape");
    const auto run = [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      T* at = static_cast<T*>(x->mutable_data_ptr());
      at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(count, 1)), [&](int64_t begin, int64_t end) {
        std::vector<float> room(count);
        for (int64_t r = begin; r < end; r++)
          softmax_row(at + r * count, count, period ? first + r % period + 1 : count, static_cast<float>(scale), room.data());
      });
    };
    if (kind == at::kFloat) run(static_cast<float*>(nullptr));
    else run(static_cast<bits*>(nullptr));
    return true;
  });
}

// One new token of each of several conversations: turns queries and keys of `qkv`
// [rows, (heads + 2 kv_heads) dim] by `cos` and `sin` [rows, dim], writes key and value into the
// caches [slots, kv_heads, room, dim] at slot `slots[row]`, place `lengths[row]`, and attends to what
// the row stands on and to its own tokens up to there, without the first `hidden[row]` of all:
// [rows, heads dim]. What a row stands on are the runs `of_row[starts[row] .. starts[row + 1]]`, with
// keys `runs[2 i]` and values `runs[2 i + 1]` [1, kv_heads, tokens, dim].
at::Tensor* math_llava_attend(
    const at::Tensor* qkv, const at::Tensor* cos, const at::Tensor* sin, const at::Tensor* keys,
    const at::Tensor* values, const at::Tensor* const* runs, int64_t run_count, const int64_t* starts,
    const int64_t* of_row, const int64_t* slots, const int64_t* lengths, const int64_t* hidden, int64_t heads,
    char** error) {
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
    for (int64_t i = 0; i < run_count; i++) {
      const at::Tensor &k = *runs[2 * i], &v = *runs[2 * i + 1];
      require(plain(k, kind) && plain(v, kind) && k.dim() == 4 && k.sizes() == v.sizes(), "a run of another form");
      require(k.size(0) == 1 && k.size(1) == kv_heads && k.size(3) == dim, "a run of another shape");
    }
    require(starts[0] == 0, "runs begin elsewhere");
    for (int64_t row = 0; row < rows; row++) {
      require(
          slots[row] >= 0 && slots[row] < keys->size(0) && lengths[row] >= 0 && lengths[row] < room && hidden[row] >= 0,
          "a conversation outside the cache");
      require(starts[row] <= starts[row + 1], "runs out of order");
      for (int64_t i = starts[row]; i < starts[row + 1]; i++)
        require(of_row[i] >= 0 && of_row[i] < run_count, "a row stands on a run that is not there");
    }
    at::Tensor out = at::empty({rows, heads * dim}, qkv->options());
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    const auto run = [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      std::vector<Run<T>> typed;
      for (int64_t i = 0; i < run_count; i++)
        typed.push_back(
            {static_cast<const T*>(runs[2 * i]->const_data_ptr()),
             static_cast<const T*>(runs[2 * i + 1]->const_data_ptr()), runs[2 * i]->size(2)});
      const Cache<T> cache{
          static_cast<T*>(keys->mutable_data_ptr()), static_cast<T*>(values->mutable_data_ptr()), kv_heads, room, dim};
      attend_new<T>(
          static_cast<const T*>(qkv->const_data_ptr()), static_cast<const T*>(cos->const_data_ptr()),
          static_cast<const T*>(sin->const_data_ptr()), cache, typed, starts, of_row, slots, lengths, hidden,
          static_cast<T*>(out.mutable_data_ptr()), rows, heads, scale);
    };
    if (kind == at::kFloat) run(static_cast<float*>(nullptr));
    else run(static_cast<bits*>(nullptr));
    return new at::Tensor(out);
  });
}

// What quantised weights must be: `w` int8 [out, in] with f32 scales [out], or uint8 [out, in / 2] with
// bf16 scales [out * in / GROUP, 2], both laid out in blocks.
static int64_t check_quantised(const at::Tensor& w, const at::Tensor& scales) {
  const bool four = w.scalar_type() == at::kByte;
  require(plain(w, four ? at::kByte : at::kChar) && w.dim() == 2, "not a quantised weight");
  require(plain(scales, four ? at::kBFloat16 : at::kFloat), "not the weight's scales");
  const int64_t outs = w.size(0), in = four ? w.size(1) * 2 : w.size(1);
  require(outs % ROWS == 0 && in % STEP == 0, "quantised weights have whole blocks");
  require(scales.numel() == (four ? outs * (in / GROUP) * 2 : outs), "scales of another shape");
  return in;
}

// A weight [out, in], f32 or bf16, in 8 or 4 bits, into `w` and `scales` of the shapes that products
// take. NaN weights give some number.
bool math_llava_quantise(const at::Tensor* x, const at::Tensor* w, const at::Tensor* scales, char** error) {
  return guarded(error, [&] {
    const bool four = w->scalar_type() == at::kByte;
    const int64_t in = check_quantised(*w, *scales), outs = w->size(0), groups = in / GROUP;
    const auto kind = x->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "weights to be quantised are f32 or bf16");
    require(plain(*x, kind) && x->dim() == 2 && x->size(0) == outs && x->size(1) == in, "a weight of another shape");
    const auto run = [&](const auto* from) {
      at::parallel_for(0, outs / ROWS, 1, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; block++) {
          const int64_t first = block * ROWS;
          if (four)
            quantise_int4(
                from + first * in, in, static_cast<uint8_t*>(w->mutable_data_ptr()) + first * in / 2,
                static_cast<bits*>(scales->mutable_data_ptr()) + first * groups * 2);
          else
            quantise_int8(
                from + first * in, in, static_cast<int8_t*>(w->mutable_data_ptr()) + first * in,
                static_cast<float*>(scales->mutable_data_ptr()) + first);
        }
      });
    };
    if (kind == at::kFloat) run(static_cast<const float*>(x->const_data_ptr()));
    else run(static_cast<const bits*>(x->const_data_ptr()));
    return true;
  });
}

// `x W^T`; `x` is [rows, in] in bf16, for few rows: each reads its weights from the cache again.
at::Tensor* math_llava_quantised(const at::Tensor* x, const at::Tensor* w, const at::Tensor* scales, char** error) {
  return guarded(error, [&] {
    const bool four = w->scalar_type() == at::kByte;
    const int64_t in = check_quantised(*w, *scales), outs = w->size(0), groups = in / GROUP;
    require(plain(*x, at::kBFloat16) && x->dim() == 2 && x->size(1) == in, "quantised products take bf16 [rows, in]");
    const int64_t rows = x->size(0);
    at::Tensor out = at::empty({rows, outs}, x->options());
    std::vector<float> wide(rows * in), sums(four ? rows * groups : 0);
    widen_row(static_cast<const bits*>(x->const_data_ptr()), wide.data(), rows * in);
    for (size_t g = 0; g < sums.size(); g++)
      for (int64_t i = 0; i < GROUP; i++) sums[g] += wide[g * GROUP + i];
    std::vector<bits> arranged(four && multiplies_bf16() ? rows * in : 0);
#ifdef HAS_AVX512
    if (!arranged.empty()) avx512::arrange_int4(static_cast<const bits*>(x->const_data_ptr()), rows * in, arranged.data());
#endif
    bits* to = static_cast<bits*>(out.mutable_data_ptr());
    const auto run = [&](int64_t begin, int64_t end) {
      std::vector<float> dots(rows * ROWS);
      for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * ROWS;
        const float* s = nullptr;
        if (four) {
          dots_int4(
              wide.data(), arranged.data(), sums.data(), static_cast<const uint8_t*>(w->const_data_ptr()) + first * in / 2,
              static_cast<const bits*>(scales->const_data_ptr()) + first * groups * 2, in, rows, dots.data());
        } else {
          s = static_cast<const float*>(scales->const_data_ptr()) + first;
          dots_int8(wide.data(), static_cast<const int8_t*>(w->const_data_ptr()) + first * in, in, rows, dots.data());
        }
        for (int64_t r = 0; r < rows; r++)
          for (int64_t i = 0; i < ROWS; i++)
            narrow(dots[r * ROWS + i] * (s ? s[i] : 1.0f), to + r * outs + first + i);
      }
    };
    at::parallel_for(0, outs / ROWS, std::max<int64_t>(1, 65536 / (in * ROWS)), run);
    return new at::Tensor(out);
  });
}

// The weight [out, in] in bf16 that a quantised one stands for.
at::Tensor* math_llava_dequantise(const at::Tensor* w, const at::Tensor* scales, char** error) {
  return guarded(error, [&] {
    const bool four = w->scalar_type() == at::kByte;
    const int64_t in = check_quantised(*w, *scales), outs = w->size(0), groups = in / GROUP;
    at::Tensor out = at::empty({outs, in}, scales->options().dtype(at::kBFloat16));
    bits* to = static_cast<bits*>(out.mutable_data_ptr());
    at::parallel_for(0, outs / ROWS, std::max<int64_t>(1, 65536 / (in * ROWS)), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * ROWS;
        if (four)
          spread_int4(
              static_cast<const uint8_t*>(w->const_data_ptr()) + first * in / 2,
              static_cast<const bits*>(scales->const_data_ptr()) + first * groups * 2, to + first * in, in);
        else
          spread_int8(
              static_cast<const int8_t*>(w->const_data_ptr()) + first * in,
              static_cast<const float*>(scales->const_data_ptr()) + first, to + first * in, in);
      }
    });
    return new at::Tensor(out);
  });
}

}  // extern "C"
