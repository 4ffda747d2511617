// libtorch's store and process groups in the forms that `binding.rs` can say: opaque objects behind `unique_ptr`,
// tensors as pointers to `at::Tensor`, times in milliseconds. Everything that throws becomes an error in Rust.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <cstdint>
#include <exception>
#include <memory>

#include "rust/cxx.h"

namespace rust::behavior {

// libtorch's errors carry a stack of C++ frames behind their message, which says nothing to a user.
template <typename Try, typename Fail>
static void trycatch(Try&& attempt, Fail&& fail) noexcept {
  try {
    attempt();
  } catch (const c10::Error& error) {
    fail(error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("an error without a message");
  }
}

} // namespace rust::behavior

namespace ranks {

struct Value;

struct Store {
  c10::intrusive_ptr<c10d::Store> inner;
};

struct Backend {
  c10::intrusive_ptr<c10d::Backend> inner;
};

struct Work {
  c10::intrusive_ptr<c10d::Work> inner;
};

// `descriptor` is a bound, listening socket, which the store takes over; -1 where another process listens.
std::unique_ptr<Store> open_store(
    rust::Str host, std::uint16_t port, std::int32_t descriptor, std::int64_t timeout);
void set(const Store& store, rust::Str key, rust::Slice<const std::uint8_t> value);
std::int64_t add(const Store& store, rust::Str key, std::int64_t value);
bool has(const Store& store, rust::Str key);
rust::Vec<std::uint8_t> get(const Store& store, rust::Str key);
rust::Vec<Value> get_all(const Store& store, const rust::Vec<rust::String>& keys);

// One of `address` and `interface` may be empty; where both are, libtorch looks the host's name up.
std::unique_ptr<Backend> open_gloo(
    const Store& store, rust::Str prefix, std::int32_t rank, std::int32_t world,
    rust::Str address, rust::Str interface, std::int64_t timeout);
std::unique_ptr<Backend> open_nccl(
    const Store& store, rust::Str prefix, std::int32_t rank, std::int32_t world,
    std::int64_t timeout);

// The tensors are dense, contiguous and alive; the work keeps them until it is done.
std::unique_ptr<Work> all_reduce(const Backend& group, const at::Tensor* tensor, std::uint8_t op);
std::unique_ptr<Work> all_to_all(
    const Backend& group, const at::Tensor* output, const at::Tensor* input);
std::unique_ptr<Work> reduce_scatter(
    const Backend& group, const at::Tensor* output, const at::Tensor* input);
std::unique_ptr<Work> all_gather(
    const Backend& group, const at::Tensor* output, const at::Tensor* input);
std::unique_ptr<Work> broadcast(const Backend& group, const at::Tensor* tensor, std::int64_t from);

// Whether the work is done after at most `milliseconds`; throws what it failed of.
bool wait_for(const Work& work, std::int64_t milliseconds);

} // namespace ranks
