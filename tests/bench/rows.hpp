// The rows of the table: what is measured against what, and which ratio is wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/bench/servers.hpp"
#include "tests/bench/statistics.hpp"

namespace pageserver::bench {

/// Longer than any answer from memory takes: with it both ends never sleep while requests follow each other. It is
/// given, since `auto` polls nowhere where a process has one core, and here each has one.
inline constexpr unsigned poll_us = 200;

struct Bar {
  enum class Kind : std::uint8_t { at_most, at_least, none };
  Kind kind = Kind::none;
  double value = 0;
  std::string of;  ///< "nbdkit", "the best NBD peer"

  bool reached(double ratio) const {
    return kind == Kind::none || (kind == Kind::at_most ? ratio <= value : ratio >= value);
  }
};

/// What one subject needed or did.
struct Figure {
  std::string name;
  std::string unit;
  Summary value;
};

struct Measured {
  Summary ratio;                ///< ours to theirs, round by round
  std::vector<Figure> figures;  ///< ours first, then whom the ratio is to, then others
  std::vector<std::string> notes;
};

struct Row {
  std::string id;
  std::string work;
  Bar bar;
  std::function<Measured(Servers&)> measure;
};

/// Every subject once a round, another first each time. The first of them is ours, the next `rivals` are whom the ratio
/// is to: the best of them by its median; the rest is only shown. Where the settings have a driver, it takes the first
/// alone, and nothing is returned.
Measured compare(const Settings& settings, const std::string& unit, bool more_is_better,
                 const std::vector<Subject>& subjects, std::size_t rivals = 1);

/// How fast one core of this machine encrypts, which bounds what TLS can carry.
std::string cipher_note(const Settings& settings);

std::vector<Row> request_rows();
std::vector<Row> durable_rows();
std::vector<Row> copy_rows();
std::vector<Row> session_rows();
std::vector<Row> thread_rows();
std::vector<Row> fair_rows();
std::vector<Row> tls_rows();
/// All of them, in the order of the table.
std::vector<Row> all_rows();

}  // namespace pageserver::bench
