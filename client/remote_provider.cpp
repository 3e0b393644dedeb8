#include <pageserver/remote_provider.hpp>

#include <utility>

#include "base/refused_change.hpp"
#include "client/session/remote_session.hpp"

namespace pageserver {

class RemoteProvider::Impl {
public:
  explicit Impl(RemoteOptions options) : session_{client::make_remote_session(std::move(options))} {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (!ended_) client::end_session(std::move(session_));
  }

  client::RemoteSession* operator->() const noexcept { return session_.get(); }
  bool is_forked() const noexcept { return session_->is_forked(); }
  void end() {
    session_->end();
    ended_ = true;
  }

  base::RefusedChange refused;

private:
  std::unique_ptr<client::RemoteSession> session_;
  bool ended_ = false;
};

RemoteProvider::RemoteProvider(RemoteOptions options) : impl_{std::make_unique<Impl>(std::move(options))} {}
RemoteProvider::RemoteProvider(RemoteProvider&& other) noexcept : Session{}, impl_{std::move(other.impl_)} {}

RemoteProvider& RemoteProvider::operator=(RemoteProvider&& other) noexcept {
  if (this != &other) impl_ = std::move(other.impl_);
  return *this;
}
RemoteProvider::~RemoteProvider() = default;

RemoteProvider::Impl& RemoteProvider::impl() const {
  if (impl_) return *impl_;
  throw MemoryError{Errc::invalid_argument,
                    "use of a RemoteProvider that was closed, or moved from; open another, or use the one it moved to"};
}

std::uint64_t RemoteProvider::size() { return impl()->pages() * page_size; }
std::uint64_t RemoteProvider::pages() { return impl()->pages(); }
std::uint64_t RemoteProvider::grow(std::uint64_t new_pages) {
  auto& session = impl();
  return session.refused.watch("grow", [&] { return session->grow(new_pages); });
}
void RemoteProvider::read(std::uint64_t offset, std::span<std::byte> buffer) { impl()->read(offset, buffer); }
void RemoteProvider::write(std::uint64_t offset, std::span<const std::byte> data) {
  auto& session = impl();
  session.refused.watch("write", [&] { session->write(offset, data); });
}
std::uint64_t RemoteProvider::atomic_write_bytes() { return impl()->atomic_write_bytes(); }
void RemoteProvider::flush() {
  auto& session = impl();
  session->flush();
  session.refused.forget();
}
void RemoteProvider::close() {
  if (!impl_) return;
  if (impl_->is_forked()) return (*impl_)->check_usable();  // throws
  const auto closing = std::move(impl_);
  closing->end();
}

Version RemoteProvider::version() { return impl()->version(); }
Refreshed RemoteProvider::refresh() { return impl()->refresh(); }
void RemoteProvider::discard() {
  auto& session = impl();
  session->discard();
  session.refused.forget();
}
void RemoteProvider::commit() {
  auto& session = impl();
  session->check_usable();  // a lease that is lost comes first
  session.refused.check({});
  flush();
}
std::optional<HolderStat> RemoteProvider::break_lease(std::uint64_t epoch) { return impl()->break_lease(epoch); }
std::optional<MemoryError> RemoteProvider::lost() { return impl()->lost(); }
int RemoteProvider::socket() const noexcept { return impl_ ? (*impl_)->socket() : -1; }
Stat RemoteProvider::stat() { return impl()->stat(); }
void RemoteProvider::zero(std::uint64_t offset, std::uint64_t length) {
  auto& session = impl();
  session.refused.watch("zero", [&] { session->zero(offset, length); });
}
std::vector<ByteRange> RemoteProvider::data_ranges(std::uint64_t offset, std::uint64_t length) {
  return impl()->data_ranges(offset, length);
}
std::vector<OrderedFault> RemoteProvider::order_faults(std::string_view orders, FaultScope scope) {
  return impl()->faults({proto::FaultsWhat::add, static_cast<proto::FaultsScope>(scope), orders});
}
std::vector<OrderedFault> RemoteProvider::faults(FaultScope scope) {
  return impl()->faults({proto::FaultsWhat::list, static_cast<proto::FaultsScope>(scope), {}});
}
std::vector<OrderedFault> RemoteProvider::clear_faults(FaultScope scope) {
  return impl()->faults({proto::FaultsWhat::clear, static_cast<proto::FaultsScope>(scope), {}});
}
RemoteTraffic RemoteProvider::traffic() { return impl()->traffic(); }

}  // namespace pageserver
