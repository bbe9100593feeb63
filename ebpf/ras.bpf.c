/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Counts the records of three tracepoints per key.
 *
 * Every kind of record has an array of entries, a key with what it counts each, in two halves: side 0 and side 1. The
 * programs count on the side that the generation's lowest bit names, and fill it from its beginning. User space counts
 * the generation up, waits until no program can still be using the other side, and only then reads and empties that
 * one (src/monitor/bpf/mod.rs). So nothing is ever read or emptied while it is counted in, and reading costs what was
 * counted and no more.
 *
 * An entry is found through an index: open addressing, twice as many places as a side has entries, each place one
 * word that names a generation and an entry of it. What names another generation is empty: emptying a side is to
 * forget how many entries it has. No locks: a place is taken by one compare-and-swap, of an entry that is written
 * already, so a program may be interrupted anywhere.
 *
 * raw_tp programs, since the classic kind shares one per-CPU guard with the map system calls and loses hits to it.
 * Each of these is only guarded against itself: a hit on the CPU that is just running the same program is not lost
 * silently but counted by the kernel as a recursion miss.
 *
 * The kernel's types are declared as far as needed and relocated when loaded (CO-RE).
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "ras.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* arch/x86/include/uapi/asm/mce.h */
struct mce {
	__u64 status;
	__u64 misc;
	__u64 addr;
	__u64 mcgstatus;
	__u64 ip;
	__u64 time;
	__u8 cpuvendor;
	__u32 cpuid;
	__u8 bank;
	__u32 extcpu;
	__u32 socketid;
	__u32 apicid;
	__u64 mcgcap;
	__u64 synd;
	__u64 ipid;
	__u64 ppin;
	__u32 microcode;
} __attribute__((preserve_access_index));

/* arch/x86/include/asm/mce.h, the argument of mce_record since Linux 6.13 */
struct mce_hw_err {
	struct mce m;
} __attribute__((preserve_access_index));

/* arch/x86/include/asm/current.h, Linux 6.2 to 6.14; before and after, a per-CPU variable of its own */
struct pcpu_hot {
	int preempt_count;
} __attribute__((preserve_access_index));

extern const struct pcpu_hot pcpu_hot __ksym __weak;
extern const int __preempt_count __ksym __weak;

/* include/linux/preempt.h: serving a softirq, in a hardirq, in an NMI */
#define NOT_IN_TASK 0x00ff0100

/* SDM vol. 3B, IA32_MCi_STATUS; the same bits in AMD's MCA_STATUS except for the count */
#define STATUS_OVER (1ull << 62)
#define STATUS_ADDRV (1ull << 58)
#define STATUS_COUNT_SHIFT 38
#define STATUS_COUNT_MASK 0x7fffull
/* SDM vol. 3B, IA32_MCi_MISC: recoverable address LSB (5:0) and address mode (8:6) */
#define MISC_ADDRESS 0x1ff
#define VENDOR_INTEL 0 /* X86_VENDOR_INTEL, arch/x86/include/asm/processor.h */

/* A decoder runs in the notifier chain that the record was just traced in. */
#define DECODE_NS 100000000ull

/* Places of the index that a key may be at. At most every other place is taken, so that 64 are more than ever needed:
 * each is free with a chance of one in two. */
#define PROBES 64

/* A place of an index: the generation, counted from 1, and behind it the number of the entry. */
#define ENTRY_BITS 20
#define ENTRY_MASK ((1u << ENTRY_BITS) - 1)

#define ARRAY(name, entries, what)                                                                                 \
	struct {                                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                  \
		__uint(max_entries, entries);                                                                      \
		__type(key, __u32);                                                                                \
		__type(value, what);                                                                               \
	} name SEC(".maps")

ARRAY(mce_entries, 2 * RAS_MCE_KEYS, struct ras_mce_entry);
ARRAY(mc_entries, 2 * RAS_MC_KEYS, struct ras_mc_entry);
ARRAY(mc_text, 2 * RAS_MC_TEXTS, struct ras_mc_text);
ARRAY(mf_entries, 2 * RAS_MF_KEYS, struct ras_mf_entry);

/* Both sides share an index: the generations tell them apart. */
ARRAY(mce_index, 2 * RAS_MCE_KEYS, __u64);
ARRAY(mc_index, 2 * RAS_MC_KEYS, __u64);
ARRAY(mf_index, 2 * RAS_MF_KEYS, __u64);

/* Entries in use, or more where there was no room: per side and kind. */
ARRAY(ras_used, 2 * RAS_KINDS, __u64);

