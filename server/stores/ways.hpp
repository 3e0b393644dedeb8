// Whether each of the ways that requests of a store take is free: a question goes along it, and comes back.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "base/clock.hpp"

namespace pageserver::server {

/// Threads: any.
class Ways {
public:
  enum class Way : std::uint8_t { jobs, readers, writers };

  /// What is to be called at the end of the way. It may come late, when the store is gone.
  class Question {
  public:
    void answer() const noexcept {
      state_->answered_ms = base::monotonic_ms();
      state_->asked = false;
    }

  private:
    friend class Ways;
    struct State {
      std::atomic<bool> asked{false};
      std::atomic<std::int64_t> answered_ms{0};
    };
    explicit Question(std::shared_ptr<State> state) noexcept : state_{std::move(state)} {}
    std::shared_ptr<State> state_;
  };

  /// Calls `send(question)`, unless a question is under way there already. Where memory is out, none is.
  template <class Send>
  void ask(Way way, const Send& send) noexcept {
    const std::shared_ptr<Question::State> state{states_, &(*states_)[static_cast<std::size_t>(way)]};
    if (state->asked.exchange(true)) return;
    try {
      send(Question{state});
    } catch (const std::bad_alloc&) {
      state->asked = false;
    }
  }
  /// The moment, by base::monotonic_ms(), up to which all of them have answered; 0: one never did.
  std::int64_t answered_ms() const noexcept {
    std::int64_t least = INT64_MAX;
    for (const Question::State& state : *states_) least = std::min(least, state.answered_ms.load());
    return least;
  }

private:
  using States = std::array<Question::State, 3>;
  const std::shared_ptr<States> states_ = std::make_shared<States>();
};

}  // namespace pageserver::server
