/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's rules, each on both sides of its boundary; sizes; the joined command line. */
#include "core/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/gmem.h"

static struct guest_config config;
static struct diag diag;
static struct config_limits limits = {.cores = 2, .built_devices = ~0ULL};

static void give(enum config_ordinal ordinal)
{
	config.given |= CONFIG_BIT(ordinal);
}

static void setup(void)
{
	config_init(&config);
	config.kernel_type = KERNEL_BUILTIN;
	config.cpus = 1;
	config.guest_memory = 64ULL << 20;
	give(CONFIG_KERNEL_TYPE);
	give(CONFIG_CPUS);
	give(CONFIG_GUEST_MEMORY);
	memset(&diag, 0, sizeof(diag));
}

static void teardown(void)
{
	config_finish(&config);
}

TestSuite(config, .init = setup, .fini = teardown);

static void must_pass(void)
{
	cr_assert_eq(config_check(&config, &limits, &diag), GUEST_OK, "%s", diag.text);
}

/* The config is refused with `error`, and the message has each of the two words. */
static void must_fail_with(enum guest_error error, const char *word, const char *other)
{
	enum guest_error got = config_check(&config, &limits, &diag);

	cr_assert_eq(got, error, "got %s: %s", guest_error_name(got), diag.text);
	cr_assert(strstr(diag.text, word), "no \"%s\" in: %s", word, diag.text);
	cr_assert(strstr(diag.text, other), "no \"%s\" in: %s", other, diag.text);
}

static void must_fail(const char *word, const char *other)
{
	must_fail_with(GUEST_BAD_CONFIG, word, other);
}

static char *repeat(char byte, size_t count)
{
	char *text = malloc(count + 1);

	cr_assert_not_null(text);
	memset(text, byte, count);
	text[count] = '\0';
	return text;
}

static void set_text(char **field, char *text)
{
	free(*field);
	*field = text;
}

static void set_blocks(uint32_t count)
{
	config.blocks = calloc(count, sizeof(*config.blocks));
	cr_assert_not_null(config.blocks);
	config.block_count = count;
	give(CONFIG_BLOCK_DEVICES);
	for (uint32_t i = 0; i < count; i++) {
		struct config_block *b = &config.blocks[i];

		cr_assert(asprintf(&b->id, "disk%u", i) > 0);
		b->mode = BLOCK_READ_ONLY;
		b->format = BLOCK_FILE;
		b->file = (struct config_file){.path = strdup("/disk"), .fd = -1};
	}
}

static void set_nets(uint32_t count)
{
	config.nets = calloc(count, sizeof(*config.nets));
	cr_assert_not_null(config.nets);
	config.net_count = count;
	give(CONFIG_NET_DEVICES);
	for (uint32_t i = 0; i < count; i++) {
		config.nets[i].mac[0] = 2;
		config.nets[i].mac[5] = i;
		cr_assert(asprintf(&config.nets[i].tap, "tap%u", i) > 0);
	}
}

static void set_listeners(uint32_t count)
{
	config.listeners = calloc(count, sizeof(*config.listeners));
	cr_assert_not_null(config.listeners);
	config.listener_count = count;
	give(CONFIG_VSOCK_LISTENERS);
	for (uint32_t i = 0; i < count; i++)
		config.listeners[i].port = 0xffffffffu - i;
}

static void set_mem(uint64_t block, uint64_t region, uint64_t alignment)
{
	config.mem = true;
	config.mem_block_size = block;
	config.mem_region_size = region;
	config.mem_region_alignment = alignment;
	give(CONFIG_MEM);
	give(CONFIG_MEM_BLOCK_SIZE);
	give(CONFIG_MEM_REGION_SIZE);
	give(CONFIG_MEM_REGION_ALIGNMENT);
}

Test(config, has_the_wire_tables_defaults)
{
	struct guest_config c;

	config_init(&c);
	cr_assert_eq(c.given, 0);
	cr_assert_eq(c.kernel.fd, -1);
	cr_assert_eq(c.ramdisk.fd, -1);
	cr_assert_eq(c.dtb_overlay.fd, -1);
	cr_assert_eq(c.mem_block_size, 2ULL << 20);
	cr_assert_eq(c.mem_region_alignment, 128ULL << 20);
	cr_assert_eq(c.guest_cid, 3);
	cr_assert_not(c.console || c.vsock || c.rng || c.balloon || c.mem || c.default_net);
}

Test(config, accepts_the_least_config)
{
	must_pass();
}

