#include "proto/fault_order.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/text.hpp"
#include "base/units.hpp"
#include "proto/codec.hpp"

namespace pageserver::proto {
namespace {

constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t million = 1'000'000;
constexpr std::string_view blanks = " \t\r";

constexpr std::array struck{Operation::size,    Operation::grow,        Operation::read,        Operation::write,
                            Operation::zero,    Operation::data_ranges, Operation::flush,       Operation::discard,
                            Operation::refresh, Operation::stat,        Operation::break_lease, Operation::commit,
                            Operation::ping,    Operation::close};

constexpr std::array<std::string_view, 4> valued{"rate", "seed", "at", "after"};

constexpr std::string_view conditions = "N, N+, always, rate=P, seed=N, at=OFFSET+LENGTH or after=BYTES";
constexpr std::string_view actions =
    "delay=TIME, delay=TIME..TIME, hang, status=NAME, cut=before, cut=after, torn, torn=BYTES, drip=BYTES, lease_lost, "
    "snapshot_too_old, no_space, sync_failed, stop, kill=before, kill=inside or kill=after";

std::string operations_text() {
  std::string text = "any";
  for (const Operation each : struck) text += ", " + to_string(each);
  return text;
}

/// "0.25" as parts of a million.
std::optional<std::uint32_t> parse_rate(std::string_view text) {
  const auto dot = text.find('.');
  const auto whole = base::parse_number(text.substr(0, dot), 1);
  if (!whole) return std::nullopt;
  std::uint32_t parts = 0;
  if (dot != std::string_view::npos) {
    const auto digits = text.substr(dot + 1);
    const auto number = base::parse_number(digits);
    if (!number || digits.size() > 6) return std::nullopt;
    parts = static_cast<std::uint32_t>(*number);
    for (std::size_t i = digits.size(); i < 6; ++i) parts *= 10;
  }
  const auto rate = static_cast<std::uint32_t>(*whole) * million + parts;
  return rate > million ? std::nullopt : std::optional{rate};
}

/// One order's text, part by part.
class OrderParser {
public:
  OrderParser(std::string_view whole, std::string_view text)
      : whole_(whole), rest_(text), start_(static_cast<std::size_t>(text.data() - whole.data())) {
    order_.text = text;
  }

  std::optional<FaultOrderError> parse(FaultOrder& out) {
    if (order_.text.size() > name_bytes_max)
      return fail(rest_, "has " + std::to_string(order_.text.size()) + " bytes",
                  "an order of at most " + std::to_string(name_bytes_max));
    take_operation(next());
    bool has_action = false;
    while (!error_ && more_) {
      const std::string_view part = next();
      if (take_condition(part) || error_) continue;
      if (has_action) {
        fail(part, "is neither a condition nor may it be a second action", std::string(conditions));
      } else if (take_action(part)) {
        has_action = true;
      } else if (!error_) {
        fail(part, "is no condition and no action", std::string(conditions) + "; " + std::string(actions));
      }
    }
    if (!error_ && !has_action)
      fail(whole_.substr(start_, order_.text.size()), "says not what happens",
           "an action at its end: " + std::string(actions));
    if (!error_) check();
    if (!error_) out = std::move(order_);
    return std::move(error_);
  }

private:
  std::optional<FaultOrderError> fail(std::string_view part, const std::string& problem, const std::string& expected) {
    const auto position = static_cast<std::size_t>(part.data() - whole_.data());
    error_ = FaultOrderError{position, "at byte " + std::to_string(position) + ": " + base::quoted(part) + " " +
                                           problem + "; expected " + expected};
    return error_;
  }

  std::string_view next() {
    const auto colon = rest_.find(':');
    const auto part = rest_.substr(0, colon);
    more_ = colon != std::string_view::npos;
    rest_.remove_prefix(more_ ? colon + 1 : rest_.size());
    return part;
  }

  void take_operation(std::string_view word) {
    if (word == "any") return;
    for (const Operation each : struck)
      if (word == to_string(each)) order_.operation = each;
    if (!order_.operation) fail(word, "is no request that can be struck", operations_text());
  }

