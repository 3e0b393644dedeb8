#include "tests/bench/statistics.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::bench {

TEST_CASE("quantiles lie between their neighbours") {
  CHECK(quantile({3}, 0.5) == 3);
  CHECK(quantile({4, 1, 3, 2}, 0.5) == Approx(2.5));
  CHECK(quantile({5, 1, 4, 2, 3}, 0.5) == 3);
  CHECK(quantile({5, 1, 4, 2, 3}, 0) == 1);
  CHECK(quantile({5, 1, 4, 2, 3}, 0.25) == 2);
  CHECK(quantile({5, 1, 4, 2, 3}, 1) == 5);
  CHECK(quantile({0, 10}, 0.9) == Approx(9));
}

TEST_CASE("no samples have no quantile") { CHECK_THROWS_AS(quantile({}, 0.5), std::invalid_argument); }

TEST_CASE("a summary has median, quartiles and extremes") {
  const Summary summary = summarize({9, 1, 2, 8, 5});
  CHECK(summary.median == 5);
  CHECK(summary.low == 2);
  CHECK(summary.high == 8);
  CHECK(summary.min == 1);
  CHECK(summary.max == 9);
}

TEST_CASE("ratios are those of one round each") {
  const std::vector<double> ours{1, 20, 3};
  const std::vector<double> theirs{2, 40, 6};
  for (const double ratio : paired_ratios(ours, theirs)) CHECK(ratio == Approx(0.5));
  CHECK_THROWS_AS(paired_ratios(ours, std::vector<double>{1}), std::invalid_argument);
}

}  // namespace pageserver::bench
