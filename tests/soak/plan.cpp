#include "tests/soak/plan.hpp"

#include "tests/crash/random.hpp"

namespace pageserver::test::soak {

const char* to_string(End end) {
  static constexpr const char* names[] = {"killed", "killed in a stop", "killed while paused", "stopped",
                                          "told twice to stop"};
  return names[static_cast<unsigned>(end)];
}

Plan draw_plan(std::uint64_t seed, std::uint64_t number, std::size_t stores) {
  Random random{seed * 1'000'003 + number};
  Plan plan;
  plan.number = number;
  for (std::size_t at = 0; at < stores; ++at)
    if (random.one_in(2)) plan.active.push_back(at);
  if (plan.active.empty()) plan.active.push_back(random.below(stores));
  for (const std::size_t store : plan.active) {
    plan.actors.push_back({store, random.one_in(3) ? Role::raw_writer : Role::writer, random.next()});
    const std::uint64_t more = 1 + random.below(3);
    for (std::uint64_t at = 0; at < more; ++at)
      plan.actors.push_back({store, static_cast<Role>(random.below(role_count)), random.next()});
  }
  const char* log_bytes[] = {"1MiB", "4MiB", "64MiB"};
  plan.held_little = random.one_in(4);
  plan.config = std::string(R"({"limits": {"log_bytes": ")") + log_bytes[random.below(3)] + R"(", "held_bytes": ")" +
                (plan.held_little ? "1MiB" : "1GiB") + R"(", "private_memory_bytes": )" +
                (random.one_in(3) ? "65536" : "8388608") + R"(, "checkpoint_pace": )" +
                std::to_string(random.below(5)) + R"(}, "threads": )" + (random.one_in(3) ? "3" : "1") +
                R"(, "log": {"format": ")" + (random.one_in(4) ? "json" : "text") + R"("}})";
  if (random.one_in(12)) plan.streams = random.one_in(2) ? Streams::closed : Streams::stalled;
  if (random.one_in(12)) plan.open_files = 64 + random.below(40);
  if (random.one_in(12)) plan.file_size_bytes = (2u << 20) + 65536 * random.below(32);
  plan.disturbances = static_cast<unsigned>(random.below(4));
  plan.steps = 5 + random.below(150);
  const std::uint64_t how = random.below(100);
  plan.how = how < 68   ? End::kill
             : how < 78 ? End::kill_in_stop
             : how < 83 ? End::kill_paused
             : how < 95 ? End::stop
                        : End::two_signals;
  plan.turns = random.below(random.one_in(3) ? 3'000'000 : 200'000);
  return plan;
}

}  // namespace pageserver::test::soak
