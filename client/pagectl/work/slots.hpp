// How many requests of a command are in flight: each has a slot with its buffers, and the slots are counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

namespace pageserver::pagectl {

/// A completion holds the state, by state(), and its slot: a request that is still in flight when the command is done
/// finds both alive.
template <class Slot>
class Slots {
public:
  class State {
  public:
    void give_back(Slot& slot) { free_.push_back(&slot); }
    /// Of several errors the one of the lowest number counts, of the same number the first.
    void fail(const std::exception_ptr& error, std::uint64_t number = 0) {
      if (error_ && number >= failed_) return;
      failed_ = number;
      error_ = error;
    }

  private:
    friend class Slots;
    std::vector<std::unique_ptr<Slot>> all_;
    std::vector<Slot*> free_;
    std::uint64_t failed_ = 0;
    std::exception_ptr error_;
  };

  explicit Slots(std::size_t count) : state_(std::make_shared<State>()) {
    state_->free_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      state_->all_.push_back(std::make_unique<Slot>());
      state_->free_.push_back(state_->all_.back().get());
    }
  }

  const std::shared_ptr<State>& state() const { return state_; }
  const std::vector<std::unique_ptr<Slot>>& all() const { return state_->all_; }
  std::size_t count() const { return state_->all_.size(); }
  std::size_t taken() const { return count() - state_->free_.size(); }
  bool has_free() const { return !state_->free_.empty(); }

  /// One that is free: has_free().
  Slot& take() {
    Slot* const slot = state_->free_.back();
    state_->free_.pop_back();
    return *slot;
  }
  /// Waits for a slot to be free, by `image.wait()`. Throws what failed.
  template <class Image>
  Slot& wait_for_one(Image& image) {
    while (!has_free()) image.wait();
    throw_error();
    return take();
  }
  /// Waits until only `kept` slots are taken. Throws what failed.
  template <class Image>
  void drain(Image& image, std::size_t kept = 0) {
    while (taken() > kept) image.wait();
    throw_error();
  }
  void throw_error() const {
    if (state_->error_) std::rethrow_exception(state_->error_);
  }

private:
  std::shared_ptr<State> state_;
};

}  // namespace pageserver::pagectl
