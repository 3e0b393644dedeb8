// The store engine in the program's own process, without a daemon: embedded FILE
// Transactions are in the file whole or not at all, also after a kill.
#include <array>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include <pageserver/open.hpp>

namespace {

using Balance = std::array<std::byte, 1>;

std::byte balance(pageserver::Session& bank, std::uint64_t account) {
  Balance value{};
  bank.read(account * pageserver::page_size, value);
  return value[0];
}

void set_balance(pageserver::Session& bank, std::uint64_t account, unsigned value) {
  bank.write(account * pageserver::page_size, Balance{static_cast<std::byte>(value)});
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: embedded FILE");
  const auto bank = pageserver::open_session(std::string("store:") + argv[1] + "?publish=on_flush");
  if (bank->pages() < 2) bank->grow(2 - bank->pages());
  set_balance(*bank, 0, 70);
  set_balance(*bank, 1, 30);
  bank->flush();  // both or none

  set_balance(*bank, 0, 0);  // half of a transfer, and then the program changes its mind
  bank->discard();
  std::printf("%u and %u\n", std::to_integer<unsigned>(balance(*bank, 0)),
              std::to_integer<unsigned>(balance(*bank, 1)));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