/* Something to store to a map of maps: who does so waits for all programs (src/monitor/bpf/set.rs). */
struct nothing {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ras_nothing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct nothing);
} ras_wait SEC(".maps") = { .values = { &ras_nothing } };

ARRAY(ras_control, 1, struct ras_control);

/* Not 0: user space was woken and has not begun to drain yet. */
ARRAY(ras_woken, 1, __u64);

/* Carries no data but the fact that there is some. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ras_wake SEC(".maps");

/* Records that found no room, per kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RAS_KINDS);
	__type(key, __u32);
	__type(value, __u64);
} ras_lost SEC(".maps");

/* The machine check that was reported last on this CPU, until a decode used it up. */
struct reported {
	__u64 task; /* pid_tgid; 0: none */
	__u64 time;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reported);
} mce_reported SEC(".maps");

/* In a task's own context, as opposed to an interrupt that borrowed it. Taken for granted where the preemption
 * counter is neither of the per-CPU variables known. */
static __always_inline int in_task(void)
{
	if (&pcpu_hot)
		return !(((struct pcpu_hot *)bpf_this_cpu_ptr(&pcpu_hot))->preempt_count & NOT_IN_TASK);
	if (&__preempt_count)
		return !(*(int *)bpf_this_cpu_ptr(&__preempt_count) & NOT_IN_TASK);
	return 1;
}

/* What a program counts on, from its beginning to its end. */
struct live {
	__u64 generation; /* counted from 1 */
	__u32 side;
};

static __always_inline int look_live(struct live *live)
{
	__u32 key = 0;
	struct ras_control *control = bpf_map_lookup_elem(&ras_control, &key);
	__u64 generation;

	if (!control)
		return -1;
	generation = *(volatile __u64 *)&control->generation;
	live->generation = generation + 1;
	live->side = generation & 1;
	return 0;
}

static __always_inline void lose(__u32 kind)
{
	__u64 *lost = bpf_map_lookup_elem(&ras_lost, &kind);

	if (lost)
		__sync_fetch_and_add(lost, 1);
}

static __always_inline void wake(void)
{
	__u32 key = 0;
	__u64 token = 1, *woken = bpf_map_lookup_elem(&ras_woken, &key);

	if (!woken || *(volatile __u64 *)woken || __sync_lock_test_and_set(woken, 1))
		return;
	/* Should the ring have no room, it was never emptied, and whoever reads it has yet to wake. */
	bpf_ringbuf_output(&ras_wake, &token, sizeof(token), BPF_RB_FORCE_WAKEUP);
}

/* The arrays of a kind. All sizes are constants; keys and values consist of whole words. */
struct table {
	void *entries, *index;
	__u32 kind, keys, key_size, value_size;
};

/* After splitmix64's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators), a word at a time. */
static __always_inline __u32 hash(const __u64 *words, __u32 size)
{
	__u64 mixed = 0;
	__u32 i;

#pragma unroll
	for (i = 0; i < size / 8; i++) {
		mixed ^= words[i];
		mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
		mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
		mixed ^= mixed >> 31;
	}
	return mixed;
}

static __always_inline int same(const __u64 *one, const __u64 *other, __u32 size)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < size / 8; i++)
		if (one[i] != other[i])
			return 0;
	return 1;
}

/* The key's value, and the entry's number. It is new if nothing was counted in it yet. NULL: no room, and counted as
 * lost. */
static __always_inline void *find_or_insert(const struct table *table, const struct live *live, const void *key,
					    const void *fresh, __u32 *number)
{
	__u32 base = live->side * table->keys, used_at = live->side * RAS_KINDS + table->kind;
	__u32 start = hash(key, table->key_size), mine = 0, have = 0, i;

	for (i = 0; i < PROBES; i++) {
		/* The steps grow, so that keys do not queue up: any 2^n places have their turn (triangular numbers). */
		__u32 place = (start + i * (i + 1) / 2) & (2 * table->keys - 1), at;
		__u64 *word = bpf_map_lookup_elem(table->index, &place), seen, wanted;
		void *entry;

		if (!word)
			break;
		seen = *(volatile __u64 *)word;
		if (seen >> ENTRY_BITS != live->generation) {
			if (!have) {
				__u64 *used = bpf_map_lookup_elem(&ras_used, &used_at), next;

				if (!used)
					break;
				next = __sync_fetch_and_add(used, 1);
				if (next >= table->keys)
					break;
				have = 1;
				mine = next;
				at = base + mine;
				entry = bpf_map_lookup_elem(table->entries, &at);
				if (!entry)
					break;
				__builtin_memcpy(entry, key, table->key_size);
				__builtin_memcpy(entry + table->key_size, fresh, table->value_size);
			}
			wanted = live->generation << ENTRY_BITS | mine;
			seen = __sync_val_compare_and_swap(word, seen, wanted);
			if (seen >> ENTRY_BITS != live->generation) {
				seen = *(volatile __u64 *)word;
				/* Ours now, or of a program that saw another generation: then the next place. */
				if (seen != wanted)
					continue;
			}
		}
		*number = seen & ENTRY_MASK;
		at = base + *number;
		entry = bpf_map_lookup_elem(table->entries, &at);
		if (!entry)
			break;
		if (same(entry, key, table->key_size))
			return entry + table->key_size;
	}
	lose(table->kind);
	return NULL;
}

