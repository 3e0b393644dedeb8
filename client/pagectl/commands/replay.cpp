// replay: a recorded workload of the real engine, on any image, verified.
#include <chrono>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/hash.hpp"
#include "client/pagectl/work/replayer.hpp"
#include "client/pagectl/work/trace_reader.hpp"

namespace pageserver::pagectl {
namespace {

std::uint64_t hash_with_progress(Context& context, Image& image) {
  Progress progress(context.progress_kind(), "hash", image.size_bytes());
  return hash_image(image, progress);
}

void require_initial_image(Context& context, Image& image, const TraceHeader& header) {
  const std::uint64_t size_bytes = image.size_bytes();
  if (size_bytes != header.initial_size_bytes) {
    throw MemoryError(Errc::invalid_argument,
                      "replay on " + image.name() + ": its size=" + std::to_string(size_bytes) +
                          ", and the trace starts from an image of size=" + std::to_string(header.initial_size_bytes) +
                          (header.initial_size_bytes == 0 ? "; give it an empty one (pagectl create)"
                                                          : "; copy that image there first"));
  }
  if (size_bytes == 0) return;
  const auto hash = hash_with_progress(context, image);
  if (hash != header.initial_hash) {
    throw MemoryError(Errc::invalid_argument, "replay on " + image.name() + ": its hash is " + hex16(hash) +
                                                  ", and the trace starts from the image " +
                                                  hex16(header.initial_hash) + "; copy that image there first");
  }
}

void require_final_image(Context& context, Image& image, const TraceHeader& header) {
  const std::uint64_t size_bytes = image.size_bytes();
  if (size_bytes != header.final_size_bytes) {
    throw MemoryError(Errc::damaged, "replay on " + image.name() + ": the final size=" + std::to_string(size_bytes) +
                                         ", recorded is size=" + std::to_string(header.final_size_bytes));
  }
  const auto hash = hash_with_progress(context, image);
  if (hash != header.final_hash) {
    throw MemoryError(Errc::damaged, "replay on " + image.name() + ": the final image has hash " + hex16(hash) +
                                         ", recorded is " + hex16(header.final_hash));
  }
}

nlohmann::ordered_json traffic_json(const RemoteTraffic& traffic) {
  return {{"requests", traffic.requests},
          {"round_trips", traffic.round_trips},
          {"bytes_sent", traffic.bytes_sent},
          {"bytes_received", traffic.bytes_received},
          {"cache_hits", traffic.cache_hits},
          {"cache_misses", traffic.cache_misses},
          {"pages_read_ahead", traffic.pages_read_ahead},
          {"cache_bytes_peak", traffic.cache_bytes_peak}};
}

std::string summary(const ReplayCounts& counts, double seconds, const std::string& hash) {
  char rate[96];
  std::snprintf(rate, sizeof rate, "%.2f s, %.0f operations per second", seconds,
                static_cast<double>(counts.records) / seconds);
  return "replayed " + std::to_string(counts.records) + " operations in " + rate + "; " + std::to_string(counts.reads) +
         " reads verified, the final image is as recorded: " + hash;
}

}  // namespace

int run_replay(Context& context, const ReplayOptions& options) {
  if (options.depth < 1 || options.depth > 4096) {
    throw MemoryError(Errc::invalid_argument,
                      "replay: --depth " + std::to_string(options.depth) + " is not within 1 to 4096");
  }
  TraceReader trace(options.trace);
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.access = Access::write;
  mode.create_file = true;
  mode.session_name = "pagectl replay";
  const auto image = open_image(options.uri, mode);
  require_initial_image(context, *image, trace.header());

  Replayer replayer(trace, *image, static_cast<std::size_t>(options.depth));
  const auto start = std::chrono::steady_clock::now();
  {
    Progress progress(context.progress_kind(), "replay", trace.header().records, Progress::Unit::count);
    while (replayer.step()) {
      if (replayer.counts().records % 64 == 0) progress.update(replayer.counts().records);
    }
    progress.update(replayer.counts().records);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  image->flush();
  const auto traffic = image->traffic();
  require_final_image(context, *image, trace.header());

  const ReplayCounts& counts = replayer.counts();
  if (context.json) {
    nlohmann::ordered_json report{{"trace", options.trace},
                                  {"store", options.uri},
                                  {"depth", options.depth},
                                  {"operations", counts.records},
                                  {"grows", counts.grows},
                                  {"reads", counts.reads},
                                  {"writes", counts.writes},
                                  {"flushes", counts.flushes},
                                  {"out_of_bounds", counts.out_of_bounds},
                                  {"bytes_read", counts.bytes_read},
                                  {"bytes_written", counts.bytes_written},
                                  {"seconds", seconds},
                                  {"operations_per_second", static_cast<double>(counts.records) / seconds},
                                  {"size_bytes", trace.header().final_size_bytes},
                                  {"hash", hex16(trace.header().final_hash)}};
    report["timeline"] = replayer.activity().timeline.json();
    report["pages"] = replayer.activity().pages.json();
    if (traffic) report["traffic"] = traffic_json(*traffic);
    context.out.json(report);
  }
  context.note(summary(counts, seconds, hex16(trace.header().final_hash)));
  return exit_done;
}

}  // namespace pageserver::pagectl
