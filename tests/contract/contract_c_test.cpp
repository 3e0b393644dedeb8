// The contract over the C interface: a provider whose every call goes through a handle and comes back as a code.
#include <pageserver/pageserver.h>
#include <pageserver/error.hpp>

#include "tests/contract/contract.hpp"
#include "tests/contract/served_fixture.hpp"
#include "tests/support/c_handles.hpp"

namespace pageserver::test {
namespace {

class CProvider final : public MemoryProvider {
public:
  explicit CProvider(const std::string& uri) : session_{c_session(uri)} {}

  std::uint64_t size() override {
    return answer([this](auto* bytes, auto* error) { return ps_session_size(session_.get(), bytes, error); });
  }
  std::uint64_t pages() override {
    return answer([this](auto* pages, auto* error) { return ps_session_pages(session_.get(), pages, error); });
  }
  std::uint64_t grow(std::uint64_t new_pages) override {
    return answer([&](auto* before, auto* error) { return ps_session_grow(session_.get(), new_pages, before, error); });
  }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    check([&](auto* error) { return ps_session_read(session_.get(), offset, buffer.data(), buffer.size(), error); });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    check([&](auto* error) { return ps_session_write(session_.get(), offset, data.data(), data.size(), error); });
  }
  std::uint64_t atomic_write_bytes() override {
    return answer(
        [&](auto* bytes, auto* error) { return ps_session_atomic_write_bytes(session_.get(), bytes, error); });
  }
  void flush() override {
    check([this](auto* error) { return ps_session_flush(session_.get(), error); });
  }
  void close() override {
    check([this](auto* error) { return ps_session_end(session_.get(), error); });
  }

private:
  template <class Call>
  static void check(Call call) {
    ps_error error = no_error();
    if (const int code = call(&error); code != PS_OK) {
      if (error.code != code) throw std::logic_error{"the code in the struct is another one"};
      throw MemoryError{static_cast<Errc>(code), error.text};
    }
  }
  template <class Call>
  static std::uint64_t answer(Call call) {
    std::uint64_t value = 0;
    check([&](auto* error) { return call(&value, error); });
    return value;
  }

  CSession session_;
};

struct CHeap {
  static constexpr bool durable = false;
  std::unique_ptr<MemoryProvider> make() { return std::make_unique<CProvider>("heap:"); }
};

template <const char* scheme>
class CLocal {
public:
  static constexpr bool durable = true;
  std::unique_ptr<MemoryProvider> make() { return std::make_unique<CProvider>(scheme + dir_.file("c.img")); }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }

private:
  TempDir dir_;
};
constexpr char file_scheme[] = "file:";
constexpr char store_scheme[] = "store:";
using CFile = CLocal<file_scheme>;
using CStore = CLocal<store_scheme>;

template <const char* query>
class CServed final : public ServedFixture {
public:
  std::unique_ptr<MemoryProvider> make() override {
    return std::make_unique<CProvider>(daemon_.unix_uri("demo", query));
  }
};
constexpr char no_query[] = "";
constexpr char cached_query[] = "publish=on_flush&cache_bytes=1MiB";
using CUnix = CServed<no_query>;
using CCached = CServed<cached_query>;

}  // namespace

PAGESERVER_CONTRACT(CHeap, "C, heap");
PAGESERVER_CONTRACT(CFile, "C, file");
PAGESERVER_CONTRACT(CStore, "C, embedded store");
PAGESERVER_CONTRACT(CUnix, "C, unix socket");
PAGESERVER_CONTRACT(CCached, "C, cache, on_flush");

}  // namespace pageserver::test
