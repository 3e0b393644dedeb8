// Whether files have changed since the last look, without keeping what they had: some of it is secret.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pageserver::server {

/// Keeps 64 bits of what it saw. No digest of libcrypto: to begin to use that takes a daemon 3 MiB, and most have
/// neither tokens nor certificates. Threads: one at a time.
class ContentWatch {
public:
  /// `texts` that were read and `faults` that were found are others than at the last look, which they are from now on.
  bool has_changed(std::initializer_list<std::string_view> texts, const std::vector<std::string>& faults) {
    std::uint64_t now = 0;
    const auto add = [&now](std::string_view text) {
      now = (now ^ std::hash<std::string_view>{}(text) ^ text.size()) * 0x9E3779B97F4A7C15u;
    };
    for (const std::string_view text : texts) add(text);
    for (const std::string& fault : faults) add(fault);
    if (seen_ == now) return false;
    seen_ = now;
    return true;
  }

private:
  std::optional<std::uint64_t> seen_;
};

}  // namespace pageserver::server
