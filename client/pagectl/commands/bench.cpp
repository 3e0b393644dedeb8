// bench: how many requests in a second, and how long one takes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <random>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/io_memory.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/histogram.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/activity.hpp"
#include "client/pagectl/work/slots.hpp"

namespace pageserver::pagectl {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t buffered_bytes_max = 1ull << 30;
constexpr double seconds_min = 0.001, seconds_max = 1e6;

struct RunResult {
  explicit RunResult(std::uint64_t pages) : activity(pages) {}

  std::uint64_t size = 0;
  std::uint64_t depth = 0;
  std::uint64_t writes = 0;
  double seconds = 0;
  Histogram latency_ns;
  Activity activity;

  double rate() const { return static_cast<double>(latency_ns.total()) / seconds; }
};

/// One run: `depth` requests of `size` bytes kept in flight until time or count is over.
class Run {
public:
  Run(Image& image, const BenchOptions& options, std::uint64_t size, std::uint64_t depth)
      : image_(image),
        options_(options),
        places_(image.size_bytes() / size),
        slots_(static_cast<std::size_t>(depth)),
        result_(std::make_shared<RunResult>(image.size_bytes() / page_size)) {
    result_->size = size;
    result_->depth = depth;
    random_.seed(options.seed);
    for (const auto& slot : slots_.all()) {
      slot->bytes.resize(static_cast<std::size_t>(size));
      for (auto& byte : slot->bytes) byte = static_cast<std::byte>(random_());
    }
  }

  RunResult run(Progress& progress) {
    start_ = Clock::now();
    const auto until =
        start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
    std::uint64_t started = 0;
    bool over = false;
    while (!over || slots_.taken() > 0) {
      while (!over && slots_.has_free()) {
        start_one(started++);
        over = options_.count ? started >= *options_.count : Clock::now() >= until;
        // Here, since on a local image a request ends where it starts.
        if (started % 64 == 0) progress.update(done_of(started));
      }
      if (slots_.taken() > 0) image_.wait();
      slots_.throw_error();
    }
    result_->seconds = std::max(1e-9, std::chrono::duration<double>(Clock::now() - start_).count());
    return *result_;
  }

private:
  struct Slot {
    base::IoBytes bytes;
    Clock::time_point started;
  };

  std::uint64_t done_of(std::uint64_t started) const {
    if (options_.count) return started;
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start_).count());
  }

  void start_one(std::uint64_t number) {
    Slot& slot = slots_.take();
    const std::uint64_t place = options_.sequential ? number % places_ : random_() % places_;
    const std::uint64_t offset = place * result_->size;
    const bool write = random_() % 100 < options_.write_percent;
    auto done = [state = slots_.state(), result = result_, start = start_, &slot](const std::exception_ptr& error) {
      const auto now = Clock::now();
      result->latency_ns.add(static_cast<std::uint64_t>((now - slot.started).count()));
      result->activity.timeline.add(now - start, now - slot.started);
      state->give_back(slot);
      if (error) state->fail(error);
    };
    result_->activity.pages.add(offset, result_->size, write);
    slot.started = Clock::now();
    if (write) {
      ++result_->writes;
      image_.start_write(offset, slot.bytes, std::move(done));
    } else {
      image_.start_read(offset, slot.bytes, std::move(done));
    }
  }

  Image& image_;
  const BenchOptions& options_;
  std::uint64_t places_;
  Clock::time_point start_;
  std::mt19937_64 random_;
  Slots<Slot> slots_;
  std::shared_ptr<RunResult> result_;  // with the completions, as the slots are
};

void require(bool holds, const std::string& text) {
  if (!holds) throw MemoryError(Errc::invalid_argument, "bench: " + text);
}

std::string number_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

void check_options(const BenchOptions& options) {
  require(options.write_percent <= 100,
          "--write " + std::to_string(options.write_percent) + " is not within 0 to 100 per cent");
  // Written so that nan is refused as well.
  require(options.seconds >= seconds_min && options.seconds <= seconds_max,
          "--seconds " + number_text(options.seconds) + " is not within 0.001 to 1000000");
  require(!options.count || *options.count > 0, "--count 0 measures nothing");
  for (const auto depth : options.depths) {
    require(depth >= 1 && depth <= 4096, "--depth " + std::to_string(depth) + " is not within 1 to 4096");
  }
}

