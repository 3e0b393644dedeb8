#include "tests/bench/report.hpp"

#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

namespace pageserver::bench {
namespace {

using Json = nlohmann::ordered_json;

// Three digits that count, and none after the point of a large number.
std::string number(double value) {
  char text[40];
  const int digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.095 ? 2 : 4;
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string figure_text(const Figure& figure) {
  if (figure.unit == "requests/s") return number(figure.value.median / 1000) + " k/s";
  return number(figure.value.median) + " " + figure.unit;
}

std::string bar_text(const Bar& bar) {
  if (bar.kind == Bar::Kind::none) return "reported";
  return (bar.kind == Bar::Kind::at_most ? "≤ " : "≥ ") + number(bar.value) + " × " + bar.of;
}

// Padded by characters, of which some take more than one byte.
std::string padded(const std::string& text, std::size_t width) {
  std::size_t characters = 0;
  for (const char c : text) characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return text + std::string(characters < width ? width - characters : 0, ' ');
}

std::string line(const std::string& work, const std::string& ours, const std::string& theirs, const std::string& ratio,
                 const std::string& spread, const std::string& bar, const std::string& reached) {
  return "| " + padded(work, 44) + " | " + padded(ours, 11) + " | " + padded(theirs, 26) + " | " + padded(ratio, 5) +
         " | " + padded(spread, 13) + " | " + padded(bar, 27) + " | " + padded(reached, 7) + " |";
}

Json summary_json(const Summary& summary) {
  return {{"median", summary.median},
          {"first_quartile", summary.low},
          {"third_quartile", summary.high},
          {"min", summary.min},
          {"max", summary.max}};
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with("model name")) return text.substr(text.find(':') + 2);
  }
  return "unknown";
}

Json machine_json() {
  utsname name{};
  ::uname(&name);
  return {{"processor", processor()}, {"cores", ::sysconf(_SC_NPROCESSORS_ONLN)}, {"kernel", name.release}};
}

std::string date() {
  const time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  char text[40];
  ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

std::string table_head() {
  return line("work", "ours", "theirs", "ratio", "quartiles", "bar", "reached") + "\n|---|---|---|---|---|---|---|";
}

std::string table_row(const Outcome& outcome) {
  const std::string bar = bar_text(outcome.bar);
  if (!outcome.not_available.empty())
    return line(outcome.work, "not available: " + outcome.not_available, "", "", "", bar, "");
  if (!outcome.measured) return line(outcome.work, "FAILED: " + outcome.failure, "", "", "", bar, "");
  const Measured& measured = *outcome.measured;
  const Figure& theirs = measured.figures.at(1);
  return line(outcome.work, figure_text(measured.figures.at(0)), theirs.name + " " + figure_text(theirs),
              number(measured.ratio.median), number(measured.ratio.low) + " - " + number(measured.ratio.high), bar,
              outcome.bar.kind == Bar::Kind::none          ? ""
              : outcome.bar.reached(measured.ratio.median) ? "yes"
                                                           : "no");
}

std::string details(const Outcome& outcome) {
  std::string text;
  if (!outcome.measured) return text;
  const auto add = [&text](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  for (std::size_t i = 2; i < outcome.measured->figures.size(); ++i) {
    const Figure& figure = outcome.measured->figures[i];
    add(figure.name + " " + figure_text(figure));
  }
  for (const std::string& note : outcome.measured->notes) add(note);
  return text;
}

Json to_json(const Settings& settings, const std::vector<Outcome>& outcomes) {
  Json rows = Json::array();
  for (const Outcome& outcome : outcomes) {
    Json row{{"id", outcome.id}, {"work", outcome.work}, {"bar", bar_text(outcome.bar)}};
    if (outcome.measured) {
      const Measured& measured = *outcome.measured;
      row["status"] = outcome.bar.reached(measured.ratio.median) ? "reached" : "missed";
      row["ratio"] = summary_json(measured.ratio);
      for (const Figure& figure : measured.figures) {
        Json json{{"name", figure.name}, {"unit", figure.unit}};
        json.update(summary_json(figure.value));
        row["figures"].push_back(std::move(json));
      }
      row["notes"] = measured.notes;
    } else if (!outcome.not_available.empty()) {
      row["status"] = "not available";
      row["reason"] = outcome.not_available;
    } else {
      row["status"] = "failed";
      row["reason"] = outcome.failure;
    }
    rows.push_back(std::move(row));
  }
  return {{"date", date()},
          {"machine", machine_json()},
          {"rounds", settings.rounds},
          {"quick", settings.quick},
          {"server_core", settings.server_core},
          {"client_core", settings.client_core},
          {"missing_programs", missing_programs()},
          {"rows", rows}};
}

}  // namespace pageserver::bench
