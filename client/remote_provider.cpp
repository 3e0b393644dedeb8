#include <pageserver/remote_provider.hpp>

#include <utility>

#include "client/session/remote_session.hpp"

namespace pageserver {

class RemoteProvider::Impl {
public:
  explicit Impl(RemoteOptions options) : session_{client::make_remote_session(std::move(options))} {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { client::end_session(std::move(session_)); }

  client::RemoteSession* operator->() const noexcept { return session_.get(); }

private:
  std::unique_ptr<client::RemoteSession> session_;
};

RemoteProvider::RemoteProvider(RemoteOptions options) : impl_{std::make_unique<Impl>(std::move(options))} {}
RemoteProvider::RemoteProvider(RemoteProvider&& other) noexcept : Session{}, impl_{std::move(other.impl_)} {}

RemoteProvider& RemoteProvider::operator=(RemoteProvider&& other) noexcept {
  if (this != &other) impl_ = std::move(other.impl_);
  return *this;
}
RemoteProvider::~RemoteProvider() = default;

std::uint64_t RemoteProvider::size() { return (*impl_)->pages() * page_size; }
std::uint64_t RemoteProvider::pages() { return (*impl_)->pages(); }
std::uint64_t RemoteProvider::grow(std::uint64_t new_pages) { return (*impl_)->grow(new_pages); }
void RemoteProvider::read(std::uint64_t offset, std::span<std::byte> buffer) { (*impl_)->read(offset, buffer); }
void RemoteProvider::write(std::uint64_t offset, std::span<const std::byte> data) { (*impl_)->write(offset, data); }
void RemoteProvider::flush() { (*impl_)->flush(); }
Version RemoteProvider::version() { return (*impl_)->version(); }
Refreshed RemoteProvider::refresh() { return (*impl_)->refresh(); }
void RemoteProvider::discard() { (*impl_)->discard(); }
Stat RemoteProvider::stat() { return (*impl_)->stat(); }
void RemoteProvider::zero(std::uint64_t offset, std::uint64_t length) { (*impl_)->zero(offset, length); }
std::vector<ByteRange> RemoteProvider::data_ranges(std::uint64_t offset, std::uint64_t length) {
  return (*impl_)->data_ranges(offset, length);
}
RemoteTraffic RemoteProvider::traffic() { return (*impl_)->traffic(); }

}  // namespace pageserver
