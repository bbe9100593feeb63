/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef RAISE_H
#define RAISE_H

#include <linux/types.h>

/* A number that a command may set; all are 64 bits wide. */
struct raise_key {
	const char *key;
	void *value;
};

int raise_set_number(const struct raise_key *keys, size_t n, const char *key, const char *value);

/* -ENOENT if the line is no command of firmware's. */
int raise_firmware(char *line);

#endif
