// Ctrl-C and SIGTERM: temporary files go, then the process ends with 128 + signal.
#pragma once

#include <functional>
#include <string>

namespace pageserver::pagectl {

/// Blocks the signals in this thread and every later one, and starts the thread that waits for them. Called once, first
/// thing in main. SIGPIPE is ignored: a broken pipe is an error like others.
void watch_signals();

/// `name` in the open folder is removed when a signal ends the process, until keep_on_signal().
void remove_on_signal(int folder, const std::string& name);
void keep_on_signal(int folder, const std::string& name);

/// What is done right before a signal ends the process: only what a handler of a signal may do. Null: nothing.
void before_signal_ends(void (*what)() noexcept);

/// The first signal calls `handler`, in a thread of its own, instead of ending the process; the next one ends it.
void handle_signal(std::function<void()> handler);

}  // namespace pageserver::pagectl
