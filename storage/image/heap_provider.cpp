#include <sys/mman.h>
#include <pageserver/heap_provider.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/bounds.hpp"

namespace pageserver {
namespace {

constexpr std::uint64_t pages_max = static_cast<std::uint64_t>(PTRDIFF_MAX) / page_size;

[[noreturn]] void refuse_grow(std::uint64_t pages, std::uint64_t new_pages, const char* why) {
  throw MemoryError{Errc::no_space, "grow pages=" + std::to_string(pages) + " new_pages=" + std::to_string(new_pages) +
                                        " exceeds what this process can hold: " + why + "; ask for less"};
}

// mremap(2) moves the pages without copying, and the kernel gives a page of zeros at the first access. So growing costs
// neither time nor memory until the pages are used.
std::byte* mapped(std::byte* image, std::uint64_t size, std::uint64_t new_size) noexcept {
  void* const found = image == nullptr
                          ? ::mmap(nullptr, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                          : ::mremap(image, size, new_size, MREMAP_MAYMOVE);
  return found == MAP_FAILED ? nullptr : static_cast<std::byte*>(found);
}

}  // namespace

HeapProvider::HeapProvider() = default;

HeapProvider::HeapProvider(HeapProvider&& other) noexcept
    : image_{std::exchange(other.image_, nullptr)}, size_{std::exchange(other.size_, 0)}, closed_{other.closed_} {}

HeapProvider& HeapProvider::operator=(HeapProvider&& other) noexcept {
  if (this != &other) {
    release();
    image_ = std::exchange(other.image_, nullptr);
    size_ = std::exchange(other.size_, 0);
    closed_ = other.closed_;
  }
  return *this;
}

HeapProvider::~HeapProvider() { release(); }

void HeapProvider::release() noexcept {
  if (image_ != nullptr) ::munmap(image_, size_);
  image_ = nullptr;
  size_ = 0;
}

void HeapProvider::check_open() const {
  if (closed_) throw MemoryError{Errc::invalid_argument, "use of a HeapProvider that was closed; make another"};
}

std::uint64_t HeapProvider::size() {
  check_open();
  return size_;
}
std::uint64_t HeapProvider::pages() { return size() / page_size; }

std::uint64_t HeapProvider::grow(std::uint64_t new_pages) {
  const auto previous = pages();
  if (new_pages == 0) return previous;
  if (new_pages > pages_max - previous) refuse_grow(previous, new_pages, "the address space ends before");
  const auto new_size = (previous + new_pages) * page_size;
  auto* const image = mapped(image_, size_, new_size);
  if (image == nullptr) refuse_grow(previous, new_pages, "the system has no memory left for it");
  image_ = image;
  size_ = new_size;
  return previous;
}

void HeapProvider::read(std::uint64_t offset, std::span<std::byte> buffer) {
  check_open();
  base::check_bounds("read", offset, buffer.size(), size_);
  if (!buffer.empty()) std::memcpy(buffer.data(), image_ + offset, buffer.size());
}

void HeapProvider::write(std::uint64_t offset, std::span<const std::byte> data) {
  check_open();
  base::check_bounds("write", offset, data.size(), size_);
  if (!data.empty()) std::memcpy(image_ + offset, data.data(), data.size());
}

std::uint64_t HeapProvider::atomic_write_bytes() {
  check_open();
  return UINT64_MAX;
}

void HeapProvider::flush() { check_open(); }

void HeapProvider::close() {
  release();
  closed_ = true;
}

}  // namespace pageserver