Test(config, finish_closes_its_files_and_is_safe_twice)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	config.ramdisk.fd = fd;
	config.cmdline = strdup("quiet");
	set_blocks(2);
	set_nets(2);
	set_listeners(2);
	config_finish(&config);
	cr_assert_eq(fcntl(fd, F_GETFD), -1);
	cr_assert_null(config.blocks);
	config_finish(&config);
}

Test(config, move_leaves_the_source_initialised)
{
	struct guest_config to;

	set_blocks(1);
	config_move(&to, &config);
	cr_assert_eq(to.block_count, 1);
	cr_assert_str_eq(to.blocks[0].id, "disk0");
	cr_assert_null(config.blocks);
	cr_assert_eq(config.given, 0);
	cr_assert_eq(config.kernel.fd, -1);
	config_finish(&to);
}

Test(config, names_fields_as_the_wire_does)
{
	cr_assert_str_eq(config_field_name(CONFIG_KERNEL_TYPE), "kernel_type");
	cr_assert_str_eq(config_field_name(CONFIG_HOME_CORE), "home_core");
	cr_assert_null(config_field_name(0));
	cr_assert_null(config_field_name(26));
	cr_assert_null(config_field_name(104));
	cr_assert_null(config_field_name(0xffffffff));
}

Test(config, kernel_type_is_required)
{
	config.given &= ~CONFIG_BIT(CONFIG_KERNEL_TYPE);
	must_fail("kernel_type", "missing");
}

Test(config, kernel_type_zircon_is_not_built_yet)
{
	config.kernel_type = KERNEL_ZIRCON;
	must_fail("ZIRCON", "not built yet");
}

Test(config, kernel_type_unknown_is_refused)
{
	config.kernel_type = 3;
	must_fail("kernel_type is 3", "LINUX");
	config.kernel_type = UINT32_MAX;
	must_fail("4294967295", "BUILTIN");
}

Test(config, linux_needs_a_kernel)
{
	config.kernel_type = KERNEL_LINUX;
	must_fail("kernel is missing", "LINUX");
	config.kernel.path = strdup("/boot/vmlinuz");
	must_pass();
	set_text(&config.kernel.path, NULL);
	config.kernel.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	must_pass();
}

Test(config, builtin_refuses_a_kernel)
{
	config.kernel.path = strdup("/boot/vmlinuz");
	must_fail("/boot/vmlinuz", "BUILTIN");
	set_text(&config.kernel.path, NULL);
	config.kernel.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	must_fail("a file descriptor", "BUILTIN");
}

Test(config, paths_are_neither_empty_nor_too_long)
{
	config.ramdisk.path = strdup("");
	must_fail("ramdisk", "empty");
	set_text(&config.ramdisk.path, repeat('r', 4096));
	must_fail("ramdisk", "4095");
	set_text(&config.ramdisk.path, repeat('r', 4095));
	must_pass();
	config.kernel_type = KERNEL_LINUX;
	config.kernel.path = strdup("");
	must_fail("kernel", "empty");
}

Test(config, dtb_overlay_is_refused)
{
	config.dtb_overlay.path = strdup("/overlay.dtb");
	must_fail("dtb_overlay", "leave it out");
	set_text(&config.dtb_overlay.path, NULL);
	must_pass();
	give(CONFIG_DTB_OVERLAY);
	must_fail("dtb_overlay", "x86-64");
}

Test(config, cmdline_holds_2047_bytes)
{
	config.cmdline = repeat('c', 2047);
	must_pass();
	set_text(&config.cmdline, repeat('c', 2048));
	must_fail("cmdline is 2048", "2047");
}

Test(config, cmdline_add_counts_with_its_spaces)
{
	config.cmdline = repeat('c', 2000);
	config.cmdline_add = calloc(2, sizeof(char *));
	config.cmdline_add_count = 2;
	config.cmdline_add[0] = repeat('a', 22);
	config.cmdline_add[1] = repeat('b', 23);
	must_pass();
	set_text(&config.cmdline_add[1], repeat('b', 24));
	must_fail("cmdline_add", "2048");
}

Test(config, cmdline_joins_by_one_space)
{
	char *joined = config_cmdline(&config);

	cr_assert_str_eq(joined, "");
	free(joined);
	config.cmdline = strdup("console=ttyS0");
	config.cmdline_add = calloc(3, sizeof(char *));
	config.cmdline_add_count = 3;
	config.cmdline_add[0] = strdup("quiet");
	config.cmdline_add[1] = strdup("");
	config.cmdline_add[2] = strdup("panic=-1");
	joined = config_cmdline(&config);
	cr_assert_str_eq(joined, "console=ttyS0 quiet panic=-1");
	cr_assert_eq(config_cmdline_length(&config), strlen(joined));
	free(joined);
	set_text(&config.cmdline, NULL);
	joined = config_cmdline(&config);
	cr_assert_str_eq(joined, "quiet panic=-1");
	free(joined);
}

