// See groups.h.
#include "c10d/src/cpp/groups.h"

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "c10d/src/binding.rs.h"

namespace ranks {

namespace {

std::string text(rust::Str value) {
  return std::string(value.data(), value.size());
}

rust::Vec<std::uint8_t> bytes(const std::vector<std::uint8_t>& value) {
  rust::Vec<std::uint8_t> copy;
  copy.reserve(value.size());
  for (auto byte : value) {
    copy.push_back(byte);
  }
  return copy;
}

std::unique_ptr<Work> started(c10::intrusive_ptr<c10d::Work> work) {
  return std::make_unique<Work>(Work{std::move(work)});
}

// A store that is not there yet, or not any more, is told with a stack of C++ frames at every try; what comes of it
// is an error that this crate words. Whoever wants the log asks for it by libtorch's own variable.
void quieten() {
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) {
    FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  }
}

} // namespace

std::unique_ptr<Store> open_store(
    rust::Str host, std::uint16_t port, std::int32_t descriptor, std::int64_t timeout) {
  quieten();
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = descriptor >= 0;
  if (descriptor >= 0) {
    options.masterListenFd = descriptor;
  }
  // Who comes is counted by this crate, which names who does not.
  options.waitWorkers = false;
  options.timeout = std::chrono::milliseconds(timeout);
  return std::make_unique<Store>(Store{c10::make_intrusive<c10d::TCPStore>(text(host), options)});
}

void set(const Store& store, rust::Str key, rust::Slice<const std::uint8_t> value) {
  store.inner->set(text(key), std::vector<std::uint8_t>(value.begin(), value.end()));
}

std::int64_t add(const Store& store, rust::Str key, std::int64_t value) {
  return store.inner->add(text(key), value);
}

bool has(const Store& store, rust::Str key) {
  return store.inner->check({text(key)});
}

rust::Vec<std::uint8_t> get(const Store& store, rust::Str key) {
  return bytes(store.inner->get(text(key)));
}

rust::Vec<Value> get_all(const Store& store, const rust::Vec<rust::String>& keys) {
  std::vector<std::string> names;
  names.reserve(keys.size());
  for (const auto& key : keys) {
    names.emplace_back(key.data(), key.size());
  }
  rust::Vec<Value> values;
  for (const auto& value : store.inner->multiGet(names)) {
    values.push_back(Value{bytes(value)});
  }
  return values;
}

std::unique_ptr<Backend> open_gloo(
    const Store& store, rust::Str prefix, std::int32_t rank, std::int32_t world,
    rust::Str address, rust::Str interface, std::int64_t timeout) {
  using c10d::ProcessGroupGloo;
  auto options = ProcessGroupGloo::Options::create(std::chrono::milliseconds(timeout));
  if (!interface.empty()) {
    options->devices.push_back(ProcessGroupGloo::createDeviceForInterface(text(interface)));
  } else if (!address.empty()) {
    options->devices.push_back(ProcessGroupGloo::createDeviceForHostname(text(address)));
  } else {
    options->devices.push_back(ProcessGroupGloo::createDefaultDevice());
  }
  auto prefixed = c10::make_intrusive<c10d::PrefixStore>(text(prefix), store.inner);
  return std::make_unique<Backend>(
      Backend{c10::make_intrusive<ProcessGroupGloo>(prefixed, rank, world, options)});
}

std::unique_ptr<Backend> open_nccl(
    const Store& store, rust::Str prefix, std::int32_t rank, std::int32_t world,
    std::int64_t timeout) {
#ifdef USE_C10D_NCCL
  using c10d::ProcessGroupNCCL;
  auto options = ProcessGroupNCCL::Options::create();
  options->timeout = std::chrono::milliseconds(timeout);
  auto prefixed = c10::make_intrusive<c10d::PrefixStore>(text(prefix), store.inner);
  return std::make_unique<Backend>(
      Backend{c10::make_intrusive<ProcessGroupNCCL>(prefixed, rank, world, options)});
#else
  TORCH_CHECK(false, "built without NCCL's headers");
#endif
}

std::unique_ptr<Work> all_reduce(const Backend& group, const at::Tensor* tensor, std::uint8_t op) {
  c10d::AllreduceOptions options;
  options.reduceOp = op == 0 ? c10d::ReduceOp::SUM
      : op == 1              ? c10d::ReduceOp::MIN
                             : c10d::ReduceOp::MAX;
  std::vector<at::Tensor> tensors{*tensor};
  return started(group.inner->allreduce(tensors, options));
}

std::unique_ptr<Work> all_to_all(
    const Backend& group, const at::Tensor* output, const at::Tensor* input) {
  at::Tensor to = *output;
  at::Tensor from = *input;
  // No counts: equal parts.
  std::vector<std::int64_t> none;
  return started(group.inner->alltoall_base(to, from, none, none));
}

std::unique_ptr<Work> reduce_scatter(
    const Backend& group, const at::Tensor* output, const at::Tensor* input) {
  at::Tensor to = *output;
  at::Tensor from = *input;
  return started(group.inner->_reduce_scatter_base(to, from));
}

std::unique_ptr<Work> all_gather(
    const Backend& group, const at::Tensor* output, const at::Tensor* input) {
  at::Tensor to = *output;
  at::Tensor from = *input;
  return started(group.inner->_allgather_base(to, from));
}

std::unique_ptr<Work> broadcast(const Backend& group, const at::Tensor* tensor, std::int64_t from) {
  c10d::BroadcastOptions options;
  options.rootRank = from;
  std::vector<at::Tensor> tensors{*tensor};
  return started(group.inner->broadcast(tensors, options));
}

bool wait_for(const Work& work, std::int64_t milliseconds) {
  try {
    work.inner->wait(std::chrono::milliseconds(milliseconds));
    return true;
  } catch (...) {
    // libtorch throws both where the time is up and where the work failed.
    if (!work.inner->isCompleted()) {
      return false;
    }
    if (work.inner->isSuccess()) {
      return true;
    }
    throw;
  }
}

} // namespace ranks
