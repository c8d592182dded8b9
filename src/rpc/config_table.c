/* SPDX-License-Identifier: Apache-2.0 */
/* GuestConfig's fields: views of the wire first, then copies that the config owns. */
#include "rpc/config_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "rpc/table.h"

enum file_kind { FILE_PATH = 0, FILE_FD = 1 };

struct file_view {
	uint8_t kind; /* enum file_kind */
	uint8_t fd_index;
	struct wire_string path;
};

struct block_view {
	struct wire_string id;
	uint8_t mode, format;
	struct file_view file;
};

struct net_view {
	uint8_t mac[6];
	bool enable_bridge;
	struct wire_string tap;
};

/* The table's values; `c` holds those that need no conversion. */
struct config_view {
	struct guest_config c;
	struct file_view kernel, ramdisk, dtb_overlay;
	struct wire_string cmdline, vsock_uds_path;
	struct wire_vector cmdline_add, blocks, nets, listeners;
};

#define PAD(bytes_)                                                                                \
	{                                                                                          \
		"pad", WIRE_PAD, 0, bytes_, NULL                                                   \
	}
#define FIELD(type_, s, member)                                                                    \
	{                                                                                          \
#member, type_, offsetof(struct s, member), 0, NULL                                \
	}
#define LAYOUT(fields_, s)                                                                         \
	{                                                                                          \
		fields_, ARRAY_SIZE(fields_), sizeof(struct s)                                     \
	}

static const struct wire_field file_fields[] = {
	FIELD(WIRE_U8, file_view, kind),
	FIELD(WIRE_U8, file_view, fd_index),
	PAD(2),
	PAD(4),
	FIELD(WIRE_STRING, file_view, path),
};
static const struct wire_layout layout_file = LAYOUT(file_fields, file_view);

static const struct wire_field block_fields[] = {
	FIELD(WIRE_STRING, block_view, id),
	FIELD(WIRE_U8, block_view, mode),
	FIELD(WIRE_U8, block_view, format),
	PAD(2),
	PAD(4),
	{"file", WIRE_STRUCT, offsetof(struct block_view, file), 0, &layout_file},
};
static const struct wire_layout layout_block = LAYOUT(block_fields, block_view);

static const struct wire_field net_fields[] = {
	{"mac", WIRE_BYTES, offsetof(struct net_view, mac), 6, NULL},
	FIELD(WIRE_BOOL, net_view, enable_bridge),
	PAD(1),
	FIELD(WIRE_STRING, net_view, tap),
};
static const struct wire_layout layout_net = LAYOUT(net_fields, net_view);

static const struct wire_field listener_fields[] = {
	FIELD(WIRE_U32, config_listener, port),
	FIELD(WIRE_U32, config_listener, acceptor_id),
};
static const struct wire_layout layout_listener = LAYOUT(listener_fields, config_listener);

#define VIEW(ordinal, name, type, member, layout)                                                  \
	{                                                                                          \
		ordinal,                                                                           \
		{                                                                                  \
			name, type, offsetof(struct config_view, member), 0, layout                \
		}                                                                                  \
	}

