// Images as disks: nbdkit with our plugin, and what clients of NBD make of it.
#include "tests/support/catch.hpp"

#include <filesystem>

#include "tests/pagectl/served.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver::test;

namespace {

/// Says so where one of the programs is not here.
bool are_here(const std::vector<std::string>& programs) {
  for (const auto& program : programs) {
    if (run({"bash", "-c", "command -v " + program}).status == 0) continue;
    skip("there is no " + program + " here");
    return false;
  }
  return true;
}

/// nbdkit on a socket of its own, while `command` runs with $uri.
RunResult nbdkit(const std::string& image, const std::string& command, const std::vector<std::string>& options = {}) {
  std::vector<std::string> words{"nbdkit", "--unix", "-"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {PAGESERVER_NBDKIT_PLUGIN, "uri=" + image, "--run", "set -e; " + command});
  return run(words);
}

std::string stored(const Served& served, std::uint64_t offset, std::uint64_t length) {
  return pagectl({"read", served.daemon->unix_uri("demo"), std::to_string(offset), std::to_string(length)}).out;
}

}  // namespace

TEST_CASE("nbdkit: a disk is one version of its image, whatever is published while it is in use") {
  if (!are_here({"nbdkit", "nbdcopy", "nbdinfo", "qemu-img"})) return;
  Served served;
  const auto image = served.daemon->unix_uri("demo");
  const auto copy = served.dir.file("copy.img");
  const auto result =
      nbdkit(image, "nbdinfo --size \"$uri\"; nbdcopy \"$uri\" '" + copy + "'; nbdinfo --json \"$uri\"");
  CHECK(result.status == 0);
  CHECK(result.err == "");
  CHECK(result.out.starts_with("262144\n"));
  const auto described = nlohmann::json::parse(result.out.substr(7)).at("exports").at(0);
  CHECK(described.at("is_read_only") == true);
  CHECK(described.at("can_multi_conn") == true);
  CHECK(described.at("block_size_preferred") == 65536);
  CHECK((read_file(copy) == random_bytes(4, 1)));
  // A client stays connected while another one writes and grows the store.
  write_file(served.dir.file("client.sh"), R"(
    coproc client { stdbuf -oL qemu-io -r -f raw "$uri"; }
    ask() {
      echo "read -v 0 16" >&"${client[1]}"
      while read -r line <&"${client[0]}"; do case $line in *00000000:*) echo "${line#*00000000:}"; return;; esac; done
    }
    ask
    printf changed | "$1" write --quiet "$2" 0
    "$1" grow --quiet "$2" 1
    ask
    echo quit >&"${client[1]}"
    wait
    # nbdkit ends a connection after its client has gone, and the version is used until then.
    for _ in {1..100}; do size=$(nbdinfo --size "$uri"); [ "$size" = 262144 ] || break; done
    echo "$size"
  )");
  const auto changed = nbdkit(
      image, "export uri; bash '" + served.dir.file("client.sh") + "' '" + pagectl_program() + "' '" + image + "'");
  INFO(changed.out << changed.err);
  CHECK(changed.status == 0);
  CHECK(stored(served, 0, 7) == "changed");
  const auto first = changed.out.substr(0, changed.out.find('\n') + 1);
  CHECK(first.size() > 16);
  CHECK(changed.out == first + first + "327680\n");
}

TEST_CASE("nbdkit: the pin of a disk is gone with its last client") {
  if (!are_here({"nbdkit", "nbdinfo"})) return;
  Served served;
  const auto image = served.daemon->unix_uri("demo");
  const auto result = nbdkit(image, "nbdinfo --size \"$uri\"; '" + pagectl_program() + "' info --json '" + image + "'");
  REQUIRE(result.status == 0);
  CHECK(result.out.find("\"pinned\": 0") != std::string::npos);
}

TEST_CASE("nbdkit: the map of a disk tells data from holes") {
  if (!are_here({"nbdkit", "nbdinfo", "qemu-img"})) return;
  Served served;
  const auto image = served.daemon->unix_uri("demo");
  REQUIRE(pagectl({"grow", image, "100000"}).status == 0);
  REQUIRE(pagectl({"write", image, "4294967296"}, "far out").status == 0);
  const auto result = nbdkit(image, "nbdinfo --map --json \"$uri\"; echo; qemu-img map --output=json \"$uri\"");
  CHECK(result.status == 0);
  CHECK(result.err == "");
  const auto middle = result.out.find("]") + 1;
  const auto map = nlohmann::json::parse(result.out.substr(0, middle));
  REQUIRE(map.size() == 4);
  CHECK(map[0].at("length") == 4 * page_bytes);
  CHECK(map[0].at("type") == 0);
  CHECK(map[1].at("type") == 3);
  CHECK(map[2].at("offset") == 4294967296);
  CHECK(map[2].at("type") == 0);
  CHECK(map[3].at("type") == 3);
  CHECK(nlohmann::json::parse(result.out.substr(middle)).size() == 4);
}

