// Attention over rows that hold token trees, with gradients.
//
// Token i of a row looks at token j of it where j <= i < ends[j]: with the tokens of a tree in depth-first
// order and ends[j] behind the last of j's descendants, these are i's ancestors and i itself. What a block
// of neighbouring queries sees are a few runs of keys; nothing else is computed. As in FlashAttention
// (arXiv 2205.14135) only the logarithm of each query's sum of exponentials is kept, and the backward pass
// computes the scores again.
//
// Every head of every row is one piece of work, done in one order whatever the number of threads.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <vector>

#include "blocks.h"
#include "tree_attention_avx512.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries at a time: with fewer, keys are read too often; with more, too much is masked.
constexpr int64_t BLOCK = 64;

// Keys `first` to `first + count` of a row, both multiples of 16, which lie at `at` among the block's scores.
struct Run {
  int64_t first, count, at;
};

// What one block of queries sees.
struct Block {
  std::vector<Run> runs;
  int64_t width = 0;  // of its scores
};

// The blocks of one row; `ends` has `whole(tokens)` numbers.
std::vector<Block> blocks_of(const int32_t* ends, int64_t tokens) {
  std::vector<Block> blocks;
  for (int64_t start = 0; start < tokens; start += BLOCK) {
    Block block;
    const int64_t behind = std::min(tokens, start + BLOCK);
    for (int64_t tile = 0; tile < behind; tile += LANES) {
      // Some query i of the block with j <= i < ends[j].
      bool seen = false;
      for (int64_t j = tile; j < std::min(tile + LANES, behind); j++) seen |= ends[j] > std::max(start, j);
      if (!seen) continue;
      if (!block.runs.empty() && block.runs.back().first + block.runs.back().count == tile) block.runs.back().count += LANES;
      else block.runs.push_back({tile, LANES, block.width});
      block.width += LANES;
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// The sizes of a call, and what its tokens see.
struct Shape {
  int64_t rows, tokens, heads, kv_heads, dim;
  std::vector<int32_t> ends;               // [rows, whole(tokens)]
  std::vector<std::vector<Block>> blocks;  // of each row
  int64_t widest = LANES;

  int64_t room() const { return whole(dim); }
  int64_t padded() const { return whole(tokens); }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(dim)); }
};

Shape shape_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& ends, int64_t heads, int64_t kv_heads) {
  require(plain(ends, at::kLong) && ends.dim() == 2 && q.dim() == 3, "ends are i64 [rows, tokens], queries [rows, tokens, width]");
  Shape shape{q.size(0), q.size(1), heads, kv_heads, 0, {}, {}};
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "heads must be a multiple of the key heads");
  require(q.size(2) % heads == 0, "queries of another width");
  shape.dim = q.size(2) / heads;
  require(shape.dim > 0 && k.size(2) == kv_heads * shape.dim, "keys of another width");
  require(ends.size(0) == shape.rows && ends.size(1) == shape.tokens, "ends of other tokens");
  const int64_t *given = static_cast<const int64_t*>(ends.const_data_ptr()), padded = shape.padded();
  shape.ends.resize(shape.rows * padded);
  for (int64_t row = 0; row < shape.rows; row++) {
    int32_t* own = shape.ends.data() + row * padded;
    for (int64_t j = 0; j < shape.tokens; j++)
      own[j] = static_cast<int32_t>(std::min(std::max<int64_t>(given[row * shape.tokens + j], 0), shape.tokens));
    shape.blocks.push_back(blocks_of(own, shape.tokens));
    for (const Block& block : shape.blocks.back()) shape.widest = std::max(shape.widest, block.width);
  }
  return shape;
}

// One head's numbers of one row: token t begins at data[t * stride].
template <typename T>
struct Head {
  T* data;
  int64_t stride;
  T* token(int64_t t) const { return data + t * stride; }
};

template <typename T>
Head<const T> head_of(const at::Tensor& t, const Shape& shape, int64_t row, int64_t head) {
  return {static_cast<const T*>(t.const_data_ptr()) + row * t.stride(0) + head * shape.dim, t.stride(1)};
}

