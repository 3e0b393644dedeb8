// Decides whether what several readers and one writer saw of a store is what one memory could have answered.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace pageserver::test {

/// An image seen as cells, each of which holds the number of the write that was last in it; 0: none was.
/// Times are of one clock, in any unit. `answered` of a request that was never answered is `never`.
struct History {
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

  struct Write {  // number 1, 2, ... by position; the next is asked for after the one before was answered
    std::uint64_t asked = 0;
    std::uint64_t answered = never;
    std::uint64_t first_cell = 0;
    std::uint64_t cells = 0;
  };
  struct Read {
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;
    std::uint64_t session = 0;
    std::uint64_t first_cell = 0;
    std::vector<std::uint64_t> values;
  };
  std::vector<Write> writes;
  std::vector<Read> reads;
};

/// Nothing when the history is linearizable, each read and each write as one atomic step; else what contradicts it.
/// Exact, and takes n log n: since one writer's order is known, each read fits a range of states, and reads that
/// follow one another in time must be able to follow one another among the states.
std::optional<std::string> contradiction(const History& history);

/// The share of operations that overlap in time with one of another session (the writer is a session too).
double concurrent_share(const History& history);

}  // namespace pageserver::test
