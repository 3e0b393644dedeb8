#include "client/pagectl/commands/cli_commands.hpp"

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "base/units.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

constexpr const char* uri_help = "Store or file; see below";
constexpr const char* server_help = "Daemon; see below";

// What an operand may be, a line each.
constexpr const char* server_forms =
    "  HOST[:PORT] or pageserver://HOST[:PORT]   a daemon (port 6553)\n"
    "  pageserver+unix:///?socket=PATH           the same over a Unix socket\n";
constexpr const char* served_forms =
    "  pageserver://HOST[:PORT]/STORE[?...]       a store of a daemon (port 6553)\n"
    "  pageserver+unix:///STORE?socket=PATH[&...] the same over a Unix socket\n";
constexpr const char* embedded_form = "  store:PATH[?...]                           an image file through the engine\n";
constexpr const char* file_form = "  PATH or file:PATH                          a plain image file\n";
constexpr const char* disk_form =
    "  rbd:POOL/DISK[@SNAPSHOT][?id=CLIENT&...]   a disk of Ceph (RBD); see docs/homes.md\n";
constexpr const char* heap_form = "  heap:                                      an empty image in memory\n";

std::string join(std::initializer_list<const char*> lines) {
  std::string text;
  for (const char* line : lines) text += line;
  return text;
}
std::string forms_of(const std::string& operands, std::initializer_list<const char*> forms) {
  return operands + "\n" + join(forms);
}
std::string image_forms(const std::string& operands) {
  return forms_of(operands, {served_forms, embedded_form, file_form});
}

std::uint64_t to_number(const std::string& text) {
  const auto number = parse_number(text);
  if (!number) {
    throw CLI::ValidationError("`" + text + "` is no number: expected one such as 65536, 0x10000 or 64KiB");
  }
  return *number;
}

ProgressKind to_progress(const std::string& text) {
  if (text == "auto") return ProgressKind::line;
  if (text == "json") return ProgressKind::json;
  if (text == "none") return ProgressKind::nothing;
  throw CLI::ValidationError("`" + text + "` is not one of auto, json and none");
}

CommandPage page(std::string about, std::string forms, std::string example, std::string status = {}) {
  return {nullptr, std::move(about), std::move(forms), std::move(status), std::move(example)};
}

