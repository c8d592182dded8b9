/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `ringvisor run`. */
#include "main/run.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "main/options.h"

static const char usage[] =
	"Usage: ringvisor run --builtin [OPTION]...\n"
	"       ringvisor run --kernel FILE [OPTION]...\n"
	"Runs one guest in the foreground, its serial port or console on this terminal.\n"
	"\n"
	"What to boot:\n"
	"  --builtin         the small guest that is built in: a shell to look around with\n"
	"  --kernel FILE     a Linux kernel: vmlinux (ELF) or vmlinuz (bzImage)\n"
	"  --initrd FILE     an initial RAM disk for it\n"
	"  --cmdline TEXT    its command line, at most 2047 bytes; console=ttyS0 shows its log "
	"here\n"
	"  --config FILE     all of it from a JSON file; other options are applied on top\n"
	"\n"
	"The machine:\n"
	"  --memory SIZE     memory, with k, M or G (default 256M)\n"
	"  --cpus N          virtual CPUs, 1 to 64 (default 1)\n"
	"  --serial WHERE    the serial port: stdio (default), none, or a file to write to\n"
	"  --console WHERE   a virtio console (hvc0): stdio (the serial port is then off unless "
	"you "
	"say\n"
	"                    where it goes), none (default), or a file to write to\n"
	"  --virtio-console on|off, --virtio-rng on|off\n"
	"                    devices of the guest (default off; --console switches its device on)\n"
	"  --huge-pages      back the memory with 2 MiB pages where the host allows it\n"
	"  --cores LIST      CPU of the host for the event loop, such as 1 (default: any)\n"
	"  --poll-us N       poll so long before sleeping while there is traffic (default 50,\n"
	"                    0: never)\n"
	"\n"
	"  -h, --help        this text\n"
	"\n"
	"On a terminal, Ctrl-A x ends the guest, Ctrl-A p presses its power button, and Ctrl-A "
	"Ctrl-A\n"
	"sends a Ctrl-A.\n"
	"\n"
	"Exit status: 0 if the guest powered itself off, rebooted, or was ended with Ctrl-A x; 1 "
	"if\n"
	"something failed, lost output included; 2 for a mistake on the command line; 128 + n "
	"if\n"
	"ended by signal n.\n"
	"\n"
	"Examples:\n"
	"  ringvisor run --builtin\n"
	"  ringvisor run --kernel vmlinuz --initrd initrd.gz --cmdline console=ttyS0 --memory 1G "
	"--cpus 2\n"
	"  ringvisor run --kernel vmlinuz --initrd initrd.gz --cmdline console=hvc0 --console "
	"stdio\n";

enum {
	OPT_BUILTIN = 256,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_CONFIG,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_SERIAL,
	OPT_CONSOLE,
	OPT_VIRTIO_CONSOLE,
	OPT_VIRTIO_RNG,
	OPT_CORES,
	OPT_POLL,
	OPT_HUGE_PAGES
};

static const struct option options[] = {
	{"builtin", no_argument, NULL, OPT_BUILTIN},
	{"kernel", required_argument, NULL, OPT_KERNEL},
	{"initrd", required_argument, NULL, OPT_INITRD},
	{"cmdline", required_argument, NULL, OPT_CMDLINE},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"serial", required_argument, NULL, OPT_SERIAL},
	{"console", required_argument, NULL, OPT_CONSOLE},
	{"virtio-console", required_argument, NULL, OPT_VIRTIO_CONSOLE},
	{"virtio-rng", required_argument, NULL, OPT_VIRTIO_RNG},
	{"cores", required_argument, NULL, OPT_CORES},
	{"poll-us", required_argument, NULL, OPT_POLL},
	{"huge-pages", no_argument, NULL, OPT_HUGE_PAGES},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int set_string(char **to, const char *value, struct diag *d)
{
	free(*to);
	*to = strdup(value);
	return *to ? 0 : diag_fail(d, -ENOMEM, "out of memory");
}

static int apply_cpus(struct guest_config *c, const char *text, struct diag *d)
{
	unsigned long n;
	int err = parse_number("--cpus", text, UINT8_MAX, &n, d);

	if (err)
		return diag_fail(d, err,
			"--cpus: \"%s\" is not a number of CPUs; 1 to 64 are possible", text);
	c->cpus = (uint8_t)n;
	c->given |= CONFIG_BIT(CONFIG_CPUS);
	return 0;
}

/* A device of the guest that is there or not. */
static int apply_switch(struct guest_config *c, const char *option, enum config_ordinal field,
	bool *to, const char *text, struct diag *d)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return diag_fail(d, -EINVAL, "%s: \"%s\" is neither on nor off", option, text);
	*to = !strcmp(text, "on");
	c->given |= CONFIG_BIT(field);
	return 0;
}

static int apply_device(struct guest_config *c, int opt, const char *value, struct diag *d)
{
	if (opt == OPT_VIRTIO_CONSOLE)
		return apply_switch(c, "--virtio-console", CONFIG_CONSOLE, &c->console, value, d);
	return apply_switch(c, "--virtio-rng", CONFIG_RNG, &c->rng, value, d);
}