template <typename T>
Head<T> head_to(const at::Tensor& t, const Shape& shape, int64_t row, int64_t head) {
  return {static_cast<T*>(t.mutable_data_ptr()) + row * t.stride(0) + head * shape.dim, t.stride(1)};
}

// Scores of query `i` in place to exponentials below their maximum, rounded into `shares`; what is not
// seen becomes 0. Gives maximum and sum.
template <typename S>
void exponentials(
    float* scores, const Block& block, const int32_t* ends, int64_t i, float scale, S* shares, float* most, float* sum) {
#ifdef HAS_AVX512
  if (wide(0)) {
    *most = -std::numeric_limits<float>::infinity();
    for (const Run& run : block.runs)
      *most = std::max(*most, avx512::scale_seen(scores + run.at, ends + run.first, run.first, run.count, i, scale));
    *sum = avx512::exponentials(scores, block.width, *most, shares);
    return;
  }
#endif
  float top = -std::numeric_limits<float>::infinity(), total = 0;
  for (const Run& run : block.runs)
    for (int64_t j = 0; j < run.count; j++) {
      const int64_t key = run.first + j;
      float& score = scores[run.at + j];
      score = key <= i && i < ends[key] ? score * scale : -std::numeric_limits<float>::infinity();
      top = std::max(top, score);
    }
  for (int64_t j = 0; j < block.width; j++) {
    const bool seen = scores[j] != -std::numeric_limits<float>::infinity();
    const float share = seen ? std::exp(scores[j] - top) : 0.0f;
    total += share;
    narrow(share, shares + j);
  }
  *most = top;
  *sum = total;
}

// What the backward pass makes of scores and of the products of values with the output's gradient, for
// U::STEP queries from `i` on: shares, and the gradient of the scores, both with the queries' steps side by
// side; the latter in rows too. `kept` are the logarithms of the sums, `along` the products of each query's
// output with its gradient.
template <typename U>
void score_gradients(
    const float* scores, const float* values, int64_t stride, const Block& block, const int32_t* ends, int64_t i,
    float scale, const float* kept, const float* along, typename U::Store* shares, typename U::Store* grads,
    typename U::Store* rows) {
  constexpr int64_t S = U::STEP;
#ifdef HAS_AVX512
  if (wide(0)) {
    for (const Run& run : block.runs)
      avx512::score_gradients(
          scores + run.at, values + run.at, stride, ends + run.first, run.first, run.count, i, scale, kept, along,
          shares + run.at * S, grads + run.at * S, rows + run.at);
    return;
  }
#endif
  for (int64_t s = 0; s < S; s++)
    for (const Run& run : block.runs)
      for (int64_t j = run.at; j < run.at + run.count; j++) {
        const int64_t key = run.first + j - run.at;
        const bool seen = key <= i + s && i + s < ends[key];
        const float share = seen ? std::exp(scores[s * stride + j] * scale - kept[s]) : 0.0f;
        narrow(share, shares + j * S + s);
        narrow(share * (values[s * stride + j] - along[s]) * scale, grads + j * S + s);
        rows[s * stride + j] = grads[j * S + s];
      }
}

