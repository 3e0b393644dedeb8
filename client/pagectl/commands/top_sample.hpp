// What `pagectl top` knows of a daemon at one moment, and what happened since the one before.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/administration.hpp>
#include <pageserver/daemon.hpp>

#include "client/wire/connection.hpp"

namespace pageserver::pagectl {

/// A second.
struct Rates {
  double requests = 0;
  double bytes_read = 0;
  double bytes_written = 0;
};

struct TopSession {
  SessionReport report;
  std::optional<Rates> rates;  ///< nothing: it was not there before, and neither was anybody who looked
};

struct TopStore {
  ListedStore listed;
  std::uint64_t readers = 0;
  std::uint64_t writers = 0;  ///< with those in line
  std::uint64_t forks = 0;
  std::optional<Rates> rates;  ///< of the sessions that are open
  std::string writer;          ///< who has the lease, visible; empty: nobody
};

struct TopSample {
  std::uint64_t connections = 0;
  std::chrono::milliseconds since{0};  ///< the sample before; 0: there is none
  std::vector<TopStore> stores;
  std::vector<TopSession> sessions;  ///< those with a session, or who wait for one
};

/// Asks again and again, over one connection.
class TopSampler {
public:
  explicit TopSampler(client::Connection& connection) : connection_(connection) {}
  /// Throws what Connection::call() does.
  TopSample look();

private:
  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
  };

  client::Connection& connection_;
  std::map<std::uint64_t, Counts> before_;  ///< by session
  std::optional<std::chrono::steady_clock::time_point> looked_at_;
};

}  // namespace pageserver::pagectl
