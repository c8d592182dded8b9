/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: read or refused with a place, then judged, joined and freed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct config_limits limits = {.cores = 2, .built_devices = ~0ULL};
	struct guest_config c;
	struct diag d = {0};
	char *cmdline;

	config_init(&c);
	if (config_parse_json(&c, "fuzz", (const char *)data, len_bytes, &d)) {
		CHECK(!strncmp(d.text, "fuzz:", 5));
		CHECK(d.text[5] >= '1' && d.text[5] <= '9');
	} else if (config_check(&c, &limits, &d)) {
		CHECK(d.text[0]);
	} else {
		cmdline = config_cmdline(&c);
		CHECK(cmdline && strlen(cmdline) <= CONFIG_CMDLINE_MAX);
		free(cmdline);
	}
	config_finish(&c);
	return 0;
}
