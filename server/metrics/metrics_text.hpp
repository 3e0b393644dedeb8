// The text that Prometheus reads, version 0.0.4: for each family a line of HELP and one of TYPE, then its samples.
// By hand, since that is all there is to it: a library's formatter wants each sample as an object first, which for a
// thousand stores costs more than the text.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/metrics/durations.hpp"
#include "server/metrics/families.hpp"

namespace pageserver::server {

inline constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

class MetricsText {
public:
  /// The samples that follow are of this family.
  void family(const Family& family);
  /// The value's labels are those of the family, in its order; a label's value may be any text.
  template <std::integral Value>
  void sample(Value value, std::string_view label = {}, std::string_view second_label = {}) {
    begin_sample({}, label, second_label);
    end_sample(value);
  }
  void sample(double value, std::string_view label = {}, std::string_view second_label = {}) {
    begin_sample({}, label, second_label);
    end_sample(value);
  }
  /// The buckets, the sum and the count of a histogram.
  void durations(const Durations& durations, std::string_view label = {});

  const std::string& text() const noexcept { return text_; }
  std::string take() noexcept { return std::move(text_); }

private:
  void begin_sample(std::string_view suffix, std::string_view label, std::string_view second_label,
                    std::string_view bound = {});
  void add_label(std::string_view name, std::string_view value);
  void end_sample(std::uint64_t value);
  void end_sample(std::int64_t value);
  void end_sample(double value);
  template <std::integral Value>
  void end_sample(Value value) {
    if constexpr (std::signed_integral<Value>) {
      end_sample(static_cast<std::int64_t>(value));
    } else {
      end_sample(static_cast<std::uint64_t>(value));
    }
  }

  std::string text_;
  const Family* family_ = nullptr;
  bool has_labels_ = false;
};

/// docs/metrics.md, as `pageserverd --print-metrics-reference` prints it.
std::string metrics_reference();

}  // namespace pageserver::server