static const struct table_field config_fields[] = {
	VIEW(CONFIG_KERNEL_TYPE, "kernel_type", WIRE_U32, c.kernel_type, NULL),
	VIEW(CONFIG_KERNEL, "kernel", WIRE_STRUCT, kernel, &layout_file),
	VIEW(CONFIG_RAMDISK, "ramdisk", WIRE_STRUCT, ramdisk, &layout_file),
	VIEW(CONFIG_DTB_OVERLAY, "dtb_overlay", WIRE_STRUCT, dtb_overlay, &layout_file),
	VIEW(CONFIG_CMDLINE, "cmdline", WIRE_STRING, cmdline, NULL),
	VIEW(CONFIG_CMDLINE_ADD, "cmdline_add", WIRE_VECTOR, cmdline_add, &layout_string),
	VIEW(CONFIG_CPUS, "cpus", WIRE_U8, c.cpus, NULL),
	VIEW(CONFIG_GUEST_MEMORY, "guest_memory", WIRE_U64, c.guest_memory, NULL),
	VIEW(CONFIG_BLOCK_DEVICES, "block_devices", WIRE_VECTOR, blocks, &layout_block),
	VIEW(CONFIG_NET_DEVICES, "net_devices", WIRE_VECTOR, nets, &layout_net),
	VIEW(CONFIG_WAYLAND, "wayland", WIRE_ANY, c.wayland, NULL),
	VIEW(CONFIG_MAGMA, "magma", WIRE_ANY, c.magma, NULL),
	VIEW(CONFIG_DEFAULT_NET, "default_net", WIRE_BOOL, c.default_net, NULL),
	VIEW(CONFIG_BALLOON, "virtio_balloon", WIRE_BOOL, c.balloon, NULL),
	VIEW(CONFIG_CONSOLE, "virtio_console", WIRE_BOOL, c.console, NULL),
	VIEW(CONFIG_GPU, "gpu", WIRE_ANY, c.gpu, NULL),
	VIEW(CONFIG_RNG, "virtio_rng", WIRE_BOOL, c.rng, NULL),
	VIEW(CONFIG_VSOCK, "virtio_vsock", WIRE_BOOL, c.vsock, NULL),
	VIEW(CONFIG_SOUND, "sound", WIRE_ANY, c.sound, NULL),
	VIEW(CONFIG_SOUND_INPUT, "sound_input", WIRE_ANY, c.sound_input, NULL),
	VIEW(CONFIG_VSOCK_LISTENERS, "vsock_listeners", WIRE_VECTOR, listeners, &layout_listener),
	VIEW(CONFIG_MEM, "virtio_mem", WIRE_BOOL, c.mem, NULL),
	VIEW(CONFIG_MEM_BLOCK_SIZE, "virtio_mem_block_size", WIRE_U64, c.mem_block_size, NULL),
	VIEW(CONFIG_MEM_REGION_SIZE, "virtio_mem_region_size", WIRE_U64, c.mem_region_size, NULL),
	VIEW(CONFIG_MEM_REGION_ALIGNMENT, "virtio_mem_region_alignment", WIRE_U64,
		c.mem_region_alignment, NULL),
	VIEW(CONFIG_GUEST_CID, "guest_cid", WIRE_U32, c.guest_cid, NULL),
	VIEW(CONFIG_VSOCK_UDS_PATH, "vsock_uds_path", WIRE_STRING, vsock_uds_path, NULL),
	VIEW(CONFIG_HOME_CORE, "home_core", WIRE_U32, c.home_core, NULL),
	VIEW(CONFIG_VSOCK_GUEST_TO_GUEST, "vsock_guest_to_guest", WIRE_BOOL, c.vsock_guest_to_guest,
		NULL),
};

static const struct table_layout config_layout = {config_fields, ARRAY_SIZE(config_fields)};

_Static_assert(TABLE_BIT(25) == CONFIG_BIT(25) && TABLE_BIT(103) == CONFIG_BIT(103),
	"given means the same in both");

/* Where the copies come from and go to, and the text of what is wrong. */
struct copier {
	struct frame *frame;
	struct diag *d;
};

/* -EINVAL: BAD_CONFIG; -ENOMEM. */
static int copy_string(struct copier *k, const char *name, struct wire_string s, char **out)
{
	if (wire_string_has_nul(s))
		return diag_fail(k->d, -EINVAL, "%s: holds a NUL byte", name);
	*out = strndup(s.ptr ? s.ptr : "", s.len_bytes);
	return *out ? 0 : diag_fail(k->d, -ENOMEM, "%s: out of memory", name);
}

static int copy_fd(struct copier *k, const char *name, const struct file_view *v, int *fd)
{
	if (v->path.len_bytes)
		return diag_fail(k->d, -EINVAL, "%s: kind 1 (descriptor) takes no path", name);
	if (v->fd_index >= k->frame->header.nfds)
		return diag_fail(k->d, -EINVAL,
			"%s: fd_index is %u; the message has %u descriptors", name, v->fd_index,
			k->frame->header.nfds);
	*fd = frame_take_fd(k->frame, v->fd_index);
	if (*fd < 0)
		return diag_fail(k->d, -EINVAL, "%s: fd_index %u is used twice", name, v->fd_index);
	return 0;
}

