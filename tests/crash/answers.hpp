// Decides whether what the sessions of one store were told of versions, pages, publishes and leases can all be true.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace pageserver::test {

/// Times are of one clock, in any unit. Pages are published ones, without a session's own.
struct AnswerHistory {
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

  struct Time {
    std::uint64_t asked = 0;
    std::uint64_t answered = never;
  };
  /// An answer with a version and its pages: of open, size, discard, refresh or stat.
  struct View {
    std::string what;
    Time time;
    std::uint64_t version = 0;
    std::uint64_t pages = 0;
    bool held = false;  ///< of a pin that did not move: true of its version, and says nothing of the newest
  };
  enum class Outcome : std::uint8_t {
    done,     ///< published, as `version`
    refused,  ///< lease_lost, or never sent: not published
  };
  /// A publish: a flush of what is private, or a write or a grow that publishes. Each has been answered.
  struct Publish {
    Time time;
    std::uint64_t epoch = 0;
    std::uint64_t number = 0;  ///< what it leaves in the mark; 0: it does not touch it
    std::uint64_t grown_pages = 0;
    Outcome outcome = Outcome::refused;
    std::uint64_t version = 0;
  };
  /// The mark as it was read.
  struct Mark {
    Time time;
    std::uint64_t number = 0;
    std::uint64_t version = 0;  ///< of the pin that read it; 0: a live reader
  };
  struct Changed {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  /// A pin that moved. A publish changes the first page, where the mark is, and pages that it grew.
  struct Refresh {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::vector<Changed> changed;  ///< empty, with `everything`
    bool everything = false;
  };
  struct Lease {
    std::uint64_t epoch = 0;
    Time broken;        ///< of the request that broke it; asked 0: nobody did
    bool lost = false;  ///< its session was told so
  };

  std::uint64_t first_version = 0;  ///< before everything else
  std::uint64_t first_pages = 0;
  std::uint64_t page_bytes = 65536;
  std::vector<View> views;
  std::vector<Publish> publishes;
  std::vector<Mark> marks;
  std::vector<Refresh> refreshes;
  std::vector<Lease> leases;
};

/// Nothing when there is one sequence of versions that all of it agrees with; else what contradicts it.
std::optional<std::string> contradiction(const AnswerHistory& history);

}  // namespace pageserver::test
