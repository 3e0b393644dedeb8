// The contract over a real daemon, through TCP and through a Unix socket.
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/contract/contract.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// A daemon of its own with one empty store. Every other time that an image is opened anew the daemon has been killed
/// and started again in between: what was flushed must be there.
class RemoteFixture {
public:
  static constexpr bool durable = true;
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    if (++reopened_ % 2 == 0) {
      daemon_.kill_hard();
      daemon_.start_again();
    }
    return make();
  }
  virtual std::unique_ptr<MemoryProvider> make() = 0;
  virtual ~RemoteFixture() = default;

protected:
  Daemon daemon_{{"--store", "demo={dir}/demo.img"}};

private:
  int reopened_ = 0;
};

class TcpFixture final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.tcp_uri("demo")); }
};

class UnixFixture final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.unix_uri("demo")); }
};

/// With a cache of the client's, small enough that pages come and go.
class CachedOnWrite final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.unix_uri("demo", "cache_bytes=1MiB")); }
};

class CachedOnFlush final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override {
    return open(daemon_.unix_uri("demo", "publish=on_flush&cache_bytes=1MiB"));
  }
};

/// The smallest cache that there is: one page, and the same page as it was.
class SmallestCache final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override {
    return open(daemon_.unix_uri("demo", "publish=on_flush&cache_bytes=128KiB"));
  }
};

/// A fork of an empty store, with a cache: the same interface, and nothing that lasts.
class CachedFork {
public:
  static constexpr bool durable = false;
  std::unique_ptr<MemoryProvider> make() { return open(daemon_.unix_uri("demo", "access=fork&cache_bytes=1MiB")); }

private:
  Daemon daemon_{{"--store", "demo={dir}/demo.img"}};
};

PAGESERVER_CONTRACT(TcpFixture, "tcp");
PAGESERVER_CONTRACT(UnixFixture, "unix socket");
PAGESERVER_CONTRACT(CachedOnWrite, "cache, on_write");
PAGESERVER_CONTRACT(CachedOnFlush, "cache, on_flush");
PAGESERVER_CONTRACT(SmallestCache, "smallest cache, on_flush");
PAGESERVER_CONTRACT(CachedFork, "cache, fork");

}  // namespace pageserver::test
