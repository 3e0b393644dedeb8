#include "client/session/page_transfers.hpp"

namespace pageserver::client {

void PageTransfers::load(Connection& connection, CachedPage& page, Batch* waiter) {
  const std::span<std::byte> into = page.dirty ? std::span{page.base.get(), CachedPage::size} : page.all();
  connection.submit_read(page.number * page_size, into,
                         [this, &page](const auto& outcome) { end_load(page, outcome.error()); });
  page.loading = true;
  page.waiter = waiter;
  ++count_;
  if (waiter != nullptr) waiter->add();
}

void PageTransfers::end_load(CachedPage& page, const MemoryError* error) noexcept {
  page.loading = false;
  if (page.dirty) {
    if (error == nullptr)
      page.complete_from_base();
    else
      cache_.forget_base(page);
  } else if (error == nullptr) {
    page.known_begin = 0;
    page.known_end = CachedPage::size;
  }
  end(page, error);
}

void PageTransfers::send_ahead(CachedPage& page) {
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit_write(page.number * page_size, page.all(),
                            [this, &page](const auto& outcome) { end_send(page, outcome.error()); });
    page.sending = true;
    ++count_;
    connection.send_now();
    if (!connection.has_unsent()) return;
    // The rest must not wait until the program comes back: the daemon gives up a client that stops within a frame.
    page.waiter = &batch;
    batch.add();
  });
}

void PageTransfers::end_send(CachedPage& page, const MemoryError* error) noexcept {
  page.sending = false;
  if (error == nullptr) cache_.mark_clean(page);
  // A page that was refused goes out again, and the call that sends it throws the error.
  end(page, nullptr);
}

void PageTransfers::end(CachedPage& page, const MemoryError* error) noexcept {
  --count_;
  if (page.waiter != nullptr) page.waiter->finish(error);
  page.waiter = nullptr;
  if (drain_ != nullptr) drain_->finish(nullptr);
}

void PageTransfers::wait_for(CachedPage& page) {
  shared_.run([&](Connection&, Batch& batch) {
    page.waiter = &batch;
    batch.add();
  });
}

void PageTransfers::drain() noexcept {
  if (count_ == 0) return;
  shared_.run([&](Connection&, Batch& batch) {
    for (std::size_t i = 0; i < count_; ++i) batch.add();
    drain_ = &batch;
  });
  drain_ = nullptr;
}

}  // namespace pageserver::client
