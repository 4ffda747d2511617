// The elementwise operations of a decoder layer, each in one pass and with gradients: RMSNorm, SwiGLU
// and the rotary turn of queries and keys.
//
// libtorch makes several passes of each, and keeps what stands between them for the backward pass;
// here only the inputs are kept. Numbers are f32 or bf16 and everything is computed in f32. The same
// loops run with and without gradients, so that a layer run again gives the same bits; no sum depends
// on the number of threads.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "fused_avx512.h"
#include "kernel.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows whose numbers lie side by side, at equal distances from each other.
struct Lines {
  at::Tensor tensor;  // keeps the memory
  int64_t rows, width, stride;
};

// A tensor seen as rows of its last dimension; copied where its rows are not at equal distances.
Lines lines(const at::Tensor& x, const char* what) {
  const auto kind = x.scalar_type();
  require(x.device().is_cpu() && (kind == at::kFloat || kind == at::kBFloat16) && x.dim() > 0, what);
  const int64_t last = x.dim() - 1, width = x.size(last);
  bool even = x.stride(last) == 1;
  for (int64_t d = last - 2; d >= 0 && even; d--) even = x.stride(d) == x.stride(d + 1) * x.size(d + 1);
  const at::Tensor whole = even ? x : x.contiguous();
  return {whole, width ? x.numel() / width : 0, width, last > 0 ? whole.stride(last - 1) : width};
}

template <typename T>
const T* from(const Lines& l, int64_t row) {
  return static_cast<const T*>(l.tensor.const_data_ptr()) + row * l.stride;
}

template <typename T>
T* into(const at::Tensor& t, int64_t at) {
  return static_cast<T*>(t.mutable_data_ptr()) + at;
}

// Rows that one thread takes at least.
int64_t grain(int64_t width) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(width, 1)); }

// Calls `f` with a null pointer of the type of a tensor's numbers.
template <typename F>
void typed(const at::Tensor& t, F f) {
  if (t.scalar_type() == at::kFloat) f(static_cast<float*>(nullptr));
  else f(static_cast<bits*>(nullptr));
}

template <typename P>
using Pointed = std::remove_pointer_t<P>;

bool recorded(std::initializer_list<at::Tensor> inputs) {
  if (!at::GradMode::is_enabled()) return false;
  return std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& t) { return t.requires_grad(); });
}

// --- RMSNorm: x / sqrt(mean(x^2) + eps) * weight ---

template <typename T, typename W>
void norm_row(const T* x, const W* weight, T* out, int64_t width, float eps) {
#ifdef HAS_AVX512
  if (wide(width)) return avx512::norm_row(x, weight, out, width, eps);
#endif
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; i++) sum += widen(x[i]) * widen(x[i]);
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
#pragma omp simd
  for (int64_t i = 0; i < width; i++) narrow(widen(x[i]) * scale * widen(weight[i]), out + i);
}

// The gradient of a row, and what it adds to the weight's.
template <typename T, typename W>
void norm_row_back(const T* x, const W* weight, const T* grad, T* to_x, float* to_weight, int64_t width, float eps) {
#ifdef HAS_AVX512
  if (wide(width)) return avx512::norm_row_back(x, weight, grad, to_x, to_weight, width, eps);
#endif
  float squares = 0, along = 0;
#pragma omp simd reduction(+ : squares, along)
  for (int64_t i = 0; i < width; i++) {
    const float value = widen(x[i]);
    squares += value * value;
    along += value * widen(grad[i]) * widen(weight[i]);
  }
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
  const float pull = scale * scale * scale * along / static_cast<float>(width);
#pragma omp simd
  for (int64_t i = 0; i < width; i++) {
    const float value = widen(x[i]), g = widen(grad[i]);
    to_weight[i] += g * value * scale;
    narrow(g * widen(weight[i]) * scale - value * pull, to_x + i);
  }
}

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const Lines in = lines(x, "RMSNorm takes f32 or bf16 on the CPU"), w = lines(weight, "RMSNorm's weight is f32 or bf16");
  require(weight.dim() == 1 && in.width == w.width, "RMSNorm of another width");
  at::Tensor out = at::empty(x.sizes(), x.options());
  const float e = static_cast<float>(eps);
  typed(x, [&](auto* t) {
    typed(weight, [&](auto* v) {
      using T = Pointed<decltype(t)>;
      using W = Pointed<decltype(v)>;
      at::parallel_for(0, in.rows, grain(in.width), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++)
          norm_row(from<T>(in, r), from<W>(w, 0), into<T>(out, r * in.width), in.width, e);
      });
    });
  });
  return out;
}

struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    return norm(x, weight, eps);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    // Rows whose part of the weight's gradient is summed before the others': fixed, whatever the threads.
    constexpr int64_t PART = 64;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const float eps = static_cast<float>(context->saved_data["eps"].toDouble());
    const Lines in = lines(x, "RMSNorm"), w = lines(weight, "RMSNorm"), grad = lines(grads[0], "RMSNorm");
    at::Tensor to_x = at::empty(x.sizes(), x.options()), to_weight = at::empty(weight.sizes(), weight.options());
    const int64_t width = in.width, parts = (in.rows + PART - 1) / PART;
    std::vector<float> sums(parts * width);
    typed(x, [&](auto* t) {
      typed(weight, [&](auto* v) {
        using T = Pointed<decltype(t)>;
        using W = Pointed<decltype(v)>;
        at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
          for (int64_t part = begin; part < end; part++)
            for (int64_t r = part * PART; r < std::min(in.rows, (part + 1) * PART); r++)
              norm_row_back(
                  from<T>(in, r), from<W>(w, 0), from<T>(grad, r), into<T>(to_x, r * width), sums.data() + part * width,
                  width, eps);
        });
        std::vector<float> total(width);
        for (int64_t part = 0; part < parts; part++)
          for (int64_t i = 0; i < width; i++) total[i] += sums[part * width + i];
        for (int64_t i = 0; i < width; i++) narrow(total[i], into<W>(to_weight, i));
      });
    });
    return {to_x, to_weight, at::Tensor()};
  }
};

// --- SwiGLU: silu(gate) * up ---

template <typename T>
void swiglu_row(const T* gate, const T* up, T* out, int64_t count) {
  int64_t i = 0;
#ifdef HAS_AVX512
  if (wide(0)) i = avx512::swiglu(gate, up, out, count);
#endif
  for (; i < count; i++) {
    const float value = widen(gate[i]);
    narrow(value / (1.0f + std::exp(-value)) * widen(up[i]), out + i);
  }
}

template <typename T>
void swiglu_row_back(const T* gate, const T* up, const T* grad, T* to_gate, T* to_up, int64_t count) {
  int64_t i = 0;
#ifdef HAS_AVX512
  if (wide(0)) i = avx512::swiglu_back(gate, up, grad, to_gate, to_up, count);
#endif
  for (; i < count; i++) {
    const float value = widen(gate[i]), g = widen(grad[i]), open = 1.0f / (1.0f + std::exp(-value));
    narrow(g * widen(up[i]) * open * (1.0f + value * (1.0f - open)), to_gate + i);
    narrow(g * value * open, to_up + i);
  }
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  const Lines g = lines(gate, "gates are f32 or bf16 on the CPU"), u = lines(up, "values are f32 or bf16 on the CPU");
  require(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(), "gates and values of different forms");
  at::Tensor out = at::empty(gate.sizes(), gate.options());
  typed(gate, [&](auto* t) {
    using T = Pointed<decltype(t)>;
    at::parallel_for(0, g.rows, grain(g.width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) swiglu_row(from<T>(g, r), from<T>(u, r), into<T>(out, r * g.width), g.width);
    });
  });
  return out;
}

