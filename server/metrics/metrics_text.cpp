#include "server/metrics/metrics_text.hpp"

#include <array>
#include <charconv>

namespace pageserver::server {

namespace {

std::string_view name_of(FamilyKind kind) {
  switch (kind) {
    case FamilyKind::counter: return "counter";
    case FamilyKind::gauge: return "gauge";
    case FamilyKind::histogram: return "histogram";
  }
  return {};
}

template <class Value>
std::string_view digits_of(Value value, std::array<char, 32>& room) {
  return {room.data(),
          static_cast<std::size_t>(std::to_chars(room.data(), room.data() + room.size(), value).ptr - room.data())};
}

std::string_view first_word(std::string_view words) { return words.substr(0, words.find(' ')); }

std::string_view second_word(std::string_view words) {
  const std::size_t space = words.find(' ');
  return space == std::string_view::npos ? std::string_view{} : words.substr(space + 1);
}

constexpr std::string_view heading = R"(# Metrics

<!-- `pageserverd --print-metrics-reference` prints this page, from server/metrics/families.hpp: change that. -->

)";

}  // namespace

void MetricsText::family(const Family& family) {
  family_ = &family;
  text_ += "# HELP ";
  text_ += family.name;
  text_ += ' ';
  text_ += family.meaning;
  text_ += "\n# TYPE ";
  text_ += family.name;
  text_ += ' ';
  text_ += name_of(family.kind);
  text_ += '\n';
}

void MetricsText::add_label(std::string_view name, std::string_view value) {
  text_ += has_labels_ ? ',' : '{';
  has_labels_ = true;
  text_ += name;
  text_ += "=\"";
  for (const char c : value) {
    if (c == '\n') {
      text_ += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text_ += '\\';
    text_ += c;
  }
  text_ += '"';
}

void MetricsText::begin_sample(std::string_view suffix, std::string_view label, std::string_view second_label,
                               std::string_view bound) {
  text_ += family_->name;
  text_ += suffix;
  has_labels_ = false;
  if (const std::string_view first = first_word(family_->labels); !first.empty()) {
    add_label(first, label);
    if (const std::string_view second = second_word(family_->labels); !second.empty()) add_label(second, second_label);
  }
  if (!bound.empty()) add_label("le", bound);
  text_ += has_labels_ ? "} " : " ";
}

void MetricsText::end_sample(std::uint64_t value) {
  std::array<char, 32> room;
  text_ += digits_of(value, room);
  text_ += '\n';
}

void MetricsText::end_sample(std::int64_t value) {
  std::array<char, 32> room;
  text_ += digits_of(value, room);
  text_ += '\n';
}

void MetricsText::end_sample(double value) {
  std::array<char, 32> room;
  text_ += digits_of(value, room);
  text_ += '\n';
}

void MetricsText::durations(const Durations& durations, std::string_view label) {
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i + 1 < duration_buckets; ++i) {
    so_far += durations.counts[i];
    std::array<char, 32> room;
    begin_sample("_bucket", label, {}, digits_of(duration_bound_seconds(i), room));
    end_sample(so_far);
  }
  so_far += durations.counts.back();
  begin_sample("_bucket", label, {}, "+Inf");
  end_sample(so_far);
  begin_sample("_sum", label, {});
  end_sample(static_cast<double>(durations.sum_ns) / 1e9);
  begin_sample("_count", label, {});
  end_sample(so_far);
}

std::string metrics_reference() {
  std::string page(heading);
  page +=
      R"(`pageserverd --metrics 127.0.0.1:9653` (or the key `metrics.listen`) serves this at `/metrics`, as text for Prometheus.
Off by default. A port alone is one of this machine's loopback; there is no authentication, and names of stores and
clients can be read there. How it is scraped and what to alert on: [operations.md](operations.md#metrics-and-health).

Counters begin at 0 with the process and are added up over its threads when they are asked for. Histograms have buckets
that double from 1.024 µs to 34 s, so that a quantile is right to within a factor of two. Values of labels are bounded:
operations and statuses are those of the protocol; the first )";
  page += std::to_string(stores_told_max);
  page += R"( open stores by name are told each, and what is beyond
is summed as `store="other"` (so a store that is called `other` is in that sum). Stores of a served directory are told
while they are open.

What is *stable* keeps its name, labels and meaning within a major version. The rest tells of how the program works
inside, and may go.

| family | kind | labels | stable | meaning |
|---|---|---|---|---|
)";
  for (const Family* const family : families::all) {
    page += "| `" + std::string(family->name) + "` | " + std::string(name_of(family->kind)) + " | ";
    for (std::string_view rest = family->labels; !rest.empty(); rest = second_word(rest)) {
      if (rest.data() != family->labels.data()) page += ", ";
      page += "`" + std::string(first_word(rest)) + "`";
    }
    page += std::string(" | ") + (family->stable ? "yes" : "no") + " | " + std::string(family->meaning) + " |\n";
  }
  return page;
}

}  // namespace pageserver::server
