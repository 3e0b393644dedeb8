// What stays on this machine.
#pragma once

#include <netinet/in.h>

namespace pageserver::base {

/// Of 127.0.0.0/8.
bool is_loopback(const in_addr& address) noexcept;
/// ::1, or one of 127.0.0.0/8 in its IPv6 form.
bool is_loopback(const in6_addr& address) noexcept;
/// Nobody but this machine's administrator can listen to what goes over a connected socket: it is a Unix socket, or its
/// other end has an address of the loopback network.
bool stays_on_this_machine(int socket) noexcept;

}  // namespace pageserver::base
