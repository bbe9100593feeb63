// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What firmware would report, raised through the kernel's own tracepoints. More commands for controller.c's `raise`:
 *
 *	extlog [addr=A] [lsb=N] [etype=T] [sev=S] [fru=WORD] [n=N]
 *	nonstd type=GUID [sev=S] [fru=WORD] [hex=BYTES] [n=N]
 *	arm [mpidr=M] [affinity=A] [cpu=C] [sev=S] [kind=K] [info=I] [n=N]
 *
 * Numbers are those of UEFI's Common Platform Error Record; what is not given is not valid. kind and info are those of
 * one error information structure, which kernels before 6.12 do not hand on, nor cpu and sev.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <ras/ras_event.h>

#include "raise.h"

#define BYTES 256

struct firmware {
	u64 addr, lsb, etype, sev, mpidr, affinity, kind, info, n;
	s64 cpu;
	const char *fru;
	guid_t type;
	u8 bytes[BYTES];
	u32 length;
};

static void raise_extlog(const struct firmware *f, u32 seq)
{
	struct cper_sec_mem_err mem = {
		.validation_bits = CPER_MEM_VALID_PA | CPER_MEM_VALID_PA_MASK | CPER_MEM_VALID_ERROR_TYPE |
				   CPER_MEM_VALID_NODE | CPER_MEM_VALID_CARD | CPER_MEM_VALID_MODULE |
				   CPER_MEM_VALID_BANK | CPER_MEM_VALID_ROW | CPER_MEM_VALID_COLUMN,
		.physical_addr = f->addr,
		.physical_addr_mask = ~0ull << f->lsb,
		.error_type = f->etype,
		.node = 0,
		.card = 1,
		.module = 0,
		.bank = 3,
		.row = 0x1234,
		.column = seq,
	};

	trace_extlog_mem_event(&mem, seq, &guid_null, f->fru, f->sev);
}

static void raise_nonstd(const struct firmware *f)
{
	trace_non_standard_event(&f->type, &guid_null, f->fru, f->sev, f->bytes, f->length);
}

static void raise_arm(const struct firmware *f)
{
	struct cper_sec_proc_arm proc = {
		.validation_bits = CPER_ARM_VALID_MPIDR | CPER_ARM_VALID_AFFINITY_LEVEL | CPER_ARM_VALID_RUNNING_STATE,
		.err_info_num = 1,
		.affinity_level = f->affinity,
		.mpidr = f->mpidr,
		.midr = 0x410fd0c1,
		.running_state = 1,
	};
#ifdef APEIL
	struct cper_arm_err_info info = {
		.length = sizeof(info),
		.validation_bits = CPER_ARM_INFO_VALID_ERR_INFO,
		.type = f->kind,
		.error_info = f->info,
	};

	trace_arm_event(&proc, (u8 *)&info, sizeof(info), NULL, 0, NULL, 0, f->sev, f->cpu);
#else
	trace_arm_event(&proc);
#endif
}

static int parse(char *line, struct firmware *f)
{
	const struct raise_key keys[] = {
		{ "addr", &f->addr },   { "lsb", &f->lsb },           { "etype", &f->etype }, { "sev", &f->sev },
		{ "mpidr", &f->mpidr }, { "affinity", &f->affinity }, { "kind", &f->kind },   { "info", &f->info },
		{ "cpu", &f->cpu },     { "n", &f->n },
	};
	char *word, *value;
	int err = 0;

	while (!err && (word = strsep(&line, " "))) {
		if (!*word)
			continue;
		value = strchr(word, '=');
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		if (!strcmp(word, "fru")) {
			f->fru = value;
		} else if (!strcmp(word, "type")) {
			err = guid_parse(value, &f->type);
		} else if (!strcmp(word, "hex")) {
			f->length = strlen(value) / 2;
			err = f->length > BYTES ? -E2BIG : hex2bin(f->bytes, value, f->length);
		} else {
			err = raise_set_number(keys, ARRAY_SIZE(keys), word, value);
		}
	}
	return err ?: f->lsb < 64 ? 0 : -EINVAL;
}

int raise_firmware(char *line)
{
	struct firmware *f;
	char *command;
	u64 i;
	int err;

	if (strncmp(line, "extlog", 6) && strncmp(line, "nonstd", 6) && strncmp(line, "arm", 3))
		return -ENOENT;
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	f->lsb = 12;
	f->etype = 2;
	f->sev = CPER_SEV_CORRECTED;
	f->cpu = -1;
	f->n = 1;
	f->fru = "";
	command = strsep(&line, " ");
	err = parse(line, f);
	for (i = 0; !err && i < f->n; i++) {
		if (!strcmp(command, "extlog"))
			raise_extlog(f, i + 1);
		else if (!strcmp(command, "nonstd"))
			raise_nonstd(f);
		else if (!strcmp(command, "arm"))
			raise_arm(f);
		else
			err = -EINVAL;
	}
	kfree(f);
	return err;
}
