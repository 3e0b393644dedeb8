// Tells all lies of lies.hpp to clients in other languages, until its standard input ends. Each has a port; a line says
//     PORT <tab> QUERY <tab> KIND, or - where it does no harm <tab> TEXT <tab> NAME
#include <deque>
#include <iostream>
#include <limits>
#include <string>

#include "tests/unit/client/lies.hpp"

int main() {
  std::deque<pageserver::test::FakeDaemon> daemons;
  for (auto& lie : pageserver::test::all_lies()) {
    auto& daemon = daemons.emplace_back(std::move(lie.serve));
    std::cout << daemon.port() << '\t' << lie.query << '\t'
              << (lie.expected ? pageserver::make_error_code(*lie.expected).message() : "-") << '\t' << lie.text << '\t'
              << lie.name << '\n';
  }
  std::cout << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
}
