// Marks what the shared library shows to its users; everything else in it is hidden.
#pragma once

#define PAGESERVER_EXPORT __attribute__((visibility("default")))
