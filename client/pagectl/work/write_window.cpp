#include "client/pagectl/work/write_window.hpp"

#include <algorithm>

namespace pageserver::pagectl {

WriteWindow::WriteWindow(Image& image, std::uint32_t buffer_bytes, std::size_t buffers)
    : image_(image), slots_(buffers) {
  for (const auto& buffer : slots_.all()) buffer->resize(std::min(buffer_bytes, image.request_bytes_max()));
}

std::span<std::byte> WriteWindow::buffer() {
  // Taken off the list now: completions may give others back before write().
  if (taken_ == nullptr)
    taken_ = &slots_.wait_for_one(image_);
  else
    slots_.throw_error();
  return *taken_;
}

void WriteWindow::write(std::uint64_t offset, std::span<const std::byte> data) {
  auto& buffer = *std::exchange(taken_, nullptr);
  image_.start_write(offset, data, [state = slots_.state(), &buffer](const std::exception_ptr& error) {
    if (error) state->fail(error);
    state->give_back(buffer);
  });
  image_.advance();
}

void WriteWindow::drain() { slots_.drain(image_, taken_ != nullptr ? 1 : 0); }

}  // namespace pageserver::pagectl
