#include "tests/bench/rows.hpp"

#include <algorithm>
#include <iterator>

namespace pageserver::bench {

Measured compare(const Settings& settings, const std::string& unit, bool more_is_better,
                 const std::vector<Subject>& subjects, std::size_t rivals) {
  if (settings.driver) {
    settings.driver(subjects.front(), unit, more_is_better);
    return {};
  }
  std::vector<std::vector<double>> samples(subjects.size());
  for (std::size_t round = 0; round < settings.rounds; ++round) {
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      const std::size_t which = (i + round) % subjects.size();
      samples[which].push_back(subjects[which].sample(round));
    }
  }
  const auto median = [&](std::size_t which) { return quantile(samples[which], 0.5); };
  std::size_t best = 1;
  for (std::size_t i = 2; i <= rivals; ++i) {
    if (more_is_better ? median(i) > median(best) : median(i) < median(best)) best = i;
  }
  Measured measured;
  measured.ratio = summarize(paired_ratios(samples[0], samples[best]));
  const auto show = [&](std::size_t which) {
    measured.figures.push_back({subjects[which].name, unit, summarize(samples[which])});
  };
  show(0);
  show(best);
  for (std::size_t i = 1; i < subjects.size(); ++i) {
    if (i != best) show(i);
  }
  return measured;
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (auto part :
       {request_rows(), durable_rows(), copy_rows(), session_rows(), thread_rows(), fair_rows(), tls_rows()})
    std::move(part.begin(), part.end(), std::back_inserter(rows));
  return rows;
}

}  // namespace pageserver::bench
