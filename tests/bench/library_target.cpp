#include "tests/bench/library_target.hpp"

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>

#include <optional>
#include <utility>

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
  explicit AsyncTarget(const std::string& uri) : session_(uri) {}

  void start_read(std::uint64_t offset, std::span<std::byte> into) override {
    session_.read(offset, into, [this](const MemoryError* error) { end(error); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data) override {
    session_.write(offset, data, [this](const MemoryError* error) { end(error); });
  }
  std::size_t wait() override {
    session_.wait();
    if (error_) throw MemoryError{*error_};
    return std::exchange(ended_, 0);
  }

private:
  void end(const MemoryError* error) {
    ++ended_;
    if (error != nullptr && !error_) error_ = *error;
  }

  AsyncSession session_;
  std::size_t ended_ = 0;
  std::optional<MemoryError> error_;
};

}  // namespace

std::unique_ptr<Target> connect_library(const std::string& uri) { return std::make_unique<LibraryTarget>(uri); }

std::unique_ptr<Target> connect_library_async(const std::string& uri) { return std::make_unique<AsyncTarget>(uri); }

}  // namespace pageserver::bench
