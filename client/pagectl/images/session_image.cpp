#include "client/pagectl/images/session_image.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "client/open_uri.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/remote.hpp"

namespace pageserver::pagectl {
namespace {

class SessionImage : public Image {
public:
  SessionImage(std::string name, std::unique_ptr<Session> session, bool stable, bool on_flush)
      : name_(std::move(name)), session_(std::move(session)), stable_(stable), on_flush_(on_flush) {}

  const std::string& name() const override { return name_; }
  std::uint64_t pages() override { return session_->pages(); }
  std::uint64_t grow(std::uint64_t new_pages) override { return session_->grow(new_pages); }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override { session_->read(offset, buffer); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override { session_->write(offset, data); }
  void flush() override { session_->flush(); }
  void close() override { session_->close(); }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    run_inline(done, [&] { session_->read(offset, buffer); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    run_inline(done, [&] { session_->write(offset, data); });
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    run_inline(done, [&] { session_->zero(offset, length); });
  }

  FoundData find_data(std::uint64_t offset, std::uint64_t length) override {
    // All at once, however many they are.
    length = std::min<std::uint64_t>(length, 1ull << 30);
    return {session_->data_ranges(offset, length), offset + length};
  }
  std::optional<Version> version() override { return session_->version(); }
  bool is_stable() const override { return stable_; }
  bool publishes_on_flush() const override { return on_flush_; }
  std::optional<Stat> stat() override { return session_->stat(); }

private:
  std::string name_;
  std::unique_ptr<Session> session_;
  bool stable_;
  bool on_flush_;
};

class CachedImage final : public SessionImage {
public:
  /// `remote` is the session that `session` owns.
  CachedImage(std::string name, const client::Uri& uri, RemoteProvider& remote, std::unique_ptr<Session> session,
              bool stable, bool on_flush)
      : SessionImage(std::move(name), std::move(session), stable, on_flush), uri_(uri), remote_(remote) {}

  std::optional<RemoteTraffic> traffic() override { return remote_.traffic(); }
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override {
    // Only an asynchronous session asks for that.
    client::Uri asking = uri_;
    asking.access = Access::read;
    asking.view = View::live;
    asking.view_given = asking.publish_given = true;
    return open_remote_image(name(), asking, {})->break_lease(epoch);
  }

private:
  client::Uri uri_;
  RemoteProvider& remote_;
};

}  // namespace

std::unique_ptr<Image> open_session_image(const std::string& name, const client::Uri& uri, const OpenMode& mode) {
  client::Uri asked = uri;
  if (uri.access == Access::write && !uri.publish_given && mode.one_transaction) asked.publish = Publish::on_flush;
  const bool on_flush = asked.publish == Publish::on_flush;
  // To open it is to replay the log that a killed process left, however long that takes.
  std::optional<Waiting> waiting;
  if (!check_place("open", uri.path).log.empty()) waiting.emplace(mode.progress, "open: replaying the log");
  // An embedded store serves this process alone, so a live view is as stable as a pinned one.
  return std::make_unique<SessionImage>(name, client::open_embedded(asked), true, on_flush);
}

std::unique_ptr<Image> open_cached_image(const std::string& name, const client::Uri& uri, const OpenMode& mode) {
  auto options = client::remote_options(uri);
  options.client_name = "pagectl " PAGECTL_VERSION;
  if (uri.access == Access::read && !uri.view_given && mode.one_version) options.view = View::pinned;
  if (uri.access == Access::write && !uri.publish_given && mode.one_transaction) options.publish = Publish::on_flush;
  const bool stable = options.access != Access::read || options.view == View::pinned;
  const bool on_flush = options.publish == Publish::on_flush;
  auto session = opened_session(options, [&] { return std::make_unique<RemoteProvider>(options); });
  auto& remote = *session;
  return std::make_unique<CachedImage>(name, uri, remote, std::move(session), stable, on_flush);
}

}  // namespace pageserver::pagectl