template <typename T, typename U>
void forward_head(
    const Shape& shape, int64_t row, int64_t head, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, float* kept) {
  using Store = typename U::Store;
  constexpr int64_t S = U::STEP;
  const int64_t dim = shape.dim, room = shape.room(), padded = shape.padded(), tokens = shape.tokens;
  const int64_t kv_head = head / (shape.heads / shape.kv_heads);
  const auto query = head_of<T>(q, shape, row, head), key = head_of<T>(k, shape, row, kv_head),
             value = head_of<T>(v, shape, row, kv_head);
  const auto to = head_to<T>(out, shape, row, head);
  std::vector<Store> keys(padded * room), values(padded * room), queries(BLOCK * room), shares(BLOCK * shape.widest);
  std::vector<float> scores(BLOCK * shape.widest), mixed(BLOCK * room);
  lay_columns<U>(key.data, key.stride, tokens, dim, room, keys.data());
  lay_steps<U>(value.data, value.stride, tokens, dim, room, values.data());
  const int32_t* ends = shape.ends.data() + row * padded;
  for (size_t b = 0; b < shape.blocks[row].size(); b++) {
    const Block& block = shape.blocks[row][b];
    const int64_t start = static_cast<int64_t>(b) * BLOCK, here = std::min(BLOCK, tokens - start);
    lay_rows<U>(query.token(start), query.stride, here, dim, room, queries.data());
    for (const Run& run : block.runs)
      product<U>(
          here, run.count, room / S, {queries.data(), room / S, 1},
          {keys.data() + run.first * room, room / S * LANES, LANES}, scores.data() + run.at, block.width, false);
    float sums[BLOCK];
    for (int64_t i = 0; i < here; i++) {
      float most;
      exponentials(
          scores.data() + i * block.width, block, ends, start + i, shape.scale(), shares.data() + i * block.width, &most,
          sums + i);
      kept[start + i] = sums[i] == 0 ? 0.0f : most + std::log(sums[i]);
    }
    std::fill(mixed.begin(), mixed.end(), 0.0f);
    for (const Run& run : block.runs)
      product<U>(
          here, room, run.count / S, {shares.data() + run.at, block.width / S, 1},
          {values.data() + run.first * room, LANES, room}, mixed.data(), room, true);
    for (int64_t i = 0; i < here; i++) {
      // A token that sees nothing, not even itself, gets zeros.
      const float share = sums[i] == 0 ? 0.0f : 1.0f / sums[i];
      T* token = to.token(start + i);
      for (int64_t d = 0; d < dim; d++) narrow(mixed[i * room + d] * share, token + d);
    }
  }
}

template <typename T, typename U>
void backward_head(
    const Shape& shape, int64_t row, int64_t head, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& grad, const float* kept, float* to_keys, float* to_values,
    const at::Tensor& to_q) {
  using Store = typename U::Store;
  constexpr int64_t S = U::STEP;
  const int64_t dim = shape.dim, room = shape.room(), padded = shape.padded(), tokens = shape.tokens;
  const int64_t kv_head = head / (shape.heads / shape.kv_heads), widest = shape.widest;
  const auto query = head_of<T>(q, shape, row, head), key = head_of<T>(k, shape, row, kv_head),
             value = head_of<T>(v, shape, row, kv_head), given = head_of<T>(out, shape, row, head),
             back = head_of<T>(grad, shape, row, head);
  const auto to = head_to<T>(to_q, shape, row, head);
  std::vector<Store> keys(padded * room), key_steps(padded * room), values(padded * room);
  std::vector<Store> queries(BLOCK * room), query_steps(BLOCK * room), backs(BLOCK * room), back_steps(BLOCK * room);
  std::vector<Store> shares(BLOCK * widest), grads(BLOCK * widest), grad_rows(BLOCK * widest);
  std::vector<float> scores(BLOCK * widest), products(BLOCK * widest), turned(BLOCK * room);
  lay_columns<U>(key.data, key.stride, tokens, dim, room, keys.data());
  lay_columns<U>(value.data, value.stride, tokens, dim, room, values.data());
  lay_steps<U>(key.data, key.stride, tokens, dim, room, key_steps.data());
  const int32_t* ends = shape.ends.data() + row * padded;
  for (size_t b = 0; b < shape.blocks[row].size(); b++) {
    const Block& block = shape.blocks[row][b];
    const int64_t start = static_cast<int64_t>(b) * BLOCK, here = std::min(BLOCK, tokens - start), width = block.width;
    // Queries in whole steps: those behind the last see nothing.
    const int64_t stepped = (here + S - 1) / S * S;
    lay_rows<U>(query.token(start), query.stride, here, dim, room, queries.data());
    lay_rows<U>(back.token(start), back.stride, here, dim, room, backs.data());
    lay_steps<U>(query.token(start), query.stride, here, dim, room, query_steps.data());
    lay_steps<U>(back.token(start), back.stride, here, dim, room, back_steps.data());
    float along[BLOCK] = {}, logarithms[BLOCK] = {};
    for (int64_t i = 0; i < here; i++) {
      const T *o = given.token(start + i), *g = back.token(start + i);
      for (int64_t d = 0; d < dim; d++) along[i] += widen(o[d]) * widen(g[d]);
      logarithms[i] = kept[start + i];
    }
    for (const Run& run : block.runs) {
      const Right<U> run_keys{keys.data() + run.first * room, room / S * LANES, LANES};
      const Right<U> run_values{values.data() + run.first * room, room / S * LANES, LANES};
      product<U>(here, run.count, room / S, {queries.data(), room / S, 1}, run_keys, scores.data() + run.at, width, false);
      product<U>(here, run.count, room / S, {backs.data(), room / S, 1}, run_values, products.data() + run.at, width, false);
    }
    for (int64_t i = 0; i < stepped; i += S) {
      // The last step may have a query too many; its scores are whatever was there, and not seen.
      score_gradients<U>(
          scores.data() + i * width, products.data() + i * width, width, block, ends, start + i, shape.scale(),
          logarithms + i, along + i, shares.data() + i * width, grads.data() + i * width, grad_rows.data() + i * width);
    }
    std::fill(turned.begin(), turned.end(), 0.0f);
    for (const Run& run : block.runs) {
      const Left<U> run_shares{shares.data() + run.at * S, 1, width}, run_grads{grads.data() + run.at * S, 1, width};
      product<U>(run.count, room, stepped / S, run_shares, {back_steps.data(), LANES, room}, to_values + run.first * room, room, true);
      product<U>(run.count, room, stepped / S, run_grads, {query_steps.data(), LANES, room}, to_keys + run.first * room, room, true);
      product<U>(
          here, room, run.count / S, {grad_rows.data() + run.at, width / S, 1},
          {key_steps.data() + run.first * room, LANES, room}, turned.data(), room, true);
    }
    for (int64_t i = 0; i < here; i++) {
      T* token = to.token(start + i);
      for (int64_t d = 0; d < dim; d++) narrow(turned[i * room + d], token + d);
    }
  }
}

