/* SPDX-License-Identifier: Apache-2.0 */
/* Which file tells the pressure that matters to this process. Three shapes of hosts:
 *
 *   cgroup v2 alone     the nearest group from ours upwards with memory.max or memory.high
 *   v1 and v2 (hybrid)  limits are v1's; v2's group of ours measures, whoever limits
 *   neither             /proc/pressure/memory */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/pressure.h"

#define LINE_MAX_BYTES 1024
/* What v1 says where there is no limit is a little less than this, depending on the page size. */
#define V1_UNLIMITED (1ULL << 62)

/* One hierarchy: where it is mounted, and our group in it. Empty: there is none. */
struct hierarchy {
	char mount[PRESSURE_PATH_MAX], group[PRESSURE_PATH_MAX];
};

/* The first line of a file; false: there is none. */
static bool line_read(const char *path, char line[LINE_MAX_BYTES])
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(line, LINE_MAX_BYTES, f);
	fclose(f);
	return ok;
}

/* "name" is an item of "a,b,c". */
static bool list_has(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, name, len) && (!at[len] || at[len] == ','))
			return true;
	}
	return false;
}

/* Lines "id:controllers:group"; v2 is "0::group". */
static void groups_read(const char *root, struct hierarchy *v1, struct hierarchy *v2)
{
	char path[PRESSURE_PATH_MAX], line[LINE_MAX_BYTES];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':'), *group;

		if (!controllers || !(group = strchr(controllers + 1, ':')))
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (!strncmp(line, "0:", 2) && !controllers[1])
			snprintf(v2->group, sizeof(v2->group), "%.500s", group);
		else if (list_has(controllers + 1, "memory"))
			snprintf(v1->group, sizeof(v1->group), "%.500s", group);
	}
	fclose(f);
}

/* "id parent dev root mount options … - type source options" */
static void mounts_read(const char *root, struct hierarchy *v1, struct hierarchy *v2)
{
	char path[PRESSURE_PATH_MAX], line[LINE_MAX_BYTES];
	char mount[PRESSURE_PATH_MAX], type[32], options[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		const char *dash = strstr(line, " - ");

		if (!dash || sscanf(line, "%*s %*s %*s %*s %500s", mount) != 1 ||
			sscanf(dash, " - %31s %*s %255s", type, options) != 2)
			continue;
		if (!strcmp(type, "cgroup2"))
			snprintf(v2->mount, sizeof(v2->mount), "%s", mount);
		else if (!strcmp(type, "cgroup") && list_has(options, "memory"))
			snprintf(v1->mount, sizeof(v1->mount), "%s", mount);
	}
	fclose(f);
}

/* --- limits --- */

static bool v2_limited(const char *root, const struct hierarchy *h)
{
	static const char *const files[] = {"memory.max", "memory.high"};
	char path[3 * PRESSURE_PATH_MAX], line[LINE_MAX_BYTES];

	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s%s%s/%s", root, h->mount, h->group, files[i]);
		if (line_read(path, line) && strncmp(line, "max", 3) != 0)
			return true;
	}
	return false;
}

/* One group up; false: this was the top. */
static bool group_up(struct hierarchy *h)
{
	char *slash = strrchr(h->group, '/');

	if (!slash || !slash[1])
		return false;
	*slash = '\0';
	return slash != h->group;
}

static bool v1_limited(const char *root, struct hierarchy h)
{
	char path[3 * PRESSURE_PATH_MAX], line[LINE_MAX_BYTES];

	if (!h.mount[0] || !h.group[0])
		return false;
	do {
		snprintf(
			path, sizeof(path), "%s%s%s/memory.limit_in_bytes", root, h.mount, h.group);
		if (line_read(path, line) && strtoull(line, NULL, 10) < V1_UNLIMITED)
			return true;
	} while (group_up(&h));
	return false;
}

static bool group_path(const char *root, const struct hierarchy *h, char path[PRESSURE_PATH_MAX])
{
	int n = snprintf(
		path, PRESSURE_PATH_MAX, "%s%s%s/memory.pressure", root, h->mount, h->group);

	return n < PRESSURE_PATH_MAX && !access(path, F_OK);
}

int pressure_find(const char *root, char path[PRESSURE_PATH_MAX], struct diag *d)
{
	struct hierarchy v1 = {.mount = ""}, v2 = {.mount = ""};

	groups_read(root, &v1, &v2);
	mounts_read(root, &v1, &v2);
	if (v2.mount[0] && v2.group[0] && v2.group[1]) {
		struct hierarchy h = v2;

		if (v1_limited(root, v1) && group_path(root, &h, path))
			return 0;
		do {
			if (v2_limited(root, &h) && group_path(root, &h, path))
				return 0;
		} while (group_up(&h));
	}
	snprintf(path, PRESSURE_PATH_MAX, "%s/proc/pressure/memory", root);
	if (!access(path, F_OK))
		return 0;
	return diag_fail(d, -ENOENT,
		"%s: this kernel does not measure memory pressure; start it with psi=1 (it needs "
		"CONFIG_PSI)",
		path);
}