static int copy_file(
	struct copier *k, const char *name, const struct file_view *v, struct config_file *out)
{
	if (v->kind == FILE_FD)
		return copy_fd(k, name, v, &out->fd);
	if (v->kind != FILE_PATH)
		return diag_fail(k->d, -EINVAL, "%s: kind is %u; 0 is a path, 1 a descriptor", name,
			v->kind);
	if (v->fd_index)
		return diag_fail(
			k->d, -EINVAL, "%s: kind 0 (path) with fd_index %u", name, v->fd_index);
	if (!v->path.len_bytes)
		return diag_fail(k->d, -EINVAL, "%s: the path is empty", name);
	return copy_string(k, name, v->path, &out->path);
}

/* An array for a vector of `count`, which the message's size bounds; NULL for none. */
static int copy_array(
	struct copier *k, const char *name, uint32_t count, size_t size_bytes, void *array)
{
	void *p = NULL;

	if (count)
		p = calloc(count, size_bytes);
	if (count && !p)
		return diag_fail(k->d, -ENOMEM, "%s: out of memory for %u", name, count);
	memcpy(array, &p, sizeof(p));
	return 0;
}

static int copy_cmdline_add(struct copier *k, const struct wire_vector *v, struct guest_config *c)
{
	struct wire_cursor cursor;
	struct wire_string s;
	int err = copy_array(k, "cmdline_add", v->count, sizeof(*c->cmdline_add), &c->cmdline_add);

	wire_cursor_init(&cursor, v, &layout_string);
	while (!err && wire_cursor_next(&cursor, &s))
		err = copy_string(k, "cmdline_add", s, &c->cmdline_add[c->cmdline_add_count++]);
	return err;
}

static int copy_blocks(struct copier *k, const struct wire_vector *v, struct guest_config *c)
{
	struct wire_cursor cursor;
	struct block_view view;
	int err = copy_array(k, "block_devices", v->count, sizeof(*c->blocks), &c->blocks);

	wire_cursor_init(&cursor, v, &layout_block);
	while (!err && wire_cursor_next(&cursor, &view)) {
		struct config_block *b = &c->blocks[c->block_count++];

		b->mode = view.mode;
		b->format = view.format;
		b->file.fd = -1;
		err = copy_string(k, "block_devices: id", view.id, &b->id);
		if (!err)
			err = copy_file(k, "block_devices: file", &view.file, &b->file);
		if (err)
			diag_prefix(k->d, err, "[%u]", c->block_count - 1);
	}
	return err;
}

static int copy_nets(struct copier *k, const struct wire_vector *v, struct guest_config *c)
{
	struct wire_cursor cursor;
	struct net_view view;
	int err = copy_array(k, "net_devices", v->count, sizeof(*c->nets), &c->nets);

	wire_cursor_init(&cursor, v, &layout_net);
	while (!err && wire_cursor_next(&cursor, &view)) {
		struct config_net *n = &c->nets[c->net_count++];

		memcpy(n->mac, view.mac, sizeof(n->mac));
		n->enable_bridge = view.enable_bridge;
		err = copy_string(k, "net_devices: tap", view.tap, &n->tap);
	}
	return err;
}

static int copy_listeners(struct copier *k, const struct wire_vector *v, struct guest_config *c)
{
	struct wire_cursor cursor;
	struct config_listener view;
	int err = copy_array(k, "vsock_listeners", v->count, sizeof(*c->listeners), &c->listeners);

	wire_cursor_init(&cursor, v, &layout_listener);
	while (!err && wire_cursor_next(&cursor, &view))
		c->listeners[c->listener_count++] = view;
	return err;
}