void check_run(Image& image, std::uint64_t size, std::uint64_t depth) {
  const auto text = "--size " + std::to_string(size);
  require(size >= 1, text + " measures nothing");
  require(size <= image.request_bytes_max(),
          text + " exceeds the largest request, " + std::to_string(image.request_bytes_max()) + " bytes");
  require(size <= image.size_bytes(), text + " exceeds size=" + std::to_string(image.size_bytes()) + " of " +
                                          image.name() + "; grow it first (pagectl grow)");
  require(size * depth <= buffered_bytes_max, text + " --depth " + std::to_string(depth) + " needs more than 1 GiB");
}

double us(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

nlohmann::ordered_json run_json(const RunResult& run, const BenchOptions& options) {
  const Histogram& latency = run.latency_ns;
  return {{"request_bytes", run.size},
          {"depth", run.depth},
          {"write_percent", options.write_percent},
          {"requests", latency.total()},
          {"writes", run.writes},
          {"seconds", run.seconds},
          {"requests_per_second", run.rate()},
          {"bytes_per_second", run.rate() * static_cast<double>(run.size)},
          {"latency_us",
           {{"min", us(latency.min())},
            {"median", us(latency.percentile(0.5))},
            {"p90", us(latency.percentile(0.9))},
            {"p99", us(latency.percentile(0.99))},
            {"p99_9", us(latency.percentile(0.999))},
            {"max", us(latency.max())}}},
          {"timeline", run.activity.timeline.json()},
          {"pages", run.activity.pages.json()}};
}

constexpr const char* table_head =
    "   bytes  depth  write%   requests/s      MiB/s   median us      p90 us      p99 us    p99.9 us      max us";

std::string run_text(const RunResult& run, const BenchOptions& options) {
  char text[200];
  const Histogram& latency = run.latency_ns;
  std::snprintf(text, sizeof text, "%8llu %6llu %7llu %12.0f %10.1f %11.1f %11.1f %11.1f %11.1f %11.1f",
                static_cast<unsigned long long>(run.size), static_cast<unsigned long long>(run.depth),
                static_cast<unsigned long long>(options.write_percent), run.rate(),
                run.rate() * static_cast<double>(run.size) / (1 << 20), us(latency.percentile(0.5)),
                us(latency.percentile(0.9)), us(latency.percentile(0.99)), us(latency.percentile(0.999)),
                us(latency.max()));
  return text;
}

}  // namespace

int run_bench(Context& context, const BenchOptions& given) {
  BenchOptions options = given;
  if (options.sizes.empty()) options.sizes = {8, 4096, 65536};
  if (options.depths.empty()) options.depths = {1};
  check_options(options);
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.access = options.write_percent > 0 ? Access::write : Access::read;
  mode.session_name = "pagectl bench";
  const auto image = open_image(options.uri, mode);
  // All of them before the first: half a table is no use to anyone.
  for (const auto size : options.sizes) {
    for (const auto depth : options.depths) check_run(*image, size, depth);
  }
  if (options.write_percent > 0) complain("bench: overwrites " + options.uri + " with random bytes");

  auto runs = nlohmann::ordered_json::array();
  if (!context.json) context.result(table_head);
  for (const auto size : options.sizes) {
    for (const auto depth : options.depths) {
      std::optional<RunResult> result;
      {
        const auto total = options.count ? *options.count : static_cast<std::uint64_t>(options.seconds * 1000);
        Progress progress(options.count ? ProgressKind::nothing : context.progress_kind(),
                          "bench " + bytes_text(size) + ", ms", total, Progress::Unit::count);
        result.emplace(Run(*image, options, size, depth).run(progress));
      }
      if (context.json) {
        runs.push_back(run_json(*result, options));
      } else {
        context.result(run_text(*result, options));
        context.out.flush();
      }
    }
  }
  if (options.write_percent > 0) image->flush();
  if (context.json) {
    context.out.json(
        {{"store", options.uri}, {"sequential", options.sequential}, {"seed", options.seed}, {"runs", runs}});
  }
  return exit_done;
}

}  // namespace pageserver::pagectl
