// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A memory controller that exists only to report errors.
 *
 * No EDAC driver binds to the chipset of a virtual machine, so nothing would ever raise ras:mc_event there. This
 * module registers a controller of two channels with two slots each and raises whatever is written to
 * /sys/kernel/debug/bulkhead_test/raise, one command per write:
 *
 *	ce|ue [key=number]... [label=TEXT] [detail=TEXT up to the end of the line]
 *
 *	addr=A       physical address of the first error (0)
 *	n=N          how many errors (1)
 *	pages=P      over how many consecutive pages, in turn (1)
 *	count=C      error_count of each (1)
 *	top= mid=    layers: channel and slot; -1 is unknown (0 and 0)
 *	syndrome=S   (0)
 *	irq=CPU      raise them from a timer interrupt on this CPU
 *	batch=B      so many each time the timer fires (1)
 *	gap=NS       so long between firings (20000)
 *	label=TEXT   a word for edac_mc_handle_error()'s msg ("test")
 *	detail=TEXT  driver_detail
 *
 * A write returns once every error has been raised. firmware.c has more commands.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/edac.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "raise.h"

#define NAME "bulkhead_test"
#define CHANNELS 2
#define SLOTS 2

/* drivers/edac/edac_mc.h is not among the packaged headers. */
struct mem_ctl_info *edac_mc_alloc(unsigned int mc_num, unsigned int n_layers, struct edac_mc_layer *layers,
				   unsigned int sz_pvt);
int edac_mc_add_mc_with_groups(struct mem_ctl_info *mci, const struct attribute_group **groups);
struct mem_ctl_info *edac_mc_del_mc(struct device *dev);
void edac_mc_free(struct mem_ctl_info *mci);
void edac_mc_handle_error(const enum hw_event_mc_err_type type, struct mem_ctl_info *mci, const u16 error_count,
			  const unsigned long page_frame_number, const unsigned long offset_in_page,
			  const unsigned long syndrome, const int top_layer, const int mid_layer,
			  const int low_layer, const char *msg, const char *other_detail);

static struct platform_device *pdev;
static struct mem_ctl_info *mci;
static struct dentry *debugfs_dir;

/* EDAC assembles each error in the controller's one error_desc: its callers must take turns. */
static DEFINE_RAW_SPINLOCK(raise_lock);

struct burst {
	enum hw_event_mc_err_type type;
	u64 addr, n, pages, syndrome, batch, gap;
	s64 count, top, mid, irq;
	const char *label, *detail;

	u64 raised;
	struct hrtimer timer;
	struct completion done;
};

static void raise_next(struct burst *b)
{
	u64 addr = b->addr + (b->raised++ % b->pages) * PAGE_SIZE;
	unsigned long flags;

	raw_spin_lock_irqsave(&raise_lock, flags);
	edac_mc_handle_error(b->type, mci, b->count, addr >> PAGE_SHIFT, offset_in_page(addr), b->syndrome, b->top,
			     b->mid, -1, b->label, b->detail);
	raw_spin_unlock_irqrestore(&raise_lock, flags);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct burst *b = container_of(timer, struct burst, timer);
	u64 until = min(b->raised + b->batch, b->n);

	while (b->raised < until)
		raise_next(b);
	if (b->raised == b->n) {
		complete(&b->done);
		return HRTIMER_NORESTART;
	}
	hrtimer_forward_now(timer, ns_to_ktime(b->gap));
	return HRTIMER_RESTART;
}

static void start_timer(void *data)
{
	struct burst *b = data;

	hrtimer_start(&b->timer, ns_to_ktime(b->gap), HRTIMER_MODE_REL_PINNED_HARD);
}