Test(config, cpus_are_1_to_64)
{
	config.cpus = 0;
	must_fail("cpus is 0", "1 to 64");
	config.cpus = 64;
	must_pass();
	config.cpus = 65;
	must_fail("cpus is 65", "1 to 64");
	config.given &= ~CONFIG_BIT(CONFIG_CPUS);
	must_fail("cpus", "missing");
}

Test(config, guest_memory_has_bounds)
{
	config.guest_memory = GMEM_MIN_BYTES - 1;
	must_fail("guest_memory is 1048575", "1M");
	config.guest_memory = GMEM_MIN_BYTES;
	must_pass();
	config.guest_memory = GMEM_MAX_BYTES;
	must_pass();
	config.guest_memory = GMEM_MAX_BYTES + 1;
	must_fail("guest_memory", "1024G");
	config.guest_memory = UINT64_MAX;
	must_fail("18446744073709551615", "1024G");
	config.guest_memory = 0;
	must_fail("guest_memory is 0", "64M");
	config.given &= ~CONFIG_BIT(CONFIG_GUEST_MEMORY);
	must_fail("guest_memory", "missing");
}

Test(config, guest_memory_rounds_up_to_pages)
{
	config.guest_memory = (64 << 20) + 1;
	must_pass();
	cr_assert_eq(config.guest_memory, (64 << 20) + 4096);
	must_pass();
	cr_assert_eq(config.guest_memory, (64 << 20) + 4096);
}

Test(config, holds_32_disks)
{
	set_blocks(32);
	must_pass();
	teardown();
	setup();
	set_blocks(33);
	must_fail("block_devices has 33", "32");
}

Test(config, disk_ids_are_1_to_20_bytes_and_differ)
{
	set_blocks(2);
	set_text(&config.blocks[1].id, strdup(""));
	must_fail("block_devices[1]", "1 to 20");
	set_text(&config.blocks[1].id, repeat('i', 20));
	must_pass();
	set_text(&config.blocks[1].id, repeat('i', 21));
	must_fail("21 bytes", "1 to 20");
	set_text(&config.blocks[1].id, strdup("disk0"));
	must_fail("disk0", "block_devices[0]");
}

Test(config, disk_modes_and_formats_are_known)
{
	set_blocks(1);
	config.blocks[0].mode = 3;
	must_fail("mode 3", "VOLATILE_WRITE");
	config.blocks[0].mode = BLOCK_VOLATILE_WRITE;
	config.blocks[0].format = 0;
	must_fail("format 0", "QCOW");
	config.blocks[0].format = 4;
	must_fail("format 4", "BLOCK");
	for (int format = BLOCK_FILE; format <= BLOCK_BLOCK; format++) {
		config.blocks[0].format = format;
		must_pass();
	}
}

Test(config, disks_have_files)
{
	set_blocks(2);
	set_text(&config.blocks[1].file.path, strdup(""));
	must_fail("block_devices[1]", "empty");
	set_text(&config.blocks[1].file.path, NULL);
	must_fail("block_devices[1]", "no file");
	config.blocks[1].file.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	must_pass();
}

Test(config, a_written_qcow_disk_fails_to_start_after_all_bad_config)
{
	set_blocks(1);
	config.blocks[0].format = BLOCK_QCOW;
	must_pass();
	config.blocks[0].mode = BLOCK_READ_WRITE;
	must_fail_with(GUEST_DEVICE_START_FAILURE, "disk0", "READ_ONLY");
	config.guest_cid = 0;
	must_fail("guest_cid", "is 0");
}

Test(config, holds_32_nets)
{
	set_nets(32);
	must_pass();
	teardown();
	setup();
	set_nets(33);
	must_fail("net_devices has 33", "32");
}

Test(config, macs_are_unicast_and_differ)
{
	set_nets(3);
	config.nets[2].mac[0] = 3;
	must_fail("net_devices[2]", "03:00:00:00:00:02");
	memset(config.nets[2].mac, 0, 6);
	must_fail("net_devices[2]", "00:00:00:00:00:00");
	memcpy(config.nets[2].mac, config.nets[0].mac, 6);
	must_fail("net_devices[2]", "net_devices[0]");
	config.nets[2].mac[1] = 1;
	must_pass();
}