// Calls `f` with null pointers of the type of a tensor's numbers and of the units that products are of.
template <typename F>
void chosen(const at::Tensor& t, F f) {
  if (t.scalar_type() == at::kFloat) f(static_cast<float*>(nullptr), Single());
  else if (multiplies_bf16()) f(static_cast<bits*>(nullptr), Pair());
  else f(static_cast<bits*>(nullptr), Single());
}

// Tensors whose numbers of a token lie side by side.
at::Tensor lined(const at::Tensor& t, at::ScalarType kind) {
  require(t.device().is_cpu() && t.scalar_type() == kind && t.dim() == 3, "attention takes f32 or bf16 of one type on the CPU");
  return t.stride(2) == 1 ? t : t.contiguous();
}

at::Tensor forward(
    const Shape& shape, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& kept) {
  at::Tensor out = at::empty(q.sizes(), q.options());
  chosen(q, [&](auto* t, auto u) {
    using T = std::remove_pointer_t<decltype(t)>;
    at::parallel_for(0, shape.rows * shape.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; piece++)
        forward_head<T, decltype(u)>(
            shape, piece / shape.heads, piece % shape.heads, q, k, v, out,
            static_cast<float*>(kept.mutable_data_ptr()) + piece * shape.tokens);
    });
  });
  return out;
}

