// A first-in, first-out line in one piece of memory whose places are used again. Header only.
//
// What an element has on the heap stays in its place when it leaves, for the one that comes there next. So a line that
// is always about as long takes no memory from the heap at all. One that was much longer gives its places back.
#pragma once

#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

namespace pageserver::base {

/// References live until the next push_back(). Threads: one at a time.
template <class T>
class ReusedQueue {
public:
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  /// `index` counts from the front, and is below size().
  T& operator[](std::size_t index) noexcept { return places_[place_of(index)]; }
  const T& operator[](std::size_t index) const noexcept { return places_[place_of(index)]; }
  T& front() noexcept { return (*this)[0]; }
  const T& front() const noexcept { return (*this)[0]; }
  T& back() noexcept { return (*this)[size_ - 1]; }
  const T& back() const noexcept { return (*this)[size_ - 1]; }

  /// Fresh, or as the one that left it: the caller sets all of it.
  T& push_back() {
    if (size_ == places_.size()) move_to(places_.empty() ? places_min : 2 * places_.size());
    ++size_;
    return back();
  }
  void pop_front(std::size_t count = 1) noexcept {
    assert(count <= size_);
    if (count == 0) return;
    first_ = place_of(count);
    size_ -= count;
    if (places_.size() > places_kept && size_ < places_.size() / 8) shrink();
  }
  void pop_back() noexcept {
    assert(size_ != 0);
    --size_;
  }

private:
  static constexpr std::size_t places_min = 4;
  static constexpr std::size_t places_kept = 64;  // whatever the line was

  // There are 0 places, or a power of two.
  std::size_t place_of(std::size_t index) const noexcept { return (first_ + index) & (places_.size() - 1); }

  void move_to(std::size_t places) {
    std::vector<T> moved(places);
    for (std::size_t i = 0; i < size_; ++i) moved[i] = std::move((*this)[i]);
    places_.swap(moved);
    first_ = 0;
  }
  void shrink() noexcept {
    try {
      move_to(places_.size() / 2);
    } catch (...) {
      // No memory to give some back: it stays as it is.
    }
  }

  std::vector<T> places_;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace pageserver::base