/* Whether it is the first that is counted here. */
static __always_inline int count(struct ras_tally *tally, __u64 errors, __u64 decodes, __u64 now)
{
	__u64 before = __sync_fetch_and_add(&tally->records, 1);

	__sync_fetch_and_add(&tally->errors, errors);
	if (decodes)
		__sync_fetch_and_add(&tally->decodes, decodes);
	tally->last = now;
	/* The first record, the second, the fourth, …: user space drains at its own pace, but never sleeps over one. */
	if (!(before & (before + 1)))
		wake();
	return !before;
}

static __always_inline void note_reported(__u64 now)
{
	__u32 key = 0;
	struct reported *reported = bpf_map_lookup_elem(&mce_reported, &key);

	if (reported && in_task()) {
		reported->task = bpf_get_current_pid_tgid();
		reported->time = now;
	}
}

static __always_inline int is_decode(__u64 now)
{
	__u32 key = 0;
	struct reported *reported = bpf_map_lookup_elem(&mce_reported, &key);

	if (!reported || !reported->task || !in_task() || reported->task != bpf_get_current_pid_tgid())
		return 0;
	reported->task = 0;
	return now - reported->time <= DECODE_NS;
}

/* TP_PROTO(struct mce *), since 6.13 (struct mce_hw_err *): include/trace/events/mce.h */
SEC("raw_tp/mce_record")
int ras_mce_record(struct bpf_raw_tracepoint_args *ctx)
{
	const struct mce *mce = (const void *)ctx->args[0];
	const struct table table = { &mce_entries, &mce_index, RAS_MCE, RAS_MCE_KEYS, sizeof(struct ras_mce_key),
				     sizeof(struct ras_mce_value) };
	struct ras_mce_value fresh = {}, *value;
	struct ras_mce_key key = {};
	__u64 now = bpf_ktime_get_boot_ns(), errors = 1;
	struct live live;
	__u32 number;

	/* No x86, or built without machine checks: the verifier drops what it could not relocate. */
	if (!bpf_core_type_exists(struct mce))
		return 0;
	if (bpf_core_type_exists(struct mce_hw_err))
		mce = (const void *)mce + bpf_core_field_offset(struct mce_hw_err, m);

	fresh.status = BPF_CORE_READ(mce, status);
	fresh.addr = BPF_CORE_READ(mce, addr);
	fresh.misc = BPF_CORE_READ(mce, misc);
	fresh.mcgcap = BPF_CORE_READ(mce, mcgcap);
	fresh.mcgstatus = BPF_CORE_READ(mce, mcgstatus);
	fresh.ip = BPF_CORE_READ(mce, ip);
	fresh.time = BPF_CORE_READ(mce, time);
	fresh.cpu = BPF_CORE_READ(mce, extcpu);
	fresh.cpuid = BPF_CORE_READ(mce, cpuid);
	fresh.apicid = BPF_CORE_READ(mce, apicid);
	fresh.socketid = BPF_CORE_READ(mce, socketid);
	fresh.bank = BPF_CORE_READ(mce, bank);
	fresh.cpuvendor = BPF_CORE_READ(mce, cpuvendor);
	if (bpf_core_field_exists(mce->synd))
		fresh.synd = BPF_CORE_READ(mce, synd);
	if (bpf_core_field_exists(mce->ipid))
		fresh.ipid = BPF_CORE_READ(mce, ipid);
	if (bpf_core_field_exists(mce->ppin))
		fresh.ppin = BPF_CORE_READ(mce, ppin);
	if (bpf_core_field_exists(mce->microcode))
		fresh.microcode = BPF_CORE_READ(mce, microcode);
	fresh.tally.first = now;

	key.status = fresh.status & ~STATUS_OVER;
	if (fresh.cpuvendor == VENDOR_INTEL) {
		__u64 corrected = (fresh.status >> STATUS_COUNT_SHIFT) & STATUS_COUNT_MASK;

		key.status &= ~(STATUS_COUNT_MASK << STATUS_COUNT_SHIFT);
		if (corrected)
			errors = corrected;
	}
	if (fresh.status & STATUS_ADDRV)
		key.addr = fresh.addr;
	key.misc = fresh.misc & MISC_ADDRESS;
	key.cpu = fresh.cpu;
	key.bank = fresh.bank;

	note_reported(now);
	if (look_live(&live)) {
		lose(RAS_MCE);
		return 0;
	}
	value = find_or_insert(&table, &live, &key, &fresh, &number);
	if (!value)
		return 0;
	value->status = fresh.status;
	value->addr = fresh.addr;
	value->misc = fresh.misc;
	value->mcgcap = fresh.mcgcap;
	value->mcgstatus = fresh.mcgstatus;
	value->synd = fresh.synd;
	value->ipid = fresh.ipid;
	value->ip = fresh.ip;
	value->time = fresh.time;
	count(&value->tally, errors, 0, now);
	return 0;
}

