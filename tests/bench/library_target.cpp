#include "tests/bench/library_target.hpp"

#include <pageserver/open.hpp>

#include <optional>
#include <utility>

#include "client/connection.hpp"
#include "client/uri.hpp"

namespace pageserver::bench {
namespace {

class LibraryTarget final : public Target {
public:
  explicit LibraryTarget(const std::string& uri) : session_(open_session(uri)) {}

  void start_read(std::uint64_t offset, std::span<std::byte> into) override {
    session_->read(offset, into);
    ++ended_;
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data) override {
    session_->write(offset, data);
    ++ended_;
  }
  std::size_t wait() override { return std::exchange(ended_, 0); }

private:
  std::unique_ptr<Session> session_;
  std::size_t ended_ = 0;
};

class AsyncTarget final : public Target {
public:
  explicit AsyncTarget(const client::Uri& uri) : connection_(uri.endpoint, options(uri)) {
    proto::OpenRequest open;
    open.access = static_cast<proto::Access>(uri.access);
    open.view = static_cast<proto::View>(uri.view);
    open.publish = static_cast<proto::Publish>(uri.publish);
    open.wait_ms = uri.wait_ms;
    open.store = uri.store;
    connection_.call(open, [](const proto::OpenAnswer&) {});
  }
  ~AsyncTarget() override {
    try {
      connection_.call(proto::CloseRequest{}, [](const proto::CloseAnswer&) {});
    } catch (const std::exception&) {
      // The daemon sees the end of the connection.
    }
  }

  void start_read(std::uint64_t offset, std::span<std::byte> into) override {
    connection_.submit_read(offset, into,
                            [this](const client::Outcome<proto::ReadAnswer>& outcome) { end(outcome.error()); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data) override {
    connection_.submit_write(offset, data,
                             [this](const client::Outcome<proto::WriteAnswer>& outcome) { end(outcome.error()); });
  }
  std::size_t wait() override {
    connection_.progress();
    if (error_) throw MemoryError{*error_};
    return std::exchange(ended_, 0);
  }

private:
  static client::ConnectionOptions options(const client::Uri& uri) {
    client::ConnectionOptions options;
    options.poll_us = uri.poll_us;
    return options;
  }
  void end(const MemoryError* error) {
    ++ended_;
    if (error != nullptr && !error_) error_ = *error;
  }

  client::Connection connection_;
  std::size_t ended_ = 0;
  std::optional<MemoryError> error_;
};

}  // namespace

std::unique_ptr<Target> connect_library(const std::string& uri) { return std::make_unique<LibraryTarget>(uri); }

std::unique_ptr<Target> connect_library_async(const std::string& uri) {
  return std::make_unique<AsyncTarget>(client::parse_uri(uri));
}

}  // namespace pageserver::bench
