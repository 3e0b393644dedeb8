#include "client/pagectl/commands/cli_commands.hpp"

#include <memory>
#include <string>
#include <utility>

#include "base/units.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

constexpr const char* uri_help = "Store or file: see `pagectl --help`";
constexpr const char* server_help = "Daemon: HOST[:PORT] or a URI without a store";

std::uint64_t to_number(const std::string& text) {
  const auto number = parse_number(text);
  if (!number) {
    throw CLI::ValidationError("`" + text + "` is no number: expected one such as 65536, 0x10000 or 64KiB");
  }
  return *number;
}

/// One command being described: `options` lives until the command ran.
template <class Options>
class Command {
public:
  Command(const CommandSink& sink, const std::string& name, const std::string& what, const std::string& more,
          int (*run)(Context&, const Options&))
      : sub_(sink.app.add_subcommand(name, what)) {
    sub_->footer(more);
    add_common_options(*sub_, sink.context);
    sub_->callback([options = options_, run, &sink_chosen = sink.chosen, &context = sink.context] {
      sink_chosen = [options, run, &context] { return run(context, *options); };
    });
  }

  Options& operator*() { return *options_; }

  Command& text(const std::string& name, std::string Options::*field, const std::string& help) {
    sub_->add_option(name, (*options_).*field, help)->required();
    return *this;
  }
  CLI::Option* number(const std::string& name, std::uint64_t Options::*field, const std::string& help) {
    return sub_
        ->add_option_function<std::string>(
            name, [options = options_, field](const std::string& given) { (*options).*field = to_number(given); }, help)
        ->type_name("NUMBER");
  }
  void duration(const std::string& name, std::chrono::milliseconds Options::*field, const std::string& help) {
    sub_->add_option_function<std::string>(
            name,
            [options = options_, field](const std::string& given) {
              const auto parsed = base::parse_duration(given);
              if (!parsed)
                throw CLI::ValidationError("`" + given + "` is no duration: expected one such as 500ms, 10s, 2m or 1h");
              (*options).*field = *parsed;
            },
            help)
        ->type_name("DURATION");
  }
  void numbers(const std::string& name, std::vector<std::uint64_t> Options::*field, const std::string& help) {
    sub_->add_option_function<std::vector<std::string>>(
            name,
            [options = options_, field](const std::vector<std::string>& given) {
              for (const auto& one : given) ((*options).*field).push_back(to_number(one));
            },
            help)
        ->delimiter(',')
        ->type_name("NUMBER,...");
  }
  CLI::Option* flag(const std::string& name, bool Options::*field, const std::string& help) {
    return sub_->add_flag(name, (*options_).*field, help);
  }
  CLI::App& app() { return *sub_; }

private:
  std::shared_ptr<Options> options_ = std::make_shared<Options>();
  CLI::App* sub_;
};

}  // namespace

void add_common_options(CLI::App& app, Context& context) {
  app.add_flag("--json", context.json, "One JSON document on standard output");
  app.add_flag("-q,--quiet", context.quiet, "No progress and no word on what was done: results and errors only");
}

