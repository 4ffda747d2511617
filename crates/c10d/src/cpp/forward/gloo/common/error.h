// Included by `ProcessGroupGloo.hpp`; what it needs of it is in `gloo/context.h` here.
#pragma once

#include <gloo/context.h>