Test(config, tap_names_are_what_linux_allows)
{
	static const char *const bad[] = {
		"", "sixteen_bytes_xx", "a b", "a/b", "a:b", ".", "..", "a\tb"};

	set_nets(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_text(&config.nets[0].tap, strdup(bad[i]));
		must_fail("net_devices[0]", "1 to 15");
	}
	set_text(&config.nets[0].tap, repeat('t', 15));
	must_pass();
	set_text(&config.nets[0].tap, strdup("..."));
	must_pass();
}

Test(config, refuses_what_this_vmm_does_not_offer)
{
	static const struct {
		bool *field;
		enum config_ordinal ordinal;
	} fields[] = {
		{&config.wayland, CONFIG_WAYLAND},
		{&config.magma, CONFIG_MAGMA},
		{&config.gpu, CONFIG_GPU},
		{&config.sound, CONFIG_SOUND},
		{&config.sound_input, CONFIG_SOUND_INPUT},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		*fields[i].field = true;
		must_fail(config_field_name(fields[i].ordinal), "not offered by this VMM");
		*fields[i].field = false;
		give(fields[i].ordinal);
		must_pass();
	}
}

Test(config, refuses_devices_that_are_not_built_yet)
{
	static const struct {
		bool *field;
		enum config_ordinal ordinal;
	} fields[] = {
		{&config.default_net, CONFIG_DEFAULT_NET},
		{&config.balloon, CONFIG_BALLOON},
		{&config.console, CONFIG_CONSOLE},
		{&config.rng, CONFIG_RNG},
		{&config.vsock, CONFIG_VSOCK},
		{&config.mem, CONFIG_MEM},
	};

	give(CONFIG_MEM_REGION_SIZE);
	give(CONFIG_MEM);
	config.mem_region_size = 1 << 30;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		*fields[i].field = true;
		limits.built_devices = ~CONFIG_BIT(fields[i].ordinal);
		must_fail(config_field_name(fields[i].ordinal), "not built yet");
		limits.built_devices = CONFIG_BIT(fields[i].ordinal);
		must_pass();
		*fields[i].field = false;
	}
}

Test(config, refuses_disks_and_nets_that_are_not_built_yet)
{
	limits.built_devices = CONFIG_BIT(CONFIG_NET_DEVICES);
	set_blocks(1);
	must_fail("block_devices", "not built yet");
	limits.built_devices = CONFIG_BIT(CONFIG_BLOCK_DEVICES);
	must_pass();
	set_nets(1);
	must_fail("net_devices", "not built yet");
}

Test(config, listeners_need_vsock)
{
	set_listeners(1);
	must_fail("vsock_listeners", "virtio_vsock");
	config.vsock = true;
	must_pass();
}

Test(config, holds_1024_listeners)
{
	config.vsock = true;
	set_listeners(1024);
	must_pass();
	free(config.listeners);
	set_listeners(1025);
	must_fail("vsock_listeners has 1025", "1024");
}

Test(config, a_duplicate_listener_port_fails_to_start_after_all_bad_config)
{
	config.vsock = true;
	set_listeners(1024);
	config.listeners[1023].port = config.listeners[0].port;
	must_fail_with(GUEST_DEVICE_START_FAILURE, "vsock_listeners", "4294967295 twice");
	give(CONFIG_HOME_CORE);
	config.home_core = 2;
	must_fail("home_core", "is 2");
}

Test(config, mem_blocks_are_powers_of_two_from_4096)
{
	set_mem(2048, 1 << 30, 128 << 20);
	must_fail("virtio_mem_block_size is 2048", "4096");
	set_mem(4096, 1 << 30, 128 << 20);
	must_pass();
	set_mem(12288, 12288, 12288);
	must_fail("virtio_mem_block_size is 12288", "power of two");
	set_mem(0, 1 << 30, 128 << 20);
	must_fail("virtio_mem_block_size is 0", "power of two");
	set_mem(1ULL << 63, 1ULL << 63, 1ULL << 63);
	must_pass();
}

Test(config, mem_region_is_required_and_whole)
{
	set_mem(2 << 20, 0, 128 << 20);
	must_fail("virtio_mem_region_size is 0", "not 0");
	set_mem(2 << 20, (64 << 20) + 4096, 128 << 20);
	must_fail("virtio_mem_region_size", "multiple of virtio_mem_block_size (2097152)");
	set_mem(2 << 20, 2 << 20, 128 << 20);
	must_pass();
	config.given &= ~CONFIG_BIT(CONFIG_MEM_REGION_SIZE);
	must_fail("virtio_mem_region_size", "missing");
}

