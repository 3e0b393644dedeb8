// The simplest store that keeps the promises, slowly: each publish writes the whole image anew and renames it into
// place. It shows that the simulation passes what is right, and, with a fault built in, finds what is wrong.
#pragma once

#include "tests/crash/simulation.hpp"

namespace pageserver::test {

enum class ReferenceFault : std::uint8_t {
  none,
  no_sync_before_rename,   ///< a loss of power leaves a new image that is torn
  no_directory_sync,       ///< a flush is answered before the rename is durable
  write_in_place,          ///< a crash leaves half of a publish
  visible_before_written,  ///< readers see what a kill undoes
  lost_writer_writes,      ///< a broken lease is not looked at
  pins_move,               ///< a pinned reader sees the newest version
  ignores_failed_sync,     ///< a flush is answered though its sync failed
};

OpenStore reference_store(ReferenceFault fault = ReferenceFault::none);

}  // namespace pageserver::test
