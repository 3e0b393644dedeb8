// The one writer session of a store, as a MemoryProvider: what the contract needs to run over the store interface.
#pragma once

#include <exception>
#include <future>
#include <memory>
#include <utility>

#include <pageserver/memory_provider.hpp>

#include "storage/store.hpp"

namespace pageserver::test {

class StoreProvider final : public MemoryProvider {
public:
  explicit StoreProvider(std::unique_ptr<storage::Store> store) : store_{std::move(store)} {
    std::exception_ptr failed;
    store_->open_session({}, [&](std::unique_ptr<storage::StoreSession> session, std::exception_ptr error) {
      session_ = std::move(session);
      failed = error;
    });
    if (failed) std::rethrow_exception(failed);
  }

  ~StoreProvider() override {
    session_.reset();
    store_->close();
  }

  std::uint64_t size() override { return session_->pages() * page_size; }
  std::uint64_t pages() override { return session_->pages(); }
  std::uint64_t grow(std::uint64_t new_pages) override { return session_->grow(new_pages); }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override { session_->read(offset, buffer); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override { session_->write(offset, data); }

  void flush() override {
    const auto flushed = std::make_shared<std::promise<void>>();
    session_->flush([flushed](std::exception_ptr error) {
      if (error) {
        flushed->set_exception(error);
      } else {
        flushed->set_value();
      }
    });
    flushed->get_future().get();
  }

private:
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<storage::StoreSession> session_;
};

}  // namespace pageserver::test