TEST_CASE("nbdkit: a store is written as a disk, and a fork of it leaves the store as it was") {
  if (!are_here({"nbdkit", "nbdcopy", "qemu-img", "qemu-io"})) return;
  Served served;
  const auto source = served.dir.file("source.img");
  write_file(source, random_bytes(4, 7));
  const auto commands = "nbdcopy --flush '" + source + "' \"$uri\"; qemu-img compare -s -f raw -F raw '" + source +
                        "' \"$uri\"; qemu-io -f raw -c 'write -P 0x5a 65536 4096' -c 'write -f -P 0x5b 70000 4000' "
                        "-c 'write -z 131072 65536' -c 'discard 0 4096' -c flush -c 'read -P 0x5a 65536 4096' "
                        "-c 'read -P 0x5b 70000 4000' -c 'read -P 0 131072 65536' -c 'read -P 0 0 4096' \"$uri\"";
  const auto fork = nbdkit(served.daemon->unix_uri("demo", "access=fork"), commands);
  INFO(fork.out << fork.err);
  CHECK(fork.status == 0);
  CHECK(fork.out.find("Images are identical.") != std::string::npos);
  CHECK(fork.out.find("failed") == std::string::npos);
  CHECK((stored(served, 0, 4 * page_bytes) == random_bytes(4, 1)));
  const auto writer = nbdkit(served.daemon->unix_uri("demo", "access=write&publish=on_flush"), commands);
  INFO(writer.out << writer.err);
  CHECK(writer.status == 0);
  CHECK(writer.out.find("failed") == std::string::npos);
  CHECK(stored(served, 65536, 4096) == std::string(4096, '\x5a'));
  CHECK(stored(served, 70000, 4000) == std::string(4000, '\x5b'));
  CHECK(stored(served, 131072, 65536) == std::string(65536, '\0'));
  CHECK((stored(served, 200000, 60000) == read_file(source).substr(200000, 60000)));
}

TEST_CASE("nbdkit: what libnbd asks a disk whether it can is answered as it is, by a reader, a fork and a writer") {
  if (!are_here({"nbdkit", "nbdinfo"})) return;
  Served served;
  // nbdinfo's status: 0 yes, 2 no.
  const auto asked =
      "for what in connect flush fua trim zero fast-zero multi-conn cache df write; do "
      "if nbdinfo --can $what \"$uri\"; then echo -n \"$what \"; else [ $? = 2 ]; fi; done; "
      "if nbdinfo --is read-only \"$uri\"; then echo -n read-only; fi";
  const auto reader = nbdkit(served.daemon->unix_uri("demo"), asked);
  INFO(reader.err);
  CHECK(reader.status == 0);
  CHECK(reader.out == "connect flush multi-conn cache df read-only");
  for (const std::string query : {"access=fork", "access=write&publish=on_flush"}) {
    const auto writer = nbdkit(served.daemon->unix_uri("demo", query), asked);
    INFO(query << ": " << writer.err);
    CHECK(writer.status == 0);
    CHECK(writer.out == "connect flush fua trim zero fast-zero multi-conn cache df write ");
  }
}

TEST_CASE("nbdkit: what fio writes with many requests under way it finds again") {
  if (!are_here({"nbdkit", "fio"})) return;
  if (run({"bash", "-c", "fio --enghelp | grep -qw nbd"}).status != 0) return skip("fio has no engine for NBD here");
  Served served(64);
  const auto commands =
      "fio --name=nbd --ioengine=nbd --uri=\"$uri\" --rw=randwrite --size=4m --bs=4k --iodepth=16 "
      "--verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 --end_fsync=1 --output-format=terse";
  for (const std::string query : {"access=fork", "access=write&publish=on_flush"}) {
    const auto result = nbdkit(served.daemon->unix_uri("demo", query), commands);
    INFO(query << ": " << result.out << result.err);
    CHECK(result.status == 0);
  }
  // What it wrote and flushed, the last write too, is in the store: its checksums are, and other bytes are wrong.
  const auto read =
      "fio --name=nbd --ioengine=nbd --uri=\"$uri\" --rw=randread --size=4m --bs=4k --iodepth=16 "
      "--verify=crc32c --verify_fatal=1 --verify_state_save=0 --output-format=terse";
  const auto found = nbdkit(served.daemon->unix_uri("demo"), read);
  INFO(found.out << found.err);
  CHECK(found.status == 0);
  REQUIRE(pagectl({"write", served.daemon->unix_uri("demo"), "70000"}, "not by fio").status == 0);
  CHECK(nbdkit(served.daemon->unix_uri("demo"), read).status != 0);
}