void add_server_commands(const CommandSink& sink) {
  Command<ListOptions> list(sink, "list", "List a daemon's stores", "Example:\n  pagectl list 127.0.0.1:6553",
                            run_list);
  list.text("SERVER", &ListOptions::server, server_help);

  Command<PingOptions> ping(sink, "ping", "See whether a daemon answers",
                            "Exit status 0: it answers; 1: it does not, so this serves as a health check.\n\n"
                            "Example:\n  pagectl ping 127.0.0.1 --wait 5000",
                            run_ping);
  ping.text("SERVER", &PingOptions::server, server_help);
  ping.duration("--wait", &PingOptions::wait, "Keep trying for so long: milliseconds, or 10s, 2m, 1h");

  Command<CreateOptions> create(sink, "create", "Make a new, empty store or image file",
                                "The daemon must allow it for the folder that it serves (\"create\": true).\n\n"
                                "Example:\n  pagectl create pageserver://127.0.0.1/fresh --pages 16",
                                run_create);
  create.text("URI", &CreateOptions::uri, uri_help);
  create.number("--pages", &CreateOptions::pages, "Pages of zeros that it starts with (default 0)");

  Command<RemoveOptions> remove(sink, "remove", "Remove a store, with its file, or an image file",
                                "What is in use is not removed. There is no way back.\n\n"
                                "Example:\n  pagectl remove pageserver://127.0.0.1/fresh",
                                run_remove);
  remove.text("URI", &RemoveOptions::uri, uri_help);

  Command<InfoOptions> info(sink, "info", "Report on a store or a file",
                            "The numbers of sessions include the one that asks.\n\n"
                            "Example:\n  pagectl info pageserver://127.0.0.1/demo --json",
                            run_info);
  info.text("URI", &InfoOptions::uri, uri_help);

  Command<LeaseOptions> lease(sink, "lease", "Show who may write, and take that right away",
                              "After --break every request of the writer's session fails with lease_lost; what it has "
                              "not published is lost.\n\n"
                              "Example:\n  pagectl lease pageserver://127.0.0.1/demo --break",
                              run_lease);
  lease.text("URI", &LeaseOptions::uri, "Store of a daemon");
  lease.flag("--break", &LeaseOptions::break_it, "Take the lease from the session that holds it");
}

void add_image_commands(const CommandSink& sink) {
  Command<ReadOptions> read(sink, "read", "Write bytes of an image to standard output",
                            "With --json the bytes come as hex digits in \"data\".\n\n"
                            "Example:\n  pagectl read --hex pageserver://127.0.0.1/demo 0 64",
                            run_read);
  read.text("URI", &ReadOptions::uri, uri_help);
  read.number("OFFSET", &ReadOptions::offset, "First byte")->required();
  read.number("LENGTH", &ReadOptions::length, "Number of bytes")->required();
  read.flag("--hex", &ReadOptions::hex, "For people, in the manner of hexdump -C");

  Command<WriteOptions> write(sink, "write", "Write standard input into an image",
                              "An image does not grow by it (see grow). Input that goes past the end is an error; what "
                              "fitted before may then be written.\n\n"
                              "Example:\n  echo hello | pagectl write pageserver://127.0.0.1/demo 4096",
                              run_write);
  write.text("URI", &WriteOptions::uri, uri_help);
  write.number("OFFSET", &WriteOptions::offset, "Where the first byte goes")->required();

  Command<GrowOptions> grow(sink, "grow", "Append pages of zeros", "Example:\n  pagectl grow demo.img 16", run_grow);
  grow.text("URI", &GrowOptions::uri, uri_help);
  grow.number("PAGES", &GrowOptions::pages, "Number of pages to append")->required();

  Command<CopyOptions> copy(
      sink, "copy", "Copy an image: file to store, store to file, store to store",
      "A store that can pin a version is read as one version; from one that can't, what is published meanwhile is\n"
      "copied in part, and a warning says so. Pages of zeros are neither sent nor stored.\n"
      "To a file: it appears under its name when it is whole and durable, or not at all.\n"
      "To a store: it must exist and must not be larger than the source; it grows as needed. An upload is one\n"
      "transaction (publish=on_flush): readers see all of it or nothing, and one that is interrupted leaves no trace.\n"
      "With publish=on_write in the URI, or a daemon that knows nothing else, it is not atomic.\n\n"
      "Example:\n  pagectl copy --check pageserver://127.0.0.1/demo backup.img",
      run_copy);
  copy.text("SRC", &CopyOptions::source, uri_help);
  copy.text("DST", &CopyOptions::destination, uri_help);
  copy.flag("-f,--force", &CopyOptions::force, "Replace a file that is there");
  copy.flag("--check", &CopyOptions::check, "Compare both at the end, before the copy is made visible where possible");

  Command<DiffOptions> diff(
      sink, "diff", "Compare two images",
      "Prints the ranges of pages that differ. Exit status 0: the same; 1: different, or failed.\n"
      "With --quiet only the exit status tells.\n\n"
      "Example:\n  pagectl diff backup.img pageserver://127.0.0.1/demo",
      run_diff);
  diff.text("A", &DiffOptions::first, uri_help);
  diff.text("B", &DiffOptions::second, uri_help);

  Command<HashOptions> hash(sink, "hash", "Print the XXH3-64 of an image in 16 hex digits",
                            "Example:\n  pagectl hash pageserver://127.0.0.1/demo", run_hash);
  hash.text("URI", &HashOptions::uri, uri_help);
}

