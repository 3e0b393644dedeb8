#include "client/pagectl/work/write_window.hpp"

#include <algorithm>
#include <vector>

namespace pageserver::pagectl {

struct WriteWindow::Shared {
  std::vector<std::vector<std::byte>> buffers;
  std::vector<std::size_t> free;
  std::exception_ptr error;
};

WriteWindow::WriteWindow(Image& image, std::uint32_t buffer_bytes, std::size_t buffers)
    : image_(image), shared_(std::make_shared<Shared>()) {
  const auto bytes = std::min(buffer_bytes, image.request_bytes_max());
  shared_->buffers.assign(buffers, std::vector<std::byte>(bytes));
  for (std::size_t i = 0; i < buffers; ++i) shared_->free.push_back(i);
}

WriteWindow::~WriteWindow() = default;

std::span<std::byte> WriteWindow::buffer() {
  // Taken off the list now: others may come back to it before write().
  while (!taken_ && shared_->free.empty()) image_.wait();
  throw_error();
  if (!taken_) {
    taken_ = shared_->free.back();
    shared_->free.pop_back();
  }
  return shared_->buffers[*taken_];
}

void WriteWindow::write(std::uint64_t offset, std::span<const std::byte> data) {
  const std::size_t index = taken_.value();
  taken_.reset();
  image_.start_write(offset, data, [shared = shared_, index](const std::exception_ptr& error) {
    if (error && !shared->error) shared->error = error;
    shared->free.push_back(index);
  });
  image_.advance();
}

void WriteWindow::drain() {
  while (shared_->free.size() + (taken_ ? 1 : 0) < shared_->buffers.size()) image_.wait();
  throw_error();
}

void WriteWindow::throw_error() const {
  if (shared_->error) std::rethrow_exception(shared_->error);
}

}  // namespace pageserver::pagectl