/* On an error *c owns what was copied so far. */
static int copy_config(struct copier *k, const struct config_view *v, struct guest_config *c)
{
	uint64_t given = v->c.given;
	int err = 0;

	*c = v->c;
	if (given & CONFIG_BIT(CONFIG_KERNEL))
		err = copy_file(k, "kernel", &v->kernel, &c->kernel);
	if (!err && (given & CONFIG_BIT(CONFIG_RAMDISK)))
		err = copy_file(k, "ramdisk", &v->ramdisk, &c->ramdisk);
	if (!err && (given & CONFIG_BIT(CONFIG_DTB_OVERLAY)))
		err = copy_file(k, "dtb_overlay", &v->dtb_overlay, &c->dtb_overlay);
	if (!err && (given & CONFIG_BIT(CONFIG_CMDLINE)))
		err = copy_string(k, "cmdline", v->cmdline, &c->cmdline);
	if (!err)
		err = copy_cmdline_add(k, &v->cmdline_add, c);
	if (!err)
		err = copy_blocks(k, &v->blocks, c);
	if (!err)
		err = copy_nets(k, &v->nets, c);
	if (!err)
		err = copy_listeners(k, &v->listeners, c);
	if (!err && (given & CONFIG_BIT(CONFIG_VSOCK_UDS_PATH)))
		err = copy_string(k, "vsock_uds_path", v->vsock_uds_path, &c->vsock_uds_path);
	return err;
}

static const struct wire_table *config_of(const struct codec_message *call)
{
	if (call->message->method == METHOD_HOST_LAUNCH)
		return &call->p.launch.config;
	return call->message->method == METHOD_LIFECYCLE_CREATE ? &call->p.create.config : NULL;
}

void config_table_listeners(const struct codec_message *call, struct wire_cursor *cursor)
{
	const struct wire_table *t = config_of(call);
	struct config_view view;
	struct diag ignored;

	memset(&view, 0, sizeof(view));
	if (!t || table_decode(t, &config_layout, &view, &view.c.given, &ignored) ||
		view.listeners.count > CONFIG_LISTENERS_MAX)
		view.listeners = (struct wire_vector){0};
	wire_cursor_init(cursor, &view.listeners, &layout_listener);
}

enum codec_verdict config_table_decode(const struct codec_message *call, struct frame *f,
	struct guest_config *config, struct codec_fault *fault)
{
	bool launch = call->message->method == METHOD_HOST_LAUNCH;
	const struct wire_table *t = config_of(call);
	struct copier k = {.frame = f, .d = &fault->text};
	struct config_view view;
	int err;

	memset(&view, 0, sizeof(view));
	config_init(&view.c);
	err = table_decode(t, &config_layout, &view, &view.c.given, k.d);
	if (!err)
		err = copy_config(&k, &view, config);
	if (!err)
		return CODEC_OK;
	config_finish(config);
	diag_prefix(k.d, err, "GuestConfig");
	fault->txid = call->txid;
	fault->domain = launch ? DOMAIN_MANAGER : DOMAIN_GUEST_ERROR;
	if (err == -ENOMEM)
		fault->code = launch ? MANAGER_NO_STORAGE : GUEST_INTERNAL_ERROR;
	else
		fault->code = launch ? MANAGER_BAD_CONFIG : GUEST_BAD_CONFIG;
	return CODEC_REFUSED;
}

/* The descriptors to attach, in the order of their indices. */
struct attached {
	int *fds;
	unsigned int count; /* may pass FRAME_FDS_MAX: then it is too many */
};

static struct file_view view_file(const struct config_file *f, struct attached *a)
{
	if (f->fd < 0)
		return (struct file_view){.kind = FILE_PATH, .path = wire_string_of(f->path)};
	if (a->count < FRAME_FDS_MAX)
		a->fds[a->count] = f->fd;
	return (struct file_view){.kind = FILE_FD, .fd_index = (uint8_t)a->count++};
}

/* Views of a config to encode: the arrays are ours, the strings the config's. */
struct views {
	struct config_view view;
	struct wire_string *cmdline_add;
	struct block_view *blocks;
	struct net_view *nets;
};

