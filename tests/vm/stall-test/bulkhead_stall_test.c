// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Stalls that no process can bring about, one command per write to /sys/kernel/debug/bulkhead_stall_test:
 *
 *	deaf CPU	this CPU spins for ever with its interrupts off
 *	deaf all	every CPU does
 *	reboot		the kernel's own way to the next reboot, halt or power off never ends, before anything is told of it
 *
 * A write returns at once, unless it comes from a CPU that is to spin.
 */
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define NAME "bulkhead_stall_test"

static struct dentry *file;

static int spin(void *unused)
{
	pr_crit(NAME ": CPU %d hears nothing from now on\n", raw_smp_processor_id());
	local_irq_disable();
	for (;;)
		cpu_relax();
	return 0;
}

static int deafen(unsigned int cpu)
{
	struct task_struct *task;

	if (!cpu_online(cpu))
		return -EINVAL;
	task = kthread_create_on_cpu(spin, NULL, cpu, NAME "/%u");
	if (IS_ERR(task))
		return PTR_ERR(task);
	/* Ahead of whatever else wants this CPU. */
	sched_set_fifo(task);
	wake_up_process(task);
	return 0;
}

static int deafen_all(void)
{
	unsigned int cpu, last = nr_cpu_ids;
	int error = 0;

	cpus_read_lock();
	/* Its own CPU last: it must get to start the others. */
	preempt_disable();
	for_each_online_cpu(cpu)
		if (cpu == raw_smp_processor_id())
			last = cpu;
	preempt_enable();
	for_each_online_cpu(cpu)
		if (cpu != last && !error)
			error = deafen(cpu);
	cpus_read_unlock();
	return error ?: deafen(last);
}

/* With the interrupts on, so that all that the kernel has against it is at work. */
static int hang(struct notifier_block *block, unsigned long action, void *data)
{
	pr_crit(NAME ": this shutdown never ends\n");
	for (;;)
		cpu_relax();
	return NOTIFY_DONE;
}

/* First of all: a watchdog's driver may stop it here. */
static struct notifier_block hanging = { .notifier_call = hang, .priority = INT_MAX };

static ssize_t stall(struct file *f, const char __user *from, size_t length, loff_t *position)
{
	char text[32] = "", *command;
	unsigned int cpu;
	int error = -EINVAL;

	if (length >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, length))
		return -EFAULT;
	command = strim(text);
	if (!strcmp(command, "reboot"))
		error = register_reboot_notifier(&hanging);
	else if (!strcmp(command, "deaf all"))
		error = deafen_all();
	else if (sscanf(command, "deaf %u", &cpu) == 1 && cpu < nr_cpu_ids)
		error = deafen(cpu);
	return error ?: length;
}

static const struct file_operations operations = { .owner = THIS_MODULE, .write = stall };

static int __init start(void)
{
	file = debugfs_create_file(NAME, 0200, NULL, NULL, &operations);
	return PTR_ERR_OR_ZERO(file);
}
module_init(start);

/* No exit: a stall cannot be taken back, so the module stays. */
MODULE_DESCRIPTION("Stalls for the tests of Bulkhead");
MODULE_LICENSE("Dual MIT/GPL");