void add_work_commands(const CommandSink& sink) {
  Command<ReplayOptions> replay(
      sink, "replay", "Do again what a recorded trace did, and verify every read in it",
      "The image must be what the trace starts from: empty, or the one that it was recorded on.\n\n"
      "Example:\n  pagectl create pageserver://127.0.0.1/again\n"
      "  pagectl replay oltp.wdtr.zst pageserver://127.0.0.1/again",
      run_replay);
  replay.text("TRACE", &ReplayOptions::trace, "File *.wdtr or *.wdtr.zst");
  replay.text("URI", &ReplayOptions::uri, uri_help);
  replay.number("--depth", &ReplayOptions::depth,
                "Requests in flight; 1, the default, is how the engine works: one after the other");

  Command<BenchOptions> bench(sink, "bench", "Measure requests: rate, median and percentiles",
                              "Reads only, unless --write says how many of a hundred requests are writes: those "
                              "OVERWRITE the image with random bytes.\n\n"
                              "Example:\n  pagectl bench pageserver://127.0.0.1/demo --size 8,4KiB --depth 1,64",
                              run_bench);
  bench.text("URI", &BenchOptions::uri, uri_help);
  bench.numbers("--size", &BenchOptions::sizes, "Bytes of a request (default 8,4KiB,64KiB)");
  bench.numbers("--depth", &BenchOptions::depths, "Requests in flight (default 1)");
  bench.number("--write", &BenchOptions::write_percent, "Per cent of requests that write, 0 to 100 (default 0)");
  bench.app().add_option("--seconds", (*bench).seconds, "Length of each run (default 2)");
  bench.app()
      .add_option_function<std::string>(
          "--count", [&options = *bench](const std::string& given) { options.count = to_number(given); },
          "Requests of each run, instead of --seconds")
      ->type_name("NUMBER")
      ->excludes("--seconds");
  bench.flag("--sequential", &BenchOptions::sequential, "Rising offsets instead of random ones");
  bench.number("--seed", &BenchOptions::seed, "Of the random offsets and the mix (default 1)");

  Command<FileOptions> check(sink, "check", "See whether a file is an image that can be opened",
                             "Changes nothing. Exit status 1 also when a log beside it waits to be replayed.\n\n"
                             "Example:\n  pagectl check /var/lib/pageserver/demo.img",
                             run_check);
  check.text("FILE", &FileOptions::file, "Image file");

  Command<RecoverOptions> recover(sink, "recover", "Bring an image up to date with the log beside it",
                                  "For use while no daemon serves the file; a daemon does the same when it starts.\n\n"
                                  "Example:\n  pagectl recover /var/lib/pageserver/demo.img",
                                  run_recover);
  recover.text("FILE", &RecoverOptions::file, "Image file");
  recover.flag("--adopt", &RecoverOptions::adopt,
               "Replay the log although inode, size or time of the image say that it is another one: right when both "
               "were moved or copied together, or only the time was changed; publishes of the log then lie over "
               "whatever the image holds");
  recover
      .flag("--drop-log", &RecoverOptions::drop_log,
            "Use the image as it is, as after it was put back from a copy: what only the log has is lost to it, and "
            "the log's files are kept as FILE.kept-TIME.NUMBER")
      ->excludes("--adopt");
}

}  // namespace pageserver::pagectl