TEST_CASE("nbdkit: qemu-img converts a disk into another format and back, and finds each difference") {
  if (!are_here({"nbdkit", "qemu-img"})) return;
  Served served;
  const auto image = served.daemon->unix_uri("demo");
  const auto disk = served.dir.file("copy.qcow2"), back = served.dir.file("back.img"),
             other = served.dir.file("other.img");
  const auto out_of = nbdkit(image, "qemu-img convert -f raw -O qcow2 \"$uri\" '" + disk +
                                        "'; qemu-img compare -s -f raw -F qcow2 \"$uri\" '" + disk + "'");
  INFO(out_of.out << out_of.err);
  CHECK(out_of.status == 0);
  CHECK(out_of.out.find("Images are identical.") != std::string::npos);
  CHECK(run({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, back}).status == 0);
  CHECK((read_file(back) == random_bytes(4, 1)));
  write_file(other, random_bytes(4, 1));
  patch_file(other, 3 * page_bytes + 4096, "x");
  const auto differs = nbdkit(image, "qemu-img compare -f raw -F raw \"$uri\" '" + other + "' || echo status $?");
  CHECK(differs.out.find("Content mismatch at offset 200704!") != std::string::npos);
  CHECK(differs.out.find("status 1") != std::string::npos);
  // Into a store: what was there goes.
  write_file(other, random_bytes(4, 9));
  const auto into = nbdkit(served.daemon->unix_uri("demo", "access=write&publish=on_flush"),
                           "qemu-img convert -n -f raw -O raw '" + other + "' \"$uri\"");
  INFO(into.out << into.err);
  CHECK(into.status == 0);
  CHECK((stored(served, 0, 4 * page_bytes) == random_bytes(4, 9)));
}

TEST_CASE("nbdkit: over TLS, with certificates of both sides, and nobody without") {
  if (!are_here({"nbdkit", "nbdcopy", "nbdinfo", "openssl"})) return;
  if (run({"bash", "-c", "nbdkit --dump-config | grep -qx tls=yes"}).status != 0) return skip("nbdkit has no TLS here");
  Served served;
  const auto made = run({"bash", "-ec", R"(
    cd "$1"
    NEW='req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2'
    openssl $NEW -subj /CN=authority -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca-key.pem -out ca-cert.pem
    for side in server client; do
      openssl $NEW -CA ca-cert.pem -CAkey ca-key.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -addext basicConstraints=critical,CA:FALSE -keyout $side-key.pem -out $side-cert.pem
    done)",
                         "bash", served.dir.path().string()});
  INFO(made.err);
  REQUIRE(made.status == 0);
  const auto certificates = served.dir.path().string(), copy = served.dir.file("copy.img");
  const auto result = nbdkit(served.daemon->unix_uri("demo"),
                             "nbdcopy \"$uri&tls-certificates=" + certificates + "\" '" + copy +
                                 "'; nbdinfo \"$uri&tls-certificates=" + certificates +
                                 "\"; ! nbdinfo \"nbd+unix:///?socket=$unixsocket\" 2>&1",
                             {"--tls=require", "--tls-verify-peer", "--tls-certificates=" + certificates});
  INFO(result.out << result.err);
  CHECK(result.status == 0);
  CHECK((read_file(copy) == random_bytes(4, 1)));
  CHECK(result.out.find("newstyle-fixed with TLS") != std::string::npos);
  CHECK(result.out.find("export-size: 262144") != std::string::npos);
}

TEST_CASE("nbdkit: an image through the engine in nbdkit's own process is a disk, for a reader, a fork and a writer") {
  if (!are_here({"nbdkit", "nbdcopy", "qemu-io"})) return;
  const TempDir dir;
  const auto image = dir.file("image.img"), copy = dir.file("copy.img");
  write_file(image, random_bytes(4, 3));
  const auto read = nbdkit("store:" + image, "nbdcopy \"$uri\" '" + copy + "'; nbdinfo --can multi-conn \"$uri\"");
  INFO(read.err);
  CHECK(read.status == 0);
  CHECK((read_file(copy) == random_bytes(4, 3)));
  const auto writing = "qemu-io -f raw -c 'write -P 0x5a 65536 4096' -c flush -c 'read -P 0x5a 65536 4096' \"$uri\"";
  const auto fork = nbdkit("store:" + image + "?access=fork", writing);
  INFO(fork.out << fork.err);
  CHECK(fork.status == 0);
  CHECK((read_file(image) == random_bytes(4, 3)));
  const auto writer = nbdkit("store:" + image + "?access=write&publish=on_flush", writing);
  INFO(writer.out << writer.err);
  CHECK(writer.status == 0);
  // nbdkit closes the store, and so copies the log into the image, behind the command's back.
  wait_until([&] { return read_file(image).substr(65536, 4096) == std::string(4096, '\x5a'); });
}

