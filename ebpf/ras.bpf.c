/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Counts the records of three tracepoints per key.
 *
 * Every kind of record has two preallocated hash maps, side 0 and side 1. The programs count on the side that the
 * generation's lowest bit names. User space counts the generation up, waits until no program can still be using the
 * other side, and only then reads and empties that one (src/monitor/bpf/mod.rs). So no map is ever read or emptied
 * while it is counted in: reading a live hash map was seen to lose counts.
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

#define MC_KEYS 65536
#define KEYS 4096

struct mce_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KEYS);
	__type(key, struct ras_mce_key);
	__type(value, struct ras_mce_value);
} mce_0 SEC(".maps"), mce_1 SEC(".maps");

struct mc_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MC_KEYS);
	__type(key, struct ras_mc_key);
	__type(value, struct ras_mc_value);
} mc_0 SEC(".maps"), mc_1 SEC(".maps");

struct mc_text_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KEYS);
	__type(key, struct ras_mc_key);
	__type(value, struct ras_mc_text);
} mc_text_0 SEC(".maps"), mc_text_1 SEC(".maps");

struct mf_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KEYS);
	__type(key, struct ras_mf_key);
	__type(value, struct ras_mf_value);
} mf_0 SEC(".maps"), mf_1 SEC(".maps");

#define SIDES(name, map)                                                                                           \
	struct {                                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                          \
		__uint(max_entries, 2);                                                                            \
		__type(key, __u32);                                                                                \
		__array(values, struct map);                                                                       \
	} name SEC(".maps")

SIDES(mce_sides, mce_map) = { .values = { &mce_0, &mce_1 } };
SIDES(mc_sides, mc_map) = { .values = { &mc_0, &mc_1 } };
SIDES(mc_text_sides, mc_text_map) = { .values = { &mc_text_0, &mc_text_1 } };
SIDES(mf_sides, mf_map) = { .values = { &mf_0, &mf_1 } };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ras_control);
} ras_control SEC(".maps");

/* Not 0: user space was woken and has not begun to drain yet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ras_woken SEC(".maps");

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

/* Texts are too large for the stack of a program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ras_mc_text);
} mc_scratch SEC(".maps");

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

static __always_inline void *live(void *sides)
{
	__u32 key = 0, side;
	struct ras_control *control = bpf_map_lookup_elem(&ras_control, &key);

	if (!control)
		return NULL;
	side = *(volatile __u64 *)&control->generation & 1;
	return bpf_map_lookup_elem(sides, &side);
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

/* The key's value, inserted when it is new. NULL: no room, and counted as lost. */
static __always_inline void *find_or_insert(void *map, __u32 kind, const void *key, const void *fresh, int *is_new)
{
	void *value = bpf_map_lookup_elem(map, key);

	*is_new = 0;
	if (value)
		return value;
	*is_new = !bpf_map_update_elem(map, key, fresh, BPF_NOEXIST);
	value = bpf_map_lookup_elem(map, key);
	if (!value) { /* full, or its bucket's lock was taken by what this interrupted */
		*is_new = !bpf_map_update_elem(map, key, fresh, BPF_NOEXIST);
		value = bpf_map_lookup_elem(map, key);
	}
	if (!value)
		lose(kind);
	return value;
}

static __always_inline void count(struct ras_tally *tally, __u64 errors, __u64 decodes, __u64 now)
{
	__u64 before = __sync_fetch_and_add(&tally->records, 1);

	__sync_fetch_and_add(&tally->errors, errors);
	if (decodes)
		__sync_fetch_and_add(&tally->decodes, decodes);
	tally->last = now;
	/* The first record, the second, the fourth, …: user space drains at its own pace, but never sleeps over one. */
	if (!(before & (before + 1)))
		wake();
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
	struct ras_mce_value fresh = {}, *value;
	struct ras_mce_key key = {};
	__u64 now = bpf_ktime_get_boot_ns(), errors = 1;
	void *map = live(&mce_sides);
	int is_new;

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
	if (!map) {
		lose(RAS_MCE);
		return 0;
	}
	value = find_or_insert(map, RAS_MCE, &key, &fresh, &is_new);
	if (!value)
		return 0;
	if (!is_new) {
		value->status = fresh.status;
		value->addr = fresh.addr;
		value->misc = fresh.misc;
		value->mcgcap = fresh.mcgcap;
		value->mcgstatus = fresh.mcgstatus;
		value->synd = fresh.synd;
		value->ipid = fresh.ipid;
		value->ip = fresh.ip;
		value->time = fresh.time;
	}
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
	__u32 error_type = ctx->args[0], none = 0;
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
	int is_new, decode = is_decode(now);
	void *map = live(&mc_sides), *texts = live(&mc_text_sides);
	struct ras_mc_text *text;

	if (!map || !texts) {
		lose(RAS_MC);
		return 0;
	}
	value = find_or_insert(map, RAS_MC, &key, &fresh, &is_new);
	if (!value)
		return 0;
	value->syndrome = ctx->args[10];
	value->error_count = error_count;
	count(&value->tally, error_count > 0 ? error_count : 1, decode, now);

	if (!is_new)
		return 0;
	text = bpf_map_lookup_elem(&mc_scratch, &none);
	if (!text)
		return 0;
	bpf_probe_read_kernel_str(text->msg, sizeof(text->msg), (const void *)ctx->args[1]);
	bpf_probe_read_kernel_str(text->label, sizeof(text->label), (const void *)ctx->args[2]);
	bpf_probe_read_kernel_str(text->driver_detail, sizeof(text->driver_detail), (const void *)ctx->args[11]);
	/* Without room the texts are missing; the count is not. */
	bpf_map_update_elem(texts, &key, text, BPF_ANY);
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
	struct ras_mf_value fresh = { .tally.first = now }, *value;
	void *map = live(&mf_sides);
	int is_new;

	if (!map) {
		lose(RAS_MF);
		return 0;
	}
	value = find_or_insert(map, RAS_MF, &key, &fresh, &is_new);
	if (value)
		count(&value->tally, 1, 0, now);
	return 0;
}