struct TreeAttention : torch::autograd::Function<TreeAttention> {
  static at::Tensor forward(
      AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& ends,
      int64_t heads, int64_t kv_heads) {
    const Shape shape = shape_of(q, k, ends, heads, kv_heads);
    const at::Tensor kept = at::empty({shape.rows, heads, shape.tokens}, q.options().dtype(at::kFloat));
    const at::Tensor out = ::forward(shape, q, k, v, kept);
    context->save_for_backward({q, k, v, out, kept, ends});
    context->saved_data["heads"] = heads;
    context->saved_data["kv_heads"] = kv_heads;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list given) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &kept = saved[4];
    const Shape shape =
        shape_of(q, k, saved[5], context->saved_data["heads"].toInt(), context->saved_data["kv_heads"].toInt());
    const at::Tensor grad = lined(given[0], q.scalar_type());
    at::Tensor to_q = at::empty(q.sizes(), q.options());
    at::Tensor to_k = at::empty(k.sizes(), k.options()), to_v = at::empty(v.sizes(), v.options());
    const int64_t group = shape.heads / shape.kv_heads, padded = shape.padded(), room = shape.room();
    chosen(q, [&](auto* t, auto u) {
      using T = std::remove_pointer_t<decltype(t)>;
      // What each query head adds to the gradients of its keys and values; summed head by head below.
      const int64_t size = padded * room;
      std::vector<float> sums(group > 1 ? 2 * shape.rows * shape.heads * size : 0);
      at::parallel_for(0, shape.rows * shape.heads, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> own(group > 1 ? 0 : 2 * size);
        for (int64_t piece = begin; piece < end; piece++) {
          const int64_t row = piece / shape.heads, head = piece % shape.heads;
          float* to = group > 1 ? sums.data() + 2 * piece * size : own.data();
          std::fill(to, to + 2 * size, 0.0f);
          backward_head<T, decltype(u)>(
              shape, row, head, q, k, v, out, grad, static_cast<const float*>(kept.const_data_ptr()) + piece * shape.tokens,
              to, to + size, to_q);
          if (group == 1) write<T>(shape, row, head, to, size, 1, to_k, to_v);
        }
      });
      if (group > 1)
        at::parallel_for(0, shape.rows * shape.kv_heads, 1, [&](int64_t begin, int64_t end) {
          for (int64_t piece = begin; piece < end; piece++)
            write<T>(
                shape, piece / shape.kv_heads, piece % shape.kv_heads, sums.data() + 2 * piece * group * size, size, group,
                to_k, to_v);
        });
    });
    return {to_q, to_k, to_v, at::Tensor(), at::Tensor(), at::Tensor()};
  }

  // The sums of `group` query heads, keys' and values' in turn, to their key head.
  template <typename T>
  static void write(
      const Shape& shape, int64_t row, int64_t head, const float* sums, int64_t size, int64_t group, const at::Tensor& to_k,
      const at::Tensor& to_v) {
    for (int64_t which = 0; which < 2; which++) {
      const auto to = head_to<T>(which ? to_v : to_k, shape, row, head);
      for (int64_t t = 0; t < shape.tokens; t++)
        for (int64_t d = 0; d < shape.dim; d++) {
          float sum = 0;
          for (int64_t g = 0; g < group; g++) sum += sums[(2 * g + which) * size + t * shape.room() + d];
          narrow(sum, to.token(t) + d);
        }
    }
  }
};

}  // namespace

// Attention of `q` [rows, tokens, heads dim] to `k` and `v` [rows, tokens, kv_heads dim], where `ends`
// [rows, tokens] (i64) says by which tokens each is seen; the result has the shape of `q`.
extern "C" at::Tensor* math_llava_attend_trees(
    const at::Tensor* q, const at::Tensor* k, const at::Tensor* v, const at::Tensor* ends, int64_t heads,
    int64_t kv_heads, char** error) {
  return caught(error, [&] {
    const auto kind = q->scalar_type();
    require(kind == at::kFloat || kind == at::kBFloat16, "attention takes f32 or bf16");
    const at::Tensor queries = lined(*q, kind), keys = lined(*k, kind), values = lined(*v, kind);
    require(
        keys.sizes() == values.sizes() && keys.size(0) == queries.size(0) && keys.size(1) == queries.size(1),
        "queries, keys and values of different tokens");
    const bool recorded =
        at::GradMode::is_enabled() && (queries.requires_grad() || keys.requires_grad() || values.requires_grad());
    if (recorded) return new at::Tensor(TreeAttention::apply(queries, keys, values, *ends, heads, kv_heads));
    const Shape shape = shape_of(queries, keys, *ends, heads, kv_heads);
    const at::Tensor kept = at::empty({shape.rows, heads, shape.tokens}, queries.options().dtype(at::kFloat));
    return new at::Tensor(forward(shape, queries, keys, values, kept));
  });
}