TEST_CASE("nbdkit: what is read ahead where reads go forward is of the version that the disk shows") {
  if (!are_here({"nbdkit", "nbdcopy", "qemu-io"})) return;
  Served served(64);
  const auto image = served.daemon->unix_uri("demo");
  const auto copy = served.dir.file("copy.img");
  for (const std::string size : {"4096", "65536", "262144"}) {
    const auto copied = nbdkit(image, "nbdcopy --request-size=" + size + " \"$uri\" '" + copy + "'");
    INFO(copied.err);
    CHECK(copied.status == 0);
    CHECK((read_file(copy) == random_bytes(64, 1)));
  }
  // A client reads on while the store is written: before it has read anything in a row, and in the middle.
  write_file(served.dir.file("client.sh"), R"sh(
    fill() { head -c 2097152 /dev/zero | tr '\0' "$3" | "$1" write --quiet "$2" 0; }
    fill "$1" "$2" '\021'
    coproc client { stdbuf -oL qemu-io -r -f raw "$uri"; }
    pages() {
      for ((page = $1; page < $2; page++)); do
        echo "read -P 0x11 $((page * 65536)) 65536" >&"${client[1]}"
        while read -r line <&"${client[0]}"; do
          case $line in *failed*) echo "page $page: $line";; *read\ 65536/65536*) break;; esac
        done
      done
    }
    pages 0 1
    if [ "$3" = early ]; then fill "$1" "$2" '\042'; pages 0 32; fi
    if [ "$3" = late ]; then pages 1 16; fill "$1" "$2" '\042'; pages 16 32; fi
    "$1" info --json "$2" | grep '"pinned"'
    echo quit >&"${client[1]}"
    wait
  )sh");
  const auto client = [&](const std::string& when) {
    return nbdkit(image, "export uri; bash '" + served.dir.file("client.sh") + "' '" + pagectl_program() + "' '" +
                             image + "' " + when);
  };
  const auto early = client("early");
  INFO(early.out << early.err);
  CHECK(early.status == 0);
  CHECK(early.out.find("failed") == std::string::npos);
  CHECK(early.out.find("\"pinned\": 1") != std::string::npos);
  const auto late = client("late");
  INFO(late.out << late.err);
  CHECK(late.status == 0);
  CHECK(late.out.find("failed") == std::string::npos);
  CHECK(late.out.find("\"pinned\": 2") != std::string::npos);
}

TEST_CASE("nbdkit: a relative path leads there where nbdkit was started, though it serves from the root") {
  if (!are_here({"nbdkit", "nbdinfo"})) return;
  Served served;
  const TempDir dir;
  std::filesystem::create_directory(dir.path() / "a & b");
  const auto folder = dir.file("a & b");
  std::filesystem::create_symlink(served.daemon->socket_path(), folder + "/d.sock");
  write_file(folder + "/image.img", random_bytes(4, 3));
  for (const std::string uri : {"image.img", "./image.img", "file:image.img", "store:image.img?access=fork",
                                "pageserver+unix:///demo?access=fork&socket=d.sock&wait_ms=0"}) {
    const auto result = run({"bash", "-ec", R"sh(
      cd "$1"
      nbdkit --unix "$1/nbd" --pidfile "$1/pid" "$2" "uri=$3"
      trap 'kill "$(cat pid)"; while [ -e "/proc/$(cat pid)" ]; do sleep 0.01; done; rm -f nbd pid' EXIT
      nbdinfo --size "nbd+unix:///?socket=nbd")sh",
                             "bash", folder, PAGESERVER_NBDKIT_PLUGIN, uri});
    INFO(uri << ": " << result.err);
    CHECK(result.status == 0);
    CHECK(result.out == "262144\n");
  }
}

TEST_CASE("nbdkit: what can't be served is refused in words") {
  if (!are_here({"nbdkit", "nbdinfo"})) return;
  Served served;
  const auto image = served.daemon->unix_uri("demo");
  CHECK(run({"nbdkit", "--unix", "-", PAGESERVER_NBDKIT_PLUGIN, "--run", "true"}).err.find("uri=URI is missing") !=
        std::string::npos);
  CHECK(nbdkit(image + "&access=read&view=live", "true").err.find("so leave it out") != std::string::npos);
  const auto absent = nbdkit(served.daemon->unix_uri("absent"), "nbdinfo \"$uri\"");
  CHECK(absent.status != 0);
  CHECK(absent.err.find("absent") != std::string::npos);
  const auto read_only = nbdkit(image + "&access=write", "nbdinfo --json \"$uri\"", {"-r"});
  CHECK(read_only.out.find("\"is_read_only\": true") != std::string::npos);
}
