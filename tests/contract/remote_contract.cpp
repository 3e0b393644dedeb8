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

PAGESERVER_CONTRACT(TcpFixture, "tcp");
PAGESERVER_CONTRACT(UnixFixture, "unix socket");

}  // namespace pageserver::test