  /// The value of "KEY=VALUE" where that is the key.
  static std::optional<std::string_view> value_of(std::string_view part, std::string_view key) {
    if (part.size() <= key.size() || !part.starts_with(key) || part[key.size()] != '=') return std::nullopt;
    return part.substr(key.size() + 1);
  }

  bool take_condition(std::string_view part) {
    if (part == "always") return take_count(part, 1, no_end);
    if (!part.empty() && part.front() >= '0' && part.front() <= '9') {
      const bool open = part.ends_with('+');
      const auto number = base::parse_number(part.substr(0, part.size() - (open ? 1 : 0)));
      if (number && *number > 0) return take_count(part, *number, open ? no_end : *number);
      fail(part, "is no count", "a number from 1 on, such as 3, or 3+ for the third and each later one");
      return false;
    }
    for (std::size_t i = 0; i < valued.size(); ++i) {
      if (!value_of(part, valued[i]) || !std::exchange(has_value_[i], true)) continue;
      fail(part, "is a second " + std::string(valued[i]), "each of them once");
      return true;
    }
    if (const auto rate = value_of(part, "rate")) {
      order_.rate_ppm = parse_rate(*rate);
      if (!order_.rate_ppm)
        fail(part, "is no rate", "a probability from 0 to 1 with at most 6 digits, such as rate=0.25");
      return true;
    }
    if (const auto seed = value_of(part, "seed")) {
      const auto number = base::parse_number(*seed);
      if (!number) fail(part, "is no seed", "a whole number, such as seed=7");
      order_.seed = number.value_or(0);
      seed_ = part;
      return true;
    }
    if (const auto range = value_of(part, "at")) {
      const auto plus = range->find('+');
      const auto offset = base::parse_size(range->substr(0, plus));
      const auto length = plus == std::string_view::npos ? std::nullopt : base::parse_size(range->substr(plus + 1));
      if (!offset || !length || *length == 0 || *offset > no_end - *length) {
        fail(part, "is no range", "at=OFFSET+LENGTH in bytes, or with KiB, MiB or GiB, such as at=64KiB+64KiB");
        return true;
      }
      order_.at_offset = *offset;
      order_.at_length = *length;
      return true;
    }
    if (const auto after = value_of(part, "after")) {
      const auto bytes = base::parse_size(*after);
      if (!bytes) fail(part, "is no size", "bytes, or a number with KiB, MiB or GiB, such as after=1MiB");
      order_.after_bytes = bytes.value_or(0);
      return true;
    }
    return false;
  }

  bool take_count(std::string_view part, std::uint64_t first, std::uint64_t last) {
    if (has_count_) fail(part, "is a second count", "one of N, N+ and always");
    has_count_ = true;
    order_.first = first;
    order_.last = last;
    return true;
  }

  bool take_action(std::string_view part) {
    struct Word {
      std::string_view text;
      FaultAction action;
    };
    constexpr std::array words{Word{"hang", FaultAction::hang},
                               Word{"cut=before", FaultAction::cut_before},
                               Word{"cut=after", FaultAction::cut_after},
                               Word{"torn", FaultAction::torn},
                               Word{"lease_lost", FaultAction::lease_lost},
                               Word{"snapshot_too_old", FaultAction::snapshot_too_old},
                               Word{"sync_failed", FaultAction::sync_failed},
                               Word{"stop", FaultAction::stop},
                               Word{"kill=before", FaultAction::kill_before},
                               Word{"kill=inside", FaultAction::kill_inside},
                               Word{"kill=after", FaultAction::kill_after}};
    for (const Word& word : words) {
      if (part != word.text) continue;
      order_.action = word.action;
      return true;
    }
    if (part == "no_space") return take_status("no_space");
    if (const auto name = value_of(part, "status")) {
      if (!take_status(*name)) fail(part, "is no status that an answer may have", "a name such as status=no_space");
      return true;
    }
    if (const auto time = value_of(part, "delay")) return take_delay(part, *time);
    const auto torn = value_of(part, "torn");
    const auto drip = value_of(part, "drip");
    if (!torn && !drip) return false;
    order_.action = torn ? FaultAction::torn : FaultAction::drip;
    const auto bytes = base::parse_size(torn ? *torn : *drip);
    const std::uint64_t least = torn ? 0 : 1;
    if (!bytes || *bytes < least || *bytes > std::numeric_limits<std::uint32_t>::max())
      fail(part, "is no number of bytes", torn ? "torn=BYTES, from 0 on" : "drip=BYTES, from 1 on");
    order_.bytes = static_cast<std::uint32_t>(bytes.value_or(0));
    return true;
  }

