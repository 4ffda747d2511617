// Names that libtorch's `ProcessGroupGloo.hpp` mentions and its distribution brings no header for.
//
// Nothing here is ever built or called from this crate: groups are made by libtorch's own constructors, and devices
// by its own functions. So declarations do, as long as pointers to these types are all that crosses.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer;
} // namespace transport

} // namespace gloo
