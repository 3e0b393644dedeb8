// What the daemon does by itself from time to time: it looks after its stores, says what its log left out, and gives
// memory back.
#pragma once

#include <atomic>
#include <memory>

#include "server/runtime/later.hpp"
#include "server/runtime/peer_log.hpp"
#include "server/runtime/worker.hpp"
#include "server/stores/catalog.hpp"
#include "server/stores/memory_shares.hpp"

namespace pageserver::server {

/// On the front worker.
class Upkeep {
public:
  /// All of them outlive it.
  Upkeep(Worker& front, Catalog& catalog, LogLines& lines, const MemoryShares& memory)
      : catalog_(catalog), lines_(lines), memory_(memory), next_(front) {}

  /// Each time that the catalog wants it, from now on; nothing where that goes on already.
  void begin();
  void end() noexcept { next_.cancel(); }

private:
  void trim_if_due();

  Catalog& catalog_;
  LogLines& lines_;
  const MemoryShares& memory_;
  Later next_;
  const std::shared_ptr<std::atomic<bool>> trims_ =
      std::make_shared<std::atomic<bool>>();  ///< a task of the catalog does
  bool much_before_ = false;
};

}  // namespace pageserver::server
