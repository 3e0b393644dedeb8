// The contract over a real daemon, through TCP and through a Unix socket.
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/contract/contract.hpp"
#include "tests/contract/served_fixture.hpp"
#include "tests/support/certificates.hpp"

namespace pageserver::test {

class RemoteFixture : public ServedFixture {
public:
  using ServedFixture::ServedFixture;
  static constexpr bool sessions = true;
};

class TcpFixture final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.tcp_uri("demo")); }
};

class UnixFixture final : public RemoteFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.unix_uri("demo", "transport=socket")); }
};

/// Through shared memory, whatever the machine has: both ends poll.
class RingFixture : public RemoteFixture {
public:
  RingFixture() : RemoteFixture({"--poll-us", "1000"}) {}
  std::unique_ptr<MemoryProvider> make() override { return open(daemon_.unix_uri("demo", "poll_us=1000")); }
};

class CachedRing final : public RingFixture {
public:
  std::unique_ptr<MemoryProvider> make() override {
    return open(daemon_.unix_uri("demo", "poll_us=1000&publish=on_flush&cache_bytes=1MiB"));
  }
};

/// The files have to be there before the daemon.
struct OwnCertificates {
  OwnCertificates() { certificates_.make("server", {}); }
  Certificates certificates_;
};

class TlsFixture : private OwnCertificates, public RemoteFixture {
public:
  TlsFixture()
      : RemoteFixture({"--listen-tls", "127.0.0.1:0", "--tls-certificate", certificates_.certificate("server"),
                       "--tls-key", certificates_.key("server")}) {}
  std::unique_ptr<MemoryProvider> make() override { return open(uri()); }

protected:
  std::string uri() const {
    const std::string& address = daemon_.listeners().at(1);
    return "pageservers://localhost" + address.substr(address.rfind(':')) +
           "/demo?tls_ca=" + certificates_.certificate("ca");
  }
};

class CachedTls final : public TlsFixture {
public:
  std::unique_ptr<MemoryProvider> make() override { return open(uri() + "&publish=on_flush&cache_bytes=1MiB"); }
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
class SmallestCache final : public ServedFixture {
public:
  std::unique_ptr<MemoryProvider> make() override {
    return open(daemon_.unix_uri("demo", "publish=on_flush&cache_bytes=128KiB"));
  }
};

/// A fork of an empty store, with a cache: the same interface, and nothing that lasts.
class CachedFork {
public:
  static constexpr bool durable = false;
  static constexpr bool sessions = true;
  std::unique_ptr<MemoryProvider> make() { return open(daemon_.unix_uri("demo", "access=fork&cache_bytes=1MiB")); }

private:
  Daemon daemon_{{"--store", "demo={dir}/demo.img"}};
};

PAGESERVER_CONTRACT(TcpFixture, "tcp");
PAGESERVER_CONTRACT(UnixFixture, "unix socket");
PAGESERVER_CONTRACT(RingFixture, "ring");
PAGESERVER_CONTRACT(CachedRing, "ring, cache, on_flush");
PAGESERVER_CONTRACT(TlsFixture, "tls");
PAGESERVER_CONTRACT(CachedTls, "tls, cache, on_flush");
PAGESERVER_CONTRACT(CachedOnWrite, "cache, on_write");
PAGESERVER_CONTRACT(CachedOnFlush, "cache, on_flush");
PAGESERVER_CONTRACT(SmallestCache, "smallest cache, on_flush");
PAGESERVER_CONTRACT(CachedFork, "cache, fork");

}  // namespace pageserver::test