Test(config, mem_alignment_is_whole)
{
	set_mem(2 << 20, 64 << 20, 0);
	must_fail("virtio_mem_region_alignment is 0", "not 0");
	set_mem(2 << 20, 64 << 20, 1 << 20);
	must_fail("virtio_mem_region_alignment", "multiple");
	set_mem(2 << 20, 64 << 20, 2 << 20);
	must_pass();
}

Test(config, mem_sizes_want_the_switch)
{
	static const enum config_ordinal sizes[] = {
		CONFIG_MEM_BLOCK_SIZE, CONFIG_MEM_REGION_SIZE, CONFIG_MEM_REGION_ALIGNMENT};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		give(sizes[i]);
		must_fail(config_field_name(sizes[i]), "switch virtio_mem on");
		give(CONFIG_MEM);
		must_pass();
		config.given &= ~(CONFIG_BIT(sizes[i]) | CONFIG_BIT(CONFIG_MEM));
	}
}

Test(config, guest_cid_keeps_off_the_reserved_ones)
{
	static const uint32_t bad[] = {0, 1, 2, 0xffffffff};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.guest_cid = bad[i];
		must_fail("guest_cid", "3 to 4294967294");
	}
	config.guest_cid = 3;
	must_pass();
	config.guest_cid = 0xfffffffe;
	must_pass();
}

Test(config, uds_path_is_absolute_and_short)
{
	config.vsock = true;
	config.vsock_uds_path = strdup("run/vsock");
	must_fail("vsock_uds_path", "absolute");
	set_text(&config.vsock_uds_path, strdup(""));
	must_fail("vsock_uds_path", "absolute");
	set_text(&config.vsock_uds_path, repeat('/', 96));
	must_pass();
	set_text(&config.vsock_uds_path, repeat('/', 97));
	must_fail("vsock_uds_path is 97", "96");
}

Test(config, uds_path_wants_the_switch)
{
	config.vsock_uds_path = strdup("/run/vsock");
	must_fail("vsock_uds_path", "virtio_vsock");
	give(CONFIG_VSOCK);
	must_pass();
}

Test(config, guest_to_guest_wants_the_switch)
{
	cr_assert_not(config.vsock_guest_to_guest, "off by default");
	config.vsock_guest_to_guest = true;
	must_fail("vsock_guest_to_guest", "virtio_vsock");
	config.vsock = true;
	must_pass();
}

Test(config, home_core_is_one_of_the_daemons)
{
	config.home_core = 2;
	must_pass();
	give(CONFIG_HOME_CORE);
	must_fail("home_core is 2", "2 reactors");
	config.home_core = 1;
	must_pass();
}

Test(config, judges_in_the_order_of_ordinals)
{
	config.home_core = 9;
	give(CONFIG_HOME_CORE);
	config.guest_cid = 0;
	config.cpus = 0;
	must_fail("cpus", "is 0");
	config.cpus = 1;
	must_fail("guest_cid", "is 0");
	config.guest_cid = 3;
	must_fail("home_core", "is 9");
}

Test(config, works_without_a_diag)
{
	config.cpus = 0;
	cr_assert_eq(config_check(&config, &limits, NULL), GUEST_BAD_CONFIG);
}

Test(size, takes_units)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"17b", 17},
		{"17B", 17},
		{"3k", 3072},
		{"3K", 3072},
		{"64M", 64 << 20},
		{"64m", 64 << 20},
		{"5G", 5ULL << 30},
		{"5g", 5ULL << 30},
		{"18446744073709551615", UINT64_MAX},
		{"17179869183G", 17179869183ULL << 30},
	};
	uint64_t bytes;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(config_parse_size(good[i].text, &bytes, &diag), 0, "%s", diag.text);
		cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
	}
}

Test(size, refuses_what_is_none)
{
	static const char *const bad[] = {"", "M", "-1", "+1", " 1", "1 ", "1.5G", "0x10", "64MB",
		"64MiB", "1T", "1kk", "sixty"};
	uint64_t bytes = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(config_parse_size(bad[i], &bytes, &diag), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(diag.text, "64M"), "%s", diag.text);
	}
	cr_assert_eq(bytes, 7);
}

Test(size, refuses_what_does_not_fit)
{
	static const char *const bad[] = {
		"18446744073709551616", "17179869184G", "99999999999999999999999999999999M"};
	uint64_t bytes;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(config_parse_size(bad[i], &bytes, &diag), -ERANGE, "%s", bad[i]);
}