static void views_finish(struct views *v)
{
	free(v->cmdline_add);
	free(v->blocks);
	free(v->nets);
}

static int views_init(struct views *v, const struct guest_config *c, struct attached *a)
{
	memset(v, 0, sizeof(*v));
	v->cmdline_add = calloc(c->cmdline_add_count + 1, sizeof(*v->cmdline_add));
	v->blocks = calloc(c->block_count + 1, sizeof(*v->blocks));
	v->nets = calloc(c->net_count + 1, sizeof(*v->nets));
	if (!v->cmdline_add || !v->blocks || !v->nets) {
		views_finish(v);
		return -ENOMEM;
	}
	v->view.c = *c;
	v->view.kernel = view_file(&c->kernel, a);
	v->view.ramdisk = view_file(&c->ramdisk, a);
	v->view.dtb_overlay = view_file(&c->dtb_overlay, a);
	v->view.cmdline = wire_string_of(c->cmdline);
	v->view.vsock_uds_path = wire_string_of(c->vsock_uds_path);
	for (uint32_t i = 0; i < c->cmdline_add_count; i++)
		v->cmdline_add[i] = wire_string_of(c->cmdline_add[i]);
	for (uint32_t i = 0; i < c->block_count; i++)
		v->blocks[i] = (struct block_view){
			.id = wire_string_of(c->blocks[i].id),
			.mode = c->blocks[i].mode,
			.format = c->blocks[i].format,
			.file = view_file(&c->blocks[i].file, a),
		};
	for (uint32_t i = 0; i < c->net_count; i++) {
		v->nets[i].enable_bridge = c->nets[i].enable_bridge;
		v->nets[i].tap = wire_string_of(c->nets[i].tap);
		memcpy(v->nets[i].mac, c->nets[i].mac, sizeof(v->nets[i].mac));
	}
	v->view.cmdline_add =
		(struct wire_vector){.count = c->cmdline_add_count, .items = v->cmdline_add};
	v->view.blocks = (struct wire_vector){.count = c->block_count, .items = v->blocks};
	v->view.nets = (struct wire_vector){.count = c->net_count, .items = v->nets};
	v->view.listeners = (struct wire_vector){.count = c->listener_count, .items = c->listeners};
	return 0;
}

/* Fields that say "on" by being there at all are left out when they are off. */
static uint64_t fields_to_send(const struct guest_config *c)
{
	uint64_t given = c->given;

	if (!c->wayland)
		given &= ~CONFIG_BIT(CONFIG_WAYLAND);
	if (!c->magma)
		given &= ~CONFIG_BIT(CONFIG_MAGMA);
	if (!c->gpu)
		given &= ~CONFIG_BIT(CONFIG_GPU);
	if (!c->sound)
		given &= ~CONFIG_BIT(CONFIG_SOUND);
	if (!c->sound_input)
		given &= ~CONFIG_BIT(CONFIG_SOUND_INPUT);
	return given;
}

int config_table_encode(const struct guest_config *config, struct wire_writer *w,
	struct wire_table *t, int fds[FRAME_FDS_MAX], uint8_t *nfds, struct diag *d)
{
	struct attached a = {.fds = fds};
	struct views v;
	int err = views_init(&v, config, &a);

	if (err)
		return diag_fail(d, err, "GuestConfig: out of memory");
	if (a.count > FRAME_FDS_MAX)
		err = diag_fail(d, -E2BIG,
			"GuestConfig: %u files are given by descriptor; the limit is %d: give "
			"others by path",
			a.count, FRAME_FDS_MAX);
	if (!err)
		err = table_encode(&config_layout, &v.view, fields_to_send(config), w, t);
	if (err == -EMSGSIZE)
		diag_fail(d, err, "GuestConfig: does not fit %u bytes", w->room);
	if (err == -EINVAL)
		diag_fail(d, err, "GuestConfig: a string is not UTF-8");
	*nfds = err ? 0 : (uint8_t)a.count;
	views_finish(&v);
	return err;
}