static int apply(struct run_options *o, int opt, const char *value, struct diag *d)
{
	struct guest_config *c = &o->config;
	unsigned long n;
	int err;

	switch (opt) {
	case OPT_BUILTIN:
		o->builtin = true;
		return 0;
	case OPT_KERNEL:
		o->kernel = true;
		c->given |= CONFIG_BIT(CONFIG_KERNEL);
		return set_string(&c->kernel.path, value, d);
	case OPT_INITRD:
		c->given |= CONFIG_BIT(CONFIG_RAMDISK);
		return set_string(&c->ramdisk.path, value, d);
	case OPT_CMDLINE:
		c->given |= CONFIG_BIT(CONFIG_CMDLINE);
		return set_string(&c->cmdline, value, d);
	case OPT_MEMORY:
		c->given |= CONFIG_BIT(CONFIG_GUEST_MEMORY);
		err = config_parse_size(value, &c->guest_memory, d);
		return err ? diag_prefix(d, err, "--memory") : 0;
	case OPT_CPUS:
		return apply_cpus(c, value, d);
	case OPT_SERIAL:
		o->serial = value;
		return 0;
	case OPT_CONSOLE:
		o->console = value;
		return 0;
	case OPT_VIRTIO_CONSOLE:
	case OPT_VIRTIO_RNG:
		return apply_device(c, opt, value, d);
	case OPT_CORES:
		err = parse_cores(value, &o->core, 1, d);
		return err < 0 ? err : 0;
	case OPT_POLL:
		err = parse_number("--poll-us", value, POLL_US_MAX, &n, d);
		o->poll_us = (unsigned int)n;
		return err;
	case OPT_HUGE_PAGES:
		o->huge_pages = true;
		return 0;
	default:
		return 0;
	}
}

/* --config first, wherever it stands, so that the other options are applied on top. */
static int apply_all(struct run_options *o, int argc, char **argv, bool configs, struct diag *d)
{
	int opt, err;

	opterr = 0;
	optind = 0; /* GNU: start anew */
	for (int at = 1; (opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1; at = optind) {
		if (opt == 'h')
			return RUN_HELP;
		if (opt == '?' || opt == ':')
			return bad_option(options, opt, argv[at], "ringvisor run --help", d);
		if ((opt == OPT_CONFIG) != configs)
			continue;
		err = configs ? config_load_json(&o->config, optarg, d) : apply(o, opt, optarg, d);
		if (err)
			return err;
	}
	if (optind < argc)
		return diag_fail(d, -EINVAL, "\"%s\" is left over; a kernel is given with --kernel",
			argv[optind]);
	return 0;
}

static int choose_kernel(struct run_options *o, struct diag *d)
{
	struct guest_config *c = &o->config;

	if (o->builtin && o->kernel)
		return diag_fail(d, -EINVAL, "--builtin and --kernel exclude each other");
	if (o->builtin || o->kernel) {
		c->kernel_type = o->builtin ? KERNEL_BUILTIN : KERNEL_LINUX;
		c->given |= CONFIG_BIT(CONFIG_KERNEL_TYPE);
	}
	if (!(c->given & CONFIG_BIT(CONFIG_KERNEL_TYPE)))
		return diag_fail(d, -EINVAL, "nothing to boot: give --builtin or --kernel FILE");
	return 0;
}

/* Who has the terminal: the serial port, unless the console is put there. */
static int choose_terminal(struct run_options *o, struct diag *d)
{
	struct guest_config *c = &o->config;
	bool console = o->console && strcmp(o->console, "none");

	if (console && (c->given & CONFIG_BIT(CONFIG_CONSOLE)) && !c->console)
		return diag_fail(d, -EINVAL,
			"--console %s needs the console, which is switched off", o->console);
	if (console) {
		c->console = true;
		c->given |= CONFIG_BIT(CONFIG_CONSOLE);
	}
	if (!o->console)
		o->console = "none";
	if (!o->serial)
		o->serial = strcmp(o->console, "stdio") ? "stdio" : "none";
	if (!strcmp(o->serial, "stdio") && !strcmp(o->console, "stdio"))
		return diag_fail(d, -EINVAL,
			"only one of --serial and --console can be stdio; give the other none or a "
			"file");
	return 0;
}

int run_options_parse(struct run_options *o, int argc, char **argv, struct diag *d)
{
	int err;

	*o = (struct run_options){.core = -1, .poll_us = POLL_US_DEFAULT};
	config_init(&o->config);
	err = apply_all(o, argc, argv, true, d);
	if (!err && !(o->config.given & CONFIG_BIT(CONFIG_GUEST_MEMORY))) {
		o->config.guest_memory = 256ULL << 20;
		o->config.given |= CONFIG_BIT(CONFIG_GUEST_MEMORY);
	}
	if (!err && !(o->config.given & CONFIG_BIT(CONFIG_CPUS))) {
		o->config.cpus = 1;
		o->config.given |= CONFIG_BIT(CONFIG_CPUS);
	}
	if (!err)
		err = apply_all(o, argc, argv, false, d);
	if (!err)
		err = choose_kernel(o, d);
	if (!err)
		err = choose_terminal(o, d);
	return err;
}

void run_print_help(void)
{
	fputs(usage, stdout);
}
