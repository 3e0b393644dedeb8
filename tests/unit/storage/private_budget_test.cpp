#include "storage/engine/private_budget.hpp"

#include <atomic>

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::test {
namespace {

using storage::PrivateBudget;

TEST_CASE("private budget: what is beyond its bound is refused by name, and nothing is charged") {
  PrivateBudget::Bounds bounds;
  bounds.bytes_max = 100;
  bounds.bytes_max_name = "the_bound";
  bounds.remedy = "flush";
  PrivateBudget budget{bounds};
  budget.charge("write", 60);
  check_error(thrown_by([&] { budget.charge("write", 41); }), Errc::limit_exceeded,
              {"write of 41 further private bytes to 60 exceeds the_bound=100", "flush, or raise"});
  check_error(thrown_by([&] { budget.charge("zero", ~0ull); }), Errc::limit_exceeded, {"the_bound=100"});
  CHECK(budget.charged() == 60);
  budget.charge("write", 40);
  CHECK(budget.charged() == 100);
}

TEST_CASE("private budget: those that share a sum are bounded together, and each store's part is known") {
  std::atomic<std::uint64_t> total{0}, part{0};
  PrivateBudget::Bounds bounds;
  bounds.total_bytes = &total;
  bounds.total_bytes_max = 100;
  bounds.total_bytes_max_name = "the_sum";
  PrivateBudget::Bounds reported = bounds;
  reported.part_bytes = &part;
  PrivateBudget first{bounds}, second{reported};
  first.charge("write", 70);
  check_error(thrown_by([&] { second.charge("write", 31); }), Errc::limit_exceeded,
              {"write of 31 further private bytes to 70 exceeds the_sum=100"});
  CHECK(total == 70);
  CHECK(part == 0);
  second.charge("write", 30);
  CHECK(total == 100);
  CHECK(part == 30);
  first.give_back(50);
  CHECK(total == 50);
  CHECK(part == 30);
  second.give_back(30);
  CHECK(part == 0);
  CHECK(second.charged() == 0);
}

TEST_CASE("private budget: only what is beyond what is due goes back") {
  std::atomic<std::uint64_t> total{0};
  PrivateBudget::Bounds bounds;
  bounds.total_bytes = &total;
  PrivateBudget budget{bounds};
  budget.charge("write", 50);
  budget.keep(60);
  CHECK(budget.charged() == 50);
  budget.keep(20);
  CHECK(budget.charged() == 20);
  CHECK(total == 20);
}

}  // namespace
}  // namespace pageserver::test
