// Images that a daemon of its own serves, for the contract.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// A daemon with one empty store. Every other time that an image is opened anew the daemon has been killed and started
/// again in between: what was flushed must be there.
class ServedFixture {
public:
  static constexpr bool durable = true;
  explicit ServedFixture(std::vector<std::string> more = {}) : daemon_{with_store(std::move(more))} {}
  virtual ~ServedFixture() = default;
  virtual std::unique_ptr<MemoryProvider> make() = 0;
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    if (++reopened_ % 2 == 0) {
      daemon_.kill_hard();
      daemon_.start_again();
    }
    return make();
  }

protected:
  Daemon daemon_;

private:
  static std::vector<std::string> with_store(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--store", "demo={dir}/demo.img"});
    return flags;
  }

  int reopened_ = 0;
};

}  // namespace pageserver::test