/*
 * include/ras/ras_event.h: TP_PROTO(const unsigned int err_type, const char *error_msg, const char *label,
 *	const int error_count, const u8 mc_index, const s8 top_layer, const s8 mid_layer, const s8 low_layer,
 *	unsigned long address, const u8 grain_bits, unsigned long syndrome, const char *driver_detail)
 */
SEC("raw_tp/mc_event")
int ras_mc_event(struct bpf_raw_tracepoint_args *ctx)
{
	const struct table table = { &mc_entries, &mc_index, RAS_MC, RAS_MC_KEYS, sizeof(struct ras_mc_key),
				     sizeof(struct ras_mc_value) };
	__u32 error_type = ctx->args[0], number, at;
	__s32 error_count = ctx->args[3];
	struct ras_mc_key key = {
		.address = ctx->args[8],
		.error_type = error_type > 255 ? 255 : error_type,
		.mc_index = ctx->args[4],
		.top_layer = ctx->args[5],
		.middle_layer = ctx->args[6],
		.lower_layer = ctx->args[7],
		.grain_bits = ctx->args[9],
	};
	__u64 now = bpf_ktime_get_boot_ns();
	struct ras_mc_value fresh = { .tally.first = now }, *value;
	int decode = is_decode(now);
	struct ras_mc_text *text;
	struct live live;

	if (look_live(&live)) {
		lose(RAS_MC);
		return 0;
	}
	value = find_or_insert(&table, &live, &key, &fresh, &number);
	if (!value)
		return 0;
	value->syndrome = ctx->args[10];
	value->error_count = error_count;
	/* Without room the texts are missing; the count is not. */
	if (!count(&value->tally, error_count > 0 ? error_count : 1, decode, now) || number >= RAS_MC_TEXTS)
		return 0;
	at = live.side * RAS_MC_TEXTS + number;
	text = bpf_map_lookup_elem(&mc_text, &at);
	if (!text)
		return 0;
	bpf_probe_read_kernel_str(text->msg, sizeof(text->msg), (const void *)ctx->args[1]);
	bpf_probe_read_kernel_str(text->label, sizeof(text->label), (const void *)ctx->args[2]);
	bpf_probe_read_kernel_str(text->driver_detail, sizeof(text->driver_detail), (const void *)ctx->args[11]);
	return 0;
}

/* include/ras/ras_event.h: TP_PROTO(unsigned long pfn, int type, int result) */
SEC("raw_tp/memory_failure_event")
int ras_memory_failure(struct bpf_raw_tracepoint_args *ctx)
{
	struct ras_mf_key key = {
		.pfn = ctx->args[0],
		.page_type = ctx->args[1],
		.result = ctx->args[2],
	};
	__u64 now = bpf_ktime_get_boot_ns();
	const struct table table = { &mf_entries, &mf_index, RAS_MF, RAS_MF_KEYS, sizeof(struct ras_mf_key),
				     sizeof(struct ras_mf_value) };
	struct ras_mf_value fresh = { .tally.first = now }, *value;
	struct live live;
	__u32 number;

	if (look_live(&live)) {
		lose(RAS_MF);
		return 0;
	}
	value = find_or_insert(&table, &live, &key, &fresh, &number);
	if (value)
		count(&value->tally, 1, 0, now);
	return 0;
}
