// The subcommands of kvlab_roofline, one file each.
#pragma once

#include <functional>
#include <memory>

#include "cli/command.h"

namespace kvlab::roofline {

extern const CommandInfo kPeaksCommand, kKernelsCommand, kRunCommand, kDecodeCommand, kShapeCommand,
    kLongCommand, kProfileCommand;

}  // namespace kvlab::roofline