/// One command being described: `options` lives until the command ran.
template <class Options>
class Command {
public:
  Command(const CommandSink& sink, const std::string& name, const std::string& what, CommandPage page,
          int (*run)(Context&, const Options&))
      : context_(&sink.context), sub_(sink.app.add_subcommand(name, what)) {
    page.app = sub_;
    sub_->footer((page.about.empty() ? "" : page.about + "\n\n") + page.forms + "\n" +
                 (page.status.empty() ? "" : page.status + "\n\n") + "Example:\n" + page.example);
    sink.pages.push_back(std::move(page));
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
  /// Of one thing among many: nothing that is counted or measured.
  CLI::Option* id(const std::string& name, std::uint64_t Options::*field, const std::string& help) {
    return sub_
        ->add_option_function<std::string>(
            name,
            [options = options_, field](const std::string& given) {
              const auto parsed = base::parse_number(given);
              if (!parsed) throw CLI::ValidationError("`" + given + "` is no whole number: expected one such as 41");
              (*options).*field = *parsed;
            },
            help)
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
  /// It may take long.
  void shows_progress() {
    sub_->add_option_function<std::string>(
            "--progress", [context = context_](const std::string& given) { context->progress = to_progress(given); },
            "How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each "
            "second; none (default auto)")
        ->type_name("auto|json|none");
  }
  CLI::App& app() { return *sub_; }

private:
  std::shared_ptr<Options> options_ = std::make_shared<Options>();
  Context* context_;
  CLI::App* sub_;
};

}  // namespace

void add_common_options(CLI::App& app, Context& context) {
  app.add_flag("--json", context.json, "One JSON document on standard output");
  app.add_flag("-q,--quiet", context.quiet, "No progress and no word on what was done: results and errors only");
}

const ToolPage& tool_page() {
  static const ToolPage page{
      "Looks at, copies, compares and measures memory images of 64 KiB pages, in files and in daemons.",
      forms_of("Where a URI is wanted:", {served_forms, embedded_form, file_form, heap_form}) +
          forms_of("SERVER:", {server_forms}),
      "Keys behind ? of a remote URI: access, view, publish, wait_ms, name,\n"
      "  connect_timeout, request_timeout, poll_us=auto|0..1000 (look for answers\n"
      "  before sleeping), cache_bytes=SIZE (keep pages, and writes until flush),\n"
      "  resume=SECONDS (a lost connection is made again, calls wait meanwhile),\n"
      "  transport=auto|socket (shared memory over a Unix socket, or not),\n"
      "  token_file=PATH (says who one is; else PAGESERVER_TOKEN does).\n"
      "Commands that only read ask for access=read, the others for access=write,\n"
      "unless the URI says which. Numbers may be written as 65536, 0x10000 or\n"
      "64KiB. What begins with a dash goes behind --. A terminal gets colours, unless\n"
      "NO_COLOR is set in the environment.\n",
      "Exit status:\n"
      "  0   done\n"
      "  1   failed; or the answer is no: `diff` found a difference, `ping` no\n"
      "      daemon, `check` something to see to, `verify` a contradiction\n"
      "  2   usage: nothing was tried; of `diff` any trouble, so that 1 says that\n"
      "      the images differ\n"
      "  75  failed for now, try again: someone else has the lease or the file, the\n"
      "      connection was lost, the daemon has no room for one more, time ran out",
      "  pagectl list 127.0.0.1\n"
      "  pagectl copy pageserver://127.0.0.1/demo backup.img"};
  return page;
}

void add_server_commands(const CommandSink& sink) {
  Command<ListOptions> list(sink, "list", "List a daemon's stores",
                            page("A line for each: name, size, and whether the daemon has it open. With --quiet there "
                                 "is no heading.",
                                 forms_of("SERVER:", {server_forms}), "  pagectl list 127.0.0.1:6553"),
                            run_list);
  list.text("SERVER", &ListOptions::server, server_help);

  Command<PingOptions> ping(
      sink, "ping", "See whether a daemon, or one of its stores, answers",
      page("A daemon answers also while stores hang. With a store its threads and its disk are asked: a session is "
           "opened and a byte is read, and no call of the store may hang.",
           forms_of("SERVER:", {server_forms, served_forms}),
           "  pagectl ping 127.0.0.1 --wait 5000\n  pagectl ping pageserver://127.0.0.1/demo --timeout 2s\n"
           "  pagectl ping 127.0.0.1 --all",
           "Exit status 0: it answers; 1: it does not, so this serves as a health check."),
      run_ping);
  ping.text("SERVER", &PingOptions::server, "Daemon: HOST[:PORT] or a URI; a URI with a store asks that store");
  CLI::Option* const stores = ping.app()
                                  .add_option("--store", (*ping).stores,
                                              "Ask this store of the daemon, by its name; may be given several times")
                                  ->type_name("STORE")
                                  ->expected(1)
                                  ->take_all();
  ping.flag("--all", &PingOptions::all, "Ask each store that the daemon has open")->excludes(stores);
  ping.duration("--wait", &PingOptions::wait, "Keep trying for so long: milliseconds, or 10s, 2m, 1h");
  ping.duration("--timeout", &PingOptions::timeout,
                "A store: answer within so long, and no call to its disk may take longer (default 5s)");

  Command<SessionsOptions> sessions(
      sink, "sessions", "Show who uses a daemon, and how",
      page("One line for each connection, with or without a session. --json has more of each.",
           forms_of("SERVER:", {server_forms}), "  pagectl sessions 127.0.0.1 --store demo"),
      run_sessions);
  sessions.text("SERVER", &SessionsOptions::server, server_help);
  sessions.app()
      .add_option("--store", (*sessions).store, "Only those on this store, or waiting for it")
      ->type_name("STORE");

  Command<TopOptions> top(
      sink, "top", "Watch who uses a daemon, and how much",
      page("Stores and sessions with what they read and write a second. On a terminal it is drawn anew each interval, "
           "and keys sort it: o requests, r read, w written, s store, i idle; the same key once more turns the order. "
           "Arrows scroll, space looks at once, q ends. Where input or output is no terminal each look is a block of "
           "lines, and with --json one look is one document.",
           forms_of("SERVER:", {server_forms}),
           "  pagectl top 127.0.0.1\n  pagectl top 127.0.0.1 --count 5 --interval 10s >load.txt"),
      run_top);
  top.text("SERVER", &TopOptions::server, server_help);
  top.number("--count", &TopOptions::count, "End after so many looks (default: at q or a signal; with --json 1)");
  top.duration("--interval", &TopOptions::interval, "Time from look to look: 500ms, 10s (default 1s, at least 100ms)");

  Command<KickOptions> kick(
      sink, "kick", "End a session",
      page("Its lease, pin, private bytes and place in the line are free then; what it has not published is lost. Its "
           "client is told who did it, and why.",
           forms_of("SERVER:", {server_forms}), "  pagectl kick 127.0.0.1 41 --reason \"the nightly import hangs\"",
           "Exit status 1 also when a disk that hangs still has hold of something."),
      run_kick);
  kick.text("SERVER", &KickOptions::server, server_help);
  kick.id("SESSION", &KickOptions::id, "Number of the session, as `pagectl sessions` shows it")->required();
  kick.flag("--connection", &KickOptions::connection,
            "SESSION is the number of a connection, also of one without a session");
  kick.app().add_option("--reason", (*kick).reason, "For its client and the daemon's log");

  Command<TakeoverOptions> takeover(
      sink, "takeover", "Have a daemon serve a store that another daemon has",
      page("For a store whose home is a Ceph pool. The daemon at URI asks the one that has the store to give it up,\n"
           "takes it as soon as it is free, and serves it: some milliseconds without service. Sessions at the other\n"
           "daemon get lease_lost and change nothing any more; writers with resume= whose URI names both daemons go\n"
           "on here. Where the other one does not answer, its lease is waited for, which is 3 s.\n\n"
           "With --dead it is neither asked nor waited for. Should it live after all, it can change nothing either,\n"
           "but may answer reads with what was there before, for up to 2 s. It takes the right admin.",
           forms_of("URI:", {served_forms}),
           "  pagectl takeover pageserver://host2/demo\n  pagectl takeover pageserver://host2/demo --dead",
           "Exit status 1 where the other daemon does not let go, with who that is."),
      run_takeover);
  takeover.text("URI", &TakeoverOptions::uri, "The store, at the daemon that is to serve it; see below");
  takeover.flag("--dead", &TakeoverOptions::dead, "The daemon that has the store is dead: take it at once");

  Command<WhoamiOptions> whoami(
      sink, "whoami", "Ask a daemon who one is for it, and what one may do",
      page("With a store: what one may do with that, else what one may do with every store; and the rules that say so.",
           forms_of("URI:", {served_forms, server_forms}),
           "  pagectl whoami pageserver://127.0.0.1/demo?token_file=ci.token"),
      run_whoami);
  whoami.text("URI", &WhoamiOptions::uri, "Store of a daemon, or a daemon; see below");

  Command<TokenOptions> token(
      sink, "token", "Make a token, by which a daemon knows a client",
      page(
          "A secret of 256 random bits, printed once: the daemon's file has only its SHA-256. A client is given it as\n"
          "token_file=FILE in its URI, or as PAGESERVER_TOKEN in its environment. What it may do is in the daemon's\n"
          "rules, for token:NAME.",
          "ACTION:\n  create   a new one\n",
          "  pagectl token create ci --add-to /etc/pageserver/tokens --save ci.token"),
      run_token);
  token.text("ACTION", &TokenOptions::action, "create");
  token.text("NAME", &TokenOptions::name, "What it is called in the daemon's rules and log");
  token.app()
      .add_option("--add-to", (*token).add_to, "The daemon's tokens file: a line more, instead of printing it")
      ->type_name("FILE");
  token.app()
      .add_option("--save", (*token).save, "A new file for the token, for its owner alone, instead of printing it")
      ->type_name("FILE");

  Command<FaultsOptions> faults(
      sink, "faults", "Have things go wrong at a store, for tests",
      page("Without an option: what is ordered for all sessions of the store, and how often it struck. For a daemon "
           "with\n"
           "--allow-faults, and who has the right admin. An order is REQUEST[:CONDITION]...:ACTION, such as\n"
           "write:3:no_space, flush:delay=50ms, read:rate=0.01:seed=7:cut=before; several have commas between them.\n"
           "docs/testing-with-pageserver.md says what there is.",
           forms_of("URI:", {served_forms}),
           "  pagectl faults pageserver://127.0.0.1/demo --add flush:always:delay=50ms\n"
           "  pagectl faults pageserver://127.0.0.1/demo --clear"),
      run_faults);
  faults.text("URI", &FaultsOptions::uri, "Store of a daemon; see below");
  faults.app()
      .add_option("--add", (*faults).add, "Order this; may be given several times")
      ->type_name("ORDERS")
      ->expected(1)
      ->take_all();
  faults.flag("--clear", &FaultsOptions::clear, "Order nothing any more, and show what was");

  Command<RunOptions> run(
      sink, "run", "Run a command with a daemon of its own, and have things go wrong",
      page("Starts a pageserverd that nobody else reaches, with one store, and runs COMMAND with the URI of that in\n"
           "PAGESERVER_URI. At the end it says on standard error which orders struck, and removes everything.",
           "COMMAND:\n  a program with its arguments, behind --\n" + image_forms("--image URI:"),
           "  pagectl run --image demo.img --faults disk-full.faults -- ./run-tests --all",
           "Exit status: that of the command, 128 + N where signal N ended it; 124: it was 0, and an order never "
           "struck;\n"
           "125: the daemon could not be started, or failed; 126, 127: the command could not be started."),
      run_run);
  run.app()
      .add_option("--faults", (*run).faults, "File of orders: one a line, or with commas between; # begins a comment")
      ->type_name("FILE");
  run.app()
      .add_option("--image", (*run).image, "What the store begins as: a copy of this image; without it it is empty")
      ->type_name("URI");
  run.app()
      .add_option(
          "--daemon", (*run).daemon,
          "The pageserverd to start; else that of the environment's PAGESERVERD, one beside pagectl, or in PATH")
      ->type_name("FILE");
  run.app().add_option("COMMAND", (*run).command, "Program and arguments, behind --")->required();

  Command<CreateOptions> create(
      sink, "create", "Make a new, empty store or image file",
      page("A daemon must allow it for the folder that it serves (\"create\": true).",
           forms_of("URI:", {served_forms, file_form}), "  pagectl create pageserver://127.0.0.1/fresh --pages 16"),
      run_create);
  create.text("URI", &CreateOptions::uri, uri_help);
  create.number("--pages", &CreateOptions::pages, "Pages of zeros that it starts with (default 0)");

  Command<RemoveOptions> remove(
      sink, "remove", "Remove a store, with its file, or an image file",
      page("What is in use is not removed. There is no way back.", forms_of("URI:", {served_forms, file_form}),
           "  pagectl remove pageserver://127.0.0.1/fresh"),
      run_remove);
  remove.text("URI", &RemoveOptions::uri, uri_help);

  Command<InfoOptions> info(sink, "info", "Report on a store or a file",
                            page("The numbers of sessions include the one that asks.", image_forms("URI:"),
                                 "  pagectl info pageserver://127.0.0.1/demo --json"),
                            run_info);
  info.text("URI", &InfoOptions::uri, uri_help);

  Command<LeaseOptions> lease(
      sink, "lease", "Show who may write, and take that right away",
      page("After --break every request of the writer's session fails with lease_lost; what it "
           "has not published is lost.",
           forms_of("URI:", {served_forms}), "  pagectl lease pageserver://127.0.0.1/demo --break"),
      run_lease);
  lease.text("URI", &LeaseOptions::uri, "Store of a daemon; see below");
  lease.flag("--break", &LeaseOptions::break_it, "Take the lease from the session that holds it");
}

void add_image_commands(const CommandSink& sink) {
  Command<ReadOptions> read(
      sink, "read", "Write bytes of an image to standard output",
      page("With --json the bytes come as hex digits in \"data\". A terminal gets no binary bytes: "
           "--hex, or a pipe.",
           image_forms("URI:"), "  pagectl read --hex pageserver://127.0.0.1/demo 0 64"),
      run_read);
  read.text("URI", &ReadOptions::uri, uri_help);
  read.number("OFFSET", &ReadOptions::offset, "First byte")->required();
  read.number("LENGTH", &ReadOptions::length, "Number of bytes")->required();
  read.shows_progress();
  read.flag("--hex", &ReadOptions::hex, "For people, in the manner of hexdump -C");

  Command<WriteOptions> write(
      sink, "write", "Write standard input into an image",
      page("An image does not grow by it (see grow). Input that goes past the end is an error; "
           "what fitted before may then be written.",
           image_forms("URI:"), "  echo hello | pagectl write pageserver://127.0.0.1/demo 4096"),
      run_write);
  write.text("URI", &WriteOptions::uri, uri_help);
  write.number("OFFSET", &WriteOptions::offset, "Where the first byte goes")->required();
  write.shows_progress();

  Command<GrowOptions> grow(sink, "grow", "Append pages of zeros",
                            page("When the connection was lost (75) it may have grown: look at its size before trying "
                                 "again.",
                                 image_forms("URI:"), "  pagectl grow demo.img 16"),
                            run_grow);
  grow.text("URI", &GrowOptions::uri, uri_help);
  grow.number("PAGES", &GrowOptions::pages, "Number of pages to append")->required();

  Command<CopyOptions> copy(
      sink, "copy", "Copy an image: file to store, store to file, store to store",
      page(
          "A store that can pin a version is read as one version; from one that can't, what is published meanwhile is\n"
          "copied in part, and a warning says so. Pages of zeros are neither sent nor stored.\n"
          "To a file: it appears under its name when it is whole and durable, or not at all.\n"
          "To a store: it must exist and must not be larger than the source; it grows as needed. An upload is one\n"
          "transaction (publish=on_flush): readers see all of it or nothing, and one that is interrupted leaves no\n"
          "trace. With publish=on_write in the URI, or a daemon that knows nothing else, it is not atomic.\n"
          "To a disk of Ceph: a new one, which gets its name when it is whole. A snapshot of one is read as one "
          "version;\n"
          "of a disk that somebody else had open a warning says so.\n"
          "A file or disk that is there, and a store that holds anything but zeros, is replaced with --force only.",
          forms_of("SRC and DST:", {served_forms, embedded_form, file_form, disk_form}),
          "  pagectl copy --check pageserver://127.0.0.1/demo backup.img"),
      run_copy);
  copy.text("SRC", &CopyOptions::source, uri_help);
  copy.text("DST", &CopyOptions::destination, uri_help);
  copy.shows_progress();
  copy.flag("-f,--force", &CopyOptions::force, "Replace a file or disk that is there, or what a store holds");
  copy.flag("--check", &CopyOptions::check, "Compare both at the end, before the copy is made visible where possible");

  Command<DiffOptions> diff(
      sink, "diff", "Compare two images",
      page("Prints the ranges of pages that differ. With --quiet only the exit status tells.", image_forms("A and B:"),
           "  pagectl diff backup.img pageserver://127.0.0.1/demo",
           "Exit status 0: the same; 1: they differ; 2: trouble; 75: trouble that may pass, try again."),
      run_diff);
  diff.text("A", &DiffOptions::first, uri_help);
  diff.text("B", &DiffOptions::second, uri_help);
  diff.shows_progress();
  diff.flag("--layout", &DiffOptions::layout,
            "Of two wasm-dbms databases: the tables and rows that differ, told by their keys, wherever they lie");

  Command<HashOptions> hash(sink, "hash", "Print the XXH3-64 of an image in 16 hex digits",
                            page({}, image_forms("URI:"), "  pagectl hash pageserver://127.0.0.1/demo"), run_hash);
  hash.text("URI", &HashOptions::uri, uri_help);
  hash.shows_progress();
}

void add_layout_commands(const CommandSink& sink) {
  Command<InspectOptions> inspect(sink, "inspect",
                                  "Show what is inside an image: tables, rows, indexes, free and lost pages",
                                  page("Knows images of the engine wasm-dbms, of 0.9 and of 0.10 and later, and those "
                                       "of ic-stable-structures; others\n"
                                       "are said to be unknown. A store of a daemon is looked at in one version, also "
                                       "while others write to it. Each page is read once.\n"
                                       "docs/inspect.md describes the layouts and what is found.",
                                       image_forms("URI:"),
                                       "  pagectl inspect pageserver://127.0.0.1/demo\n"
                                       "  pagectl inspect demo.img --page 2"),
                                  run_inspect);
  inspect.text("URI", &InspectOptions::uri, uri_help);
  inspect.shows_progress();
  inspect.app()
      .add_option_function<std::string>(
          "--page", [&options = *inspect](const std::string& given) { options.page = to_number(given); },
          "Show this page alone, with its fields named")
      ->type_name("NUMBER");
  auto* map = inspect.flag("--map", &InspectOptions::map, "Draw the pages of a database, a sign for each");
  auto* svg = inspect.flag("--svg", &InspectOptions::svg, "The same as an SVG document on standard output");
  map->excludes("--page")->excludes("--json")->excludes(svg);
  svg->excludes("--page")->excludes("--json");

  Command<VerifyOptions> verify(
      sink, "verify", "See whether what is inside an image agrees with itself",
      page(
          "Compares lists with pages, rows with free space, and the entries of each index with rows, and prints each\n"
          "contradiction with its page and offset: half a commit, as an engine leaves it that was killed over a plain\n"
          "file. A commit that ends where a shorter one would have is no contradiction: see docs/inspect.md.\n"
          "Changes nothing.",
          image_forms("URI:"), "  pagectl verify backup.img",
          "Exit status 0: it does, warnings or not; 1: it does not, or the image is of an unknown layout."),
      run_verify);
  verify.text("URI", &VerifyOptions::uri, uri_help);
  verify.shows_progress();
}

void add_work_commands(const CommandSink& sink) {
  const std::string any_image = forms_of("URI:", {served_forms, embedded_form, file_form, heap_form});
  Command<MountOptions> mount(
      sink, "mount", "Let programs that only know files use an image",
      page("The image appears as FILE, over FUSE, until `fusermount3 -u FILE`, Ctrl-C or SIGTERM, which flush first.\n"
           "FILE is empty or not there; one that is made goes again. Returns when FILE can be opened.\n"
           "access=write, the default, holds the lease all the time; access=fork is a file that vanishes; access=read\n"
           "shows each publish at once, and with view=pinned one version. fsync is flush, ftruncate grows in whole\n"
           "pages, and nothing shrinks. docs/files.md has the rest.\n"
           "-o takes, with commas between: flush_every=DURATION, flush_at_close, writeback, direct_io,\n"
           "attr_timeout=DURATION, threads=NUMBER, ro, allow_other, noatime, nodev, noexec, nosuid.",
           any_image,
           "  pagectl mount pageserver://127.0.0.1/demo?access=fork demo.img\n"
           "  pagectl mount --foreground 'pageserver://127.0.0.1/demo?publish=on_flush' demo.img -o flush_every=1s",
           "Exit status 0: mounted, or with --foreground unmounted after a flush; 75: the lease is someone else's, or\n"
           "the image was lost while it was mounted."),
      run_mount);
  mount.text("URI", &MountOptions::uri, uri_help);
  mount.text("FILE", &MountOptions::file, "Where the image appears");
  mount.flag("--foreground", &MountOptions::foreground, "Serve the mount in this process, and return when it is over");
  mount.flag("--read-only", &MountOptions::read_only, "As -o ro, and access=read unless the URI says which");
  mount.flag("--allow-other", &MountOptions::allow_other,
             "Other users may use FILE; who is not root needs user_allow_other in /etc/fuse.conf");
  mount.app()
      .add_option_function<std::string>(
          "--ready-fd", [&options = *mount](const std::string& given) { options.ready_fd = to_number(given); },
          "Write a line to this open descriptor, and close it, once FILE can be opened")
      ->type_name("NUMBER");
  mount.app()
      .add_option("--log", (*mount).log, "Append to this file why calls fail; else standard error and the system's log")
      ->type_name("FILE");
  mount.app()
      .add_option("-o,--option", (*mount).mount_options, "Options of the mount; may be given several times")
      ->type_name("OPTION,...")
      ->expected(1)
      ->take_all();

  Command<ReplayOptions> replay(
      sink, "replay", "Do again what a recorded trace did, and verify every read in it",
      page("The image must be what the trace starts from: empty, or the one that it was recorded on.", any_image,
           "  pagectl create pageserver://127.0.0.1/again\n"
           "  pagectl replay oltp.wdtr.zst pageserver://127.0.0.1/again"),
      run_replay);
  replay.text("TRACE", &ReplayOptions::trace, "File *.wdtr or *.wdtr.zst");
  replay.text("URI", &ReplayOptions::uri, uri_help);
  replay.shows_progress();
  replay.number("--depth", &ReplayOptions::depth,
                "Requests in flight; 1, the default, is how the engine works: one after the other");

  Command<BenchOptions> bench(
      sink, "bench", "Measure requests: rate, median and percentiles",
      page("Reads only, unless --write says how many of a hundred requests are writes: those OVERWRITE the image with "
           "random bytes.",
           any_image, "  pagectl bench pageserver://127.0.0.1/demo --size 8,4KiB --depth 1,64"),
      run_bench);
  bench.text("URI", &BenchOptions::uri, uri_help);
  bench.shows_progress();
  bench.numbers("--size", &BenchOptions::sizes, "Bytes of a request (default 8,4KiB,64KiB)");
  bench.numbers("--depth", &BenchOptions::depths, "Requests in flight (default 1)");
  bench.number("--write", &BenchOptions::write_percent, "Per cent of requests that write, 0 to 100 (default 0)");
  bench.app().add_option("--seconds", (*bench).seconds, "Length of each run (default 2)")->type_name("SECONDS");
  bench.app()
      .add_option_function<std::string>(
          "--count", [&options = *bench](const std::string& given) { options.count = to_number(given); },
          "Requests of each run, instead of --seconds")
      ->type_name("NUMBER")
      ->excludes("--seconds");
  bench.flag("--sequential", &BenchOptions::sequential, "Rising offsets instead of random ones");
  bench.number("--seed", &BenchOptions::seed, "Of the random offsets and the mix (default 1)");

  Command<PlotOptions> plot(
      sink, "plot", "Draw what a trace does, or how a bench or a replay went",
      page("An SVG document on standard output. Of a trace: bytes read and written, and which pages, from its first\n"
           "record to its last. Of a report: latencies and requests over time, and how often which pages were used.",
           "WHAT:\n"
           "  trace   FILE is a recorded trace, *.wdtr or *.wdtr.zst\n"
           "  bench   FILE is what `pagectl bench --json` or `pagectl replay --json` wrote\n",
           "  pagectl plot trace oltp.wdtr.zst >oltp.svg\n"
           "  pagectl bench pageserver://127.0.0.1/demo --seconds 30 --json >bench.json\n"
           "  pagectl plot bench bench.json >bench.svg"),
      run_plot);
  plot.text("WHAT", &PlotOptions::what, "trace or bench");
  plot.text("FILE", &PlotOptions::file, "What is drawn; see below");
  plot.shows_progress();

  const std::string files = forms_of("FILE:", {file_form});
  Command<FileOptions> check(sink, "check", "See whether a file is an image that can be opened",
                             page("Changes nothing.", files, "  pagectl check /var/lib/pageserver/demo.img",
                                  "Exit status 0: it can; 1: it can't, also when a log beside it waits to be replayed, "
                                  "or someone has it open."),
                             run_check);
  check.text("FILE", &FileOptions::file, "Image file");
  check.shows_progress();

  Command<RecoverOptions> recover(
      sink, "recover", "Bring an image up to date with the log beside it",
      page("For use while no daemon serves the file; a daemon does the same when it starts.", files,
           "  pagectl recover /var/lib/pageserver/demo.img"),
      run_recover);
  recover.text("FILE", &RecoverOptions::file, "Image file");
  recover.shows_progress();
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

void add_commands(const CommandSink& sink) {
  add_server_commands(sink);
  add_image_commands(sink);
  add_layout_commands(sink);
  add_work_commands(sink);
}

}  // namespace pageserver::pagectl