static int raise_from_interrupts(struct burst *b)
{
	int err;

	init_completion(&b->done);
	hrtimer_init_on_stack(&b->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	b->timer.function = timer_fired;
	err = smp_call_function_single(b->irq, start_timer, b, true);
	if (!err)
		err = wait_for_completion_killable(&b->done);
	hrtimer_cancel(&b->timer);
	destroy_hrtimer_on_stack(&b->timer);
	return err;
}

static int raise_from_here(struct burst *b)
{
	while (b->raised < b->n) {
		raise_next(b);
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

int raise_set_number(const struct raise_key *keys, size_t n, const char *key, const char *value)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(key, keys[i].key))
			/* A physical address fits either way, and layers may be negative. */
			return *value == '-' ? kstrtos64(value, 0, keys[i].value) : kstrtou64(value, 0, keys[i].value);
	return -EINVAL;
}

static int parse(char *line, struct burst *b)
{
	const struct raise_key keys[] = {
		{ "addr", &b->addr },   { "n", &b->n },	        { "pages", &b->pages }, { "syndrome", &b->syndrome },
		{ "batch", &b->batch }, { "gap", &b->gap },     { "count", &b->count }, { "top", &b->top },
		{ "mid", &b->mid },     { "irq", &b->irq },
	};
	char *detail = strstr(line, "detail=");
	char *word, *value;
	int err;

	if (detail) {
		*detail = '\0';
		b->detail = detail + strlen("detail=");
	}
	word = strsep(&line, " ");
	if (!strcmp(word, "ce"))
		b->type = HW_EVENT_ERR_CORRECTED;
	else if (!strcmp(word, "ue"))
		b->type = HW_EVENT_ERR_UNCORRECTED;
	else
		return -EINVAL;

	while ((word = strsep(&line, " "))) {
		if (!*word)
			continue;
		value = strchr(word, '=');
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		if (!strcmp(word, "label")) {
			b->label = value;
			continue;
		}
		err = raise_set_number(keys, ARRAY_SIZE(keys), word, value);
		if (err)
			return err;
	}
	if (!b->pages || !b->batch || !b->gap || b->count < 0 || b->count > U16_MAX || b->top < -1 ||
	    b->top >= CHANNELS || b->mid < -1 || b->mid >= SLOTS || b->irq < -1 || b->irq >= (s64)nr_cpu_ids)
		return -EINVAL;
	return 0;
}

static ssize_t raise_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	struct burst b = {
		.n = 1, .pages = 1, .count = 1, .irq = -1, .batch = 1, .gap = 20000, .label = "test", .detail = "",
	};
	char *line;
	int err;

	if (size >= PAGE_SIZE)
		return -E2BIG;
	line = memdup_user_nul(from, size);
	if (IS_ERR(line))
		return PTR_ERR(line);
	strreplace(line, '\n', '\0');
	err = raise_firmware(line);
	if (err != -ENOENT)
		goto out;
	err = parse(line, &b);
	if (!err && b.n)
		err = b.irq < 0 ? raise_from_here(&b) : raise_from_interrupts(&b);
out:
	kfree(line);
	return err ? err : size;
}

static const struct file_operations raise_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = raise_write,
};

static int add_controller(void)
{
	struct edac_mc_layer layers[] = {
		{ .type = EDAC_MC_LAYER_CHANNEL, .size = CHANNELS },
		{ .type = EDAC_MC_LAYER_SLOT, .size = SLOTS },
	};
	struct dimm_info *dimm;
	int err;

	mci = edac_mc_alloc(0, ARRAY_SIZE(layers), layers, 0);
	if (!mci)
		return -ENOMEM;
	mci->pdev = &pdev->dev;
	mci->mod_name = NAME;
	mci->ctl_name = NAME;
	mci->dev_name = NAME;
	mci->mtype_cap = MEM_FLAG_DDR4;
	mci->edac_ctl_cap = EDAC_FLAG_SECDED;
	mci->edac_cap = EDAC_FLAG_SECDED;
	/* Otherwise EDAC would write to the page of each corrected error to scrub it. */
	mci->scrub_mode = SCRUB_HW_SRC;
	mci_for_each_dimm(mci, dimm) {
		dimm->nr_pages = totalram_pages() / (CHANNELS * SLOTS);
		dimm->grain = 8;
		dimm->mtype = MEM_DDR4;
		dimm->edac_mode = EDAC_SECDED;
		snprintf(dimm->label, sizeof(dimm->label), "DIMM_%c%u", 'A' + dimm->idx / SLOTS,
			 dimm->idx % SLOTS + 1);
	}
	err = edac_mc_add_mc_with_groups(mci, NULL);
	if (err)
		edac_mc_free(mci);
	return err;
}

static int __init start(void)
{
	int err;

	pdev = platform_device_register_simple(NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	err = add_controller();
	if (err) {
		platform_device_unregister(pdev);
		return err;
	}
	debugfs_dir = debugfs_create_dir(NAME, NULL);
	debugfs_create_file("raise", 0200, debugfs_dir, NULL, &raise_fops);
	return 0;
}

static void __exit stop(void)
{
	debugfs_remove_recursive(debugfs_dir);
	edac_mc_del_mc(&pdev->dev);
	edac_mc_free(mci);
	platform_device_unregister(pdev);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("A memory controller for tests that reports errors on request");
MODULE_LICENSE("Dual MIT/GPL");
