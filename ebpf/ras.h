/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs of ras.bpf.c and the daemon share: the layouts of all maps.
 *
 * src/monitor/bpf/layout.rs mirrors this file; a test there compares the sizes and offsets. Any change here changes
 * the maps' meaning: count LAYOUT there up, so that no daemon reads the maps of another layout.
 */
#ifndef BULKHEAD_RAS_H
#define BULKHEAD_RAS_H

/* What a key of any kind counts. Times are ns of CLOCK_BOOTTIME. */
struct ras_tally {
	__u64 records;	/* how often the tracepoint was hit */
	__u64 errors;	/* how many errors the records stand for */
	__u64 decodes;	/* how many of the records decode a machine check that was reported already */
	__u64 first;
	__u64 last;
};

/* Machine checks that call for the same decisions. */
struct ras_mce_key {
	__u64 status;	/* without OVER, and on Intel without the corrected-error count */
	__u64 addr;	/* 0 without ADDRV */
	__u32 misc;	/* address mode and LSB: MISC bits 8:0 */
	__u32 cpu;
	__u32 bank;
	__u32 reserved;	/* 0 */
};

/* The latest of them, whole. */
struct ras_mce_value {
	struct ras_tally tally;
	__u64 status;
	__u64 addr;
	__u64 misc;
	__u64 mcgcap;
	__u64 mcgstatus;
	__u64 synd;
	__u64 ipid;
	__u64 ip;
	__u64 ppin;
	__u64 time;
	__u32 cpu;
	__u32 cpuid;
	__u32 apicid;
	__u32 socketid;
	__u32 microcode;
	__u8 bank;
	__u8 cpuvendor;
	__u8 reserved[2];
};

struct ras_mce_entry {
	struct ras_mce_key key;
	struct ras_mce_value value;
};

/* Memory errors that call for the same decisions; small, for there may be many. */
struct ras_mc_key {
	__u64 address;
	__u8 error_type;
	__u8 mc_index;
	__s8 top_layer;
	__s8 middle_layer;
	__s8 lower_layer;
	__u8 grain_bits;
	__u8 reserved[2];	/* 0 */
};

struct ras_mc_value {
	struct ras_tally tally;
	__u64 syndrome;		/* of the latest */
	__u32 error_count;	/* of the latest */
	__u32 reserved;
};

struct ras_mc_entry {
	struct ras_mc_key key;
	struct ras_mc_value value;
};

/* The texts of a key's first record, each ending in a NUL. */
struct ras_mc_text {
	char msg[64];
	char label[128];
	char driver_detail[512];
};

struct ras_mf_key {
	__u64 pfn;
	__s32 page_type;
	__s32 result;
};

struct ras_mf_value {
	struct ras_tally tally;
};

struct ras_mf_entry {
	struct ras_mf_key key;
	struct ras_mf_value value;
};

/* Keys per kind, and how many of mc_event's have texts: of each side. They take 15 MiB in all. */
#define RAS_MCE_KEYS 4096
#define RAS_MC_KEYS 65536
#define RAS_MF_KEYS 4096
#define RAS_MC_TEXTS 2048

/* Kinds, as indices of ras_lost and of a side of ras_used. */
enum ras_kind {
	RAS_MCE,
	RAS_MC,
	RAS_MF,
	RAS_KINDS,
};

/* Written by user space alone. */
struct ras_control {
	__u64 generation;	/* bit 0: the side that the programs count on */
	__u64 carried[RAS_KINDS]; /* records lost by the programs that these replaced */
	__u8 set[16];		/* names this set of maps: no two are ever alike */
};

#endif