struct Swiglu : torch::autograd::Function<Swiglu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    context->save_for_backward({gate, up});
    return swiglu(gate, up);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Lines g = lines(saved[0], "SwiGLU"), u = lines(saved[1], "SwiGLU"), grad = lines(grads[0], "SwiGLU");
    at::Tensor to_gate = at::empty(saved[0].sizes(), saved[0].options()), to_up = at::empty_like(to_gate);
    typed(to_gate, [&](auto* t) {
      using T = Pointed<decltype(t)>;
      at::parallel_for(0, g.rows, grain(g.width), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++)
          swiglu_row_back(
              from<T>(g, r), from<T>(u, r), from<T>(grad, r), into<T>(to_gate, r * g.width), into<T>(to_up, r * g.width),
              g.width);
      });
    });
    return {to_gate, to_up};
  }
};

// --- The rotary turn: halves of a head are the pairs that turn ---

// Forwards (a, b) becomes (a c1 - b s1, b c2 + a s2); the gradient goes through the transpose of that.
template <typename T>
void turn_head(const T* x, const T* cos, const T* sin, T* out, int64_t half, bool back) {
#ifdef HAS_AVX512
  if (wide(half)) return avx512::turn_head(x, cos, sin, out, half, back);
#endif
  for (int64_t i = 0; i < half; i++) {
    const float a = widen(x[i]), b = widen(x[i + half]), s1 = widen(sin[i]), s2 = widen(sin[i + half]);
    narrow(a * widen(cos[i]) - b * (back ? -s2 : s1), out + i);
    narrow(b * widen(cos[i + half]) + a * (back ? -s1 : s2), out + i + half);
  }
}

// `x` is [rows, tokens, heads * dim]; `cos` and `sin` [rows or 1, 1, tokens, dim].
at::Tensor turned(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back) {
  const auto kind = x.scalar_type();
  const Lines in = lines(x, "rotary positions take f32 or bf16 on the CPU");
  require(x.dim() == 3 && plain(cos, kind) && plain(sin, kind), "rotary angles of another form");
  require(cos.dim() == 4 && cos.sizes() == sin.sizes() && cos.size(1) == 1, "rotary angles of another shape");
  const int64_t tokens = x.size(1), dim = cos.size(3);
  require(cos.size(2) == tokens && (cos.size(0) == x.size(0) || cos.size(0) == 1), "rotary angles of other tokens");
  require(dim > 0 && dim % 2 == 0 && in.width % dim == 0, "heads of another width");
  at::Tensor out = at::empty(x.sizes(), x.options());
  const bool shared = cos.size(0) == 1;
  typed(x, [&](auto* t) {
    using T = Pointed<decltype(t)>;
    at::parallel_for(0, in.rows, grain(in.width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const int64_t at = (shared ? r % tokens : r) * dim;
        const T *c = static_cast<const T*>(cos.const_data_ptr()) + at, *s = static_cast<const T*>(sin.const_data_ptr()) + at;
        for (int64_t head = 0; head < in.width; head += dim)
          turn_head(from<T>(in, r) + head, c, s, into<T>(out, r * in.width + head), dim / 2, back);
      }
    });
  });
  return out;
}

struct Turn : torch::autograd::Function<Turn> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return turned(x, cos, sin, false);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    return {turned(grads[0], saved[0], saved[1], true), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// RMSNorm over the last dimension of `x`; the weight may have another type than `x`.
at::Tensor* math_llava_rms_norm(const at::Tensor* x, const at::Tensor* weight, double eps, char** error) {
  return caught(error, [&] {
    return new at::Tensor(recorded({*x, *weight}) ? Norm::apply(*x, *weight, eps) : norm(*x, *weight, eps));
  });
}

// silu(gate) * up, of one shape and type.
at::Tensor* math_llava_swiglu(const at::Tensor* gate, const at::Tensor* up, char** error) {
  return caught(error, [&] {
    return new at::Tensor(recorded({*gate, *up}) ? Swiglu::apply(*gate, *up) : swiglu(*gate, *up));
  });
}

// Heads [rows, tokens, heads * dim] turned by the angles of their positions.
at::Tensor* math_llava_turn(const at::Tensor* x, const at::Tensor* cos, const at::Tensor* sin, char** error) {
  return caught(error, [&] {
    return new at::Tensor(recorded({*x}) ? Turn::apply(*x, *cos, *sin) : turned(*x, *cos, *sin, false));
  });
}

}  // extern "C"