  bool take_status(std::string_view name) {
    for (auto number = static_cast<std::uint16_t>(Status::out_of_bounds);
         number <= static_cast<std::uint16_t>(Status::damaged); ++number) {
      const auto status = static_cast<Status>(number);
      if (to_string(status) != name) continue;
      order_.action = FaultAction::status;
      order_.status = status;
      return true;
    }
    return false;
  }

  bool take_delay(std::string_view part, std::string_view time) {
    order_.action = FaultAction::delay;
    const auto dots = time.find("..");
    const auto least = base::parse_duration(time.substr(0, dots));
    const auto most = dots == std::string_view::npos ? least : base::parse_duration(time.substr(dots + 2));
    if (!least || !most || *least > *most)
      fail(part, "is no time", "delay=TIME or delay=LEAST..MOST with ms, s, m or h, such as delay=10ms..50ms");
    order_.delay_min = least.value_or(std::chrono::milliseconds{0});
    order_.delay_max = most.value_or(std::chrono::milliseconds{0});
    return true;
  }

  void check() {
    const std::string_view text = whole_.substr(start_, order_.text.size());
    if (order_.rate_ppm && !has_count_) order_.last = no_end;
    const bool syncs = order_.operation == Operation::flush || order_.operation == Operation::commit;
    if (order_.action == FaultAction::sync_failed && order_.operation && !syncs)
      fail(text, "fails a sync that this request has not", "flush, commit or any before it");
    if (order_.action == FaultAction::kill_inside && order_.operation && !may_change(*order_.operation))
      fail(text, "kills in the middle of a record, and this request writes none",
           "write, zero, grow, flush, commit or any before it");
    const bool needs_answer = order_.action == FaultAction::torn || order_.action == FaultAction::drip ||
                              order_.action == FaultAction::status;
    if (needs_answer && order_.operation == Operation::close)
      fail(text, "is about the answer of a close, which ends everything", "delay, hang, cut, stop or kill for a close");
    const bool has_range = !order_.operation || order_.operation == Operation::read ||
                           order_.operation == Operation::write || order_.operation == Operation::zero ||
                           order_.operation == Operation::data_ranges;
    if (order_.at_length && !has_range)
      fail(text, "names a range, and this request has none", "read, write, zero, data_ranges or any");
    if (!seed_.empty() && !order_.rate_ppm && order_.delay_min == order_.delay_max)
      fail(seed_, "has nothing to choose in this order", "rate=P or delay=MIN..MAX beside it");
  }

  std::string_view whole_;
  std::string_view rest_;
  std::size_t start_;
  bool more_ = true;
  bool has_count_ = false;
  std::array<bool, valued.size()> has_value_{};
  std::string_view seed_;
  FaultOrder order_;
  std::optional<FaultOrderError> error_;
};

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return text.substr(0, 0);
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

}  // namespace

bool may_change(Operation operation) {
  return operation == Operation::write || operation == Operation::zero || operation == Operation::grow ||
         operation == Operation::flush || operation == Operation::commit;
}

bool can_be_struck(Operation operation) { return std::find(struck.begin(), struck.end(), operation) != struck.end(); }

std::optional<FaultOrderError> parse_fault_orders(std::string_view text, std::vector<FaultOrder>& orders) {
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto line_end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, line_end - begin);
    line = line.substr(0, line.find('#'));
    begin = line_end + 1;
    for (std::size_t at = 0; at <= line.size();) {
      const auto comma = std::min(line.find(',', at), line.size());
      const std::string_view one = trimmed(line.substr(at, comma - at));
      at = comma + 1;
      if (one.empty()) continue;
      FaultOrder order;
      if (auto error = OrderParser(text, one).parse(order)) return error;
      orders.push_back(std::move(order));
    }
  }
  return std::nullopt;
}

}  // namespace pageserver::proto
